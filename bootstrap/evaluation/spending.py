"""Alpha shared by the generations of a lineage, which are all tested on the same held-out prompts.

If each of twelve candidates that are no better is tested at alpha, one is promoted in 10 to 13 lineages of 100. If they
share alpha, that happens in at most a share alpha of the lineages, however they are grown. Each is tested at an equal
part of the remaining alpha. A rejection spends its level; a promotion spends nothing, since only a wrong one would be
an error (the fallback procedure: Wiens, Pharmaceutical Statistics 2:211-215, 2003). Until the first wrong promotion,
the levels of all candidates that are no better add up to at most alpha, and so does the chance of one (union bound).
"""


def shared_alpha(alpha: float, *, spent: float, remaining: int) -> float:
    """Return the level at which the next candidate is tested; 0 once alpha is spent.

    `spent`: sum of the levels of all rejections; `remaining`: comparisons still planned, including the next one.
    """
    assert remaining > 0, "the next comparison is one of those that remain"
    left = alpha - spent
    # Equal parts add up to alpha except for a rounding error.
    return left / remaining if left > 1e-9 * alpha else 0.0
