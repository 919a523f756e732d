"""Settings of a recipe that cannot work together: one module a theme, one function a rule.

A rule takes the recipe and yields each conflict that it finds, with its place and its remedy. `RULES` of a module lists
its rules; `recipe.py` runs them all. What needs the file system is `folders.py`'s to check.
"""

from typing import NamedTuple

from bootstrap.config.base import Place, dotted


class Conflict(NamedTuple):
    """Settings that cannot work together."""

    place: Place
    message: str
    """What is wrong and what to do instead."""


class Conflicts(ValueError):
    """All conflicts of one recipe."""

    def __init__(self, conflicts: list[Conflict]) -> None:
        super().__init__("; ".join(f"{dotted(conflict.place)}: {conflict.message}" for conflict in conflicts))
        self.conflicts = conflicts
