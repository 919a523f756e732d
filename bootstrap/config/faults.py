"""What settings say themselves about data that does not fit them, in the words of a recipe.

Each is a ValueError, which pydantic carries to its place; `problems.py` collects them and names that place.
"""

import difflib
from collections.abc import Iterable, Sequence

from bootstrap.schema import renamed_setting


class UnknownSetting(ValueError):
    """A key that these settings do not have; `section`: their `type`, or else their class's name."""

    def __init__(self, name: str, known: Sequence[str], *, section: str = "") -> None:
        super().__init__(f"no such setting{renamed_setting(section, name) or did_you_mean(name, known)}")


class MissingSetting(ValueError):
    """A setting that has no default and is not given."""

    def __init__(self, *, types: Sequence[str] = (), description: str | None = None) -> None:
        hint = f" with one of the types {', '.join(types)}" if types else ""
        super().__init__(f"missing; add it{hint or in_parentheses(description)}")


class UnknownType(ValueError):
    """A `type` that no member of the union has."""

    def __init__(self, given: object, types: Sequence[str]) -> None:
        super().__init__(f"no such type {str(given)!r}{did_you_mean(str(given), types)}")


class MissingType(ValueError):
    """A section without the `type` that would say which member of a union it is."""

    def __init__(self, types: Sequence[str]) -> None:
        super().__init__(f"missing type; add one of: {', '.join(types)}")
        self.types = types
        self.default: str | None = None
        """The type of the section that stands there when the recipe leaves it out; None where there is none."""


class NotOfForm(ValueError):
    """A value of another form than `form`, which completes `must be`; several forms may be allowed in one place."""

    def __init__(self, form: str) -> None:
        super().__init__(f"must be {form}")
        self.form = form


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return what follows the message about an unknown name: the nearest known one, or else all."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; there is {listed(known)}"


def listed(names: Iterable[str], *, limit: int = 12) -> str:
    """Return the first names, and how many more there are."""
    names = list(names)
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def in_parentheses(description: str | None) -> str:
    """Return a setting's description in one line, for the end of a message; empty without one."""
    return f" ({' '.join(description.split())})" if description else ""
