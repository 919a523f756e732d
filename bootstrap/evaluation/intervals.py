"""Confidence bounds for shares and for differences of paired shares. Normal quantiles from the standard library."""

import math
from statistics import NormalDist

from bootstrap.records import Interval


def wilson(num_right: int, *, total: int, confidence: float = 0.95) -> Interval:
    """Return the two-sided Wilson score interval of a share (Wilson, JASA 22:209-212, 1927).

    Unlike the normal approximation it holds for small totals and for shares near 0 and 1. Of nothing, it is [0, 1].
    """
    assert 0 <= num_right <= total, f"{num_right} of {total} is no share"
    if total == 0:
        return Interval(low=0.0, high=1.0, confidence=confidence)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = num_right / total
    center = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # The bounds at shares 0 and 1 are exactly 0 and 1; rounding would put them beside.
    low = 0.0 if num_right == 0 else (center - half) / scale
    high = 1.0 if num_right == total else (center + half) / scale
    return Interval(low=low, high=high, confidence=confidence)


def paired_lower_bound(gained: int, *, lost: int, total: int, confidence: float = 0.95) -> float:
    """Return the one-sided lower bound of the difference of two shares measured on the same `total` items.

    With b items gained and c lost the difference is (b - c) / n, and its Wald standard error
    sqrt(b + c - (b - c)^2 / n) / n (Agresti, Categorical Data Analysis, 3rd ed., section 11.1.1). Without discordant
    items both are exactly 0: nothing measured speaks for a difference.
    """
    assert gained >= 0 and lost >= 0 and total > 0 and gained + lost <= total, f"+{gained} -{lost} of {total}"
    difference = (gained - lost) / total
    error = math.sqrt(gained + lost - (gained - lost) ** 2 / total) / total
    return difference - NormalDist().inv_cdf(confidence) * error
