"""Group Relative Policy Optimization (arXiv:2402.03300), with the switches of DAPO and Dr. GRPO.

Estimator: the advantage of sample i in a group is `A_i = r_i - mean(r)`, divided by the group's standard deviation when
`normalize_std` is set, or by that of all rewards in the round when it is `batch` (`normalize.py`); every completion
token carries its sample's advantage. Degenerate case: a zero-variance group, or one of a single sample, has advantage 0
and gives no gradient; `zero_variance` says whether its tokens count in the mean. GSPO and CISPO share the estimator and
differ in the loss; for TRR++ a group holds the samples that a role of self-play compares.
"""

import math
from collections.abc import Sequence

from bootstrap.config.algorithms import Cispo, Grpo, Gspo, RoleRelative
from bootstrap.training.algorithms.normalize import STD_EPSILON, deviation, divided
from bootstrap.training.algorithms.scored import AdvantageEstimate, Scored


def estimate(scored: Scored, settings: Grpo | Gspo | Cispo | RoleRelative) -> AdvantageEstimate:
    """Return one advantage for each sample."""
    found = [advantages(group, normalize_std=settings.normalize_std is True) for group in scored.rewards]
    return AdvantageEstimate(
        advantages=divided(found, deviation(scored.judged)) if settings.normalize_std == "batch" else found
    )


def advantages(rewards_G: Sequence[float], *, normalize_std: bool) -> list[float]:
    """Return the group-relative advantage of each of the group's G samples (population standard deviation)."""
    mean = math.fsum(rewards_G) / len(rewards_G)
    centred = [reward - mean for reward in rewards_G]
    if not normalize_std:
        return centred
    std = deviation(centred, mean=0.0)
    return [c / (std + STD_EPSILON) for c in centred]
