"""Stages whose curriculum cannot move on."""

from collections.abc import Iterator

from bootstrap.config.conflicts import Conflict
from bootstrap.config.unchecked import UncheckedRecipe


def aims_that_stand_still(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """Curriculum `solved` moves on only where each generation starts from the one before."""
    for below, stage in recipe.generations.parts():
        goes_on = stage.init == "previous" or (stage.init == "champion" and stage.gate == "always")
        if stage.curriculum.aims_by_start and stage.generations > stage.branches and not goes_on:
            yield Conflict(
                ("generations", *below, "curriculum"),
                "solved aims beyond what the weights were trained on that a generation starts from; where these stay "
                "the same, or wait for the gate to find better what is solved already, so do the aims; set init: "
                "previous (or gate: always in a stage)",
            )


RULES = (aims_that_stand_still,)
