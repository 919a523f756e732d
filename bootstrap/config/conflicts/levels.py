"""Levels that a task does not have: below its first or beyond its last one.

The settings of some tasks tell their last level. A file's is known once its rows are read; `stages/checks.py` then asks
its rules again (`beyond`).
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from bootstrap.config.base import Place
from bootstrap.config.conflicts import Conflict
from bootstrap.config.unchecked import UncheckedRecipe


class LastLevels(NamedTuple):
    """Last levels; None where levels go on, or where the last one is not yet known."""

    task: int | None
    panel: Mapping[str, int | None]
    """Of the panel's tasks, by name."""


def references_beyond_last(recipe: UncheckedRecipe, last: LastLevels) -> Iterator[Conflict]:
    """References are of levels that exist."""
    if last.task is not None and recipe.task.base_level > last.task:
        yield Conflict(
            ("task", "base_level"),
            f"references go up to level {recipe.task.base_level}, and the task's last level is {last.task}; set "
            f"base_level: {last.task} or less",
        )


def given_beyond_last(recipe: UncheckedRecipe, last: LastLevels) -> Iterator[Conflict]:
    """Curriculum `given` names levels that exist."""
    for below, stage in recipe.generations.parts():
        highest = max(stage.curriculum.given, default=0)
        if last.task is not None and highest > last.task:
            yield Conflict(
                ("generations", *below, "curriculum", "levels"),
                f"level {highest} is given, and the task's last level is {last.task}; give levels up to {last.task}",
            )


def rise_beyond_last(recipe: UncheckedRecipe, last: LastLevels) -> Iterator[Conflict]:
    """Curriculum `fixed` ends before levels do; the others stay at the last level."""
    if last.task is None:
        return
    done = 0
    for below, stage in recipe.generations.parts():
        before, done = done, min(done + stage.generations, recipe.generations.count)
        aim = recipe.task.base_level + recipe.rise(done)
        if stage.curriculum.ignores_results and done > before and aim > last.task:
            yield Conflict(
                ("generations", *below, "curriculum"),
                f"generation {done} would aim at level {aim}, and the task's last level is {last.task}; "
                "lower generations.count, or take another curriculum, which stays at the last level",
            )


def reached_below_only_level(recipe: UncheckedRecipe, last: LastLevels) -> Iterator[Conflict]:
    """A step draws from the levels below the aim only where a task has several."""
    if last.task == 1:
        for _, place in _below_aim(recipe):
            yield Conflict(place, "no level lies below level 1, the task's only one; set levels: targets or all")


def panel_beyond_last(recipe: UncheckedRecipe, last: LastLevels) -> Iterator[Conflict]:
    """A panel's task is evaluated on levels that exist."""
    for name, watched in recipe.evaluation.panel.items():
        end = last.panel.get(name)
        if end is not None and watched.asked[-1] > end:
            yield Conflict(
                ("evaluation", "panel", name, "levels"),
                f"level {watched.asked[-1]} is asked, and this task's last level is {end}; ask levels up to {end}",
            )


def reached_below_first(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """A step draws from the levels below the aim only where its stage aims above the first one."""
    for given, place in _below_aim(recipe):
        if given and given[0] == 1:
            yield Conflict(
                place,
                "no level lies below level 1, which the curriculum aims at; set levels: targets or all, or a higher "
                "first level",
            )


def _below_aim(recipe: UncheckedRecipe) -> Iterator[tuple[tuple[int, ...], Place]]:
    """Yield the levels given to its stage and the place of each `levels: reached`, which draws below the aim alone."""
    for below, stage in recipe.generations.parts():
        for index, step in enumerate(stage.steps):
            for inner, prompts in step.draws():
                if prompts.levels == "reached":
                    yield stage.curriculum.given, ("generations", *below, "steps", index, *inner, "levels")


BY_LAST_LEVEL = (
    references_beyond_last,
    given_beyond_last,
    rise_beyond_last,
    reached_below_only_level,
    panel_beyond_last,
)
"""Rules that need the last levels."""


def beyond(recipe: UncheckedRecipe, last: LastLevels) -> Iterator[Conflict]:
    """Yield where a recipe names levels beyond its tasks' last ones."""
    for rule in BY_LAST_LEVEL:
        yield from rule(recipe, last)


def beyond_settings(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """Levels end where the tasks' settings say."""
    panel = {name: watched.task.highest_level for name, watched in recipe.evaluation.panel.items()}
    yield from beyond(recipe, LastLevels(task=recipe.task.highest_level, panel=panel))


RULES = (reached_below_first, beyond_settings)
