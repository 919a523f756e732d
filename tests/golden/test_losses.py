"""Losses and advantages against float64 references and hand-computed values, gradients included."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.rollouts import rollout

from bootstrap.config.algorithms import Grpo
from bootstrap.config.policy_terms import KlCov
from bootstrap.learner_records import KlForm, RatioLevel, Surrogate
from bootstrap.records import KlTarget
from bootstrap.training.algorithms.grpo import advantages
from bootstrap.training.algorithms.normalize import STD_EPSILON
from bootstrap.training.algorithms.stream import rl_stream, rl_streams
from bootstrap.training.loss import (
    ANCHOR_PENALTY_WIDTH,
    MAX_LOG_RATIO,
    anchor_penalty,
    cross_entropy,
    divergence,
    forward_kl,
    kl_estimate,
    kl_reward,
    policy_gradient,
    sum_to_end,
    value_loss,
)

pytestmark = pytest.mark.torch


def tokens(seed: int, n: int = 200) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    new = -torch.rand(n, generator=generator) * 2
    old = new + 0.5 * torch.randn(n, generator=generator)
    return new, old, torch.randn(n, generator=generator)


def reference_policy_loss(new, old, adv, low, high) -> tuple[float, np.ndarray]:
    """PPO's clipped surrogate token by token in float64, and its gradient in closed form."""
    loss, gradient = 0.0, np.zeros(len(new))
    for i, (n, o, a) in enumerate(
        zip(new.double().tolist(), old.double().tolist(), adv.double().tolist(), strict=True)
    ):
        ratio = math.exp(n - o)
        clipped = min(max(ratio, 1 - low), 1 + high)
        loss -= min(ratio * a, clipped * a)
        if ratio * a <= clipped * a:
            gradient[i] = -ratio * a
    return loss, gradient


@pytest.mark.parametrize("seed", range(3))
def test_the_clipped_surrogate_and_its_gradient_match_a_float64_reference(seed):
    new, old, adv = tokens(seed)
    new.requires_grad_()
    found = policy_gradient(new, old, adv, clip_low=0.2, clip_high=0.28)
    found.loss.backward()
    loss, gradient = reference_policy_loss(new.detach(), old, adv, 0.2, 0.28)
    assert found.loss.item() == pytest.approx(loss, rel=1e-5)
    assert np.allclose(new.grad.numpy(), gradient, atol=1e-5)
    assert found.num_clipped == (gradient == 0).sum()


def test_at_ratio_one_the_gradient_is_reinforce():
    new, _, adv = tokens(4)
    new.requires_grad_()
    policy_gradient(new, new.detach(), adv, clip_low=0.2, clip_high=0.28).loss.backward()
    assert torch.allclose(new.grad, -adv)


def test_without_clips_every_token_keeps_its_gradient():
    new, old, adv = tokens(5)
    found = policy_gradient(new, old, adv, clip_low=None, clip_high=None)
    assert found.num_clipped == 0
    assert found.loss.item() == pytest.approx(-(torch.exp(new - old) * adv).sum().item(), rel=1e-5)


def test_a_batch_without_rl_tokens_has_no_policy_loss():
    empty = torch.zeros(0)
    found = policy_gradient(empty, empty, empty, clip_low=0.2, clip_high=0.28)
    assert found.loss == 0 and found.ratio_max == 1


def test_cross_entropy_is_weighted_negative_log_likelihood():
    assert cross_entropy(torch.tensor([-1.0, -2.0]), torch.tensor([1.0, 0.5])).item() == pytest.approx(2.0)


def test_forward_kl_and_its_gradient_match_torch_in_float64():
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(6, 9, generator=generator, requires_grad=True)
    teacher, weights = torch.randn(6, 9, generator=generator), torch.rand(6, generator=generator)
    loss = forward_kl(student, teacher, weights)
    loss.backward()
    student64 = student.detach().double().requires_grad_()
    rows = torch.nn.functional.kl_div(
        torch.log_softmax(student64, -1), torch.log_softmax(teacher.double(), -1), log_target=True, reduction="none"
    ).sum(-1)
    expected = (weights.double() * rows).sum()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.allclose(student.grad.double(), student64.grad, atol=1e-6)


def test_forward_kl_to_oneself_is_zero():
    logits = torch.randn(4, 7)
    assert forward_kl(logits, logits, torch.ones(4)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("level", RatioLevel)
@pytest.mark.parametrize("surrogate", Surrogate)
def test_at_ratio_one_every_form_has_the_gradient_of_reinforce(surrogate, level):
    new, _, adv = tokens(6)
    rows = torch.arange(200) // 10
    adv = adv[::10].repeat_interleave(10)
    new.requires_grad_()
    found = policy_gradient(
        new, new.detach(), adv, clip_low=0.2, clip_high=0.28, surrogate=surrogate, ratio_level=level, row_N=rows
    )
    found.loss.backward()
    assert torch.allclose(new.grad, -adv, atol=1e-5)
    assert found.num_clipped == 0


@pytest.mark.parametrize("level", RatioLevel)
@pytest.mark.parametrize("surrogate", Surrogate)
def test_an_empty_stream_has_no_loss_in_any_form(surrogate, level):
    empty = torch.zeros(0)
    found = policy_gradient(
        empty,
        empty,
        empty,
        clip_low=0.2,
        clip_high=0.28,
        surrogate=surrogate,
        ratio_level=level,
        dual_clip=3.0,
        row_N=torch.zeros(0, dtype=torch.long),
    )
    assert found.loss == 0 and found.ratio_max == 1 and found.num_clipped == 0


def test_the_dual_clip_bounds_the_loss_of_a_bad_token_that_became_likely():
    new, old, adv = torch.tensor([0.0, 0.0]).requires_grad_(), torch.tensor([-4.0, -4.0]), torch.tensor([-1.0, 1.0])
    found = policy_gradient(new, old, adv, clip_low=0.2, clip_high=0.28, dual_clip=3.0)
    found.loss.backward()
    assert found.loss.item() == pytest.approx(3.0 - 1.28)
    assert torch.equal(new.grad, torch.zeros(2)) and found.num_clipped == 2


@pytest.mark.parametrize("level", RatioLevel)
@pytest.mark.parametrize("surrogate", Surrogate)
@pytest.mark.parametrize("dual_clip", [None, 3.0])
def test_a_ratio_beyond_all_numbers_leaves_loss_and_gradient_finite(surrogate, level, dual_clip):
    for drift in (1.0, -1.0):
        new = torch.full((300,), -0.5).requires_grad_()
        rows = torch.arange(300) // 100
        advantages = torch.tensor([1.0, 0.0, -1.0]).repeat_interleave(100)
        found = policy_gradient(
            new,
            new.detach() - drift * (100.0 if level is RatioLevel.TOKEN else 1.0),
            advantages,
            clip_low=0.2,
            clip_high=None if dual_clip else 0.28,
            surrogate=surrogate,
            ratio_level=level,
            dual_clip=dual_clip,
            row_N=rows,
        )
        found.loss.backward()
        assert found.loss.isfinite() and found.ratio_max.isfinite()
        assert new.grad.isfinite().all() and new.grad.double().norm().isfinite()
        assert not new.grad[100:200].any(), "advantage 0"


def test_a_bad_answer_that_became_likely_is_pushed_back_however_likely():
    new = torch.zeros(100).requires_grad_()
    rows = torch.zeros(100, dtype=torch.long)
    form = {"clip_low": 0.2, "clip_high": 0.28, "ratio_level": RatioLevel.PRODUCT, "row_N": rows}
    policy_gradient(new, torch.full((100,), -1.0), -torch.ones(100), **form).loss.backward()
    assert (new.grad > 0).all()


def test_ratios_are_exact_up_to_their_bound():
    new = torch.linspace(-30.0, MAX_LOG_RATIO, 50, dtype=torch.float64).requires_grad_()
    found = policy_gradient(new, torch.zeros(50, dtype=torch.float64), torch.ones(50), clip_low=None, clip_high=None)
    found.loss.backward()
    assert torch.equal(-new.grad, torch.exp(new.detach()))


def test_k3_to_a_kl_target_beyond_all_ratios_is_finite():
    new = torch.tensor([-200.0, -1.0]).requires_grad_()
    estimates = kl_estimate(new, torch.tensor([-0.5, -0.5]), estimator="k3")
    estimates.sum().backward()
    assert estimates.isfinite().all() and new.grad.isfinite().all() and new.grad[0] < 0


def test_the_masked_surrogate_drops_what_is_out_of_bounds_and_truncation_keeps_it():
    new = torch.log(torch.tensor([0.5, 1.0, 2.0])).requires_grad_()
    old, adv = torch.zeros(3), torch.tensor([1.0, -1.0, 1.0])
    for surrogate, weights in ((Surrogate.MASKED, [0.0, 1.0, 0.0]), (Surrogate.TRUNCATED, [0.8, 1.0, 1.5])):
        new.grad = None
        found = policy_gradient(new, old, adv, clip_low=0.2, clip_high=0.5, surrogate=surrogate)
        found.loss.backward()
        assert torch.allclose(new.grad, -torch.tensor(weights) * adv)
        assert found.num_clipped == 2


def test_values_are_summed_to_the_end_of_their_own_sequence():
    values = torch.tensor([1.0, 2.0, 3.0, 10.0, 20.0, 5.0])
    rows = torch.tensor([0, 0, 0, 2, 2, 7])
    assert sum_to_end(values, rows).tolist() == [6.0, 5.0, 3.0, 30.0, 20.0, 5.0]
    assert len(sum_to_end(torch.zeros(0), torch.zeros(0, dtype=torch.long))) == 0


def every_kl(estimator: str) -> tuple[float, float, torch.Tensor, torch.Tensor]:
    """Return the estimator's expectation under the policy, the KL, and the gradients of both, over 5 outcomes."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(5, generator=generator, dtype=torch.float64).requires_grad_()
    kl_target = torch.log_softmax(torch.randn(5, generator=generator, dtype=torch.float64), -1)
    policy = torch.log_softmax(logits, -1)
    estimates = kl_estimate(policy, kl_target, estimator=estimator)
    (as_loss,) = torch.autograd.grad((policy.exp().detach() * estimates).sum(), logits, retain_graph=True)
    true = (policy.exp() * (policy - kl_target)).sum()
    (gradient,) = torch.autograd.grad(true, logits)
    mean = (policy.exp() * estimates).sum().item()
    return mean, true.item(), as_loss, gradient


def test_k1_and_k3_estimate_the_kl_without_bias_and_k2_does_not():
    for estimator in ("k1", "k3"):
        mean, true, _, _ = every_kl(estimator)
        assert mean == pytest.approx(true)
    mean, true, _, _ = every_kl("k2")
    assert mean != pytest.approx(true, rel=1e-3)


def test_as_a_loss_k2_has_the_gradient_of_the_kl_and_k1_has_none():
    _, _, as_loss, gradient = every_kl("k2")
    assert torch.allclose(as_loss, gradient) and gradient.abs().max() > 1e-2
    assert torch.allclose(every_kl("k1")[2], torch.zeros(5, dtype=torch.float64))


def test_a_kl_targets_token_reward_has_the_gradient_of_the_reverse_kl():
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(5, generator=generator, dtype=torch.float64).requires_grad_()
    kl_target = torch.log_softmax(torch.randn(5, generator=generator, dtype=torch.float64), -1)
    policy = torch.log_softmax(logits, -1)
    old = policy.detach()
    reward = kl_reward(old, kl_target, torch.arange(5), form=KlForm.TOKEN_K1)
    # Expectation over the policy: every outcome weighted by its probability.
    weighted = policy_gradient(policy, old, old.exp() * reward, clip_low=0.2, clip_high=0.28)
    (mine,) = torch.autograd.grad(weighted.loss, logits, retain_graph=True)
    (expected,) = torch.autograd.grad((policy.exp() * (policy - kl_target)).sum(), logits)
    assert torch.allclose(mine, expected)


def test_a_penalty_in_the_reward_reaches_all_tokens_before_it():
    old, kl_target, rows = torch.tensor([-1.0, -2.0, -1.0]), torch.tensor([-2.0, -1.0, -1.5]), torch.tensor([0, 0, 1])
    assert kl_reward(old, kl_target, rows, form=KlForm.REWARD_K1).tolist() == [0.0, 1.0, -0.5]


def two_tokens(logits: torch.Tensor) -> torch.Tensor:
    """Return the log-probabilities of both tokens of every sequence of two out of 4 (16, 2): row 0 of the logits (5, 4)
    is for the first token, row 1 + i for what follows token i."""
    logprobs = torch.log_softmax(logits, -1)
    return torch.stack([logprobs[0].repeat_interleave(4), logprobs[1:].reshape(-1)], dim=1)


@pytest.mark.parametrize("distance", [0.01, 1.0])
def test_the_expected_gradient_of_the_reward_form_is_that_of_the_kl_of_whole_sequences(distance):
    generator = torch.Generator().manual_seed(8)
    logits = torch.randn(5, 4, generator=generator, dtype=torch.float64).requires_grad_()
    other = logits.detach() + distance * torch.randn(5, 4, generator=generator, dtype=torch.float64)
    policy, kl_target = two_tokens(logits), two_tokens(other)
    chance = policy.detach().sum(1).exp()
    (true,) = torch.autograd.grad((policy.sum(1).exp() * (policy - kl_target).sum(1)).sum(), logits, retain_graph=True)

    def reinforced(reward: torch.Tensor) -> torch.Tensor:
        """Return the policy loss' gradient, every sequence weighted by how likely it is to be sampled."""
        weighted = (chance.unsqueeze(1) * reward).reshape(-1)
        flat = policy.reshape(-1)
        loss = policy_gradient(flat, flat.detach(), weighted, clip_low=0.2, clip_high=0.28).loss
        return torch.autograd.grad(loss, logits, retain_graph=True)[0]

    rows = torch.arange(16).repeat_interleave(2)
    reward = kl_reward(policy.detach().reshape(-1), kl_target.reshape(-1), rows, form=KlForm.REWARD_K1)
    assert torch.allclose(reinforced(reward.view(16, 2)), true, rtol=1e-9, atol=1e-12)
    for refused in ("k2", "k3"):
        estimates = kl_estimate(policy.detach(), kl_target, estimator=refused).sum(1, keepdim=True)
        missed = reinforced(-estimates.expand(16, 2))
        assert not torch.allclose(missed, true, rtol=0.5)
        assert distance == 1.0 or missed.norm() < 0.05 * true.norm(), "of second order"


def test_anchor_penalty_is_the_weighted_distance_from_the_sampling_log_probability():
    new = torch.tensor([-1.0, -2.0, -3.0]).requires_grad_()
    loss = anchor_penalty(new, torch.tensor([-1.5, -1.0, -3.0]), torch.tensor([1.0, 2.0, 5.0]))
    loss.backward()
    assert loss.item() == pytest.approx(2.5 - 3 * ANCHOR_PENALTY_WIDTH / 2) and new.grad.tolist() == [1.0, -2.0, 0.0]


def test_rounding_alone_pulls_nothing_back():
    new = torch.tensor([-1.0, -2.0]).requires_grad_()
    anchor_penalty(new, new.detach() + torch.tensor([1e-6, -1e-6]), torch.ones(2)).backward()
    assert new.grad.abs().max() < 1e-3


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("top_k", [1, 3, 8])
def test_a_top_k_divergence_is_that_of_k_outcomes_and_the_rest_together(beta, top_k):
    generator = torch.Generator().manual_seed(5)
    student = 2 * torch.randn(4, 9, generator=generator, dtype=torch.float64)
    teacher = 2 * torch.randn(4, 9, generator=generator, dtype=torch.float64)
    weights = torch.rand(4, generator=generator)
    coarse = []
    for side in (student.float(), teacher.float()):
        probabilities, expected = torch.softmax(side.double(), -1), []
        for row, order in zip(probabilities, teacher.argsort(-1, descending=True), strict=True):
            expected.append(torch.cat([row[order[:top_k]], row[order[top_k:]].sum().unsqueeze(0)]))
        coarse.append(torch.stack(expected).log())
    found = divergence(student, teacher, weights, beta=beta, top_k=top_k)
    assert found.item() == pytest.approx(divergence(*coarse, weights, beta=beta).item(), rel=1e-5)
    whole = divergence(student, teacher, weights, beta=beta).item()
    assert 0 < found.item() <= whole + 1e-6
    if top_k == 8:
        assert found.item() == pytest.approx(whole, rel=1e-5), "the rest is one token"


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("top_k", [1, 3, 8])
def test_the_gradient_of_a_top_k_divergence_matches_the_formula_in_float64(beta, top_k):
    generator = torch.Generator().manual_seed(7)
    student = (2 * torch.randn(4, 9, generator=generator)).requires_grad_()
    teacher, weights = 2 * torch.randn(4, 9, generator=generator), torch.rand(4, generator=generator)
    loss = divergence(student, teacher, weights, beta=beta, top_k=top_k)
    loss.backward()
    p, expected_loss, gradients = torch.softmax(teacher.double(), -1), 0.0, []
    for logits, target, weight in zip(student.detach().double(), p, weights.double(), strict=True):
        q, order = torch.softmax(logits, -1), target.argsort(descending=True)
        outcomes = [[token] for token in order[:top_k].tolist()] + [order[top_k:].tolist()]
        slopes = torch.zeros(9, dtype=torch.float64)
        for tokens in outcomes:
            one, other = target[tokens].sum(), q[tokens].sum()
            middle = beta * one + (1 - beta) * other
            # The divergence's term of this outcome, and its slope in the student's probability of it.
            if beta == 0:
                value, slope = one * (one / other).log(), -one / other
            elif beta == 1:
                value, slope = other * (other / one).log(), (other / one).log() + 1
            else:
                value = beta * one * (one / middle).log() + (1 - beta) * other * (other / middle).log()
                slope = (1 - beta) * (other / middle).log()
            expected_loss += (weight * value).item()
            slopes[tokens] = slope
        # Through the softmax: dq_i / dlogit_j = q_i (1[i = j] - q_j).
        gradients.append(weight * q * (slopes - (q * slopes).sum()))
    assert loss.item() == pytest.approx(expected_loss, rel=1e-5)
    assert torch.allclose(student.grad.double(), torch.stack(gradients), atol=1e-6)
    assert student.grad.abs().max() > 1e-2


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_a_top_k_divergence_and_its_gradient_are_zero_where_the_two_agree(beta):
    logits = torch.randn(4, 9, generator=torch.Generator().manual_seed(6)).requires_grad_()
    loss = divergence(logits, logits.detach(), torch.ones(4), beta=beta, top_k=3)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert torch.allclose(logits.grad, torch.zeros_like(logits), atol=1e-6)


def test_the_top_k_reverse_divergence_pulls_mass_back_that_lies_outside_the_k():
    teacher = torch.tensor([[4.0, 3.0, -5.0, -5.0]])
    student = torch.tensor([[0.0, 0.0, 5.0, 5.0]]).requires_grad_()
    divergence(student, teacher, torch.ones(1), beta=1.0, top_k=2).backward()
    step = -student.grad[0]
    assert step[:2].min() > 0 > step[2:].max()


def test_group_advantages_are_centred_and_sum_to_zero():
    assert advantages([1.0, 0.0, 0.0, 1.0], normalize_std=False) == [0.5, -0.5, -0.5, 0.5]
    assert math.fsum(advantages([0.3, 0.1, 0.9], normalize_std=True)) == pytest.approx(0)


def test_std_normalisation_divides_by_the_groups_population_deviation():
    found = advantages([1.0, 0.0, 0.0, 0.0], normalize_std=True)
    std = math.sqrt(3) / 4
    assert found == pytest.approx([0.75 / (std + STD_EPSILON), *[-0.25 / (std + STD_EPSILON)] * 3])


def test_a_group_with_equal_rewards_has_advantage_zero():
    for normalize in (False, True):
        assert advantages([1.0] * 4, normalize_std=normalize) == [0.0] * 4


GROUP = [rollout("g1.s0.u0.k0", 2), rollout("g1.s0.u0.k1", 4)]
REWARDS = {"g1.s0.u0.k0": 1.0, "g1.s0.u0.k1": 0.0}
ZERO_VARIANCE = [rollout("g1.s0.u0.k2", 3), rollout("g1.s0.u0.k3", 7), rollout("g1.s0.u0.k4", 0)]


@pytest.mark.parametrize(
    ("settings", "normalizer", "weights"),
    [
        ({"aggregation": "token"}, 6, (0.5, -0.5)),
        ({"aggregation": "token", "zero_variance": "keep"}, 16, (0.5, -0.5)),
        ({"aggregation": "sequence"}, 2, (0.25, -0.125)),
        ({"aggregation": "sequence", "zero_variance": "keep"}, 4, (0.25, -0.125)),
        ({"aggregation": "constant"}, 16, (0.5, -0.5)),
        ({"aggregation": "constant", "zero_variance": "keep"}, 32, (0.5, -0.5)),
    ],
)
def test_the_stream_weighs_tokens_as_the_aggregation_says(settings, normalizer, weights):
    algorithm = Grpo(**settings)
    zero_variance = ZERO_VARIANCE if algorithm.zero_variance == "keep" else ()
    examples, found = rl_stream([GROUP], REWARDS, algorithm, zero_variance=zero_variance, max_new_tokens=8)
    assert found == normalizer
    assert [e.advantages for e in examples] == [(weights[0],) * 2, (weights[1],) * 4]
    assert [e.logprobs for e in examples] == [r.logprobs for r in GROUP]
    assert [e.tokens for e in examples] == [r.prompt_tokens + r.tokens for r in GROUP]


def test_masked_answers_of_zero_variance_groups_do_not_count_in_the_mean_either():
    for aggregation, expected in (("token", 9), ("sequence", 3), ("constant", 24)):
        algorithm = Grpo(aggregation=aggregation, zero_variance="keep", truncated_answers="mask")
        masked = {ZERO_VARIANCE[1].id}
        _, found = rl_stream([GROUP], REWARDS, algorithm, zero_variance=ZERO_VARIANCE, masked=masked, max_new_tokens=8)
        assert found == expected


TEACHER = KlTarget(model="t", weight=0.5, form=KlForm.TOKEN_K1)
REFERENCE = KlTarget(model="r", weight=0.1, form=KlForm.LOSS_K3)
TAUGHT = {r.id: TEACHER for r in (*GROUP, *ZERO_VARIANCE)}


@pytest.mark.parametrize("aggregation", ["token", "sequence", "constant"])
@pytest.mark.parametrize("zero_variance", ["drop", "keep"])
@pytest.mark.parametrize("taught", [TAUGHT, {}])
@pytest.mark.parametrize("kl_targets", [(REFERENCE,), ()])
def test_whatever_bears_on_zero_variance_groups_the_advantages_keep_their_weight(
    aggregation, zero_variance, taught, kl_targets
):
    algorithm = Grpo(aggregation=aggregation, zero_variance=zero_variance)
    zero_variance = ZERO_VARIANCE if zero_variance == "keep" else ()
    plain, alone = rl_stream([GROUP], REWARDS, algorithm, zero_variance=zero_variance, max_new_tokens=8)
    examples, count = rl_stream(
        [GROUP],
        REWARDS,
        algorithm,
        zero_variance=zero_variance,
        max_new_tokens=8,
        others=ZERO_VARIANCE,
        kl_targets=kl_targets,
        taught=taught,
    )
    for one, other in zip(examples, plain, strict=False):
        assert [a / count for a in one.advantages] == pytest.approx([a / alone for a in other.advantages])
    assert [e.source for e in examples] == [r.id for r in (*GROUP, *ZERO_VARIANCE) if r.tokens]
    assert {a for e in examples[2:] for a in e.advantages} == {0.0}
    everyone = {"token": 16, "sequence": 4, "constant": 32}[aggregation]
    assert count == (everyone if taught or kl_targets or zero_variance else alone), (
        "what nothing bears on does not count"
    )
    assert {e.kl_targets for e in examples} == {(*kl_targets, *([TEACHER] if taught else []))}
    scales = [1 / (len(e.tokens) - 3) if aggregation == "sequence" else 1.0 for e in examples]
    assert [e.loss_scale for e in examples] == pytest.approx(scales), "KL targets are in the mean over all"


@pytest.mark.parametrize("taught", [True, False])
def test_mini_batches_share_out_whole_groups_each_with_its_own_normalizer(taught):
    groups = [[replace(r, id=f"g{i}.{r.id}", group=f"g{i}") for r in GROUP[: 2 - i % 2] + GROUP[1:]] for i in range(5)]
    groups = [[replace(r, id=f"{r.id}.{k}") for k, r in enumerate(group)] for group in groups]
    rewards = {r.id: float(k == 0) + i for i, group in enumerate(groups) for k, r in enumerate(group)}
    zero_variance = [replace(r, id=f"d{i}.{r.id}", group=f"d{i}") for i in range(3) for r in ZERO_VARIANCE]
    rewards |= {r.id: 0.0 for r in zero_variance}
    more = {"others": zero_variance, "taught": dict.fromkeys(rewards, TEACHER)} if taught else {}
    settings = Grpo(mini_batches=2, normalize_std="batch")
    first, second = rl_streams(groups, rewards, settings, max_new_tokens=8, **more)
    whole, _ = rl_stream(groups, rewards, Grpo(normalize_std="batch"), max_new_tokens=8)
    found = [[e.source.split(".")[0] for e in examples if any(e.advantages)] for examples, _ in (first, second)]
    assert [sorted(set(names)) for names in found] == [["g0", "g2", "g4"], ["g1", "g3"]]
    assert sorted(e.source for examples, _ in (first, second) for e in examples) == sorted(
        [e.source for e in whole] + [r.id for r in zero_variance if taught and r.tokens]
    ), "every one once"
    plain = {e.source: e.advantages for e in whole}
    for examples, normalizer in (first, second):
        assert normalizer == sum(len(e.advantages) for e in examples)
        own = [e for e in examples if any(e.advantages)]
        grown = normalizer / sum(len(e.advantages) for e in own)
        assert (grown > 1) is taught
        for e in own:
            assert e.advantages == pytest.approx([grown * a for a in plain[e.source]]), "those of the whole round"


def test_of_fewer_groups_than_mini_batches_some_are_empty():
    streams = rl_streams([GROUP], REWARDS, Grpo(mini_batches=3), max_new_tokens=8)
    assert [(len(examples), count) for examples, count in streams] == [(2, 6.0), (0, 1.0), (0, 1.0)]


def test_held_tokens_keep_their_weight_beside_a_teacher():
    algorithm = Grpo(entropy=KlCov(share=0.34), inner_epochs=2)
    plain, alone = rl_stream([GROUP], REWARDS, algorithm, max_new_tokens=8)
    taught, count = rl_stream([GROUP], REWARDS, algorithm, max_new_tokens=8, others=ZERO_VARIANCE, taught=TAUGHT)
    found = [[w / count for w in e.anchor_penalty_weights] for e in taught if e.anchor_penalty_weights]
    assert found == [pytest.approx([w / alone for w in e.anchor_penalty_weights]) for e in plain]


def test_without_informative_groups_the_stream_is_empty_and_its_normalizer_positive():
    assert rl_stream([], {}, Grpo(), max_new_tokens=8) == ([], 1.0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("clip", [None, 0.2])
def test_the_critics_loss_and_gradient_are_those_of_the_formula_in_float64(seed, clip):
    generator = np.random.default_rng(seed)
    values, returns = generator.normal(size=(2, 40))
    old = values + 0.4 * generator.normal(size=40)
    near = values if clip is None else np.clip(values, old - clip, old + clip)
    plain, clipped = (values - returns) ** 2, (near - returns) ** 2
    tensor = torch.tensor(values, requires_grad=True)
    loss = value_loss(tensor, torch.tensor(old), torch.tensor(returns), clip=clip)
    loss.backward()
    assert loss.item() == pytest.approx(np.maximum(plain, clipped).sum() / 2)
    moves = (plain >= clipped) | (near == values)
    assert tensor.grad.numpy() == pytest.approx(np.where(moves, values - returns, 0.0))
    assert clip is None or 0 < moves.sum() < 40, "the clip must act"


def test_a_value_that_has_moved_too_far_towards_its_target_is_not_moved_on():
    def gradient(value: float, old: float, target: float) -> float:
        tensor = torch.tensor([value], requires_grad=True)
        value_loss(tensor, torch.tensor([old]), torch.tensor([target]), clip=0.2).backward()
        return tensor.grad.item()

    assert gradient(0.5, old=0.0, target=1.0) == 0.0
    assert gradient(0.1, old=0.0, target=1.0) == pytest.approx(-0.9)
    assert gradient(-0.5, old=0.0, target=1.0) == pytest.approx(-1.5), "it moved away, and may come back"
    assert gradient(0.3, old=0.3, target=0.3) == 0.0
