"""Tango's score test of the difference of two shares that were measured on the same items.

Left out: bounds from it (`evaluation/intervals.py`, `lineage/outcome.py`).
"""

import math


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
