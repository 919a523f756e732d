"""The learner and its data-parallel pool: what an update may depend on, and what it may not."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import safetensors.torch
import torch
from support import pretrained
from transformers import GPT2Config, GPT2LMHeadModel

from bootstrap.config.base_model import ScratchModel
from bootstrap.config.optimizers import AdamW, MuonAdamW, Optimizer, Schedule
from bootstrap.errors import FingerprintMismatch, RecipeError, WorkerError
from bootstrap.learner_records import KlForm
from bootstrap.pool import OPTIMIZER_STATE, LocalPool
from bootstrap.records import Batch, Checkpoint, Example, KlTarget, Normalizers, Prompt, Sampling, Split
from bootstrap.stages.generate import requests
from bootstrap.store.fingerprint import fingerprint_model
from bootstrap.training.learner import Learner
from bootstrap.training.model import model_shape
from bootstrap.training.schedule import schedule_factor
from bootstrap.worker import Worker

pytestmark = pytest.mark.torch

SMALL = ScratchModel(hidden_size=32, intermediate_size=48, num_layers=2, num_heads=2)
CHARACTERS = "0123456789+="


def sequence(index: int, *, rl: bool = False, ce: float = 0.0, kl: float = 0.0, teacher: str | None = None) -> Example:
    rng = np.random.default_rng(index)
    prompt, completion = int(rng.integers(2, 7)), int(rng.integers(1, 6))
    return Example(
        source=f"e{index}",
        tokens=tuple(int(t) for t in rng.integers(4, 16, prompt + completion)),
        num_prompt_tokens=prompt,
        advantages=(float(rng.normal()),) * completion if rl else (),
        logprobs=(-2.7,) * completion if rl else (),
        ce_weight=ce,
        kl_weight=kl,
        teacher=teacher,
    )


def mixed_batch(teacher: str | None = None) -> Batch:
    examples = [sequence(i, rl=True) for i in range(12)] + [sequence(i, ce=1.0) for i in range(12, 30)]
    if teacher is not None:
        examples += [sequence(i, kl=0.5, teacher=teacher) for i in range(30, 40)]
    return Batch(examples=examples, normalizers=Normalizers(rl=31, ce=50, kl=20), clip_low=0.2, clip_high=0.28)


def pool_of(size: int, *, optimizer: Optimizer | None = None, batch_rows: int = 64) -> LocalPool:
    pool = LocalPool(size, batch_rows=batch_rows)
    pool.build(SMALL, CHARACTERS, seed=3)
    pool.broadcast("begin", optimizer or MuonAdamW())
    return pool


def weights(pool: LocalPool) -> torch.Tensor:
    tensors = safetensors.torch.load(pool.export().files["model.safetensors"])
    return torch.cat([tensors[name].flatten() for name in sorted(tensors)])


def train(pool: LocalPool, batches: Sequence[Batch]) -> list:
    return [pool.metrics(pool.update(batch, lr_factor=1.0, grad_clip=1.0)) for batch in batches]


def assert_same_update(start: torch.Tensor, expected: torch.Tensor, found: torch.Tensor) -> None:
    """Muon orthogonalises in bfloat16: the last bit of a float32 gradient becomes 2^-8 of a step here and there."""
    assert (found - expected).norm() < 0.01 * (expected - start).norm()


def test_the_gradient_does_not_depend_on_micro_batches():
    flats = [pool_of(1, batch_rows=rows).workers[0].gradient(mixed_batch()).flat for rows in (1, 7, 64)]
    assert np.allclose(flats[0], flats[2], atol=1e-6) and np.allclose(flats[1], flats[2], atol=1e-6)
    assert np.abs(flats[2]).max() > 1e-3


def test_the_gradient_is_that_of_the_loss_by_finite_differences():
    worker = pool_of(1).workers[0]
    flat = worker.gradient(mixed_batch()).flat
    parameter = worker.model.lm_head.weight
    offset = sum(p.numel() for p in worker.learner.trainables.policy[:-1])
    assert worker.learner.trainables.policy[-1] is parameter

    def loss() -> float:
        found = worker.gradient(mixed_batch())
        return found.rl_loss + found.ce_loss

    for index in (70, 200, 333):
        parameter.data.view(-1)[index] += 0.02
        above = loss()
        parameter.data.view(-1)[index] -= 0.04
        below = loss()
        parameter.data.view(-1)[index] += 0.02
        assert flat[offset + index] == pytest.approx((above - below) / 0.04, rel=0.02, abs=2e-4)


@pytest.mark.parametrize("optimizer", [MuonAdamW(), AdamW()])
def test_one_and_two_and_three_workers_give_the_same_update(optimizer):
    pools = [pool_of(size, optimizer=optimizer) for size in (1, 2, 3)]
    batches = [mixed_batch(), replace(mixed_batch(), normalizers=Normalizers(rl=40, ce=60))]
    metrics = [train(pool, batches) for pool in pools]
    start, results = weights(pool_of(1)), [weights(pool) for pool in pools]
    assert (results[0] - start).abs().max() > 1e-4, "the update must move the weights"
    for result, measured in zip(results[1:], metrics[1:], strict=True):
        assert_same_update(start, results[0], result)
        for mine, single in zip(measured, metrics[0], strict=True):
            assert mine.loss == pytest.approx(single.loss, abs=1e-5)
            assert mine.num_tokens == single.num_tokens
            assert mine.flops == pytest.approx(single.flops)


def test_all_workers_hold_the_same_weights_after_an_update():
    pool = pool_of(2)
    train(pool, [mixed_batch()])
    assert len(set(pool.broadcast("fingerprint"))) == 1


def test_more_workers_than_examples_still_give_the_whole_update():
    batch = Batch(examples=[sequence(1, ce=1.0)], normalizers=Normalizers(ce=3))
    one, four = pool_of(1), pool_of(4)
    train(one, [batch])
    train(four, [batch])
    assert torch.allclose(weights(one), weights(four), atol=1e-6)


def test_workers_with_different_weights_are_refused():
    pool = pool_of(2)
    with torch.no_grad():
        pool.workers[1].model.lm_head.weight[5, 5] += 1
    pool.workers[1]._fingerprint = None
    with pytest.raises(FingerprintMismatch):
        pool.training_state()


def test_loading_weights_that_are_not_what_they_claim_is_refused():
    pool = pool_of(1)
    with pytest.raises(FingerprintMismatch):
        pool.hold(Checkpoint(fingerprint="0" * 64, files=pool.export().files))


def test_a_restored_learner_goes_on_as_if_never_stopped():
    straight, stopped = pool_of(1), pool_of(1)
    batches = [mixed_batch(), mixed_batch(), mixed_batch()]
    train(straight, batches)
    train(stopped, batches[:2])
    checkpoint, state = stopped.training_state()
    resumed = LocalPool(1, batch_rows=64)
    resumed.hold(checkpoint)
    resumed.broadcast("begin", MuonAdamW())
    resumed.broadcast("restore", state[OPTIMIZER_STATE])
    train(resumed, batches[2:])
    assert resumed.export().fingerprint == straight.export().fingerprint


def test_a_gradient_that_is_not_finite_leaves_the_weights_alone():
    pool = pool_of(1)
    before = weights(pool)
    bad = replace(sequence(1, rl=True), logprobs=(float("nan"),) * len(sequence(1, rl=True).advantages))
    with pytest.raises(WorkerError, match="not finite"):
        train(pool, [Batch(examples=[bad], normalizers=Normalizers())])
    assert torch.equal(weights(pool), before)


def test_the_gradient_norm_is_clipped():
    batch = replace(mixed_batch(), normalizers=Normalizers(rl=0.001, ce=0.001))
    pool = pool_of(1, optimizer=AdamW())
    (metrics,) = train(pool, [batch])
    assert metrics.grad_norm > 1
    flat = torch.cat([p.grad.flatten() for p in pool.workers[0].learner.trainables.policy])
    assert flat.norm().item() == pytest.approx(1.0, rel=1e-4)


def test_the_kl_stream_pulls_the_student_to_its_teacher():
    teacher = LocalPool(1, batch_rows=64)
    teacher.build(SMALL, CHARACTERS, seed=99)
    given = teacher.export()
    pool = pool_of(2, optimizer=AdamW(lr=3e-3))
    pool.broadcast("load_teacher", dict(given.files), given.fingerprint)
    examples = [sequence(i, kl=1.0, teacher=given.fingerprint) for i in range(20)]
    batch = Batch(examples=examples, normalizers=Normalizers(kl=60))
    metrics = train(pool, [batch] * 60)
    assert metrics[0].kl_loss > 10 * metrics[-1].kl_loss > 0
    imitated = replace(batch, examples=[replace(e, kl_weight=0.0, ce_weight=1.0, teacher=None) for e in examples])
    (without,) = train(pool, [imitated])
    assert metrics[0].flops == pytest.approx(without.flops * 4 / 3), "a teacher of the same size adds one forward pass"


def test_one_worker_and_two_agree_on_the_kl_stream():
    teacher = LocalPool(1, batch_rows=64)
    teacher.build(SMALL, CHARACTERS, seed=99)
    given = teacher.export()
    pools = [pool_of(1), pool_of(2)]
    for pool in pools:
        pool.broadcast("load_teacher", dict(given.files), given.fingerprint)
        train(pool, [mixed_batch(given.fingerprint)])
    assert_same_update(weights(pool_of(1)), weights(pools[0]), weights(pools[1]))


def test_each_example_of_a_mixed_batch_learns_from_its_own_teacher():
    teachers = []
    for seed in (98, 99):
        teacher = LocalPool(1, batch_rows=64)
        teacher.build(SMALL, CHARACTERS, seed=seed)
        teachers.append(teacher.export())
    pool = pool_of(1)
    for given in teachers:
        pool.broadcast("load_teacher", dict(given.files), given.fingerprint)
    mine = [sequence(i, kl=1.0, teacher=teachers[i % 2].fingerprint) for i in range(9)]
    batch = Batch(examples=[*mine, *(sequence(i, ce=1.0) for i in range(20, 26))], normalizers=Normalizers(kl=1.0))
    worker = pool.workers[0]
    apart = [worker.gradient(replace(batch, examples=[example])).kl_loss for example in mine]
    assert worker.gradient(batch).kl_loss == pytest.approx(sum(apart), rel=1e-4)
    assert min(apart) > 0


def test_a_batch_without_gradient_leaves_weights_and_momentum_alone():
    pool = pool_of(1)
    train(pool, [mixed_batch()])
    before, state = weights(pool), pool.broadcast("optimizer_state")
    (metrics,) = train(pool, [Batch(examples=[], normalizers=Normalizers())])
    assert metrics.grad_norm == 0 and metrics.num_tokens == 0
    assert torch.equal(weights(pool), before) and pool.broadcast("optimizer_state") == state


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_trainer_gives_every_sampled_token_the_log_probability_it_was_sampled_with(temperature):
    pool = pool_of(1)
    prompts = [Prompt(id=t, task="addition", level=1, text=t, split=Split.TRAIN) for t in ("1+2=", "34+5=", "67+89=")]
    asked = requests(prompts, prefix="g0.s0.u0", samples=4, seed=0)
    rollouts = pool.generate(asked, Sampling(temperature=temperature, max_new_tokens=6))
    for rollout in rollouts:
        for place in range(len(rollout.tokens)):
            # Weight 1 on one token alone: the loss is then minus that token's importance ratio.
            example = Example(
                source=rollout.id,
                tokens=rollout.prompt_tokens + rollout.tokens,
                num_prompt_tokens=len(rollout.prompt_tokens),
                advantages=tuple(float(i == place) for i in range(len(rollout.tokens))),
                logprobs=rollout.logprobs,
            )
            batch = Batch(examples=[example], normalizers=Normalizers(), temperature=temperature)
            assert pool.workers[0].gradient(batch).rl_loss == pytest.approx(-1, abs=1e-4)


def test_dropout_of_a_pretrained_model_stays_off():
    config = GPT2Config(
        vocab_size=16, n_positions=32, n_embd=16, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=2, pad_token_id=0
    )
    assert config.resid_pdrop > 0
    model = GPT2LMHeadModel(config)
    learner = Learner(model, AdamW(), shape=model_shape(model), max_rows=8, teachers={})
    first, second = (learner.gradient(mixed_batch()).flat for _ in range(2))
    assert np.array_equal(first, second)


def test_a_teacher_with_another_vocabulary_is_refused():
    teacher = Worker(batch_rows=8)
    teacher.build(SMALL, "abc=", 0)
    given = teacher.export()
    with pytest.raises(RecipeError, match="vocabulary"):
        pool_of(1).broadcast("load_teacher", dict(given.files), given.fingerprint)


def checkpoint(files: dict[str, bytes]) -> Checkpoint:
    return Checkpoint(fingerprint=fingerprint_model(files), files=files)


def of_width(seed: int, *, by: int) -> Checkpoint:
    maker = LocalPool(1, batch_rows=8)
    maker.build(SMALL, CHARACTERS, seed=seed)
    return checkpoint(pretrained.padded(dict(maker.export().files), by=by))


def student(by: int, teacher: Checkpoint) -> LocalPool:
    """Return a student whose output matrix is padded, beside a teacher."""
    pool = LocalPool(1, batch_rows=64)
    pool.hold(of_width(3, by=by))
    pool.broadcast("load_teacher", dict(teacher.files), teacher.fingerprint)
    pool.broadcast("begin", AdamW())
    return pool


@pytest.mark.parametrize(("mine", "theirs"), [(0, 5), (5, 0), (3, 5)])
def test_a_teacher_that_is_padded_to_another_width_teaches_as_without_padding(mine, theirs):
    def losses(mine: int, theirs: int) -> list[float]:
        teacher = of_width(99, by=theirs)
        examples = [sequence(i, kl=1.0, teacher=teacher.fingerprint) for i in range(6)]
        batch = Batch(examples=examples, normalizers=Normalizers(kl=6))
        worker = student(mine, teacher).workers[0]
        settings = ({"kl_beta": 0.0}, {"kl_beta": 0.5}, {"kl_beta": 1.0, "kl_top_k": 4})
        return [worker.gradient(replace(batch, **one)).kl_loss for one in settings]

    # With padding on both sides the outputs that they share include some of it.
    assert losses(mine, theirs) == pytest.approx(losses(min(mine, theirs), min(mine, theirs)), rel=1e-5)


def test_a_teacher_without_outputs_for_tokens_that_the_student_can_draw_is_refused():
    with pytest.raises(RecipeError, match=r"outputs for 15 of the 16 tokens.*loss: ce"):
        student(0, of_width(99, by=-1))


def test_a_kl_target_is_silent_on_padding_that_the_policy_drew_and_the_kl_target_lacks():
    kl_target = of_width(99, by=0)
    pool = student(5, kl_target)
    forms = tuple(KlTarget(model=kl_target.fingerprint, weight=0.5, form=form) for form in KlForm if not form.in_loss)
    plain = replace(sequence(1, rl=True), tokens=(1, 5, 6, 7, 8), num_prompt_tokens=2, advantages=(0.0,) * 3)
    plain = replace(plain, logprobs=(-2.7,) * 3)
    drawn = replace(plain, tokens=(1, 5, 6, 18, 8), kl_targets=forms)
    (scores,) = pool.recompute_logprobs([drawn], temperature=1.0)
    assert scores.rewards[1] == 0 and all(scores.rewards[place] for place in (0, 2))
    in_loss = tuple(KlTarget(model=kl_target.fingerprint, weight=0.5, form=form) for form in KlForm)
    gradient = pool.workers[0].gradient(Batch(examples=[replace(drawn, kl_targets=in_loss)], normalizers=Normalizers()))
    assert np.isfinite(gradient.flat).all() and gradient.rl_loss != 0


def test_muon_takes_the_blocks_matrices_and_adamw_the_rest():
    learner = pool_of(1).workers[0].learner
    names = {id(p): n for n, p in learner.model.named_parameters()}
    muon = {names[id(p)] for g in learner.trainables.optimizers["muon"].param_groups for p in g["params"]}
    adamw = {names[id(p)] for g in learner.trainables.optimizers["adamw"].param_groups for p in g["params"]}
    assert muon == {n for n in names.values() if "_proj" in n}
    assert adamw == set(names.values()) - muon and "lm_head.weight" in adamw


def test_the_learning_rate_warms_up_stays_and_decays():
    schedule = Schedule(warmup=0.1, decay=0.2, final=0.05)
    factors = [schedule_factor(schedule, update=u, total=100) for u in range(100)]
    assert factors[0] < factors[5] < factors[9] < 1
    assert factors[10:81] == [1.0] * 71
    assert factors[99] == pytest.approx(0.0975)
    assert all(a > b for a, b in pairwise(factors[80:]))


def test_a_learning_rate_factor_of_zero_length_phases_is_one():
    schedule = Schedule(warmup=0, decay=0)
    assert [schedule_factor(schedule, update=u, total=3) for u in range(3)] == [1.0] * 3
