"""Clip-Cov and KL-Cov (arXiv:2505.22617): which tokens would cost the policy its entropy.

Estimator: the covariance of token t is `(A_t - mean A)(logprob_t - mean logprob)`, means over the round's tokens in the
loss. Where both are high, the update makes a likely token likelier and entropy falls. Clip-Cov draws tokens within
bounds and takes their gradient; KL-Cov holds the tokens of largest covariance to their sampling log-probability. The
log-probabilities are those at sampling time, so that a choice does not depend on how a batch is split; the paper takes
the current ones, which are the same in the first update on a round's rollouts. Degenerate cases: without tokens
nothing is chosen; without a token within its bounds Clip-Cov does nothing; with equal advantages no token has a
covariance and KL-Cov chooses by place.
"""

import math
from collections.abc import Sequence
from random import Random


def covariances(advantages_N: Sequence[float], logprobs_N: Sequence[float]) -> list[float]:
    """Return the covariance of each of N tokens."""
    if not advantages_N:
        return []
    mean_a = math.fsum(advantages_N) / len(advantages_N)
    mean_l = math.fsum(logprobs_N) / len(logprobs_N)
    return [(a - mean_a) * (lp - mean_l) for a, lp in zip(advantages_N, logprobs_N, strict=True)]


def clip_cov(covariances_N: Sequence[float], *, share: float, low: float, high: float, rng: Random) -> set[int]:
    """Return the places that lose their gradient, drawn among those between the bounds.

    They are `share` of all places as `_count` has it, or all that lie between the bounds where those are fewer.
    """
    within = [place for place, value in enumerate(covariances_N) if low < value < high]
    return set(rng.sample(within, min(_count(share, len(covariances_N)), len(within))))


def kl_cov(covariances_N: Sequence[float], *, share: float) -> set[int]:
    """Return the places that are held: those of largest covariance, `share` of all as `_count` has it."""
    count = _count(share, len(covariances_N))
    return set(sorted(range(len(covariances_N)), key=lambda place: (-covariances_N[place], place))[:count])


def _count(share: float, total: int) -> int:
    """Return the share as a number of places, as the authors' program does: rounded down, and never below one."""
    return max(int(share * total), 1)
