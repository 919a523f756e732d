"""Which committed generations' weights are needed by what is to come: a run that goes on, to its length or beyond.

The champion is what a lineage delivers, and every run compares with generation 0 (diagnostics, final comparison), so
both always are. Others follow from the recipe: what the next generations start from, learn from, merge or ask. The gate
needs no more: earlier champions were asked the levels that they did best at. Left out: other lineages.
"""

from collections.abc import Iterable, Sequence

from bootstrap.config.recipe import Recipe
from bootstrap.evaluation.guards import last_within_bounds
from bootstrap.ledger_records import Generation, GuardAction
from bootstrap.stages.resolver import Found, Resolver, candidates


def needed(recipe: Recipe, committed: Sequence[Generation]) -> dict[int, str]:
    """Return generation -> why its weights are needed, for the generations that are."""
    if not committed:
        return {}
    reasons: dict[int, list[str]] = {committed[-1].champion: ["the champion"]}
    reasons.setdefault(0, []).append("every run compares with it")
    if any(guard.action is GuardAction.ROLL_BACK for guard in recipe.guards):
        reasons.setdefault(last_within_bounds(committed), []).append("a guard may return to it")
    for number in _to_come(recipe, len(committed)):
        models = Resolver(recipe, committed, number)
        uses = {
            "starts from it": models.parents,
            "learns from it": _inside(models.teachers.values()),
            "samples from it": _inside(models.samplers.values()),
            "is held to it": _inside(models.references.values()),
            "merges it": tuple(models.merged.values()),
            "asks it": tuple(models.asked.values()),
        }
        for use, found in uses.items():
            for one in sorted({one for each in found for one in candidates(each) if one < len(committed)}):
                reasons.setdefault(one, []).append(f"gen-{number} {use}")
    return {number: ", ".join(dict.fromkeys(why[:2])) for number, why in sorted(reasons.items())}


def _to_come(recipe: Recipe, first: int) -> Iterable[int]:
    """Return the numbers of generations that may come, as far as they name committed ones.

    Without stages all are alike, so the next set of siblings stands for all; `generations.count` can still be raised.
    """
    generations = recipe.generations
    if generations.stages is None:
        return range(first, first + recipe.generations.branches + 1)
    return range(first, 1 + sum(stage.generations for stage in generations.stages))


def _inside(found: Iterable[Found | None]) -> tuple[Found, ...]:
    return tuple(one for one in found if one is not None)
