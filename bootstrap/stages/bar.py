"""What a candidate is held to: what its champion line has reached, and the alpha that it is tested at.

A function of the recipe and the ledger alone. The statistics are `evaluation/protection.py`'s and `spending.py`'s.
"""

from collections.abc import Sequence

from bootstrap.config.generations import Position
from bootstrap.config.recipe import Recipe
from bootstrap.evaluation.gate import ImprovementTest
from bootstrap.evaluation.protection import Protected, champion_line, protected
from bootstrap.evaluation.spending import shared_alpha
from bootstrap.records import Generation, Outcome


def reached(recipe: Recipe, committed: Sequence[Generation], *, champion: int, highest: int | None) -> Protected:
    """Return what the champions up to `champion` have reached; `highest`: the task's last level, None without one."""
    by_word = [one.number for one in committed[1:] if recipe.gate_of(one.number) == "always"]
    line = champion_line(committed, champion, restarts=by_word)
    return protected(
        {number: committed[number].report for number in line},
        mastered=recipe.evaluation.mastered,
        min_prompts=recipe.gate.min_prompts,
        fixed=recipe.has_fixed_data,
        highest=highest,
    )


def test_of(recipe: Recipe, committed: Sequence[Generation], position: Position) -> ImprovementTest:
    """Return what a generation's improvement is tested at."""
    branches = position.stage.branches
    if not recipe.spends_over_lineage:
        return ImprovementTest(alpha=recipe.gate.alpha, branches=branches)
    planned, promoted = recipe.num_compared, list[bool]()
    number = 1
    while number < position.eldest:
        siblings = recipe.generations.position(number).siblings
        if recipe.gate_of(number) == "compare":
            promoted.append(any(committed[one].outcome is Outcome.PROMOTED for one in siblings))
        number = siblings.stop
    alpha = shared_alpha(recipe.gate.alpha, planned=planned, promoted=promoted)
    return ImprovementTest(
        alpha=alpha, branches=branches, shared=f" of {recipe.gate.alpha:g} over {planned} comparisons"
    )
