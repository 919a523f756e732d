"""Merges of generations' weights, which keep nothing of the weights that their generations start from."""

from collections.abc import Iterator

from bootstrap.config.base import Place
from bootstrap.config.conflicts import Conflict
from bootstrap.config.generations import Stage
from bootstrap.config.unchecked import UncheckedRecipe


def _merges(recipe: UncheckedRecipe) -> Iterator[tuple[Place, Stage]]:
    """Yield the place and the stage of each merge."""
    for below, stage in recipe.generations.parts():
        for index, step in enumerate(stage.steps):
            if step.as_merge:
                yield ("generations", *below, "steps", index), stage


def merge_after_training(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """A merge is the first step."""
    for place, _ in _merges(recipe):
        if place[-1] != 0:
            yield Conflict(
                place,
                "what the steps before it have trained would be lost, since it takes the weights of models it names; "
                "let it be the first step, or merge in a stage of its own",
            )


def branches_of_one_merge(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """Branches differ in their randomness, and a merge has none."""
    for place, stage in _merges(recipe):
        if stage.branches > 1 and len(stage.steps) == 1:
            yield Conflict(
                place,
                f"nothing is random in a merge, so all {stage.branches} branches would be the same model; remove "
                "branches, or let a step train what is merged",
            )


def merge_over_init(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """A stage that merges starts from no other weights."""
    for place, stage in _merges(recipe):
        if stage.init != "champion":
            yield Conflict(place, "nothing would be left of the model that this stage starts from; remove its init")


def merge_of_dora(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """Adapters that learn lengths apart from directions have no mean."""
    adapter = recipe.training.adapter
    if adapter is None or not adapter.dora:
        return
    for place, _ in _merges(recipe):
        yield Conflict(
            place,
            "adapters with dora: true cannot be merged, since they change lengths and directions apart; set "
            "training.adapter.dora: false",
        )


RULES = (merge_after_training, branches_of_one_merge, merge_over_init, merge_of_dora)
