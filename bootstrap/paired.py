"""Tests of the difference of two shares that were measured on the same items: McNemar's exact one, Tango's score.

Left out: bounds from the score (`evaluation/intervals.py`, `lineage/outcome.py`).
"""

import math


def mcnemar_exact(gained: int, *, lost: int) -> float:
    """Return the two-sided exact p-value of McNemar's test (Psychometrika 12:153-157, 1947) on discordant pairs.

    Without a difference each discordant pair is a gain with probability 1/2, so the value is twice the smaller binomial
    tail, at most 1; without discordant pairs it is 1. Integers throughout; only the final quotient is rounded.
    """
    assert gained >= 0 and lost >= 0, f"+{gained} -{lost}"
    num_pairs = gained + lost
    tail, ways = 0, 1
    for i in range(min(gained, lost) + 1):
        tail += ways
        ways = ways * (num_pairs - i) // (i + 1)
    return min(1.0, 2 * tail / 2**num_pairs)


def score(difference: float, *, gained: int, lost: int, total: int) -> float:
    """Return the score statistic for a hypothetical difference, normal under it; it falls as the difference rises.

    `gained`: items that only the first side has right, `lost`: those that only the second has, of `total`. Its variance
    uses the maximum-likelihood share of lost items under that difference: the larger root of `2n q^2 + B q + C = 0`
    (Tango, Statistics in Medicine 18:3511-3513, 1999).
    """
    b = -gained - lost + (2 * total - gained + lost) * difference
    c = -lost * difference * (1 - difference)
    share = (math.sqrt(max(b * b - 8 * total * c, 0.0)) - b) / (4 * total)
    variance = total * (2 * share + difference * (1 - difference))
    distance = gained - lost - total * difference
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)
