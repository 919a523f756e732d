"""An algorithm of the user's own: one function, named by the recipe as `module:function` or by an entry point.

    def advantages(
        rewards: list[list[float]], *, lengths: list[list[int]], **options
    ) -> list[list[float]] | list[list[list[float]]]

It is given the informative groups of a round: the reward of each sample, and how many tokens it has. It returns for
each group one number a sample, or for a sample one number a token; the policy loss does the rest, as the settings say.
It has to be a pure function: the same arguments, the same numbers, or a run that is killed does not go on as it began.
Anything else that it returns or raises is a defect of the function and stops the run with its name. It runs in the
driver's process with all its rights. Degenerate case: without informative groups it is not asked.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from bootstrap.config.algorithms import PluginAlgorithm
from bootstrap.errors import RecipeError
from bootstrap.plugins import listed, per_token
from bootstrap.training.algorithms.scored import Advantage, Estimate, Scored


def estimate(scored: Scored, settings: PluginAlgorithm) -> Estimate:
    """Return what the function does. Raises RecipeError when it fails, or returns what are no advantages."""
    if not scored.rewards:
        return Estimate(advantages=[])
    function = _function(settings.model_dump_json())
    # The function may change what it is given.
    rewards, lengths = ([list(group) for group in part] for part in (scored.rewards, scored.lengths))
    try:
        found = function(rewards, lengths=lengths, **settings.options)
    # A foreign function may raise anything; whatever it is, the user needs to hear which function it was.
    except Exception as error:
        raise RecipeError(
            f"the algorithm {settings.uses} raised {type(error).__name__}: {error}; mend it, and run again"
        ) from error
    try:
        return Estimate(advantages=_read(found, scored.lengths))
    except ValueError as error:
        raise RecipeError(
            f"the algorithm {settings.uses} returned {error}; it must return a list for each group that holds for each "
            "sample one finite number, or a list with one for each of its tokens"
        ) from None


@cache
def _function(settings: str) -> Callable[..., Any]:
    """Return the function that settings, as JSON, name. Raises RecipeError as `PluginSettings.found`."""
    return PluginAlgorithm.model_validate_json(settings).found()


def _read(found: Any, lengths: Sequence[Sequence[int]]) -> list[list[Advantage]]:
    """Return advantages as plain numbers. Raises ValueError that says what was found instead."""
    groups = listed(found, len(lengths), "groups")
    rows = [
        listed(group, len(own), f"samples of group {at}")
        for at, (group, own) in enumerate(zip(groups, lengths, strict=True))
    ]
    return [
        [
            per_token(value, length, f"sample {place} of group {at}")
            for place, (value, length) in enumerate(zip(row, own, strict=True))
        ]
        for at, (row, own) in enumerate(zip(rows, lengths, strict=True))
    ]
