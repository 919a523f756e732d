"""vLLM as sampler, on its CPU build: against transformers, which computes in this process. Run by `make test-vllm`."""

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pytest
import torch
from support.vllm_models import adapter_of, llama, scratch

from bootstrap.config.optimizers import AdamW
from bootstrap.config.training import Training
from bootstrap.errors import FingerprintMismatch, RecipeError, UpdateFault, WorkerError
from bootstrap.memory import Room
from bootstrap.records import Example, Finish, Prompt, Request, Rollout, Sampling, Split
from bootstrap.rollouts.sampling import distribution
from bootstrap.store.fingerprint import fingerprint_model
from bootstrap.training.bounds import SAME_WEIGHTS, require_same_weights
from bootstrap.vllm_sampler import VllmSampler
from bootstrap.worker import Worker

pytestmark = pytest.mark.vllm

EXACT = 1e-5
"""Largest difference of log-probabilities in fp32; measured: 5e-7."""
BELIEVED = SAME_WEIGHTS["fp32"]
SAMPLED = Sampling(temperature=1.0, max_new_tokens=12)


def request(text: str, k: int = 0) -> Request:
    prompt = Prompt(id=f"id-{text}", task="addition", level=1, text=text, split=Split.TRAIN)
    return Request(id=f"g0.s0.u0.p{text}.k{k}", prompt=prompt, seed=int.from_bytes(f"{text}{k}".encode()[-7:], "big"))


GROUPS = [request(text, k) for text in ("1+2=", "34+5=", "678+90=") for k in range(5)]


def reader(*folders: Mapping[str, bytes]) -> Worker:
    """Return a learner with the last folder's weights; a base comes before its adapter."""
    worker = Worker(batch_rows=64, device="cpu")
    worker.configure(Training())
    *bases, files = folders
    for base in bases:
        worker.provide(base, fingerprint_model(base))
    worker.load(files, None)
    return worker


def scores(worker: Worker, rollouts: Sequence[Rollout], temperature: float = 1.0):
    worker.begin(AdamW())
    examples = [
        Example(
            source=r.id,
            tokens=r.prompt_tokens + r.tokens,
            num_prompt_tokens=len(r.prompt_tokens),
            advantages=(0.0,) * len(r.tokens),
            logprobs=r.logprobs,
        )
        for r in rollouts
    ]
    return {one.source: one for one in worker.recompute_logprobs(examples, temperature)}


def largest(worker: Worker, rollouts: Sequence[Rollout], temperature: float = 1.0) -> float:
    """Return the largest difference of a token's log-probability from the reader's."""
    found = scores(worker, rollouts, temperature)
    return max(
        abs(mine - theirs) for r in rollouts for mine, theirs in zip(r.logprobs, found[r.id].logprobs, strict=True)
    )


class Killer(Room):
    """Kills a process in the middle of a call, once some tokens are drawn."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def beat(self, answered: int = 0) -> None:
        os.kill(self.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def sampler() -> Iterator[VllmSampler]:
    """One engine for all tests of models from scratch, which swap its weights."""
    made = VllmSampler(batch_rows=64, training=Training())
    yield made
    made.close()


def test_logprobs_are_those_of_the_learner_at_every_temperature(sampler):
    files = scratch(1)
    sampler.load(files, fingerprint_model(files))
    worker = reader(files)
    for temperature in (1.0, 0.7):
        rollouts = sampler.generate(GROUPS, replace(SAMPLED, temperature=temperature))
        assert [r.id for r in rollouts] == [r.id for r in GROUPS]
        assert largest(worker, rollouts, temperature) < EXACT
        assert {r.policy for r in rollouts} == {worker.fingerprint()}
        assert all(r.entropies == () for r in rollouts)


def test_greedy_answers_are_those_of_transformers(sampler):
    files = scratch(1)
    sampler.load(files, None)
    worker = reader(files)
    greedy = Sampling(temperature=0, max_new_tokens=12)
    ours, theirs = sampler.generate(GROUPS[::5], greedy), worker.generate(GROUPS[::5], greedy)
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine.prompt_tokens, mine.tokens, mine.text, mine.finish) == (
            other.prompt_tokens,
            other.tokens,
            other.text,
            other.finish,
        )
        assert mine.logprobs == pytest.approx(other.logprobs, abs=EXACT)


def test_a_sample_depends_on_no_other_in_its_call(sampler):
    sampler.load(scratch(1), None)
    together = {r.id: r for r in sampler.generate(GROUPS, SAMPLED)}
    other_order = {r.id: r for r in sampler.generate(GROUPS[::-1], SAMPLED)}
    for asked in GROUPS[::4]:
        (alone,) = sampler.generate([asked], SAMPLED)
        assert alone.tokens == together[asked.id].tokens == other_order[asked.id].tokens
    assert len({r.tokens for r in together.values()}) > len(GROUPS) / 2, "seeds tell samples apart"


@pytest.mark.parametrize("how", [{"top_k": 3}, {"top_p": 0.5}, {"top_k": 6, "top_p": 0.7, "temperature": 1.3}])
def test_top_k_and_top_p_cut_the_distribution_as_our_definition_does(sampler, how):
    files = scratch(1)
    sampler.load(files, None)
    model = reader(files).model
    sampling = replace(SAMPLED, **how)
    for rollout in sampler.generate(GROUPS, sampling):
        tokens = torch.tensor([rollout.prompt_tokens + rollout.tokens])
        with torch.no_grad():
            logits = model(input_ids=tokens).logits[0, len(rollout.prompt_tokens) - 1 : -1]
        expected = distribution(logits, temperature=sampling.temperature, top_k=sampling.top_k, top_p=sampling.top_p)[
            torch.arange(len(rollout.tokens)), torch.tensor(rollout.tokens)
        ]
        assert rollout.logprobs == pytest.approx(expected.tolist(), abs=EXACT)


def test_tokens_are_drawn_as_often_as_their_log_probabilities_say(sampler):
    files, number = scratch(2), 2000
    sampler.load(files, None)
    rollouts = sampler.generate([request("1+2=", k) for k in range(number)], replace(SAMPLED, max_new_tokens=1))
    drawn = torch.bincount(torch.tensor([r.tokens[0] for r in rollouts]), minlength=16)
    with torch.no_grad():
        logits = reader(files).model(input_ids=torch.tensor([rollouts[0].prompt_tokens])).logits[0, -1]
    expected = number * torch.softmax(logits, -1)
    # Chi-squared with 15 degrees of freedom exceeds 50 once in 80,000 times.
    assert ((drawn - expected) ** 2 / expected).sum() < 50


def test_end_tokens_and_limits_end_answers_and_are_told_apart(sampler):
    sampler.load(scratch(2), None)
    ends = sampler.engine.answers.ends
    rollouts = sampler.generate([request("1+2=", k) for k in range(40)], SAMPLED)
    for rollout in rollouts:
        ended = rollout.tokens[-1] in ends
        assert rollout.finish is (Finish.STOP if ended else Finish.LENGTH)
        assert len(rollout.tokens) == 12 or ended
        assert not set(rollout.tokens[:-1]) & set(ends)
    assert {r.finish for r in rollouts} == {Finish.STOP, Finish.LENGTH}


def test_no_answer_ends_before_its_shortest_length_and_the_learner_knows(sampler):
    files = scratch(2, min_new_tokens=5)
    sampler.load(files, None)
    rollouts = sampler.generate([request("1+2=", k) for k in range(40)], SAMPLED)
    assert min(len(r.tokens) for r in rollouts) > 5 and any(r.finish is Finish.STOP for r in rollouts)
    assert largest(reader(files), rollouts) < EXACT
    # Without the mask the end tokens would have had a share, so the test can fail.
    assert largest(reader(scratch(2)), rollouts) > 100 * EXACT


def test_a_stop_text_ends_an_answer_and_is_cut_off(sampler):
    files = scratch(1, stop=("7",))
    sampler.load(files, None)
    rollouts = sampler.generate([request("1+2=", k) for k in range(40)], SAMPLED)
    stopped = [r for r in rollouts if "7" in sampler.engine.answers.decoded([list(r.tokens)])[0]]
    assert 5 < len(stopped) < 40
    for rollout in stopped:
        text = sampler.engine.answers.decoded([list(rollout.tokens)])[0]
        assert text.index("7") == len(text) - 1 and rollout.text == text[:-1] and rollout.finish is Finish.STOP
    assert largest(reader(files), rollouts) < EXACT


def test_new_weights_take_the_place_of_the_old_without_a_new_process(sampler):
    sampler.load(scratch(1), None)
    process = sampler.process.process.pid
    before = sampler.generate(GROUPS, SAMPLED)
    for seed in (2, 3):
        files = scratch(seed)
        policy = sampler.load(files, fingerprint_model(files))
        rollouts = sampler.generate(GROUPS, SAMPLED)
        assert sampler.process.process.pid == process
        assert {r.policy for r in rollouts} == {policy}
        assert [r.tokens for r in rollouts] != [r.tokens for r in before]
        worker = reader(files)
        assert require_same_weights(rollouts, scores(worker, rollouts), policy=policy, bound=BELIEVED) < EXACT
    sampler.load(scratch(1), None)
    assert [r.tokens for r in sampler.generate(GROUPS, SAMPLED)] == [r.tokens for r in before]


def test_weights_of_another_version_answer_nothing(sampler):
    old, new = scratch(1), scratch(2)
    sampler.load(old, None)
    sampler.load(new, None)
    with pytest.raises(FingerprintMismatch, match=f"vLLM holds weights {fingerprint_model(new)[:16]}, the plan names"):
        sampler.engine.generate(GROUPS, SAMPLED, policy=fingerprint_model(old))
    with pytest.raises(FingerprintMismatch, match="a sampler got weights"):
        sampler.load(old, fingerprint_model(new))
    assert {r.policy for r in sampler.generate(GROUPS, SAMPLED)} == {fingerprint_model(new)}


def test_answers_of_other_weights_are_noticed_by_the_learner(sampler):
    policy = sampler.load(scratch(2), None)
    rollouts = sampler.generate(GROUPS, SAMPLED)
    with pytest.raises(UpdateFault, match=f"a sampler that took the weights {policy[:16]} answers with others"):
        require_same_weights(rollouts, scores(reader(scratch(1)), rollouts), policy=policy, bound=BELIEVED)


def test_a_prompt_beyond_the_models_positions_is_refused_with_a_remedy(sampler):
    sampler.load(scratch(1), None)
    with pytest.raises(RecipeError, match=r"exceed the 64 positions .* lower the limit"):
        sampler.generate([request("1" * 60)], SAMPLED)
    (longest,) = sampler.generate([request("1" * 51)], SAMPLED)
    assert len(longest.prompt_tokens) + 12 == 64


def test_a_head_size_that_vllm_lacks_is_refused_before_any_process(sampler):
    with pytest.raises(RecipeError, match=r"this model's have 24 .* hidden_size: 128 with num_heads: 4"):
        VllmSampler(batch_rows=4, training=Training()).load(scratch(1, hidden_size=96), None)


def test_an_adapter_travels_without_its_base_and_the_tied_head_trap_is_caught():
    """This engine's process leaves out the repair of `vllm_weights`, as vLLM by itself does."""
    base, other = llama(1, tied=True), llama(2, tied=True)
    training = Training.model_validate({"adapter": {"rank": 4}})
    made = VllmSampler(batch_rows=64, training=training, program="support.vllm_unrepaired")
    try:
        made.provide(base, fingerprint_model(base))
        process, seen = made.process.process.pid, []
        for seed in (1, 2):
            files = adapter_of(base, seed=seed)
            policy = made.load(files, None)
            rollouts = made.generate(GROUPS, SAMPLED)
            seen.append([r.tokens for r in rollouts])
            assert {r.policy for r in rollouts} == {policy}
            assert largest(reader(base, files), rollouts) < EXACT
        assert seen[0] != seen[1] and made.process.process.pid == process
        policy = made.load(other, None)
        rollouts = made.generate(GROUPS, SAMPLED)
        with pytest.raises(UpdateFault, match="answers with others"):
            require_same_weights(rollouts, scores(reader(other), rollouts), policy=policy, bound=BELIEVED)
    finally:
        made.close()


def test_tied_weights_are_swapped_whole():
    made = VllmSampler(batch_rows=64, training=Training())
    try:
        made.load(llama(1, tied=True), None)
        files = llama(2, tied=True)
        policy = made.load(files, None)
        rollouts = made.generate(GROUPS, SAMPLED)
        assert require_same_weights(rollouts, scores(reader(files), rollouts), policy=policy, bound=BELIEVED) < EXACT
        made.engine.room = Killer(made.process.process.pid)
        with pytest.raises(WorkerError, match=r"the process of vLLM ended \(exit code -9\) when asked to generate"):
            made.generate(GROUPS, SAMPLED)
    finally:
        made.close()
