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
from math import isfinite
from numbers import Real
from typing import Any

from bootstrap.config.algorithms import PluginAlgorithm
from bootstrap.errors import RecipeError
from bootstrap.training.algorithms.scored import Advantage, Estimate, Scored


def estimate(scored: Scored, settings: PluginAlgorithm) -> Estimate:
    """Return what the function does. Raises RecipeError when it fails, or returns what are no advantages."""
    if not scored.rewards:
        return Estimate(advantages=[])
    function = _function(settings.uses, settings.source)
    settings.kind.check_signature(function, settings.uses, settings.options, [], lengths=[])
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
def _function(uses: str, source: str | None) -> Callable[..., Any]:
    """Return the function. Raises RecipeError where it is not found, or its source is not the one that is pinned."""
    settings = PluginAlgorithm(uses=uses, source=source)
    settings.source_found()
    return settings.kind.find(uses)


def _read(found: Any, lengths: Sequence[Sequence[int]]) -> list[list[Advantage]]:
    """Return advantages as plain numbers. Raises ValueError that says what was found instead."""
    groups = _listed(found, len(lengths), "groups")
    rows = [
        _listed(group, len(own), f"samples of group {at}")
        for at, (group, own) in enumerate(zip(groups, lengths, strict=True))
    ]
    return [
        [
            _advantage(value, length, f"sample {place} of group {at}")
            for place, (value, length) in enumerate(zip(row, own, strict=True))
        ]
        for at, (row, own) in enumerate(zip(rows, lengths, strict=True))
    ]


def _advantage(value: Any, length: int, where: str) -> Advantage:
    """Return the advantage of a sample, or of each of its tokens."""
    if isinstance(value, Real):
        return _number(value, where)
    return [_number(one, where) for one in _listed(value, length, f"tokens of {where}")]


def _listed(value: Any, count: int, what: str) -> list[Any]:
    """Return a list, or what an array holds, of `count` entries."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(value, list | tuple):
        raise ValueError(f"a {type(value).__name__} for the {what}")
    if len(value) != count:
        raise ValueError(f"{len(value)} entries for the {count} {what}")
    return list(value)


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"a {type(value).__name__} for {where}")
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if not isfinite(number):
        raise ValueError(f"{number} for {where}")
    return number
