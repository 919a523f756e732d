"""Clip-Cov and KL-Cov (arXiv:2505.22617): the tokens whose updates lower the policy's entropy most.

Estimator: the covariance of token t is `(A_t - mean A)(logprob_t - mean logprob)`, with means over the round's tokens
in the loss. Where both factors are high, the update makes a likely token likelier and entropy falls. Clip-Cov removes
the gradient of random tokens within bounds; KL-Cov holds the tokens of largest covariance to their sampling
log-probability. The log-probabilities are those at sampling time, so that the choice does not depend on the split of a
batch; the paper takes current ones, which are the same in the first update on a round's rollouts. Degenerate cases: no
tokens, no choice; without a token within the bounds Clip-Cov does nothing; with equal advantages every covariance is 0
and KL-Cov chooses by place.
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
    """Return the indices (into N) of the tokens that lose their gradient: `share` of all (`_count`), drawn between the
    bounds.

    All tokens between the bounds where these are fewer.
    """
    within = [place for place, value in enumerate(covariances_N) if low < value < high]
    return set(rng.sample(within, min(_count(share, len(covariances_N)), len(within))))


def kl_cov(covariances_N: Sequence[float], *, share: float) -> set[int]:
    """Return the indices (into N) of the tokens that KL acts on: `share` of all (`_count`), of largest covariance."""
    count = _count(share, len(covariances_N))
    return set(sorted(range(len(covariances_N)), key=lambda place: (-covariances_N[place], place))[:count])


def _count(share: float, total: int) -> int:
    """Return the number of tokens in a share as the authors' program counts it: rounded down, at least one."""
    return max(int(share * total), 1)
