"""Self-play: what a problem is worth, and combinations that cannot work are refused with a remedy."""

import math

import numpy as np
import pytest
from pydantic import ValidationError
from support import tiny
from support.rollouts import rollout

from bootstrap.config.algorithms import RoleRelative
from bootstrap.config.recipe import Recipe
from bootstrap.planning.plan import make_plan
from bootstrap.records import Role
from bootstrap.scoring.learnability import learnability
from bootstrap.training.algorithms.stream import rl_stream

UNTAUGHT = {**tiny.PROGRAMS, "base": {"model": tiny.MODEL, "steps": [{"type": "sft", "updates": 1}]}}


def recipe(step=tiny.SELF_PLAY, **changes) -> Recipe:
    return tiny.recipe(steps=(step,), **{**tiny.PROGRAMS, **changes})


@pytest.mark.parametrize(("rate", "worth"), [(0.0, 0.0), (0.125, 0.875), (0.5, 0.5), (0.875, 0.125), (1.0, 0.0)])
def test_a_problem_is_worth_more_the_harder_it_is_unless_nobody_or_everybody_solves_it(rate, worth):
    assert learnability(rate) == worth


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"group_size": 1}, "greater than or equal to 2"),
        ({"proposer_reward": "none", "proposer_weight": 2.0}, "remove it, or set proposer_reward: learnability"),
        ({"algorithm": {"correction": {}}}, "remove correction"),
        ({"algorithm": {"mini_batches": 2}}, "remove mini_batches"),
    ],
)
def test_settings_of_the_step_that_cannot_act_are_refused(change, remedy):
    with pytest.raises(ValidationError, match=remedy):
        recipe({**tiny.SELF_PLAY, **change})


def test_a_task_without_an_executor_cannot_be_played():
    with pytest.raises(ValidationError, match=r"task: \{type: programs\}"):
        tiny.recipe(steps=(tiny.SELF_PLAY,))


def test_proposals_are_shown_for_a_task_that_can_read_them_alone():
    with pytest.raises(ValidationError, match="remove proposals"):
        recipe(task={"type": "copy"})


def test_a_base_from_scratch_must_have_seen_how_problems_are_put():
    with pytest.raises(ValidationError, match=r"source: \{type: references, proposals: 0.1\}"):
        tiny.recipe(steps=(tiny.SELF_PLAY,), **UNTAUGHT)


def test_the_model_must_hold_the_largest_problem_that_may_be_put():
    short = {"model": {**tiny.MODEL, "max_length": 24}, "steps": tiny.PROGRAMS["base"]["steps"]}
    recipe({**tiny.SELF_PLAY, "reach": 1}, base=short, count=1)
    with pytest.raises(ValidationError, match="max_length"):
        recipe({**tiny.SELF_PLAY, "reach": 2}, base=short, count=1)


def test_the_plan_tells_what_is_played_and_that_a_control_is_one():
    played = make_plan(recipe(), lineage="tiny", workers=1)
    step = played.generations[1].steps[0]
    assert step.summary == "self_play, 4 rounds of 6 problems x 4"
    assert "its own problems up to level 4" in step.data
    assert not played.notes
    control = recipe({**tiny.SELF_PLAY, "proposer_reward": "valid"})
    assert any("a control" in note for note in make_plan(control, lineage="tiny", workers=1).notes)


def test_a_rollouts_id_says_its_role():
    assert rollout("g1.s0.u0.propose.k3").role is Role.PROPOSE
    assert rollout("g1.s0.u0.p3.k0").role is Role.SOLVE


def test_rewards_are_compared_within_what_is_handed_over_as_one_role():
    proposals = [rollout(f"g1.s0.u0.propose.k{place}", 2) for place in range(4)]
    solutions = [rollout(f"g1.s0.u0.p{place}.k0", 2) for place in range(2)]
    rewards = {r.id: value for r, value in zip([*proposals, *solutions], [1.0, 0.0, 0.0, 0.0, 1.0, 1.0], strict=True)}
    # By hand: mean 1/4, population variance 3/16; equal rewards have advantage 0.
    std = math.sqrt(3 / 16) + 1e-4

    def advantages(groups, **settings) -> list[tuple[float, ...]]:
        return [e.advantages for e in rl_stream(groups, rewards, RoleRelative(**settings), max_new_tokens=4)[0]]

    found = advantages([proposals, solutions])
    assert np.array(found[:4]) == pytest.approx(np.array([[0.75, 0.75], *[[-0.25, -0.25]] * 3]) / std)
    assert found[4:] == [(0.0, 0.0)] * 2
    assert advantages([proposals], normalize_std=False) == [(0.75, 0.75), *[(-0.25, -0.25)] * 3]
