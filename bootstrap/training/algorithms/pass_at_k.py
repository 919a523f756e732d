"""GRPO on pass@k: the analytic advantage of arXiv:2508.10751, for any reward.

Estimator: over all sets of k of a group's G samples, the reward of a set is that of its best sample. The advantage of a
sample is the mean reward of the sets that hold it less the mean of all sets, divided by the standard deviation over the
sets when `normalize_std` is set. This is the exact mean of each sample's GRPO advantages over all sets that hold it;
with rewards 0 and 1 it is the paper's closed form (section 2.4). Wrong samples lose less than under pass@1, and right
ones gain more the rarer they are, which keeps exploration on hard prompts. Degenerate cases: when every set holds a
best sample (fewer than k others), or k is G or more, the advantage is 0 throughout, although rewards may differ; k = 1
gives GRPO's.
"""

import math
from collections.abc import Sequence

from bootstrap.config.algorithms import PassAtK
from bootstrap.training.algorithms.normalize import STD_EPSILON
from bootstrap.training.algorithms.scored import AdvantageEstimate, Scored


def estimate(scored: Scored, settings: PassAtK) -> AdvantageEstimate:
    """Return one advantage for each sample."""
    return AdvantageEstimate(advantages=[advantages(group, settings) for group in scored.rewards])


def advantages(rewards_G: Sequence[float], settings: PassAtK) -> list[float]:
    """Return the pass@k advantage of each of the group's G samples."""
    size, k = len(rewards_G), settings.k
    if not settings.informative(rewards_G):
        return [0.0] * size
    order = sorted(range(size), key=lambda i: rewards_G[i])
    best = [rewards_G[i] for i in order]
    # Place j is the best of a set when the other k - 1 come from the j places below it; ties are split by place.
    sets = [math.comb(j, k - 1) for j in range(size)]
    total = math.comb(size, k)
    mean = math.fsum(b * n for b, n in zip(best, sets, strict=True)) / total
    variance = math.fsum(n * (b - mean) ** 2 for b, n in zip(best, sets, strict=True)) / total
    with_it = math.comb(size - 1, k - 1)
    found = [0.0] * size
    for place, index in enumerate(order):
        # Sets that hold this sample: it is the best of some, a place above it of the others.
        above = math.fsum(best[j] * math.comb(j - 1, k - 2) for j in range(place + 1, size)) if k > 1 else 0.0
        found[index] = (best[place] * sets[place] + above) / with_it - mean
    scale = math.sqrt(variance) + STD_EPSILON if settings.normalize_std else 1.0
    return [value / scale for value in found]
