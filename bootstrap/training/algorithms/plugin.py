"""An algorithm of the user's own: one function, named by the recipe as `module:function` or by an entry point.

    def advantages(
        rewards: list[list[float]], *, lengths: list[list[int]], **options
    ) -> list[list[float]] | list[list[list[float]]]

`rewards` and `lengths` (completion tokens) have one list for each informative group of a round, with one number a
sample. The result has the same shape; in place of a sample's number may stand a list with one for each of its tokens.
The settings say how the policy loss uses them. The function has to be pure, or a killed run does not resume as it
began. Any other result, and any error, stops the run with the function's name. It runs in the driver's process with all
its rights. Degenerate case: a round without informative groups does not call it.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from bootstrap.config.algorithms import PluginAlgorithm
from bootstrap.errors import RecipeError
from bootstrap.plugins import listed, per_token
from bootstrap.training.algorithms.scored import Advantage, AdvantageEstimate, Scored


def estimate(scored: Scored, settings: PluginAlgorithm) -> AdvantageEstimate:
    """Return the function's advantages. Raises RecipeError when it fails or returns something else."""
    if not scored.rewards:
        return AdvantageEstimate(advantages=[])
    function = _function(settings.model_dump_json())
    # The function may change what it is given.
    rewards, lengths = ([list(group) for group in part] for part in (scored.rewards, scored.lengths))
    try:
        found = function(rewards, lengths=lengths, **settings.options)
    # A foreign function may raise anything; whatever it is, the user needs to hear which function it was.
    except Exception as error:
        raise RecipeError(
            f"the algorithm {settings.uses} raised {type(error).__name__}: {error}; fix it, and run again"
        ) from error
    try:
        return AdvantageEstimate(advantages=_read(found, scored.lengths))
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
