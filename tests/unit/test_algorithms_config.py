"""Settings of algorithms: what each type means without a word said, and what is refused with its remedy."""

import pytest
from pydantic import TypeAdapter, ValidationError

from bootstrap.config.algorithms import Algorithm
from bootstrap.config.policy_terms import ReferenceKl
from bootstrap.config.steps import RlStep
from bootstrap.learner_records import KlForm, RatioLevel, Surrogate

ALGORITHM = TypeAdapter(Algorithm)


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"type": "grpo", "surrogate": "truncated", "dual_clip": 3}, "remove dual_clip"),
        ({"type": "grpo", "dual_clip": 1.2}, "use 3"),
        ({"type": "cispo", "clip_high": None}, "set clip_high"),
        ({"type": "grpo", "surrogate": "masked", "clip_low": None, "clip_high": None}, "set clip_high"),
        ({"type": "grpo", "entropy": {"type": "kl_cov"}}, "inner_epochs: 2"),
        ({"type": "grpo", "entropy": {"type": "clip_cov", "low": 5, "high": 1}}, "swap"),
        ({"type": "grpo", "kl": {"estimator": "k1"}}, "where: reward"),
        ({"type": "grpo", "kl": {"estimator": "k2", "where": "reward"}}, "use estimator: k1, or where: loss"),
        ({"type": "ppo", "kl": {"estimator": "k3", "where": "reward"}}, "use estimator: k1, or where: loss"),
        ({"type": "grpo", "zero_variance": "keep", "resample": 2}, "zero_variance: drop"),
        ({"type": "reinforce_pp", "zero_variance": "keep"}, r"zero_variance\s+Value error, no such setting"),
        ({"type": "ppo", "gamma": 0}, "greater than 0"),
        ({"type": "ppo", "zero_variance": "drop"}, r"zero_variance\s+Value error, no such setting"),
        ({"type": "grpo", "correction": {"high": None}}, "set high: 3"),
        ({"type": "grpo", "correction": {"low": 0.5, "high": None}}, "set high: 3"),
        ({"type": "grpo", "correction": {"high": 0.9}}, "greater than or equal to 1"),
    ],
)
def test_losses_that_cannot_work_are_refused_with_the_remedy(settings, remedy):
    with pytest.raises(ValidationError, match=remedy):
        ALGORITHM.validate_python(settings)


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"group_size": 1}, "baseline: false"),
        ({"group_size": 1, "algorithm": {"type": "rloo"}}, "group_size 2"),
        ({"group_size": 1, "algorithm": {"type": "reinforce_pp", "baseline": True}}, "group_size 2"),
        ({"group_size": 1, "prompts_per_update": 1, "algorithm": {"type": "reinforce_pp"}}, "raise prompts_per_update"),
        ({"group_size": 4, "algorithm": {"type": "pass_at_k", "k": 4}}, "for example 2"),
        ({"group_size": 4, "initial_samples": 4}, "initial_samples: 2"),
        (
            {"group_size": 8, "initial_samples": 4, "algorithm": {"type": "pass_at_k", "k": 4}},
            "initial_samples: 5 or more",
        ),
    ],
)
def test_groups_that_cannot_compare_are_refused_with_the_remedy(settings, remedy):
    with pytest.raises(ValidationError, match=remedy):
        RlStep.model_validate(settings)


TAUGHT = {"teaching": {"teacher": "base"}}
DIVERGED = {"teaching": {"teacher": "base", "loss": "reverse_kl"}}


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"algorithm": {"type": "unrewarded"}}, "set teaching"),
        (TAUGHT | {"algorithm": {"type": "unrewarded", "entropy": {"type": "clip_cov"}}}, "remove entropy"),
        (DIVERGED | {"algorithm": {"type": "unrewarded", "correction": {}}}, "remove correction"),
        ({"rounds": 60, "algorithm": {"type": "grpo", "kl": {"refresh_every": 60}}}, "lower algorithm.kl"),
        ({"prompts_per_update": 8, "algorithm": {"type": "grpo", "mini_batches": 9}}, "lower algorithm.mini_batches"),
    ],
)
def test_settings_that_would_never_act_are_refused_with_the_remedy(settings, remedy):
    with pytest.raises(ValidationError, match=remedy):
        RlStep.model_validate(settings)


def test_every_remedy_is_accepted():
    RlStep.model_validate(TAUGHT | {"algorithm": {"type": "unrewarded", "correction": {}}})
    RlStep.model_validate(DIVERGED | {"algorithm": {"type": "grpo", "correction": {}}})
    kept = {"type": "unrewarded", "correction": {}, "kl": {"where": "reward", "estimator": "k1"}}
    RlStep.model_validate(DIVERGED | {"algorithm": kept})
    RlStep.model_validate({"rounds": 60, "algorithm": {"type": "grpo", "kl": {"refresh_every": 59}}})
    RlStep.model_validate({"group_size": 8, "initial_samples": 5, "algorithm": {"type": "pass_at_k", "k": 4}})
    RlStep.model_validate({"group_size": 1, "algorithm": {"type": "reinforce_pp"}})
    RlStep.model_validate({"group_size": 4, "algorithm": {"type": "pass_at_k", "k": 2}})
    RlStep.model_validate({"group_size": 4, "initial_samples": 2})
    ALGORITHM.validate_python({"type": "grpo", "dual_clip": 3})
    ALGORITHM.validate_python({"type": "grpo", "inner_epochs": 2, "entropy": {"type": "kl_cov"}})
    ALGORITHM.validate_python({"type": "grpo", "mini_batches": 2, "entropy": {"type": "kl_cov"}})
    RlStep.model_validate({"prompts_per_update": 8, "algorithm": {"type": "grpo", "mini_batches": 8}})
    for where, estimator in (("reward", "k1"), ("loss", "k2"), ("loss", "k3")):
        assert ReferenceKl(where=where, estimator=estimator).form == f"{where}_{estimator}"


def test_the_estimator_of_a_reference_goes_by_where_it_acts():
    assert ReferenceKl().form is KlForm.LOSS_K3
    assert ReferenceKl(where="reward").form is KlForm.REWARD_K1


def test_ppo_is_open_reasoner_zeros_without_a_word_said():
    ppo = ALGORITHM.validate_python({"type": "ppo"})
    assert (ppo.gamma, ppo.lam, ppo.kl, ppo.aggregation) == (1.0, 1.0, None, "token")
    assert ppo.recomputes_logprobs and not ALGORITHM.validate_python({"type": "grpo"}).recomputes_logprobs
    alone = RlStep.model_validate({"algorithm": {"type": "ppo"}, "group_size": 1})
    assert alone.critic == ppo.value and RlStep().critic is None


def test_types_differ_in_their_vetted_defaults():
    grpo, gspo, cispo = (ALGORITHM.validate_python({"type": name}) for name in ("grpo", "gspo", "cispo"))
    assert (grpo.surrogate, grpo.ratio, grpo.clip_high) == (Surrogate.CLIPPED, RatioLevel.TOKEN, 0.28)
    assert (gspo.surrogate, gspo.ratio, gspo.aggregation) == (Surrogate.CLIPPED, RatioLevel.SEQUENCE, "sequence")
    assert (cispo.surrogate, cispo.clip_low, cispo.normalize_std) == (Surrogate.TRUNCATED, None, "batch")
