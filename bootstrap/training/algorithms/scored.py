"""Input and result of an advantage estimator, and the call of an algorithm's own.

Each algorithm's settings name a module (`estimator`) with one pure function:

    def estimate(scored: Scored, settings: ...) -> AdvantageEstimate

Nothing here knows an algorithm by name.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bootstrap.config.algorithms import PolicyGradient

Advantage = float | Sequence[float]
"""Advantage of a sample: one number for all of its tokens, or one for each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """The scored rollouts of a round. Fields by sample hold one list for each informative group."""

    rewards: Sequence[Sequence[float]]
    """By sample; for `trr_pp` a group holds the samples that a role compares."""
    lengths: Sequence[Sequence[int]]
    """By sample: completion tokens."""
    counts: Sequence[Sequence[bool]]
    """By sample: whether it takes part in the loss. Others may still be part of a baseline."""
    judged: Sequence[float]
    """All rewards of the round, those of zero-variance groups included."""
    values: Sequence[Sequence[Sequence[float]]] = ()
    """By sample and token: the critic's values; empty without a critic."""
    token_rewards: Sequence[Sequence[Sequence[float]]] = ()
    """By sample and token: reward beside the sample's, as the penalty of `kl`; empty without a critic."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AdvantageEstimate:
    """Advantages of a round, one list for each informative group; samples that do not count may have any value."""

    advantages: Sequence[Sequence[Advantage]]
    returns: Sequence[Sequence[Sequence[float]]] = ()
    """By sample and token: the critic's targets; empty without a critic."""


def estimate(scored: Scored, settings: PolicyGradient) -> AdvantageEstimate:
    """Return the estimate by the algorithm's own module."""
    own: Callable[[Scored, PolicyGradient], AdvantageEstimate] = importlib.import_module(settings.estimator).estimate
    return own(scored, settings)
