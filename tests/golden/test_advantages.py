"""Advantages against brute force and float64 formulas from the papers, and by hand for groups that say nothing."""

import math
from dataclasses import replace
from itertools import combinations
from random import Random

import numpy as np
import pytest
from support.rollouts import rollout

from bootstrap.config.algorithms import Cispo, Grpo, PassAtK, Ppo, ReinforcePlusPlus, Rloo
from bootstrap.config.policy_terms import ClipCov, KlCov, OffPolicyCorrection
from bootstrap.learner_records import KlForm, TokenScores
from bootstrap.records import Example, KlTarget, Rollout
from bootstrap.training.algorithms import covariance, gae, grpo, pass_at_k, reinforce_pp, rloo
from bootstrap.training.algorithms.correction import weights
from bootstrap.training.algorithms.scored import Scored, estimate
from bootstrap.training.algorithms.stream import rl_stream

RIGHT, WRONG, ALONE = [1.0] * 4, [0.0] * 4, [1.0]


def random_rewards(seed: int, groups: int = 5, size: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(groups, size))


def groups_of(rewards: np.ndarray, lengths: np.ndarray) -> tuple[list[list[Rollout]], dict[str, float]]:
    groups = [[rollout(f"g{i}.k{j}", int(n)) for j, n in enumerate(row)] for i, row in enumerate(lengths)]
    return groups, {r.id: float(rewards[i, j]) for i, group in enumerate(groups) for j, r in enumerate(group)}


def scored_of(rewards: np.ndarray, *, informative: int) -> Scored:
    """Return a round of which the first groups are live; all completions have two tokens."""
    return Scored(
        rewards=rewards[:informative].tolist(),
        lengths=np.full_like(rewards[:informative], 2, dtype=int).tolist(),
        counts=np.full_like(rewards[:informative], True, dtype=bool).tolist(),
        judged=rewards.ravel().tolist(),
    )


@pytest.mark.parametrize("seed", range(3))
def test_leave_one_out_is_the_reward_less_the_mean_of_the_others(seed):
    for group in random_rewards(seed):
        expected = [r - np.delete(group, i).mean() for i, r in enumerate(group)]
        assert rloo.advantages(list(group)) == pytest.approx(expected)
        assert rloo.advantages(list(group)) == pytest.approx((group - group.mean()) * 6 / 5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_pass_at_k_is_the_mean_over_all_sets_of_k(seed, k):
    for group in [*random_rewards(seed), *(np.array(r) for r in ([1.0, 0, 0, 0, 0, 1], [1.0, 1, 1, 0, 0, 0]))]:
        sets = list(combinations(range(len(group)), k))
        best = np.array([group[list(chosen)].max() for chosen in sets])
        expected = np.array([best[[i in chosen for chosen in sets]].mean() for i in range(len(group))]) - best.mean()
        plain = pass_at_k.advantages(list(group), PassAtK(k=k, normalize_std=False))
        assert plain == pytest.approx(expected, abs=1e-12)
        assert math.fsum(plain) == pytest.approx(0, abs=1e-12)
        if best.std():
            scaled = pass_at_k.advantages(list(group), PassAtK(k=k, normalize_std=True))
            assert scaled == pytest.approx(expected / (best.std() + 1e-4), abs=1e-12)


@pytest.mark.parametrize(("right", "k"), [(1, 2), (2, 4), (5, 3)])
def test_pass_at_k_of_binary_rewards_is_the_papers_closed_form(right, k):
    size = 8
    wrong = size - right
    mean = 1 - math.comb(wrong, k) / math.comb(size, k)
    std = math.sqrt(mean * (1 - mean)) + 1e-4
    found = pass_at_k.advantages([1.0] * right + [0.0] * wrong, PassAtK(k=k, normalize_std=True))
    lost = (1 - mean - math.comb(wrong - 1, k - 1) / math.comb(size - 1, k - 1)) / std
    assert found == pytest.approx([(1 - mean) / std] * right + [lost] * wrong)


def test_pass_at_one_is_grpo():
    group = list(random_rewards(7)[0])
    assert pass_at_k.advantages(group, PassAtK(k=1, normalize_std=True)) == pytest.approx(
        grpo.advantages(group, normalize_std=True)
    )


def test_when_every_set_of_k_holds_a_right_answer_nothing_is_to_be_gained():
    assert pass_at_k.advantages([1.0, 1.0, 1.0, 0.0], PassAtK(k=2, normalize_std=True)) == [0.0] * 4
    assert pass_at_k.advantages([1.0, 0.0], PassAtK(k=2, normalize_std=True)) == [0.0] * 2


def test_what_rounding_leaves_is_no_advantage():
    rewards = [0.1, 0.9, 0.9, 0.2, 0.9, 0.9, 0.9, 0.9]
    assert not PassAtK(k=3).informative(rewards)
    assert pass_at_k.advantages(rewards, PassAtK(k=3, normalize_std=False)) == [0.0] * 8
    assert PassAtK(k=2).informative(rewards)
    assert any(pass_at_k.advantages(rewards, PassAtK(k=2, normalize_std=False)))


@pytest.mark.parametrize("baseline", [False, True])
def test_reinforce_plus_plus_is_whitened_over_all_tokens_of_the_round(baseline):
    rewards, lengths = random_rewards(3), np.random.default_rng(4).integers(1, 9, size=(5, 6))
    found = np.array(reinforce_pp.advantages(rewards.tolist(), lengths.tolist(), baseline=baseline))
    centred = rewards - rewards.mean(axis=1, keepdims=True) if baseline else rewards
    tokens = np.repeat(centred.ravel(), lengths.ravel())
    assert found == pytest.approx((centred - tokens.mean()) / (tokens.std() + 1e-8))
    spread = np.repeat(found.ravel(), lengths.ravel())
    assert spread.mean() == pytest.approx(0, abs=1e-12) and spread.std() == pytest.approx(1)


def test_a_round_with_equal_rewards_gives_reinforce_plus_plus_nothing():
    for baseline in (False, True):
        assert reinforce_pp.advantages([RIGHT, RIGHT], [[1, 2, 3, 4]] * 2, baseline=baseline) == [[0.0] * 4] * 2
    assert reinforce_pp.advantages([[1.0], [0.0]], [[3], [0]], baseline=False)[0] == [0.0]


@pytest.mark.parametrize("group", [RIGHT, WRONG, ALONE])
def test_groups_that_are_all_right_all_wrong_or_alone_have_advantage_zero(group):
    nothing = [0.0] * len(group)
    assert grpo.advantages(group, normalize_std=True) == nothing
    assert rloo.advantages(group) == nothing
    assert pass_at_k.advantages(group, PassAtK(k=2, normalize_std=True)) == nothing


def test_batch_normalisation_divides_by_the_deviation_of_all_judged_rewards():
    rewards = random_rewards(5)
    scored = scored_of(rewards, informative=4)
    found = estimate(scored, Grpo(normalize_std="batch")).advantages
    centred = rewards[:4] - rewards[:4].mean(axis=1, keepdims=True)
    assert np.array(found) == pytest.approx(centred / (rewards.std() + 1e-4))
    assert estimate(scored, Cispo()).advantages == found


def test_normalised_leave_one_out_divides_by_the_deviation_of_all_advantages_zero_variance_groups_included():
    rewards = random_rewards(6)
    rewards[4] = 0.7
    found = estimate(scored_of(rewards, informative=4), Rloo(normalize_batch=True)).advantages
    everything = np.array([rloo.advantages(list(group)) for group in rewards])
    assert np.array(found) == pytest.approx(everything[:4] / (everything.std() + 1e-4))


def test_truncated_answers_count_in_the_baseline_and_in_nothing_else():
    groups, rewards = groups_of(np.array([[1.0, 0.0, 0.0]]), np.array([[2, 3, 4]]))
    examples, count = rl_stream(groups, rewards, Grpo(), max_new_tokens=8, masked={"g0.k2"})
    assert [e.source for e in examples] == ["g0.k0", "g0.k1"] and count == 5
    assert examples[0].advantages == pytest.approx((2 / 3,) * 2)


def test_an_answer_without_tokens_counts_in_the_baseline_and_in_nothing_else():
    groups, rewards = groups_of(np.array([[1.0, 0.0]]), np.array([[2, 0]]))
    for aggregation, expected in (("token", 2), ("sequence", 1), ("constant", 8)):
        examples, count = rl_stream(groups, rewards, Grpo(aggregation=aggregation), max_new_tokens=8)
        assert [e.source for e in examples] == ["g0.k0"] and count == expected


def test_every_algorithm_weighs_its_own_advantages():
    rewards = (random_rewards(8, 3, 6) > 0).astype(float)
    groups, by_id = groups_of(rewards, np.full((3, 6), 2))
    for settings, expected in (
        (Rloo(), [rloo.advantages(list(row)) for row in rewards]),
        (PassAtK(k=2), [pass_at_k.advantages(list(row), PassAtK(k=2, normalize_std=True)) for row in rewards]),
        (ReinforcePlusPlus(), reinforce_pp.advantages(rewards.tolist(), [[2] * 6] * 3, baseline=False)),
    ):
        examples, _ = rl_stream(groups, by_id, settings, max_new_tokens=8)
        assert [e.advantages[0] for e in examples] == [value for row in expected for value in row]


def test_covariance_is_the_papers_product_of_deviations():
    values, logprobs = np.random.default_rng(0).normal(size=(2, 40))
    expected = (values - values.mean()) * (logprobs - logprobs.mean())
    assert covariance.covariances(list(values), list(logprobs)) == pytest.approx(expected)
    assert covariance.covariances([], []) == []


def test_clip_cov_draws_its_share_within_the_bounds_alone():
    values = [0.5, 1.5, 9.0, 2.0, 3.0, -2.0, 1.0, 5.0, 4.0, 0.0]
    chosen = covariance.clip_cov(values, share=0.2, low=1.0, high=5.0, rng=Random(1))
    assert len(chosen) == 2 and chosen <= {1, 3, 4, 8}
    assert covariance.clip_cov(values, share=1.0, low=1.0, high=5.0, rng=Random(1)) == {1, 3, 4, 8}
    assert covariance.clip_cov(values, share=0.2, low=20, high=30, rng=Random(1)) == set()


def test_a_share_is_rounded_down_and_never_to_nothing():
    values = [float(place) for place in range(10)]
    for share, count in ((0.29, 2), (0.2, 2), (0.19, 1), (2e-4, 1), (1.0, 10)):
        assert len(covariance.kl_cov(values, share=share)) == count
        assert len(covariance.clip_cov(values, share=share, low=-1, high=11, rng=Random(1))) == count


def test_kl_cov_holds_the_tokens_of_largest_covariance():
    values = [0.5, 1.5, 9.0, 2.0]
    assert covariance.kl_cov(values, share=0.5) == {2, 3}
    assert covariance.kl_cov(values, share=1e-4) == {2}, "at least one"
    assert covariance.kl_cov([], share=0.5) == set()


def covarying() -> tuple[list[list[Rollout]], dict[str, float]]:
    """A right answer that was likely (both deviations positive, hence the largest covariance) and two unlike it."""
    group = [rollout(f"g.k{i}", 2, logprobs=(value,) * 2) for i, value in enumerate((-0.1, -3.0, -0.2))]
    return [group], {"g.k0": 1.0, "g.k1": 0.5, "g.k2": 0.0}


def test_clip_cov_takes_the_gradient_of_the_tokens_it_draws():
    groups, rewards = covarying()
    control = ClipCov(share=1.0, low=0.1, high=5.0)
    for aggregation in ("token", "sequence"):
        examples, count = rl_stream(groups, rewards, Grpo(entropy=control, aggregation=aggregation), max_new_tokens=4)
        plain, same = rl_stream(groups, rewards, Grpo(aggregation=aggregation), max_new_tokens=4)
        assert [e.advantages for e in examples] == [(0.0, 0.0), *[e.advantages for e in plain[1:]]]
        assert count == same, "the tokens still count in the mean"
        assert [e.importance for e in examples] == [(0.0, 0.0), (), ()], "what KL targets take from the reward goes too"


def test_kl_cov_holds_tokens_and_leaves_their_advantage():
    groups, rewards = covarying()
    control = KlCov(share=0.34, weight=2.0)
    examples, _ = rl_stream(
        groups, rewards, Grpo(entropy=control, inner_epochs=2, aggregation="sequence"), max_new_tokens=4
    )
    assert [e.anchor_penalty_weights for e in examples] == [(1.0, 1.0), (0.0, 0.0), (0.0, 0.0)]
    assert examples[0].advantages == (0.25, 0.25)


def test_kl_targets_travel_with_every_example():
    groups, rewards = covarying()
    kl_targets = (KlTarget(model="m", weight=0.1, form=KlForm.LOSS_K3),)
    examples, _ = rl_stream(groups, rewards, Grpo(), max_new_tokens=4, kl_targets=kl_targets)
    assert {e.kl_targets for e in examples} == {kl_targets}


def scores(name: str, *logprobs: float) -> TokenScores:
    return TokenScores(source=name, logprobs=logprobs, values=(), rewards=(), flops=1.0)


def test_a_correction_holds_the_policy_to_the_trainer_and_weighs_by_the_sampler():
    groups, rewards = covarying()
    token_scores = {
        "g.k0": scores("g.k0", -0.2, -0.1),
        "g.k1": scores("g.k1", -3.0, -1.5),
        "g.k2": scores("g.k2", 0, 0),
    }
    settings = Grpo(correction={"level": "token", "outside": "truncate", "low": 0.95, "high": 4.0})
    examples, count = rl_stream(groups, rewards, settings, max_new_tokens=4, token_scores=token_scores)
    assert [e.logprobs for e in examples] == [(-0.2, -0.1), (-3.0, -1.5), (0, 0)] and count == 6
    assert examples[0].importance == pytest.approx((0.95, 1.0))
    assert examples[1].importance == pytest.approx((1.0, 4.0)), "exp(1.5) is over the bound"
    assert examples[2].importance == pytest.approx((math.exp(0.2),) * 2)


def test_where_trainer_and_sampler_agree_a_correction_changes_nothing():
    groups, rewards = covarying()
    token_scores = {r.id: scores(r.id, *r.logprobs) for group in groups for r in group}
    for level in ("token", "product", "sequence"):
        for outside in ("mask", "truncate"):
            settings = Grpo(correction={"level": level, "outside": outside, "low": 1.0, "high": 1.0})
            examples, _ = rl_stream(groups, rewards, settings, max_new_tokens=4, token_scores=token_scores)
            plain, _ = rl_stream(groups, rewards, Grpo(), max_new_tokens=4)
            assert [replace(e, importance=()) for e in examples] == plain
            assert {w for e in examples for w in e.importance} == {1.0}


def test_a_ratio_beyond_all_numbers_is_still_bounded():
    settings = OffPolicyCorrection(outside="truncate", high=3.0)
    assert weights((0.0,) * 9, (-200.0,) * 9, settings) == (3.0,) * 9
    assert weights((-200.0,) * 9, (0.0,) * 9, settings) == (0.0,) * 9
    assert weights((), (), settings) == ()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 1.0), (0.9, 0.7), (1.0, 0.95), (0.8, 0.0)])
def test_generalised_advantages_are_the_papers_discounted_sum_of_surprises(seed, gamma, lam):
    rewards, values = np.random.default_rng(seed).normal(size=(2, 7))
    surprises = rewards + gamma * np.append(values[1:], 0) - values
    powers = (gamma * lam) ** np.arange(7)
    expected = [(powers[: 7 - t] * surprises[t:]).sum() for t in range(7)]
    assert gae.advantages(list(rewards), list(values), gamma=gamma, lam=lam) == pytest.approx(expected)
    # Equation 16: a mixture of k-step returns less the value, with weights (1 - lam) lam^(k - 1).
    for t in range(7):
        returns = [
            sum(gamma**i * rewards[t + i] for i in range(k)) + (gamma**k * values[t + k] if t + k < 7 else 0)
            for k in range(1, 8 - t)
        ]
        weight = [(1 - lam) * lam ** (k - 1) for k in range(1, 7 - t)]
        mixed = np.dot(weight, returns[:-1]) + (1 - sum(weight)) * returns[-1]
        assert expected[t] == pytest.approx(mixed - values[t])


def test_generalised_advantages_by_hand_at_their_ends():
    rewards, values = [0.0, 0.5, 1.0], [0.25, 0.5, 0.75]
    assert gae.advantages(rewards, values, gamma=1.0, lam=1.0) == [1.25, 1.0, 0.25], "reward to come less the value"
    assert gae.advantages(rewards, values, gamma=1.0, lam=0.0) == [0.25, 0.75, 0.25], "one step's surprise"
    assert gae.advantages(rewards, [0.0] * 3, gamma=0.5, lam=1.0) == [0.5, 1.0, 1.0], "discounted reward to come"
    assert gae.advantages([1.0], [0.25], gamma=0.9, lam=0.9) == [0.75]
    assert gae.advantages([], [], gamma=1.0, lam=1.0) == []


def valued(normalize: bool, **form) -> tuple[list[Example], float]:
    """Two completions of two tokens, with values, and a KL that costs the first token of the first."""
    groups, rewards = groups_of(np.array([[1.0, 0.0]]), np.array([[2, 2]]))
    token_scores = {
        "g0.k0": TokenScores(source="g0.k0", logprobs=(0.0, 0.0), values=(0.5, 0.75), rewards=(-0.125, 0.0), flops=1.0),
        "g0.k1": TokenScores(source="g0.k1", logprobs=(0.0, 0.0), values=(0.25, 0.0), rewards=(0.0, 0.0), flops=1.0),
    }
    kl_targets = tuple(KlTarget(model="m", weight=1.0, form=f) for f in (KlForm.REWARD_K1, KlForm.LOSS_K3))
    settings = Ppo(normalize=normalize, **form)
    return rl_stream(groups, rewards, settings, max_new_tokens=4, token_scores=token_scores, kl_targets=kl_targets)


def test_ppo_gives_each_token_its_own_advantage_and_the_critic_its_target():
    examples, count = valued(normalize=False)
    assert [e.advantages for e in examples] == [(0.375, 0.25), (-0.25, 0.0)] and count == 4
    assert [e.values for e in examples] == [(0.5, 0.75), (0.25, 0.0)]
    assert [e.returns for e in examples] == [(0.875, 1.0), (0.0, 0.0)], "the critic learns what the KL costs"
    assert {kl_target.form for e in examples for kl_target in e.kl_targets} == {KlForm.LOSS_K3}, "the reward's is spent"
    scaled, count = valued(normalize=False, aggregation="sequence")
    assert scaled[0].advantages == (0.1875, 0.125) and scaled[0].returns == (0.875, 1.0) and count == 2


def test_ppos_advantages_are_whitened_over_the_tokens_of_the_round():
    examples, _ = valued(normalize=True)
    values = np.array([0.375, 0.25, -0.25, 0.0])
    found = [value for e in examples for value in e.advantages]
    assert found == pytest.approx((values - values.mean()) / (values.std() + 1e-8))
    assert [e.returns for e in examples] == [(0.875, 1.0), (0.0, 0.0)], "targets are left as they are"
