"""What is wrong with a recipe, with its place and its remedy."""

from typing import NamedTuple

from bootstrap.config.base import Place


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


def dotted(place: Place) -> str:
    """Return a place as people write it: `generations.steps[0].updates`."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
