"""Losses and advantages against float64 references and hand-computed values, gradients included."""

import math

import numpy as np
import pytest
import torch

from bootstrap.config.steps import Grpo
from bootstrap.records import Finish, Rollout
from bootstrap.training.algorithms.grpo import STD_EPSILON, advantages, rl_stream
from bootstrap.training.loss import cross_entropy, forward_kl, policy_gradient


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


def rollout(name: str, length: int) -> Rollout:
    return Rollout(
        id=f"g1.s0.u0.{name}",
        group="g1.s0.u0.p0",
        prompt_id="p",
        prompt_text="1+2=",
        level=1,
        sample_index=0,
        prompt_tokens=(1, 5, 6),
        tokens=tuple(range(length)),
        logprobs=(-0.5,) * length,
        entropies=(0.1,) * length,
        text="x",
        finish=Finish.STOP,
        policy="f",
        seed=0,
    )


GROUP = [rollout("k0", 2), rollout("k1", 4)]
REWARDS = {"g1.s0.u0.k0": 1.0, "g1.s0.u0.k1": 0.0}
DEAD = {"num_dead_tokens": 10, "num_dead_sequences": 2, "max_new_tokens": 8}


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
    examples, found = rl_stream([GROUP], REWARDS, Grpo(**settings), **DEAD)
    assert found == normalizer
    assert [e.advantages for e in examples] == [(weights[0],) * 2, (weights[1],) * 4]
    assert [e.logprobs for e in examples] == [r.logprobs for r in GROUP]
    assert [e.tokens for e in examples] == [r.prompt_tokens + r.tokens for r in GROUP]


def test_without_live_groups_the_stream_is_empty_and_its_normalizer_positive():
    assert rl_stream([], {}, Grpo(), num_dead_tokens=0, num_dead_sequences=0, max_new_tokens=8) == ([], 1.0)
