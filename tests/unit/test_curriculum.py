"""What the next generation aims at."""

import pytest
from support import tiny

from bootstrap.config.generations import Accelerated, Fixed, Given, NextLevel, Solved
from bootstrap.plan import make_plan
from bootstrap.selection.curriculum import last_evaluated, replay_levels, target_levels, trained_level


def aims(curriculum, accuracies, *, base_level, rise=1, trained=None, highest=None):
    trained = base_level if trained is None else trained
    return target_levels(curriculum, accuracies, base_level=base_level, rise=rise, trained=trained, highest=highest)


def shares(*values):
    return dict(enumerate(values, start=1))


@pytest.mark.parametrize(
    ("accuracies", "targets"),
    [
        (shares(1, 1, 1, 1, 0.2, 0), (5,)),
        (shares(1, 1, 1, 1, 0.9, 0), (6,)),
        (shares(1, 1, 1, 1, 0.95, 0.99, 0.89), (7,)),
        (shares(1, 1, 1, 1, 0.5, 0.99), (5,)),
        (shares(1, 1, 1, 1), (5,)),
        ({}, (5,)),
    ],
)
def test_the_next_level_is_the_first_one_not_reached(accuracies, targets):
    assert aims(NextLevel(raise_at=0.9), accuracies, base_level=4) == targets


def test_a_base_that_missed_one_of_its_own_levels_still_aims_beyond_them():
    accuracies = shares(1, 1, 0.5, 0.99, 0.3)
    assert aims(NextLevel(), accuracies, base_level=4) == (5,)
    assert replay_levels((5,)) == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("accuracies", "targets"),
    [
        (shares(1, 1, 0.8, 0.6, 0.4, 0.9), (3, 4, 5)),
        (shares(1, 1, 0.4, 0.6), (3,)),
        (shares(1, 1, 0.8, 0.7, 0.6, 0.6, 0.6, 0.6), (3, 4, 5, 6)),
        (shares(1, 1, 0.5), (3, 4)),
        (shares(1, 1), (3,)),
        (shares(1, 1, 1, 1, 0.6, 0.1), (5, 6)),
    ],
)
def test_accelerated_aims_up_to_and_including_the_first_level_below_its_bound(accuracies, targets):
    curriculum = Accelerated(raise_at=0.9, until=0.5, max_levels=4)
    assert aims(curriculum, accuracies, base_level=2) == targets


@pytest.mark.parametrize(
    ("accuracies", "trained", "targets"),
    [
        (shares(1, 1, 1, 0.99, 0.6), 2, (3, 4)),
        (shares(1, 1, 1, 1, 1, 1, 1), 2, (3, 4, 5)),
        (shares(1, 1, 0.98, 1), 2, (3,)),  # what is solved beyond a gap is not next
        (shares(1, 1, 0.98, 1, 0.6), 3, (3,)),  # one that was trained on without success is tried again
        (shares(1, 1, 1, 1, 0.6), 4, (5,)),
        (shares(1, 1, 1, 1, 1, 0.6), 4, (5,)),
        (shares(1, 1, 1), 3, (4,)),  # not measured
        (shares(1, 1), 5, (6,)),  # trained on and not measured again
    ],
)
def test_solved_aims_at_what_is_solved_without_having_been_trained_on(accuracies, trained, targets):
    assert aims(Solved(max_levels=3), accuracies, base_level=2, trained=trained) == targets


@pytest.mark.parametrize(
    ("step", "level"),
    [
        ({"type": "rl", "rounds": 1}, 6),
        ({"type": "rl", "rounds": 1, "levels": "reached"}, 4),
        ({"type": "sft", "updates": 1}, 3),
        ({"type": "sft", "updates": 1, "source": {"type": "rejection", "prompts": 8, "levels": "all"}}, 6),
        ({"type": "distill", "updates": 1, "distillation": {"data": "references"}}, 3),
        ({"type": "distill", "updates": 1, "distillation": {"data": "accumulate"}}, 4),
    ],
)
def test_a_generation_is_trained_up_to_the_highest_level_of_what_it_is_shown(step, level):
    recipe = tiny.recipe(task={"type": "addition", "base_level": 3}, generations={"count": 1, "steps": [step]})
    assert trained_level(recipe, 1, (5, 6)) == level
    assert trained_level(recipe, 0, (1, 2, 3)) == 3


def test_what_self_play_proposes_beyond_its_aim_is_not_counted_on():
    recipe = tiny.recipe(count=3, steps=[tiny.SELF_PLAY | {"reach": 2}], **tiny.PROGRAMS)
    assert trained_level(recipe, 1, (3,)) == 3
    plan = make_plan(recipe, lineage="x", workers=1)
    assert [generation.target_levels for generation in plan.generations] == [(1, 2), (3,), (4,), (5,)]


@pytest.mark.parametrize(
    ("curriculum", "targets"),
    [
        (NextLevel(), (5,)),
        (Accelerated(until=0.5, max_levels=4), (4, 5)),
        (Solved(solved_at=0.9), (4, 5)),
        (Fixed(), (5,)),
        (Given(levels=(6,)), (6,)),  # whoever gives a level that is not there is told
    ],
)
def test_nothing_is_aimed_at_beyond_a_tasks_last_level(curriculum, targets):
    reached = shares(1, 1, 1, 0.8, 0.7, 0.6, 0.6) if isinstance(curriculum, Accelerated) else shares(*[1] * 7)
    assert aims(curriculum, reached, base_level=3, rise=4, highest=5) == targets
    assert last_evaluated(targets, lookahead=2, highest=5) == max(5, *targets)
    assert last_evaluated(targets, lookahead=2, highest=None) == max(targets) + 2


def test_a_fixed_schedule_rises_by_one_level_whatever_the_results():
    for accuracies in ({}, shares(1, 1, 1, 1, 1, 1, 1)):
        found = [aims(Fixed(), accuracies, base_level=4, rise=g) for g in (1, 2, 3)]
        assert found == [(5,), (6,), (7,)]


def test_a_small_level_that_dips_does_not_send_the_aim_back():
    assert aims(NextLevel(), shares(0.88, 1, 0.5, 0.99, 0.99, 0.99, 0.2), base_level=4) == (7,)


def test_levels_above_the_target_are_replayed_where_the_pool_has_answers():
    assert replay_levels((6,), held=(5, 6, 7, 9)) == (1, 2, 3, 4, 5, 7, 9)


def test_replay_covers_all_levels_below_the_first_target():
    assert replay_levels((7, 8, 9)) == (1, 2, 3, 4, 5, 6)
    assert replay_levels((1,)) == (1,), "where the targets are all there is, they are replayed themselves"


def test_given_levels_are_aimed_at_whatever_is_reached():
    curriculum = Given(levels=(2, 4))
    for accuracies in ({}, {1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0, 5: 1.0}):
        assert aims(curriculum, accuracies, base_level=3, rise=7) == (2, 4)


@pytest.mark.parametrize("levels", [(3, 2), (2, 2), (), (0,)])
def test_given_levels_stand_once_and_in_order(levels):
    with pytest.raises(ValueError, match="levels"):
        Given(levels=levels)
