"""REINFORCE leave-one-out (arXiv:2402.14740, eq. 7).

Estimator: `A_i = r_i - mean of the other samples' rewards`. The baseline does not depend on the sample, so the gradient
is unbiased; it is GRPO's without division times `G / (G - 1)`. Degenerate cases: equal rewards give advantage 0
throughout, as does a single sample, which has no others.
"""

import math
from collections.abc import Sequence


def advantages(rewards_G: Sequence[float]) -> list[float]:
    """Return the leave-one-out advantage of each of the group's G samples."""
    if len(rewards_G) < 2:
        return [0.0] * len(rewards_G)
    total, others = math.fsum(rewards_G), len(rewards_G) - 1
    return [reward - (total - reward) / others for reward in rewards_G]
