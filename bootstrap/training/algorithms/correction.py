"""Off-policy correction: weights of tokens where sampler and trainer disagree.

Estimator: decoupled PPO (arXiv:2110.00641, section 3) separates the policy that sampled (behaviour) from the one that
an update stays close to (proximal: the trainer's own at the start of the round). Its objective is the clipped one of
the ratio to the proximal policy, times `w = proximal / behaviour` of each token, or of its completion by product (the
exact weight of the sequence) or by geometric mean. Since `w` is not negative, it may scale the advantages instead.
Weights beyond the bounds become the bound (truncated importance sampling) or 0 (masked), as in TRL's
`vllm_importance_sampling_mode`. Degenerate case: where both policies agree every weight is 1.
"""

import math
from collections.abc import Sequence

from bootstrap.config.policy_terms import OffPolicyCorrection
from bootstrap.learner_records import RatioLevel

MAX_LOG_RATIO = 700.0
"""A larger log-ratio would overflow float64; the bound acts long before."""


def weights(
    proximal_T: Sequence[float], behaviour_T: Sequence[float], settings: OffPolicyCorrection
) -> tuple[float, ...]:
    """Return the weights of a completion's tokens, shape (T), from its log-probabilities under both policies."""
    log_ratios = [new - old for new, old in zip(proximal_T, behaviour_T, strict=True)]
    if settings.level is not RatioLevel.TOKEN:
        total = math.fsum(log_ratios)
        mean = settings.level is RatioLevel.SEQUENCE
        log_ratios = [total / max(len(log_ratios), 1) if mean else total] * len(log_ratios)
    low = 0.0 if settings.low is None else settings.low
    ratios = (math.exp(min(value, MAX_LOG_RATIO)) for value in log_ratios)
    if settings.outside == "mask":
        return tuple(ratio if low <= ratio <= settings.high else 0.0 for ratio in ratios)
    return tuple(min(max(ratio, low), settings.high) for ratio in ratios)
