"""How alpha is shared by the generations of a lineage, which are all judged on the same held-out prompts.

Of twelve candidates that are no better, each tested at alpha, one is promoted in 10 to 13 lineages of 100. Where they
share alpha, that happens in at most alpha of the lineages, however they are grown. Each is tested at an equal part of
what is left. A rejection spends what it was tested at; a promotion spends nothing, since only a wrong one would be an
error (alpha that is passed on: Wiens, Pharmaceutical Statistics 2:211-215, 2003). Until the first wrong promotion the
levels of all candidates that are no better add up to alpha at most, and with them the chance of one (union bound).
"""


def shared_alpha(alpha: float, *, spent: float, remaining: int) -> float:
    """Return the level at which the next candidate is tested: 0 where all is spent.

    `spent`: the sum of the levels that rejected candidates were tested at; `remaining`: comparisons still planned, the
    next one included.
    """
    assert remaining > 0, "the next comparison is one of those that remain"
    left = alpha - spent
    # What is spent in equal parts adds up but for a rounding error.
    return left / remaining if left > 1e-9 * alpha else 0.0
