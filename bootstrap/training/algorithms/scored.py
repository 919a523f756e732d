"""What an estimator is given and what it returns, and how an algorithm's own is found.

Each algorithm names the module (`estimator` of its settings) that holds its one entry, a pure function:

    def estimate(scored: Scored, settings: ...) -> Estimate

Nothing here knows an algorithm by name.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bootstrap.config.algorithms import PolicyGradient

Advantage = float | Sequence[float]
"""Of a sample: one number for all of its tokens, or one for each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """The scored rollouts of a round. Fields by sample hold one list for each informative group."""

    rewards: Sequence[Sequence[float]]
    """By sample; for `trr_pp` a group is what a role compares."""
    lengths: Sequence[Sequence[int]]
    """By sample: completion tokens."""
    counts: Sequence[Sequence[bool]]
    """By sample: whether it takes part in the loss. One that does not may still be part of a baseline."""
    judged: Sequence[float]
    """Rewards of everything judged in the round, those of zero-variance groups too."""
    values: Sequence[Sequence[Sequence[float]]] = ()
    """By sample and token: what the critic expects; empty without a critic."""
    token_rewards: Sequence[Sequence[Sequence[float]]] = ()
    """By sample and token: what it earns beside the sample's reward, as a penalty of `kl`; empty without a critic."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a round teaches, one list for each informative group; samples that do not count may have any advantage."""

    advantages: Sequence[Sequence[Advantage]]
    returns: Sequence[Sequence[Sequence[float]]] = ()
    """By sample and token: what the critic should have expected; empty without a critic."""


def estimate(scored: Scored, settings: PolicyGradient) -> Estimate:
    """Return what the algorithm's own module makes of a round."""
    own: Callable[[Scored, PolicyGradient], Estimate] = importlib.import_module(settings.estimator).estimate
    return own(scored, settings)
