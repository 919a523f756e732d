"""Proximal Policy Optimization with a critic (arXiv:1707.06347): each token's reward beyond the critic's value.

Estimator: generalised advantages (`gae.py`) of each completion's tokens. The last token earns the sample's reward, and
every token its own (`token_rewards`). With `normalize` the mean is subtracted and the result divided by the standard
deviation, over all tokens of the round that count. The critic's target is the advantage before that, plus the value.
Degenerate cases: samples that do not count have neither advantage nor target; equal advantages all round become 0.
"""

from collections.abc import Sequence

from bootstrap.config.algorithms import Ppo
from bootstrap.training.algorithms import gae
from bootstrap.training.algorithms.normalize import weighted_moments
from bootstrap.training.algorithms.reinforce_pp import EPSILON
from bootstrap.training.algorithms.scored import AdvantageEstimate, Scored


def estimate(scored: Scored, settings: Ppo) -> AdvantageEstimate:
    """Return the advantage of every token, and the critic's target for it."""

    def traced(reward: float, counts: bool, earned: Sequence[float], values: Sequence[float]) -> list[float]:
        if not counts:
            return []
        return gae.advantages([*earned[:-1], earned[-1] + reward], values, gamma=settings.gamma, lam=settings.lam)

    found = [
        [traced(*sample) for sample in zip(*group, strict=True)]
        for group in zip(scored.rewards, scored.counts, scored.token_rewards, scored.values, strict=True)
    ]
    returns = [
        [[a + v for a, v in zip(own, values, strict=False)] for own, values in zip(group, expected, strict=True)]
        for group, expected in zip(found, scored.values, strict=True)
    ]
    if not settings.normalize:
        return AdvantageEstimate(advantages=found, returns=returns)
    everything = [value for group in found for own in group for value in own]
    mean, std = weighted_moments(everything, [1] * len(everything))
    scaled = [[[(value - mean) / (std + EPSILON) for value in own] for own in group] for group in found]
    return AdvantageEstimate(advantages=scaled, returns=returns)
