"""No advantage from rewards: only a teacher acts on the samples.

Estimator: 0 for every sample. Degenerate cases: none.
"""

from bootstrap.config.algorithms import Unrewarded
from bootstrap.training.algorithms.scored import AdvantageEstimate, Scored


def estimate(scored: Scored, settings: Unrewarded) -> AdvantageEstimate:
    """Return advantage 0 for every sample."""
    return AdvantageEstimate(advantages=[[0.0] * len(group) for group in scored.rewards])
