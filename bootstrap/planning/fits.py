"""What a machine cannot hold is refused before a run, with a change of the recipe that it could hold."""

from collections.abc import Callable, Iterator
from itertools import accumulate

from bootstrap import processor
from bootstrap.config.recipe import Recipe
from bootstrap.config.training import LoraAdapter
from bootstrap.errors import RecipeError
from bootstrap.memory import FULLEST
from bootstrap.planning.memory import MemoryPlan

_GIB = 2**30
_Change = tuple[str, dict[str, object], int]
"""In words, the settings by place, the bytes that a process has then."""


def require_fit(
    recipe: Recipe, planned: Callable[[Recipe, int], MemoryPlan], *, workers: int, memory: int | None
) -> None:
    """Raise RecipeError where a process needs more than its share of the machine's whole memory.

    `planned`: the plan of a recipe in so many bytes of a process. `memory`: those that one may take, a share of
    what the machine has; None where only the workers can tell. What needs more than it may take and less than there
    is may still run, and is a note.
    """
    if memory is None:
        return
    least, whole = planned(recipe, memory).least_of_all, int(memory / FULLEST["cpu"])
    if least <= whole:
        return
    fitting = (
        (told, need)
        for told, changed, room in _changes(recipe, workers=workers, memory=memory)
        if (need := planned(changed, room).least_of_all) <= room
    )
    found = next(fitting, None)
    remedy = (
        "no setting of resources.workers and training would fit; take a smaller model, or a machine with more memory"
        if found is None
        else f"set {found[0]}, which needs {found[1] / _GIB:.3g} GiB; or use a machine with more memory"
    )
    raise RecipeError(
        f"a process needs at least {least / _GIB:.3g} GiB, one sequence at a time, and this machine has "
        f"{whole / _GIB:.3g} for each: {remedy}"
    )


def _changes(recipe: Recipe, *, workers: int, memory: int) -> Iterator[tuple[str, Recipe, int]]:
    """Yield changes of a recipe, in words, with the recipe and the bytes of a process then: each alone, then more."""
    training, samplers, shard = recipe.training, recipe.resources.samplers, recipe.resources.shard
    others = 0 if samplers is None else samplers.processes
    changes: list[_Change] = []
    if samplers is not None and workers > shard:
        changes.append((f"resources.shard: {workers}", {"resources.shard": workers}, memory))
    elif workers > 1 and shard == 1:
        changes.append(("resources.workers: 1", {}, memory * (workers + others) // (1 + others)))
    if not training.gradient_checkpointing:
        changes.append(("training.gradient_checkpointing: true", {"training.gradient_checkpointing": True}, memory))
    if training.precision == "fp32" and processor.has_bf16():
        changes.append(("training.precision: bf16", {"training.precision": "bf16"}, memory))
    if training.adapter is None and recipe.base.model.folder is not None:
        changes.append(("training.adapter: {type: lora}", {"training.adapter": LoraAdapter()}, memory))
    for told, settings, room in (*changes, *accumulate(changes, _both)):
        sections: dict[str, dict[str, object]] = {"training": {}, "resources": {}}
        for place, value in settings.items():
            section, _, name = place.partition(".")
            sections[section][name] = value
        changed = {name: getattr(recipe, name).model_copy(update=update) for name, update in sections.items()}
        yield told, recipe.model_copy(update=changed), room


def _both(one: _Change, other: _Change) -> _Change:
    return f"{one[0]} and {other[0]}", one[1] | other[1], max(one[2], other[2])
