"""How alpha is shared by the generations of a lineage, which are all judged on the same held-out prompts.

Of twelve candidates that are no better, each tested at alpha, one is promoted in 10 to 13 lineages of 100. Where they
share alpha, that happens in at most alpha of the lineages. Each begins with an equal share (Bonferroni); a promotion
passes on to the next what it was tested at: the fallback procedure (Wiens, Pharmaceutical Statistics 2:211-215, 2003).
The bound holds since no share counts for two candidates that are no better: each of these is tested at its own share
and those of the promotions right before it, which were right.
"""

from collections.abc import Sequence
from itertools import takewhile


def shared_alpha(alpha: float, *, planned: int, promoted: Sequence[bool]) -> float:
    """Return the level at which the next candidate is tested, at most `alpha`.

    `planned`: comparisons that the recipe plans, siblings counted as one; `promoted`: by comparison made so far, in
    order, whether it ended in a promotion. A lineage that is carried on beyond what was planned shares alpha by its new
    number of comparisons, on top of what it has spent.
    """
    assert planned > 0, "alpha is shared by at least one comparison"
    passed_on = sum(1 for _ in takewhile(bool, reversed(promoted)))
    return alpha * min(1 + passed_on, planned) / planned
