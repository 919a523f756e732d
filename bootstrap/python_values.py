"""Python values as JSON that keeps their types, and Python's `==` on them.

None, truth values, finite floats, whole numbers, text, lists, and dicts with text keys are plain JSON. Every other
value is an object with one key, its tag:

    {"$tuple": [...]}  {"$set": [...]}  {"$frozenset": [...]}  {"$dict": [[key, value], ...]}  {"$bytes": "00ff"}
    {"$float": "inf"}  {"$complex": [real, imaginary]}  {"$fraction": [numerator, denominator]}

A dict with a key that is no text, or starts with `$`, is written with its tag, so no plain dict looks like a tag. As
in `==`, a `Decimal` is its fraction, and a `bytearray` is bytes.

Two values are equal when their canonical texts are: numbers by value whatever their type (`True`, `1`, `1.0` are one
number), sets and dicts without order. Comparing takes time in proportion to the text, and no hashes, so no value is
slow to compare. NaN equals nothing.

Left out: reading and writing inside the sandbox (`bootstrap.sandbox.wire`), which trusts no input.
"""

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from operator import itemgetter
from typing import Any

TAGS: dict[str, type] = {
    f"${kind.__name__.lower()}": kind for kind in (tuple, set, frozenset, dict, bytes, float, complex, Fraction)
}
MAX_DEPTH = 120
"""Deepest nesting of a written value, in levels of JSON."""
_EXACT = 2**53
"""Below it every whole number is exactly a float."""
_HEXADECIMAL = re.compile(r"(?:[0-9a-f]{2})*")
_NOT_FINITE = ("inf", "-inf", "nan")


class NoValue(ValueError):
    """A value that cannot be written, or JSON that is no written value."""


class NotANumber(NoValue):
    """A value that contains NaN, and so equals nothing."""


def write_value(value: Any) -> Any:
    """Return a value as JSON with tags. Raises NoValue for types beyond those in the module's docstring."""
    return _written(value, MAX_DEPTH)


def _written(value: Any, room: int) -> Any:
    room = _deeper(room)
    kind = type(value)
    if value is None or kind in (bool, int):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if kind is str:
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise NoValue("text with lone surrogates")
        return value
    if kind is list:
        return [_written(item, room) for item in value]
    if kind in (tuple, set, frozenset):
        return {f"${kind.__name__}": [_written(item, room) for item in value]}
    if kind is dict:
        pairs = [[_written(key, room), _written(item, room)] for key, item in value.items()]
        return dict(pairs) if is_plain(value) else {"$dict": pairs}
    if kind is bytes:
        return {"$bytes": value.hex()}
    if kind is complex:
        return {"$complex": [_written(value.real, room), _written(value.imag, room)]}
    raise NoValue(f"a value of type {kind.__name__} cannot be written down")


def _deeper(room: int) -> int:
    if not room:
        raise NoValue(f"a value nested more than {MAX_DEPTH} deep")
    return room - 1


def is_plain(value: Mapping[Any, Any]) -> bool:
    """Whether a dict is plain JSON: its keys are text, and none looks like a tag."""
    return all(type(key) is str and not key.startswith("$") for key in value)


def check(written: Any) -> None:
    """Raise NoValue for JSON that `write_value` never returns, as an unknown tag, or a list in a set."""
    with suppress(NotANumber):
        canonical(written)


def canonical(written: Any) -> str:
    """Return the canonical text of a written value; equal values share it.

    Raises NoValue like `check`, and NotANumber for a value that contains NaN.
    """
    return _canonical(written, MAX_DEPTH, is_key=False)


def _canonical(written: Any, room: int, *, is_key: bool) -> str:
    room = _deeper(room)
    if written is None:
        return "none"
    if isinstance(written, bool | int | float):
        return _number(written)
    if isinstance(written, str):
        return json.dumps(written)
    kind, content = _opened(written)
    if is_key and kind in (list, dict, set):
        raise NoValue(f"a {kind.__name__} in a set or as a key of a dict")
    if kind is list:
        return f"[{_joined(content, room, is_key=False)}]"
    if kind is tuple:
        return f"({_joined(content, room, is_key=is_key)})"
    if kind in (set, frozenset):
        elements = sorted([_canonical(item, room, is_key=True) for item in content])
        _require_distinct(elements, "a set holds an element twice")
        return f"{{{','.join(elements)}}}"
    if kind is dict:
        pairs = sorted([(_canonical(k, room, is_key=True), _canonical(v, room, is_key=False)) for k, v in content])
        _require_distinct([key for key, _ in pairs], "a dict holds a key twice")
        return f"<{','.join([f'{key}:{item}' for key, item in pairs])}>"
    if kind is bytes:
        return f"b{content}"
    return _number(content)


def _joined(items: list[Any], room: int, *, is_key: bool) -> str:
    return ",".join([_canonical(item, room, is_key=is_key) for item in items])


def _require_distinct(ordered: list[str], trouble: str) -> None:
    if any(one == other for one, other in pairwise(ordered)):
        raise NoValue(trouble)


def _opened(written: Any) -> tuple[type, Any]:
    """Return the type and content of JSON that is no scalar: a list, pairs, hexadecimal digits or a number.

    Raises NoValue for invalid JSON.
    """
    if isinstance(written, list):
        return list, written
    if not isinstance(written, dict):
        raise NoValue(f"{type(written).__name__} is no JSON")
    if is_plain(written):
        return dict, list(written.items())
    tag, content = next(iter(written.items()))
    if len(written) != 1 or tag not in TAGS:
        raise NoValue(f"no tag: {', '.join(map(repr, written))}"[:100])
    kind = TAGS[tag]
    if kind is bytes:
        if not isinstance(content, str) or not _HEXADECIMAL.fullmatch(content):
            raise NoValue(f"{tag} holds no hexadecimal digits")
    elif kind is float:
        if content not in _NOT_FINITE:
            raise NoValue(f"{tag} holds no inf, -inf or nan")
        content = float(content)
    elif not isinstance(content, list):
        raise NoValue(f"{tag} holds no list")
    elif kind is dict and not all(isinstance(pair, list) and len(pair) == 2 for pair in content):
        raise NoValue(f"{tag} holds no pairs")
    elif kind is Fraction:
        if len(content) != 2 or any(type(part) is not int for part in content) or content[1] <= 0:
            raise NoValue(f"{tag} holds no numerator and denominator")
        content = Fraction(*content)
    elif kind is complex:
        parts = [part if type(part) is float else _opened(part) for part in content]
        parts = [part[1] if isinstance(part, tuple) and part[0] is float else part for part in parts]
        if len(parts) != 2 or any(type(part) is not float for part in parts):
            raise NoValue(f"{tag} holds no two floats")
        content = complex(*parts)  # pyright: ignore[reportArgumentType, reportCallIssue]  # two floats, as checked
    return kind, content


def _number(value: int | float | complex | Fraction) -> str:
    """Return the canonical text of a number, in proportion to its digits: whole, a float, or a fraction."""
    if isinstance(value, complex):
        if value.imag != 0:
            return f"complex({_number(value.real)},{_number(value.imag)})"
        value = value.real
    if isinstance(value, float):
        if math.isnan(value):
            raise NotANumber("a NaN equals nothing, itself included")
        whole = value.is_integer() and abs(value) < _EXACT
        return f"{int(value):x}" if whole else f"float {value!r}"
    if isinstance(value, int) and abs(value) < _EXACT:
        return f"{value:x}"
    if (nearest := _as_float(value)) is not None:
        return _number(nearest)
    return f"{value.numerator:x}/{value.denominator:x}"


def _as_float(value: int | Fraction) -> float | None:
    """Return the float that equals a number exactly, or None."""
    try:
        nearest = float(value)
    except OverflowError:
        return None
    return nearest if nearest == value else None


def equal(expected: Any, found: Any, *, tolerance: float = 0.0) -> bool:
    """Return whether two written values are equal by Python's `==`; a value that `check` refuses equals nothing.

    `tolerance`: allowed absolute difference of expected floats, in lists, tuples and values of dicts too.
    """
    try:
        return canonical(expected) == canonical(found) or (tolerance > 0 and _near(expected, found, tolerance))
    except NoValue:
        return False


def _near(expected: Any, found: Any, tolerance: float) -> bool:
    if isinstance(expected, float):
        number = found if isinstance(found, bool | int | float) else None
        if number is None and isinstance(found, dict):
            kind, content = _opened(found)
            number = content if kind is Fraction else None
        # As fractions, since a whole number may exceed every float.
        return number is not None and abs(Fraction(number) - Fraction(expected)) <= Fraction(tolerance)
    if not isinstance(expected, list | dict) or not isinstance(found, list | dict):
        return canonical(expected) == canonical(found)
    (kind, one), (other_kind, other) = _opened(expected), _opened(found)
    if kind is not other_kind or kind not in (list, tuple, dict):
        return canonical(expected) == canonical(found)
    if len(one) != len(other):
        return False
    if kind is dict:
        one, other = _by_key(one), _by_key(other)
        if [key for key, _ in one] != [key for key, _ in other]:
            return False
        one, other = [item for _, item in one], [item for _, item in other]
    return all(_near(left, right, tolerance) for left, right in zip(one, other, strict=True))


def _by_key(pairs: list[Any]) -> list[tuple[str, Any]]:
    return sorted([(canonical(key), item) for key, item in pairs], key=itemgetter(0))
