"""What the generations of a lineage may become: whose weights each starts from, who teaches it, what it aims at.

Committed generations are shown as recorded. Every other is assumed to master what it trains on, and to be promoted if
it is gated; its starting weights and its teachers are the resolver's answer, which may be undecided.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bootstrap.config.models import told
from bootstrap.config.recipe import Recipe
from bootstrap.ledger_records import Generation
from bootstrap.selection.curriculum import trained_level
from bootstrap.stages.bar import improvement_test
from bootstrap.stages.resolver import Resolver, Undecided, expected, known


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """One generation, as it was made or as it may be."""

    start: str
    """Description of the starting weights, as `champion (gen-1 if promoted)`."""
    parent: int | None
    """Number of the generation that it starts from; None for generation 0, another model and a merge, and while the
    gate has yet to decide."""
    teachers: tuple[int, ...] | None
    """The generations that teach it; None while the gate has yet to decide one of them."""
    target_levels: tuple[int, ...]
    most_levels: tuple[int, ...]
    """The levels that it may aim at where earlier results, which are yet to come, raise the number of targets."""


def outlook(
    recipe: Recipe, committed: Sequence[Generation], resolvers: Sequence[Resolver], *, highest: int | None
) -> list[Outlook]:
    """Return the generations of `resolvers`, 0 first; `highest`: the task's last level, None without one."""
    found: list[Outlook] = []
    trained: list[int] = []
    """Of each generation, the highest level that it and its ancestors were trained on."""
    accuracies: list[dict[int, float]] = []
    for number, models in enumerate(resolvers):
        if number < len(committed):
            generation = committed[number]
            targets, parents = generation.target_levels, generation.parents
            accuracies.append({row.level: row.accuracy for row in generation.report.levels})
            found.append(_recorded(recipe, models, generation))
        else:
            targets = models.aims(highest=highest, accuracies=accuracies.__getitem__, trained=trained.__getitem__)
            parents = tuple(expected(parent) for parent in models.parents)
            learnt = range(1, trained_level(recipe, number, targets) + 1)
            accuracies.append(_best(accuracies[parent] for parent in parents) | dict.fromkeys(learnt, 1.0))
            # The results that decide the next generation's aims are recorded.
            is_decided = 0 < len(committed) == number or number == 0
            most = targets if is_decided else _most(recipe, number, targets, highest=highest)
            found.append(_planned(recipe, models, targets, most, has_begun=bool(committed)))
        trained.append(max([trained_level(recipe, number, targets), *(trained[parent] for parent in parents)]))
    return found


def alpha_is_spent(recipe: Recipe, committed: Sequence[Generation]) -> bool:
    """Whether rejections have spent the lineage's alpha, so that nothing it grows can be promoted."""
    number = len(committed)
    if not number or number > recipe.generations.count:
        return False
    return not improvement_test(recipe, committed, recipe.generations.position(number)).alpha


def _best(parents: Iterator[dict[int, float]]) -> dict[int, float]:
    """Return the best accuracy of any parent, by level."""
    best: dict[int, float] = {}
    for accuracies in parents:
        best |= {level: max(share, best.get(level, 0.0)) for level, share in accuracies.items()}
    return best


def _recorded(recipe: Recipe, models: Resolver, generation: Generation) -> Outlook:
    parent = generation.parent
    return Outlook(
        start=f"gen-{parent}" if parent is not None else _start(recipe, models, has_begun=True),
        parent=parent,
        teachers=generation.teachers,
        target_levels=generation.target_levels,
        most_levels=generation.target_levels,
    )


def _most(recipe: Recipe, number: int, targets: tuple[int, ...], *, highest: int | None) -> tuple[int, ...]:
    """Return the targets and the next levels, as many as the curriculum may aim at together."""
    num = recipe.generations.position(number).stage.curriculum.num_targets
    last = max(*targets, min(targets[0] + num - 1, targets[0] + num - 1 if highest is None else highest))
    return targets if len(targets) >= num else tuple(range(targets[0], last + 1))


def _planned(
    recipe: Recipe, models: Resolver, targets: tuple[int, ...], most: tuple[int, ...], *, has_begun: bool
) -> Outlook:
    taught = [teacher for teacher in models.teachers.values() if teacher is not None]
    teachers = tuple(dict.fromkeys(one for one in map(known, taught) if one is not None))
    return Outlook(
        start=_start(recipe, models, has_begun=has_begun),
        parent=known(models.init),
        teachers=teachers if None not in map(known, taught) else None,
        target_levels=targets,
        most_levels=most,
    )


def _start(recipe: Recipe, models: Resolver, *, has_begun: bool) -> str:
    """Return in words whose weights a generation starts from; `has_begun`: whether a champion is recorded."""
    if models.champion is None:
        return recipe.base.model.told
    if models.merged:
        return "a merge"
    named = recipe.generations.position(models.number).stage.init
    match models.init:
        case None:
            return told(named)
        case Undecided(candidates=several) if named == "champion":
            return f"champion (gen-{several[-1]} if promoted)"
        case Undecided(candidates=several):
            return f"the best of gen-{several[0]} to gen-{several[-1]}"
    return f"gen-{models.init}{' (champion)' if named == 'champion' and has_begun else ''}"
