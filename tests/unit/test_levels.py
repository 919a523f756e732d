"""Levels in words: no list of levels is told as one that it is not."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrap.levels import level_range, level_runs
from bootstrap.lineage.curves import Quality


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ((), "no level"),
        ((5,), "level 5"),
        ((1, 2, 3, 4), "levels 1-4"),
        ((5, 6), "levels 5-6"),
        ((1, 3, 5, 6, 7, 8), "levels 1, 3, 5-8"),
        ([8, 1, 7, 1], "levels 1, 7-8"),
    ],
)
def test_levels_are_listed_as_a_person_does(levels: tuple[int, ...], words: str) -> None:
    assert level_range(levels) == words


@given(st.sets(st.integers(1, 40)))
def test_the_runs_hold_every_level_and_no_other(levels: set[int]) -> None:
    runs = level_runs(levels)
    assert [level for first, last in runs for level in range(first, last + 1)] == sorted(levels)
    assert all(later[0] - earlier[1] > 1 for earlier, later in pairwise(runs))


def test_a_curves_label_names_the_levels_that_it_is_of() -> None:
    assert Quality(kind="accuracy", levels=(1, 3, 5, 6, 7, 8)).label == "greedy accuracy, levels 1, 3, 5-8"
    assert Quality(kind="pass_at_1", levels=(5,)).label == "pass@1, level 5"
