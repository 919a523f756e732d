"""Generations as verifiers ask them: beside the weights in training, by their own tokenizer, loaded once."""

from collections.abc import Mapping

import pytest

from bootstrap.config.base_model import ScratchModel
from bootstrap.config.models import GenerationJudge, JudgeVerifier, MajorityVerifier
from bootstrap.config.optimizers import AdamW
from bootstrap.errors import FingerprintMismatch, VerifierError
from bootstrap.pool import LocalPool
from bootstrap.records import Batch, Checkpoint, Example, Normalizers, Prompt, Request, Sampling, Split
from bootstrap.scoring.verifier import Answer, Tools, build_verifier
from bootstrap.stages.models import LineageModels

pytestmark = pytest.mark.torch

DIGITS, LETTERS = "0123456789", "abcdef"
MODEL = ScratchModel(hidden_size=16, intermediate_size=16, num_layers=1, num_heads=1, max_length=32)


def made(seed: int, characters: str = DIGITS) -> Checkpoint:
    """Return a fresh model over these characters."""
    with LocalPool(1, batch_rows=8) as pool:
        pool.build(MODEL, characters, seed=seed)
        return pool.export()


def taught(prompt: str, answer: str, *, characters: str = DIGITS) -> Checkpoint:
    """Return a model that answers one prompt as it was taught."""
    tokens = [1, *(4 + characters.index(c) for c in prompt + answer), 2]
    example = Example(source="x", tokens=tuple(tokens), num_prompt_tokens=1 + len(prompt), ce_weight=1.0)
    batch = Batch(examples=[example], normalizers=Normalizers(ce=len(answer) + 1))
    with LocalPool(1, batch_rows=8) as pool:
        pool.build(MODEL, characters, seed=1)
        pool.broadcast("begin", AdamW(lr=0.03))
        for _ in range(60):
            pool.metrics(pool.update(batch, lr_factor=1.0, grad_clip=1.0))
        return pool.export()


@pytest.fixture
def pool() -> LocalPool:
    found = LocalPool(2, batch_rows=8)
    found.build(MODEL, DIGITS, seed=9)
    return found


def asked(models: LineageModels, *prompts: str, model: str | int = "base", **changes: object) -> list[list[str]]:
    how = {"samples": 4, "temperature": 1.0, "max_new_tokens": 8, "seed": 3}
    return models.complete(prompts, model=model, **how | changes)


def test_a_frozen_sampler_samples_with_its_own_weights_and_tokenizer_and_leaves_the_student_alone(
    pool: LocalPool,
) -> None:
    student = pool.holding
    frozen_sampler = taught("ab", "fed", characters=LETTERS)
    pool.load_frozen_sampler(frozen_sampler)
    prompt = Prompt(id="p", task="t", level=1, text="ab", split=Split.TRAIN)
    [rollout] = pool.generate(
        [Request(id="g.k0", prompt=prompt, seed=1)],
        Sampling(temperature=0.0, max_new_tokens=8),
        by=frozen_sampler.fingerprint,
    )
    assert (rollout.text, rollout.policy) == ("fed", frozen_sampler.fingerprint)
    assert rollout.prompt_tokens == (1, 4, 5)
    assert pool.holding == student
    assert pool.broadcast("fingerprint") == [student] * 2
    [mine] = pool.generate([Request(id="g.k0", prompt=prompt, seed=1)], Sampling(temperature=0.0, max_new_tokens=8))
    assert mine.policy == student


def test_a_frozen_sampler_can_sample_while_the_student_trains(pool: LocalPool) -> None:
    frozen_sampler = taught("12", "3")
    models = LineageModels(pool)
    models.bind({"base": (0, frozen_sampler)})
    example = Example(source="x", tokens=(1, 5, 6, 2), num_prompt_tokens=2, ce_weight=1.0)
    batch = Batch(examples=[example, example], normalizers=Normalizers(ce=4.0))
    pool.broadcast("begin", AdamW(lr=0.01))
    before = asked(models, "12", temperature=0.0, samples=1)
    pool.metrics(pool.update(batch, lr_factor=1.0, grad_clip=1.0))
    assert asked(models, "12", temperature=0.0, samples=1) == before == [["3"]]


def test_a_completion_depends_on_its_prompt_and_seed_alone(pool: LocalPool) -> None:
    models = LineageModels(pool)
    models.bind({"base": (0, made(1))})
    together = asked(models, "12", "345", "6", "12")
    assert together[0] == together[3]
    assert asked(models, "345") == [together[1]]
    assert asked(models, "345", seed=4) != [together[1]]
    [fewer] = asked(models, "345", samples=2)
    assert together[1][: len(fewer)] == fewer != []


def test_completions_that_the_limit_cut_are_left_out(pool: LocalPool) -> None:
    models = LineageModels(pool)
    models.bind({"base": (0, taught("12", "345"))})
    assert asked(models, "12", temperature=0.0, samples=1, max_new_tokens=4) == [["345"]]
    assert asked(models, "12", temperature=0.0, samples=1, max_new_tokens=3) == [[]]


class Watched(LocalPool):
    """Says which frozen samplers came and went."""

    def __init__(self) -> None:
        super().__init__(1, batch_rows=8)
        self.log: list[str] = []

    def load_frozen_sampler(self, checkpoint: Checkpoint) -> object:
        self.log.append(f"load {checkpoint.fingerprint[:8]}")
        return super().load_frozen_sampler(checkpoint)

    def drop_frozen_sampler(self, fingerprint: str) -> None:
        self.log.append(f"drop {fingerprint[:8]}")
        super().drop_frozen_sampler(fingerprint)


def test_each_set_of_weights_is_loaded_when_first_asked_once_and_dropped_when_named_no_more() -> None:
    pool = Watched()
    models = LineageModels(pool)
    first, second = made(1), made(2)
    models.bind({"base": (0, first), "champion": (0, first), "parent": (1, second)})
    assert pool.log == []
    asked(models, "1", model="base")
    asked(models, "1", model="champion")
    assert pool.log == [f"load {first.fingerprint[:8]}"]
    models.bind({"champion": (1, second), "base": (0, first)})
    asked(models, "1", model="base")
    asked(models, "1", model="champion")
    assert pool.log[1:] == [f"load {second.fingerprint[:8]}"]
    models.bind({"champion": (1, second)})
    assert pool.log[2:] == [f"drop {first.fingerprint[:8]}"]
    assert list(pool.workers[0].frozen_samplers) == [second.fingerprint]


def test_a_generation_that_does_not_exist_yet_is_named(pool: LocalPool) -> None:
    models = LineageModels(pool)
    with pytest.raises(VerifierError, match=r"generation champion .* does not exist yet; .*evaluation\.verifier"):
        asked(models, "1", model="champion")


def test_weights_that_are_not_the_ledgers_are_refused(pool: LocalPool) -> None:
    models = LineageModels(pool)
    models.bind({"base": (0, Checkpoint(fingerprint="0" * 64, files=made(1).files))})
    with pytest.raises(FingerprintMismatch, match="a frozen sampler's weights are"):
        asked(models, "1")


def test_the_work_of_frozen_samplers_is_counted_once(pool: LocalPool) -> None:
    models = LineageModels(pool)
    models.bind({"base": (0, taught("12", "345"))})
    asked(models, "12", temperature=0.0, samples=1)
    done = models.take_compute()
    assert done.tokens == {"verify": 4}
    assert done.flops["verify"] > 0
    assert models.take_compute().tokens == {}


def test_earlier_generations_vote_and_judge_through_the_pool(pool: LocalPool) -> None:
    models = LineageModels(pool)
    named: Mapping[str | int, tuple[int, Checkpoint]] = {0: (0, taught("12", "3")), "champion": (1, taught("12", "3"))}
    models.bind(named)
    tools = Tools(models=models)
    vote = build_verifier(MajorityVerifier(voters=(0, "champion")), tools=tools)
    answers = [Answer(prompt="12", text=text, reference="", group="g") for text in ("3", "4", "4")]
    assert [judgement.status[0] for judgement in vote.judge(answers)] == ["P", "F", "F"]
    judge = build_verifier(JudgeVerifier(model=GenerationJudge(generation=0), rubric="Right."), tools=tools)
    [found] = judge.judge(answers[:1])
    assert found.status[0] == "U", "a model that adds cannot judge, and nobody takes its noise for a verdict"
