"""Names of models that mean no generation where they stand, and students that do not fit."""

from collections.abc import Iterator
from typing import NamedTuple

from bootstrap.config.base import Place
from bootstrap.config.conflicts import Conflict
from bootstrap.config.generations import Stage
from bootstrap.config.models import Model, number_named, outside_model, roles, stage_named
from bootstrap.config.unchecked import UncheckedRecipe


class _Name(NamedTuple):
    """A model's name, and what exists when the first generation that needs it grows."""

    model: Model
    place: Place
    first: int
    """Number of that generation."""
    ended: tuple[str, ...]
    """Stages before it."""


def _names(recipe: UncheckedRecipe) -> Iterator[_Name]:
    for _, name in roles(recipe.verifier):
        yield _Name(name, ("verifier",), first=1, ended=())
    first, ended = 1, ()
    for below, stage in recipe.generations.parts():
        for spot, name in stage.named():
            yield _Name(name, ("generations", *below, *spot), first=first, ended=ended)
        first, ended = first + stage.generations, (*ended, stage.name)


def generation_not_grown(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """A generation by number is an earlier one."""
    for name in _names(recipe):
        number = number_named(name.model)
        if number is not None and number >= name.first:
            yield Conflict(
                name.place,
                f"generation {number} does not exist when generation {name.first} needs it; name an earlier one, "
                "champion, previous or base",
            )


def stage_not_ended(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """A stage's end is that of an earlier stage."""
    for name in _names(recipe):
        stage = stage_named(name.model)
        if stage is not None and stage not in name.ended:
            instead = f"one of: {', '.join(name.ended)}" if name.ended else "champion, previous or base"
            later = ", or give a later stage this verifier" if name.place == ("verifier",) else ""
            yield Conflict(
                name.place,
                f"generation {name.first} uses stage {stage} before it ends; name {instead}{later}",
            )


def parent_of_itself(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """`init` defines the parent and cannot refer to it."""
    for name in _names(recipe):
        if name.model == "parent" and name.place[-1] == "init":
            yield Conflict(
                name.place, "init says who the parent is; name champion, previous, base, a number or a stage's end"
            )


def _parentless(recipe: UncheckedRecipe) -> Iterator[tuple[Place, Stage, str]]:
    """Yield each stage whose generations have no single parent, with its place and the reason."""
    for below, stage in recipe.generations.parts():
        if stage.parentless:
            yield (
                ("generations", *below),
                stage,
                f"a generation that starts from {stage.parentless} has no parent",
            )


def parent_that_is_not_there(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """A stage without parents names none."""
    for place, stage, why in _parentless(recipe):
        for spot, name in stage.named():
            if name == "parent":
                yield Conflict((*place, *spot), f"{why}; name champion, previous, base, a number or a stage's end")


def verifier_that_asks_no_parent(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """The recipe's verifier asks a stage's parent only where there is one."""
    for place, stage, why in _parentless(recipe):
        if stage.verifier is None and any(name == "parent" for _, name in roles(recipe.verifier)):
            yield Conflict(
                (*place, "init"),
                f"{why}, and the recipe's verifier asks it; give the stage a verifier that asks champion, previous, "
                "base, a number or a stage's end",
            )


def adapter_of_another_base(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """Generations that are adapters share one base."""
    if recipe.training.adapter is None:
        return
    for below, stage in recipe.generations.parts():
        if outside_model(stage.init):
            yield Conflict(
                ("generations", *below, "init"),
                "generations of a lineage with training.adapter are adapters of one base, which another model cannot "
                "be; grow the student in a lineage of its own, with this one as an exported folder for sampler or "
                "teacher",
            )


def student_too_short(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """A fresh student holds the longest sequence that the lineage can reach."""
    for below, stage in recipe.generations.parts():
        outside = outside_model(stage.init)
        if outside is None or outside.declared_length is None:
            continue
        needed = recipe.task.longest_sequence(recipe.highest_level())
        if outside.declared_length < needed:
            yield Conflict(
                ("generations", *below, "init", "max_length"),
                f"{outside.declared_length} tokens are too few for level {recipe.highest_level()}; set max_length: "
                f"{needed} or more",
            )


RULES = (
    generation_not_grown,
    stage_not_ended,
    parent_of_itself,
    parent_that_is_not_there,
    verifier_that_asks_no_parent,
    adapter_of_another_base,
    student_too_short,
)
