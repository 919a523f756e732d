"""Settings of a recipe that cannot work together: one module a theme, one function a rule.

A rule yields each conflict of a recipe with its place and remedy. `RULES` of a module lists its rules, and `recipe.py`
runs them all. Checks that need the file system are in `folders.py`.
"""

from typing import NamedTuple

from bootstrap.config.base import Place, dotted


class Conflict(NamedTuple):
    """Settings that cannot work together."""

    place: Place
    message: str
    """The problem and the remedy."""


class Conflicts(ValueError):
    """All conflicts of one recipe."""

    def __init__(self, conflicts: list[Conflict]) -> None:
        super().__init__("; ".join(f"{dotted(conflict.place)}: {conflict.message}" for conflict in conflicts))
        self.conflicts = conflicts
