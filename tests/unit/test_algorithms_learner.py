"""The learner under every form of policy loss and KL target: what an update may depend on, and that forms act."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bootstrap.config.algorithms import ValueHead
from bootstrap.config.base_model import ScratchModel
from bootstrap.config.optimizers import AdamW
from bootstrap.config.training import UpdateBounds
from bootstrap.errors import UpdateFault
from bootstrap.learner_records import KlForm, RatioLevel, Surrogate
from bootstrap.pool import OPTIMIZER_STATE, LocalPool
from bootstrap.records import Batch, Example, KlTarget, Normalizers
from bootstrap.training.bounds import UpdateWatch
from bootstrap.training.group import together
from bootstrap.training.loss import ANCHOR_PENALTY_WIDTH

pytestmark = pytest.mark.torch

SMALL = ScratchModel(hidden_size=32, intermediate_size=48, num_layers=2, num_heads=2)
CHARACTERS = "0123456789+="


def build(seed: int, *, batch_rows: int = 64) -> LocalPool:
    pool = LocalPool(1, batch_rows=batch_rows)
    pool.build(SMALL, CHARACTERS, seed=seed)
    return pool


KL_TARGETS = [build(seed).export() for seed in (98, 99)]


def pool_of(*, batch_rows: int = 64) -> LocalPool:
    pool = build(3, batch_rows=batch_rows)
    pool.broadcast("begin", AdamW(lr=3e-3))
    for given in KL_TARGETS:
        pool.broadcast("load_teacher", dict(given.files), given.fingerprint)
    return pool


def sequence(index: int, *kl_targets: KlTarget) -> Example:
    rng = np.random.default_rng(index)
    prompt, completion = int(rng.integers(2, 7)), int(rng.integers(1, 6))
    return Example(
        source=f"e{index}",
        tokens=tuple(int(t) for t in rng.integers(4, 16, prompt + completion)),
        num_prompt_tokens=prompt,
        advantages=(float(rng.normal()) / completion,) * completion,
        logprobs=tuple(float(x) for x in -2.7 + 0.3 * rng.normal(size=completion)),
        loss_scale=1.0 / completion,
        anchor_penalty_weights=tuple(float(x) for x in rng.random(completion)),
        kl_targets=kl_targets,
    )


def batch(*forms: KlForm, count: int = 12, **form) -> Batch:
    def kl_targets(index: int) -> tuple[KlTarget, ...]:
        model = KL_TARGETS[index % 2].fingerprint
        return tuple(KlTarget(model=model, weight=0.1 * (1 + index % 3), form=one) for one in forms)

    examples = [sequence(i, *kl_targets(i)) for i in range(count)]
    imitated = [
        replace(sequence(i), advantages=(), logprobs=(), anchor_penalty_weights=(), ce_weight=1.0)
        for i in range(50, 55)
    ]
    form = {"clip_low": 0.2, "clip_high": 0.28} | form
    return Batch(examples=[*examples, *imitated], normalizers=Normalizers(rl=12, ce=20), **form)


FORMS = [
    {"surrogate": Surrogate.CLIPPED, "ratio_level": RatioLevel.SEQUENCE, "dual_clip": 2.0},
    {"surrogate": Surrogate.TRUNCATED, "ratio_level": RatioLevel.TOKEN, "temperature": 0.8},
    {"surrogate": Surrogate.MASKED, "ratio_level": RatioLevel.PRODUCT},
]


@pytest.mark.parametrize("form", FORMS)
def test_no_form_depends_on_how_a_batch_is_cut(form):
    whole = batch(*KlForm, **form)
    found = [pool_of(batch_rows=rows).workers[0].gradient(whole) for rows in (1, 5, 64)]
    for one in found[:2]:
        assert np.allclose(one.flat, found[2].flat, atol=1e-6)
        assert one.rl_loss == pytest.approx(found[2].rl_loss, abs=1e-5)
        assert (one.num_clipped, one.num_rl_tokens) == (found[2].num_clipped, found[2].num_rl_tokens)
        assert one.flops == pytest.approx(found[2].flops)
    assert np.abs(found[2].flat).max() > 1e-3


@pytest.mark.parametrize("form", [KlForm.LOSS_K2, KlForm.LOSS_K3])
def test_the_gradient_with_a_kl_target_in_the_loss_is_that_of_the_loss_by_finite_differences(form):
    worker = pool_of().workers[0]
    whole = batch(form, ratio_level=RatioLevel.SEQUENCE, clip_low=None, clip_high=None)
    flat = worker.gradient(whole).flat
    parameter = worker.model.lm_head.weight
    offset = sum(p.numel() for p in worker.learner.trainables.policy[:-1])
    assert worker.learner.trainables.policy[-1] is parameter

    def loss() -> float:
        found = worker.gradient(whole)
        return found.rl_loss + found.ce_loss

    for index in (70, 200, 333):
        parameter.data.view(-1)[index] += 0.02
        above = loss()
        parameter.data.view(-1)[index] -= 0.04
        below = loss()
        parameter.data.view(-1)[index] += 0.02
        assert flat[offset + index] == pytest.approx((above - below) / 0.04, rel=0.03, abs=3e-4)


def on_policy(pool: LocalPool, *kl_targets: KlTarget) -> Batch:
    """Sequences with the log-probabilities that the policy gives their tokens now, and advantage 0."""
    examples = [replace(sequence(i, *kl_targets), anchor_penalty_weights=(), loss_scale=1.0) for i in range(12)]
    examples = [replace(e, advantages=(0.0,) * len(e.advantages)) for e in examples]
    return Batch(examples=_at(pool, examples), normalizers=Normalizers(rl=12))


def _at(pool: LocalPool, examples: list[Example]) -> list[Example]:
    found = []
    for example in examples:
        tokens = torch.tensor([example.tokens])
        with torch.no_grad():
            logprobs = torch.log_softmax(pool.workers[0].model(tokens).logits[0, :-1], -1)
        rows = range(example.num_prompt_tokens - 1, len(example.tokens) - 1)
        values = tuple(float(logprobs[row, example.tokens[row + 1]]) for row in rows)
        found.append(replace(example, logprobs=values))
    return found


def test_on_policy_k1_in_the_tokens_reward_and_k2_in_the_loss_have_one_gradient():
    pool = pool_of()
    flats = []
    for form in (KlForm.TOKEN_K1, KlForm.LOSS_K2):
        kl_target = KlTarget(model=KL_TARGETS[0].fingerprint, weight=1.0, form=form)
        flats.append(pool.workers[0].gradient(on_policy(pool, kl_target)).flat)
    assert np.allclose(flats[0], flats[1], atol=1e-5) and np.abs(flats[0]).max() > 1e-3


def test_a_kl_target_equal_to_the_policy_gives_no_gradient_in_any_form():
    pool = pool_of()
    own = pool.export()
    pool.broadcast("load_teacher", dict(own.files), own.fingerprint)
    kl_targets = [KlTarget(model=own.fingerprint, weight=1.0, form=form) for form in KlForm]
    found = pool.workers[0].gradient(on_policy(pool, *kl_targets))
    assert np.abs(found.flat).max() < 1e-5
    assert found.flops == pytest.approx(pool.workers[0].gradient(on_policy(pool)).flops * 4 / 3), (
        "one pass per KL target"
    )


def test_a_token_reward_pulls_the_policy_to_its_kl_target():
    pool = pool_of()
    kl_target = KlTarget(model=KL_TARGETS[0].fingerprint, weight=1.0, form=KlForm.TOKEN_K1)

    def distance() -> float:
        watched = on_policy(pool, replace(kl_target, form=KlForm.LOSS_K2))
        return pool.workers[0].gradient(watched).rl_loss

    before = distance()
    for _ in range(15):
        # The tokens stay the same, so this is no longer the KL itself; where the two agree is the same.
        pool.metrics(pool.update(on_policy(pool, kl_target), lr_factor=1.0, grad_clip=1.0))
    assert distance() < 0.5 * before


def test_held_tokens_are_pulled_back_to_where_they_were_sampled():
    pool = pool_of()
    plain = on_policy(pool)
    examples = [replace(e, anchor_penalty_weights=(1.0,) * len(e.advantages)) for e in plain.examples]
    moved = [replace(e, logprobs=tuple(x + 0.5 for x in e.logprobs)) for e in examples]
    assert np.abs(pool.workers[0].gradient(replace(plain, examples=examples)).flat).max() < 1e-4, "none has moved"
    held = pool.workers[0].gradient(replace(plain, examples=moved))
    moved_by = 0.5 - ANCHOR_PENALTY_WIDTH / 2
    assert held.rl_loss == pytest.approx(moved_by * sum(len(e.advantages) for e in moved) / 12, rel=1e-4)
    assert np.abs(held.flat).max() > 1e-3


@pytest.mark.parametrize(("beta", "top_k"), [(0.5, 0), (1.0, 0), (1.0, 4), (0.0, 4)])
def test_every_divergence_pulls_the_student_to_its_teacher(beta, top_k):
    pool = pool_of()
    examples = [
        replace(
            sequence(i),
            advantages=(),
            logprobs=(),
            anchor_penalty_weights=(),
            kl_weight=1.0,
            teacher=KL_TARGETS[0].fingerprint,
        )
        for i in range(20)
    ]
    taught = Batch(examples=examples, normalizers=Normalizers(kl=60), kl_beta=beta, kl_top_k=top_k)
    losses = [pool.metrics(pool.update(taught, lr_factor=1.0, grad_clip=1.0)).kl_loss for _ in range(40)]
    assert losses[0] > 5 * losses[-1] > 0


def test_importance_scales_the_gradient_of_advantages_and_of_kl_targets_in_the_reward():
    pool = pool_of()
    whole = replace(batch(KlForm.REWARD_K1, KlForm.TOKEN_K1), examples=[])
    kl_targets = tuple(KlTarget(model=KL_TARGETS[0].fingerprint, weight=0.3, form=f) for f in (KlForm.REWARD_K1,))
    one = replace(sequence(3, *kl_targets), anchor_penalty_weights=())

    def gradient(example: Example) -> np.ndarray:
        return pool.workers[0].gradient(replace(whole, examples=[example], clip_low=None, clip_high=None)).flat

    plain = gradient(one)
    assert np.allclose(gradient(replace(one, importance=(0.5,) * len(one.advantages))), 0.5 * plain, atol=1e-7)
    assert not gradient(replace(one, importance=(0.0,) * len(one.advantages))).any() and np.abs(plain).max() > 1e-3


def test_token_scores_give_every_token_the_log_probability_that_the_model_gives_it():
    pool = pool_of(batch_rows=5)
    examples = [sequence(i) for i in range(12)]
    expected = [e.logprobs for e in _at(pool, examples)]
    for size in (1, 3):
        workers = LocalPool(size, batch_rows=5)
        workers.hold(pool.export())
        workers.broadcast("begin", AdamW())
        token_scores = workers.recompute_logprobs(examples, temperature=1.0)
        assert [r.source for r in token_scores] == [e.source for e in examples]
        assert all(r.logprobs == pytest.approx(e, abs=1e-5) for r, e in zip(token_scores, expected, strict=True))
    hot = workers.recompute_logprobs(examples[:1], temperature=100.0)[0].logprobs
    assert hot == pytest.approx((-np.log(16),) * len(hot), rel=0.01), "nearly uniform"
    whole = Batch(examples=examples, normalizers=Normalizers())
    assert sum(r.flops for r in token_scores) == pytest.approx(pool.workers[0].gradient(whole).flops / 3)


def valued(trunk_weight: float, *, size: int = 1, batch_rows: int = 64) -> LocalPool:
    pool = LocalPool(size, batch_rows=batch_rows)
    pool.build(SMALL, CHARACTERS, seed=3)
    pool.broadcast("begin", AdamW(lr=3e-3), ValueHead(trunk_weight=trunk_weight, lr=0.64))
    return pool


def to_learn(count: int = 12) -> Batch:
    """A batch whose sequences also say what a critic should make of them."""
    rng = np.random.default_rng(5)
    examples = []
    for example in batch(count=count).examples:
        if example.advantages:
            size = len(example.advantages)
            values, returns = (tuple(map(float, x)) for x in rng.normal(size=(2, size)))
            example = replace(example, values=tuple(0.1 * x for x in values), returns=returns)
        examples.append(example)
    count = sum(len(example.returns) for example in examples)
    return replace(batch(), examples=examples, normalizers=Normalizers(rl=12, ce=20, value=count), value_clip=0.5)


def test_a_critics_gradient_does_not_depend_on_how_a_batch_is_cut():
    pools = [valued(0.5, batch_rows=rows) for rows in (1, 5, 64)]
    for pool in pools:
        pool.metrics(pool.update(to_learn(), lr_factor=1.0, grad_clip=1.0))
    found = [pool.workers[0].gradient(to_learn()) for pool in pools]
    for one in found[:2]:
        assert np.allclose(one.flat, found[2].flat, atol=1e-5)
        assert one.value_loss == pytest.approx(found[2].value_loss, abs=1e-5)
    assert np.abs(found[2].flat[-33:]).max() > 1e-3, "the head's own"


def test_a_critics_gradient_is_watched_apart_from_the_policys():
    worker, watch = valued(0.0).workers[0], UpdateWatch(UpdateBounds())
    for update in range(4):
        metrics = worker.step(to_learn(), 1.0, 1.0)
        assert metrics.critic_grad_norm > 0 and metrics.value_grad_norm > 0 and metrics.hidden_grad_norm > 0
        watch.check(update, metrics, difference=None)
    assert watch.peaks["critic_grad_norm"] > 0 and watch.peaks["critic_grad_gain_ratio"] < 2
    gradient = worker.gradient(to_learn())
    gradient.flat[-33:] *= 1e6 / 3
    [wild] = together([worker.apply(gradient, 1.0, 1.0)])
    with pytest.raises(UpdateFault, match=r"update 4 has a critic_grad_norm .* \(training.bounds.grad_norm\)"):
        watch.check(4, wild, difference=None)


def test_the_gain_of_a_gradient_depends_on_neither_its_scale_nor_how_a_batch_is_cut():
    gains = []
    for rows, scale in ((64, 1.0), (64, 1e-9), (1, 1.0)):
        normalizers = Normalizers(rl=12 / scale, ce=20 / scale, value=40 / scale)
        worker = valued(0.0, batch_rows=rows).workers[0]
        metrics = worker.step(replace(to_learn(), normalizers=normalizers), 1.0, 1.0)
        gains += [metrics.grad_norm / metrics.hidden_grad_norm, metrics.critic_grad_norm / metrics.value_grad_norm]
    assert gains[2:] == pytest.approx(gains[:2] * 2, rel=1e-3)


def test_a_critic_that_stops_at_its_head_leaves_the_policys_gradient_bit_for_bit():
    plain = pool_of().workers[0].gradient(to_learn()).flat
    pools = {weight: valued(weight) for weight in (0.0, 0.5)}
    for pool in pools.values():
        pool.workers[0].learner.critic.head.weight.data.fill_(0.1)
    found = {weight: pool.workers[0].gradient(to_learn()).flat for weight, pool in pools.items()}
    assert np.array_equal(found[0.0][:-33], plain) and len(found[0.0]) == len(plain) + 33
    assert not np.allclose(found[0.5][:-33], plain, atol=1e-4)
    assert np.allclose(found[0.5][-33:], found[0.0][-33:], atol=1e-7)


def test_the_gradient_with_a_critic_is_that_of_the_loss_by_finite_differences():
    worker = valued(0.5).workers[0]
    worker.learner.critic.head.weight.data.fill_(0.1)
    whole = replace(
        to_learn(), examples=[replace(e, advantages=(), anchor_penalty_weights=()) for e in to_learn().examples]
    )
    flat = worker.gradient(whole).flat
    offset = 0
    for parameter in worker.learner.trainables.all:
        if parameter is worker.model.model.norm.weight or parameter is worker.learner.critic.head.weight:
            factor = 1.0 if parameter is worker.learner.critic.head.weight else 0.5
            for index in (3, 17):
                losses = []
                for step in (0.01, -0.02):
                    parameter.data.view(-1)[index] += step
                    found = worker.gradient(whole)
                    losses.append(factor * found.value_loss + found.ce_loss)
                parameter.data.view(-1)[index] += 0.01
                assert flat[offset + index] == pytest.approx((losses[0] - losses[1]) / 0.02, rel=0.03, abs=3e-4)
        offset += parameter.numel()


def test_one_and_three_workers_train_the_same_critic_and_its_state_is_all_of_it():
    pools = [valued(0.5, size=size) for size in (1, 3)]
    losses = [
        [pool.metrics(pool.update(to_learn(), lr_factor=1.0, grad_clip=1.0)).value_loss for _ in range(30)]
        for pool in pools
    ]
    assert losses[1][:10] == pytest.approx(losses[0][:10], rel=1e-3)
    assert losses[0][-1] < 0.8 * losses[0][0], "it learns"
    checkpoint, state = pools[0].training_state()
    resumed = valued(0.5)
    resumed.hold(checkpoint)
    resumed.broadcast("begin", AdamW(lr=3e-3), ValueHead(trunk_weight=0.5, lr=0.64))
    resumed.broadcast("restore", state[OPTIMIZER_STATE])
    examples = to_learn().examples[:5]
    assert resumed.recompute_logprobs(examples, temperature=1.0) == pools[0].recompute_logprobs(
        examples, temperature=1.0
    )
    for pool in (pools[0], resumed):
        pool.metrics(pool.update(to_learn(), lr_factor=0.5, grad_clip=1.0))
    assert resumed.training_state()[1] == pools[0].training_state()[1]
    assert resumed.export().fingerprint == pools[0].export().fingerprint


def test_token_scores_tell_what_kl_targets_take_from_each_tokens_reward():
    pool = pool_of()
    kl_targets = tuple(
        KlTarget(model=given.fingerprint, weight=weight, form=KlForm.REWARD_K1)
        for given, weight in zip(KL_TARGETS, (0.5, 2.0), strict=True)
    )
    (scores,) = pool.recompute_logprobs([sequence(4, *kl_targets)], temperature=1.0)
    mine = np.array(_at(pool, [sequence(4)])[0].logprobs)
    theirs = []
    for given in KL_TARGETS:
        held = LocalPool(1, batch_rows=64)
        held.hold(given)
        theirs.append(np.array(_at(held, [sequence(4)])[0].logprobs) - mine)
    expected = 0.5 * theirs[0] + 2.0 * theirs[1]
    assert scores.rewards == pytest.approx(expected, abs=1e-5) and scores.values == ()
    assert scores.flops == pytest.approx(3 * pool.recompute_logprobs([sequence(4)], temperature=1.0)[0].flops)
