"""Confidence bounds for shares and for differences of paired shares: score intervals, which hold for small counts."""

import math
from statistics import NormalDist

from scipy.optimize import brentq

from bootstrap.ledger_records import Interval
from bootstrap.paired import score


def wilson(num_right: int, *, total: int, confidence: float = 0.95) -> Interval:
    """Return the two-sided Wilson score interval of a share (Wilson, JASA 22:209-212, 1927).

    Unlike the normal approximation it holds for small totals and for shares near 0 and 1. With total 0 it is [0, 1].
    """
    assert 0 <= num_right <= total, f"{num_right} of {total} is no share"
    if total == 0:
        return Interval(low=0.0, high=1.0, confidence=confidence)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = num_right / total
    center = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # At shares 0 and 1 the bounds are exactly 0 and 1, which rounding would miss.
    low = 0.0 if num_right == 0 else (center - half) / scale
    high = 1.0 if num_right == total else (center + half) / scale
    return Interval(low=low, high=high, confidence=confidence)


def paired_lower_bound(gained: int, *, lost: int, total: int, confidence: float = 0.95) -> float:
    """Return the one-sided lower score bound of the difference of two shares measured on the same `total` items.

    `gained`: items that only the first side has right, `lost`: those that only the second has. The bound is the
    smallest difference that the score test does not reject (Tango, Statistics in Medicine 17:891-908, 1998). Unlike the
    normal approximation it keeps its error rate for small totals and for shares near 0 and 1. For n items that all
    agree it is -z^2 / (n + z^2), where z is the normal quantile of `confidence`.
    """
    assert gained >= 0 and lost >= 0 and total > 0 and gained + lost <= total, f"+{gained} -{lost} of {total}"
    z = NormalDist().inv_cdf(confidence)
    if total in (gained, lost) and (gained - lost) * z <= 0:
        # A difference cannot lie beyond -1 or 1.
        return (gained - lost) / total
    if not gained and not lost:
        return -z * abs(z) / (total + z * z)

    def excess(difference: float) -> float:
        return score(difference, gained=gained, lost=lost, total=total) - z

    # The score falls from infinity at difference -1 to minus infinity at 1.
    return brentq(excess, -1 + 1e-12, 1 - 1e-12, xtol=1e-12)  # pyright: ignore[reportReturnType]  # no tuple


def paired_interval(gained: int, *, lost: int, total: int, confidence: float = 0.95) -> Interval:
    """Return the two-sided score interval of the difference that `paired_lower_bound` bounds (Tango 1998)."""
    one_sided = 0.5 + confidence / 2
    return Interval(
        low=paired_lower_bound(gained, lost=lost, total=total, confidence=one_sided),
        high=-paired_lower_bound(lost, lost=gained, total=total, confidence=one_sided),
        confidence=confidence,
    )
