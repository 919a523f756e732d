"""Standard deviations that advantages are divided by: of a group, or of a whole round.

They are population deviations; GRPO (arXiv:2402.03300) writes `std` without saying which. TRL and verl take the sample
deviation (Bessel's correction), `sqrt(n / (n - 1))` times ours for n values. Our advantages are larger than theirs by
that factor: 1.07 in groups of 8, 1.41 in groups of 2.

Degenerate case: without variance numerator and deviation are both 0; the epsilon keeps the quotient 0.
"""

import math
from collections.abc import Sequence

STD_EPSILON = 1e-4
"""Added to the standard deviation, as in the reference implementations, so that near-equal rewards do not explode."""


def deviation(values: Sequence[float], *, mean: float | None = None) -> float:
    """Return the population standard deviation, about `mean` if given; 0 for no values."""
    if not values:
        return 0.0
    middle = math.fsum(values) / len(values) if mean is None else mean
    return math.sqrt(math.fsum((v - middle) * (v - middle) for v in values) / len(values))


def divided(values: Sequence[Sequence[float]], std: float) -> list[list[float]]:
    """Return every number divided by a standard deviation."""
    return [[value / (std + STD_EPSILON) for value in group] for group in values]


def weighted_moments(values: Sequence[float], weights: Sequence[int]) -> tuple[float, float]:
    """Return the weighted mean and population standard deviation; zeros for a total weight of 0."""
    total = sum(weights)
    if not total:
        return 0.0, 0.0
    mean = math.fsum(v * w for v, w in zip(values, weights, strict=True)) / total
    variance = math.fsum(w * (v - mean) ** 2 for v, w in zip(values, weights, strict=True)) / total
    return mean, math.sqrt(variance)
