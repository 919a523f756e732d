"""What a candidate must not lose (best results of the champion line), and the alpha that it is tested at.

A function of the recipe, the ledger, and the verifiers' present judgement of stored answers. Left out: the statistics
(`evaluation/protection.py`, `evaluation/spending.py`).
"""

from collections.abc import Callable, Sequence

from bootstrap.config.generations import Position
from bootstrap.config.recipe import Recipe
from bootstrap.evaluation.gate import ImprovementTest
from bootstrap.evaluation.protection import Protected, champion_line, protected, was_by_word
from bootstrap.evaluation.spending import shared_alpha
from bootstrap.ledger_records import Generation, GenerationOutcome, Report


def reached(
    recipe: Recipe,
    committed: Sequence[Generation],
    *,
    champion: int,
    highest: int | None,
    report_of: Callable[[int], Report],
) -> Protected:
    """Return what the champions up to `champion` have reached.

    `highest`: the task's last level, None without one. `report_of`: gives a generation's report as verifiers judge now.
    """
    by_word = [one.number for one in committed[1:] if was_by_word(one.decision)]
    line = champion_line(committed, champion, restarts=by_word, superseded=_superseded(recipe, committed))
    return protected(
        {number: report_of(number) for number in line},
        mastered=recipe.evaluation.mastered,
        min_prompts=recipe.gate.min_prompts,
        fixed=recipe.has_fixed_data,
        highest=highest,
    )


def _superseded(recipe: Recipe, committed: Sequence[Generation]) -> set[int]:
    """Return the champions that a later sibling has replaced."""
    found, number = set[int](), 1
    while number < len(committed):
        siblings = recipe.generations.position(number).siblings
        crowned = [one.champion for one in committed[number : siblings.stop] if one.champion in siblings]
        found |= {one for one in crowned if one != crowned[-1]}
        number = siblings.stop
    return found


def improvement_test(recipe: Recipe, committed: Sequence[Generation], position: Position) -> ImprovementTest:
    """Return the test of a generation's improvement; `committed`: all generations before its siblings.

    Comparisons whose record has no alpha count as having spent nothing.
    """
    alpha, branches = recipe.gate.alpha, position.stage.branches
    if position.stage.gate != "compare" or not recipe.spends_over_lineage:
        return ImprovementTest(alpha=alpha, branches=branches)
    spent, done, number = 0.0, 0, 1
    while number < position.eldest:
        siblings = recipe.generations.position(number).siblings
        if recipe.gate_of(number) == "compare":
            done += 1
            test = committed[number].decision.improvement
            if test is not None and test.alpha is not None and not _promoted(committed, siblings):
                spent += test.alpha * len(siblings)
        number = siblings.stop
    remaining = max(recipe.num_compared - done, 1)
    share = shared_alpha(alpha, spent=spent, remaining=remaining)
    return ImprovementTest(alpha=share, branches=branches, shared=f" of {alpha:g} over the lineage")


def _promoted(committed: Sequence[Generation], siblings: range) -> bool:
    return any(committed[number].outcome is GenerationOutcome.PROMOTED for number in siblings)
