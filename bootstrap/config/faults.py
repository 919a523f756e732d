"""Faults of data that settings report themselves, in the words of a recipe.

Each is a ValueError that pydantic carries along; `problems.py` collects them and adds their places.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from bootstrap.schema import RENAMED_SETTINGS, renamed_setting

SUGGESTIONS = 100
"""Most names of one recipe for which a near one is looked for, which takes long; a message lists fewer problems."""
_LONGEST = 100
"""Characters of a name that are compared."""
_left: ContextVar[Iterator[int] | None] = ContextVar("suggestions left", default=None)


class SettingFault(ValueError):
    """What is wrong with data; the answers hold where a kind says nothing else."""

    form: str | None = None
    """Completion of `must be`, for a value of the wrong form; one place may allow several forms."""
    is_absence: bool = False
    """Whether a setting is missing, so that its place is not in the data."""
    types: Sequence[str] = ()
    """Types of which the section should name one, and names none."""
    default: str | None = None
    """Type of the section's default; None without a default."""


def fault_of(detail: Mapping[str, Any]) -> SettingFault | None:
    """Return the fault in pydantic's account of an error; None where pydantic itself refused the value."""
    match detail:
        case {"ctx": {"error": SettingFault() as fault}}:
            return fault
        case {"ctx": {"error": error}}:
            return SettingFault(str(error))
    return None


class UnknownSetting(SettingFault):
    """A key that these settings do not have; `section`: their `type`, or else their class's name."""

    def __init__(self, name: str, known: Sequence[str], *, section: str = "") -> None:
        former = RENAMED_SETTINGS.get(section, {})
        super().__init__(f"no such setting{renamed_setting(section, name) or did_you_mean(name, known, former)}")


class MissingSetting(SettingFault):
    """A setting that has no default and is not given."""

    is_absence = True

    def __init__(self, *, types: Sequence[str] = (), description: str | None = None) -> None:
        hint = f" with one of the types {', '.join(types)}" if types else ""
        super().__init__(f"missing; add it{hint or in_parentheses(description)}")


class UnknownType(SettingFault):
    """A `type` that no member of the union has."""

    def __init__(self, given: object, types: Sequence[str]) -> None:
        super().__init__(f"no such type {str(given)!r}{did_you_mean(str(given), types)}")


class MissingType(SettingFault):
    """A section without the `type` that would say which member of a union it is."""

    def __init__(self, types: Sequence[str]) -> None:
        super().__init__(f"missing type; add one of: {', '.join(types)}")
        self.types = types


class NotOfForm(SettingFault):
    """A value of another form than `form`."""

    def __init__(self, form: str) -> None:
        super().__init__(f"must be {form}")
        self.form = form


def did_you_mean(name: str, known: Sequence[str], former: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return what follows the message about an unknown name: the nearest known one, or else all.

    `former`: former name -> name; one that is near is answered with the name.
    """
    close = nearest(name, [*known, *former], cutoff=0.5)
    return f"; did you mean {former.get(close, close)}?" if close else f"; there is {listed(known)}"


def nearest(name: str, known: Sequence[str], *, cutoff: float = 0.6) -> str | None:
    """Return the known name that is most like `name`; None where none is, or `few_suggestions` have been used up."""
    left = _left.get()
    if left is not None and next(left, None) is None:
        return None
    return next(iter(difflib.get_close_matches(name[:_LONGEST], known, n=1, cutoff=cutoff)), None)


@contextmanager
def few_suggestions() -> Iterator[None]:
    """Look for at most `SUGGESTIONS` near names within the block: a recipe may have thousands of unknown ones."""
    before = _left.set(iter(range(SUGGESTIONS)))
    try:
        yield
    finally:
        _left.reset(before)


def listed(names: Iterable[str], *, limit: int = 12) -> str:
    """Return the first names, and how many more there are."""
    names = list(names)
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def in_parentheses(description: str | None) -> str:
    """Return a setting's description in one line, for the end of a message; empty without one."""
    return f" ({' '.join(description.split())})" if description else ""
