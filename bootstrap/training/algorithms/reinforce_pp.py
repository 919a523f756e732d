"""REINFORCE++ (arXiv:2501.03262), with and without baseline.

Estimator: the reward of each sample, less its group's mean when `baseline` is set, normalised by mean and standard
deviation over all completion tokens of the round: a sample counts as often as it has tokens, as in the reference
implementations (OpenRLHF, verl). With no baseline one sample per prompt is enough. Degenerate cases: equal rewards in
the whole round give advantage 0 throughout; with a baseline, a group with equal rewards has advantage near 0, off by
the round's mean. Samples without tokens weigh nothing.
"""

import math
from collections.abc import Sequence

from bootstrap.config.algorithms import ReinforcePlusPlus
from bootstrap.training.algorithms.normalize import weighted_moments
from bootstrap.training.algorithms.scored import AdvantageEstimate, Scored

EPSILON = 1e-8
"""Added to the standard deviation, as in the reference implementations."""


def estimate(scored: Scored, settings: ReinforcePlusPlus) -> AdvantageEstimate:
    """Return one advantage for each sample."""
    return AdvantageEstimate(advantages=advantages(scored.rewards, scored.lengths, baseline=settings.baseline))


def advantages(
    rewards: Sequence[Sequence[float]], lengths: Sequence[Sequence[int]], *, baseline: bool
) -> list[list[float]]:
    """Return the advantages of each group's samples; `lengths` are their completion tokens."""
    relative = [[r - math.fsum(group) / len(group) for r in group] if baseline else list(group) for group in rewards]
    mean, std = weighted_moments(
        [value for group in relative for value in group], [length for group in lengths for length in group]
    )
    return [[(value - mean) / (std + EPSILON) for value in group] for group in relative]
