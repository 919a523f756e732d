"""Sampling with a transformers model: what every backend must hold to."""

import pytest
import torch

from bootstrap.config.base_model import ScratchModel
from bootstrap.records import Finish, Prompt, Request, Sampling, Split
from bootstrap.rollouts.engine import TransformersEngine
from bootstrap.training.model import build_scratch

pytestmark = pytest.mark.torch

SMALL = ScratchModel(hidden_size=32, intermediate_size=48, num_layers=2, num_heads=2)


@pytest.fixture(scope="module")
def engine() -> TransformersEngine:
    model, tokenizer = build_scratch(SMALL, "0123456789+=", seed=1)
    with torch.no_grad():
        # Sharper than a fresh model, so that greedy choices and samples are far from ties.
        model.lm_head.weight.mul_(40)
    return TransformersEngine(model, tokenizer, batch_rows=64)


def request(text: str, k: int = 0, *, seed: int | None = None) -> Request:
    prompt = Prompt(id=f"id-{text}", task="addition", level=1, text=text, split=Split.TRAIN)
    return Request(id=f"g0.s0.u0.p{text}.k{k}", prompt=prompt, seed=hash_of(text, k) if seed is None else seed)


def hash_of(text: str, k: int) -> int:
    return int.from_bytes(f"{text}{k}".encode()[-7:], "big")


SAMPLED = Sampling(temperature=1.0, max_new_tokens=12)
GROUPS = [request(text, k) for text in ("1+2=", "34+5=", "678+90=") for k in range(5)]


def full_logits(engine: TransformersEngine, rollout) -> torch.Tensor:
    tokens = torch.tensor([rollout.prompt_tokens + rollout.tokens])
    with torch.no_grad():
        return engine.model(input_ids=tokens).logits[0, len(rollout.prompt_tokens) - 1 : -1]


def test_logprobs_are_those_of_a_full_forward_pass(engine):
    for temperature in (1.0, 0.7):
        how = Sampling(temperature=temperature, max_new_tokens=12)
        for rollout in engine.generate(GROUPS, how, policy="f"):
            logprobs = torch.log_softmax(full_logits(engine, rollout) / temperature, -1)
            expected = logprobs[torch.arange(len(rollout.tokens)), torch.tensor(rollout.tokens)]
            assert torch.allclose(torch.tensor(rollout.logprobs), expected, atol=1e-4)


def test_entropies_are_those_of_a_full_forward_pass(engine):
    for rollout in engine.generate(GROUPS[:5], SAMPLED, policy="f"):
        expected = torch.distributions.Categorical(logits=full_logits(engine, rollout)).entropy()
        assert torch.allclose(torch.tensor(rollout.entropies), expected, atol=1e-4)


def test_greedy_decoding_equals_that_of_transformers(engine):
    for rollout in engine.generate([request("12+34=")], Sampling(temperature=0, max_new_tokens=12), policy="f"):
        out = engine.model.generate(
            torch.tensor([rollout.prompt_tokens]), max_new_tokens=12, do_sample=False, eos_token_id=engine.eos.tolist()
        )
        assert out[0, len(rollout.prompt_tokens) :].tolist() == list(rollout.tokens)


def test_a_sample_does_not_depend_on_its_batch(engine):
    together = {r.id: r for r in engine.generate(GROUPS, SAMPLED, policy="f")}
    for asked in reversed(GROUPS):
        (alone,) = engine.generate([asked], SAMPLED, policy="f")
        assert alone.tokens == together[asked.id].tokens
        assert alone.logprobs == pytest.approx(together[asked.id].logprobs, abs=1e-4)


def test_rollouts_come_back_in_the_order_of_the_requests(engine):
    shuffled = GROUPS[7:] + GROUPS[:7]
    assert [r.id for r in engine.generate(shuffled, SAMPLED, policy="f")] == [r.id for r in shuffled]


def test_samples_of_one_prompt_differ_by_seed(engine):
    rollouts = engine.generate(GROUPS[:5], SAMPLED, policy="f")
    assert len({r.tokens for r in rollouts}) > 1
    twice = engine.generate([request("1+2=", 0, seed=9), request("1+2=", 1, seed=9)], SAMPLED, policy="f")
    assert twice[0].tokens == twice[1].tokens


def forward_shapes(engine: TransformersEngine, requests: list[Request], how: Sampling) -> list[tuple[int, int]]:
    shapes: list[tuple[int, int]] = []
    handle = engine.model.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    engine.generate(requests, how, policy="f")
    handle.remove()
    return shapes


def test_each_prompt_is_run_once_for_all_its_samples(engine):
    shapes = forward_shapes(engine, GROUPS, SAMPLED)
    assert shapes[0] == (3, 8), "three distinct prompts, the longest of seven characters and <bos>"
    assert shapes[1][1] == 1 and shapes[1][0] > 3


def test_finished_rows_leave_the_batch(engine):
    requests = [request("1+2=", k) for k in range(60)]
    hot = Sampling(temperature=5.0, max_new_tokens=30)
    lengths = [len(r.tokens) for r in engine.generate(requests, hot, policy="f")]
    assert len(set(lengths)) > 2, "samples must end at different places for this test to mean anything"
    rows = [rows for rows, width in forward_shapes(engine, requests, hot) if width == 1]
    assert rows == sorted(rows, reverse=True) and rows[-1] < rows[0]
    for step, count in enumerate(rows, start=1):
        assert sum(length > step for length in lengths) <= count


def test_an_answer_that_hits_the_limit_is_truncated(engine):
    for rollout in engine.generate(GROUPS, Sampling(temperature=1.0, max_new_tokens=2), policy="f"):
        ended = rollout.tokens[-1] in engine.eos.tolist()
        assert rollout.finish is (Finish.STOP if ended else Finish.LENGTH)
        assert len(rollout.tokens) <= 2


def test_special_tokens_stay_visible_in_the_text(engine):
    tokenizer = engine.answers.tokenizer
    assert tokenizer.decode([4, tokenizer.pad_token_id, 5], skip_special_tokens=False) == "0<pad>1"
    rollouts = engine.generate([request("1+2=", k) for k in range(60)], SAMPLED, policy="f")
    for rollout in rollouts:
        inner = rollout.tokens[:-1] if rollout.finish is Finish.STOP else rollout.tokens
        assert rollout.text == "".join(tokenizer.convert_ids_to_tokens(list(inner)))
    assert any("<" in r.text for r in rollouts), "a random model emits special tokens; the test must see one"
