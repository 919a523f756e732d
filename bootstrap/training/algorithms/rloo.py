"""REINFORCE leave-one-out (arXiv:2402.14740, eq. 7).

Estimator: `A_i = r_i - mean of the other samples' rewards`. The baseline does not depend on the sample, so the gradient
is unbiased; it is GRPO's without division times `G / (G - 1)`. Degenerate cases: equal rewards give advantage 0
throughout, as does a single sample, which has no others. `normalize_batch` divides by the standard deviation of all
advantages in the round, those of zero-variance groups among them.
"""

import math
from collections.abc import Sequence

from bootstrap.config.algorithms import Rloo
from bootstrap.training.algorithms.normalize import deviation, divided
from bootstrap.training.algorithms.scored import AdvantageEstimate, Scored


def estimate(scored: Scored, settings: Rloo) -> AdvantageEstimate:
    """Return one advantage for each sample."""
    found = [advantages(group) for group in scored.rewards]
    if not settings.normalize_batch:
        return AdvantageEstimate(advantages=found)
    # Zero-variance groups have advantage 0, and so does the mean.
    values = [value for group in found for value in group]
    others = [0.0] * (len(scored.judged) - len(values))
    return AdvantageEstimate(advantages=divided(found, deviation([*values, *others], mean=0.0)))


def advantages(rewards_G: Sequence[float]) -> list[float]:
    """Return the leave-one-out advantage of each of the group's G samples."""
    if len(rewards_G) < 2:
        return [0.0] * len(rewards_G)
    total, others = math.fsum(rewards_G), len(rewards_G) - 1
    return [reward - (total - reward) / others for reward in rewards_G]
