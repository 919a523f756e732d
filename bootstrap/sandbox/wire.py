"""Plain values as bounded strict JSON, on both sides of the sandbox's wall.

Inside, `encode_value` reads values only by the methods of built-in types, so that no method of the program's runs or
decides anything. Outside, `decode_value` accepts only the exact bytes that `encode_value` writes.

    vocabulary   carries
    json         exact types, tuples as lists; everything else is refused
    python       beyond JSON, an object whose one key is a tag, as `{"$tuple":[1]}`; an object of a class derived from a
                 built-in type counts as one of that type

A dict that could look like a tag is written with one, so no value passes for another. `bootstrap.python_values` defines
the tags and equality; a test holds both modules together.

These functions look names up in a private copy of the built-ins, so changes to `builtins` and `json` inside do not
reach them.
"""

import builtins
import json
import json.encoder
import math
import re
import sys
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from bootstrap.sandbox.job import Ending

__builtins__ = dict(vars(builtins))

MAX_DIGITS = 4300
"""Digits of one whole number; CPython's own bound on converting text to numbers."""
_MAX_BITS = math.ceil(MAX_DIGITS * math.log2(10))
_quote = json.encoder.encode_basestring_ascii
_get_digits = sys.get_int_max_str_digits
_set_digits = sys.set_int_max_str_digits
_isfinite = math.isfinite
_loads = json.loads
_is_subclass = type.__subclasscheck__
_get_numerator = vars(Fraction)["_numerator"].__get__
_get_denominator = vars(Fraction)["_denominator"].__get__
_get_real = vars(complex)["real"].__get__
_get_imaginary = vars(complex)["imag"].__get__
_decimal_ratio = Decimal.as_integer_ratio
_decimal_is_finite = Decimal.is_finite
_decimal_adjusted = Decimal.adjusted
_KEYS, _ITEMS = type({}.keys()), type({}.items())
_BASES = (int, float, str, list, tuple, dict, set, frozenset, bytes, bytearray, complex, Fraction, Decimal)
"""Types of values in the `python` vocabulary, themselves or as base classes."""
_find_marks = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL).finditer
# An unterminated string matches too, so that no text is scanned twice.


_Encode = Callable[[Any, list[str], int, int], int]
_TOO_DEEP = "a value nested deeper than allowed"


class Refused(Exception):
    """A value that the wire does not carry."""

    def __init__(self, ending: Ending, detail: str) -> None:
        super().__init__(detail)
        self.ending = ending
        self.detail = detail


def encode_value(value: object, *, max_bytes: int, max_depth: int, python: bool = False) -> bytes:
    """Return a value as ASCII JSON without blanks, in the vocabulary `python` or `json` (see the module's docstring).

    `max_depth` counts JSON's levels, those of tags included. Raises Refused: TYPE for a value outside the vocabulary,
    PROTOCOL for one that is too long or too deep.
    """
    parts: list[str] = []
    digits = _get_digits()
    _set_digits(0)
    try:
        (_encode_python if python else _encode)(value, parts, max_bytes, max_depth)
    finally:
        _set_digits(digits)
    return "".join(parts).encode("ascii")


def _encode(value: Any, parts: list[str], room: int, depth: int) -> int:
    """Append the text of a value and return the bytes left."""
    kind = type(value)
    if value is None or kind is bool:
        text = "null" if value is None else "true" if value else "false"
    elif kind is int:
        text = _digits_of(value)
    elif kind is float:
        if not _isfinite(value):
            raise Refused(Ending.TYPE, "a float that is no number")
        text = float.__repr__(value)
    elif kind is str:
        text = _quoted(value, room)
    elif kind is list or kind is tuple:
        return _encode_items(kind.__iter__(value), parts, room, depth, _encode)
    elif kind is dict:
        return _encode_object(value, parts, room, depth, _encode)
    else:
        raise Refused(Ending.TYPE, f"a value of type {_name(kind)}")
    return _append(text, parts, room)


def _encode_python(value: Any, parts: list[str], room: int, depth: int) -> int:
    """Append the text of a value in the `python` vocabulary and return the bytes left."""
    kind = type(value)
    if value is None or kind is bool:
        return _encode(value, parts, room, depth)
    if kind is _KEYS or kind is _ITEMS:
        return _encode_tagged("set", kind.__iter__(value), parts, room, depth)
    base = None
    for each in _BASES:
        if kind is each or _is_subclass(each, kind):
            base = each
            break
    if base is int:
        return _append(_digits_of(value), parts, room)
    if base is float:
        text = float.__repr__(value)
        return _append(text if _isfinite(float.__float__(value)) else f'{{"$float":"{text}"}}', parts, room)
    if base is str:
        return _append(_quoted(str.__str__(value), room), parts, room)
    if base is list:
        return _encode_items(list.__iter__(value), parts, room, depth, _encode_python)
    if base is tuple or base is set or base is frozenset:
        return _encode_tagged(base.__name__, base.__iter__(value), parts, room, depth)
    if base is dict:
        for key in dict.__iter__(value):
            if type(key) is not str or str.startswith(key, "$"):
                return _encode_tagged("dict", dict.items(value), parts, room, depth)
        return _encode_object(value, parts, room, depth, _encode_python)
    if base is bytes or base is bytearray:
        if base.__len__(value) > room:
            raise Refused(Ending.PROTOCOL, "a value longer than value_bytes")
        return _append(f'{{"$bytes":"{base.hex(value)}"}}', parts, room)
    if base is complex:
        return _encode_tagged("complex", (_get_real(value), _get_imaginary(value)), parts, room, depth)
    if base is Fraction or base is Decimal:
        return _encode_ratio(value, base, parts, room, depth)
    raise Refused(Ending.TYPE, f"a value of type {_name(kind)}")


def _encode_ratio(value: Any, base: type, parts: list[str], room: int, depth: int) -> int:
    if base is Fraction:
        ratio = (_get_numerator(value), _get_denominator(value))
        if not _is_subclass(int, type(ratio[0])) or not _is_subclass(int, type(ratio[1])):
            raise Refused(Ending.TYPE, "a fraction of what are no whole numbers")
    elif not _decimal_is_finite(value):
        text = "nan" if Decimal.is_nan(value) else "-inf" if Decimal.is_signed(value) else "inf"
        return _append(f'{{"$float":"{text}"}}', parts, room)
    elif abs(_decimal_adjusted(value)) > MAX_DIGITS:
        raise Refused(Ending.TYPE, f"a decimal of more than {MAX_DIGITS} digits")
    else:
        ratio = _decimal_ratio(value)
    return _encode_tagged("fraction", ratio, parts, room, depth)


def _digits_of(value: Any) -> str:
    if int.bit_length(value) > _MAX_BITS or len(text := int.__repr__(value)) - (text[0] == "-") > MAX_DIGITS:
        raise Refused(Ending.TYPE, f"a whole number of more than {MAX_DIGITS} digits")
    return text


def _quoted(value: str, room: int) -> str:
    """Return a text in quotes; `value` is exactly of type `str`."""
    if len(value) > room:
        raise Refused(Ending.PROTOCOL, "a value longer than value_bytes")
    if not str.isascii(value) and any("\ud800" <= character <= "\udfff" for character in value):
        raise Refused(Ending.TYPE, "text with lone surrogates")
    return _quote(value)


def _encode_tagged(tag: str, items: Iterable, parts: list[str], room: int, depth: int) -> int:
    """Append an object whose one key is a tag and whose value is a list: of a dict's pairs, or of other items."""
    room = _append(f'{{"${tag}":', parts, room)
    if not depth:
        raise Refused(Ending.PROTOCOL, _TOO_DEEP)
    room = _encode_items(items, parts, room, depth - 1, _encode_pair if tag == "dict" else _encode_python)
    return _append("}", parts, room)


def _encode_pair(pair: tuple, parts: list[str], room: int, depth: int) -> int:
    return _encode_items(pair, parts, room, depth, _encode_python)


def _encode_items(items: Iterable, parts: list[str], room: int, depth: int, encode: _Encode) -> int:
    if not depth:
        raise Refused(Ending.PROTOCOL, _TOO_DEEP)
    room = _append("[", parts, room)
    first = True
    for item in items:
        if not first:
            room = _append(",", parts, room)
        first = False
        room = encode(item, parts, room, depth - 1)
    return _append("]", parts, room)


def _encode_object(value: dict, parts: list[str], room: int, depth: int, encode: _Encode) -> int:
    if not depth:
        raise Refused(Ending.PROTOCOL, _TOO_DEEP)
    room = _append("{", parts, room)
    first = True
    for key, item in dict.items(value):
        if not first:
            room = _append(",", parts, room)
        first = False
        if type(key) is not str:
            raise Refused(Ending.TYPE, f"a dict key of type {_name(type(key))}")
        room = _append(":", parts, encode(key, parts, room, depth - 1))
        room = encode(item, parts, room, depth - 1)
    return _append("}", parts, room)


def _append(text: str, parts: list[str], room: int) -> int:
    if len(text) > room:
        raise Refused(Ending.PROTOCOL, "a value longer than value_bytes")
    parts.append(text)
    return room - len(text)


def _name(kind: type) -> str:
    """Return a type's name without asking the type, whose metaclass may be the program's."""
    name = type.__dict__["__name__"].__get__(kind)
    return name if type(name) is str else "?"


def decode_value(data: bytes, *, max_bytes: int, max_depth: int) -> object:
    """Return the value that `encode_value` wrote, in linear time. Raises ValueError for any other text."""
    if len(data) > max_bytes:
        raise ValueError("longer than value_bytes")
    depth = 0
    for found in _find_marks(data):
        mark = found[0]
        if mark in (b"[", b"{"):
            depth += 1
            if depth > max_depth:
                raise ValueError("nested deeper than allowed")
        elif mark in (b"]", b"}"):
            depth -= 1
    value = _loads(data.decode("ascii"), parse_int=_parse_int, parse_constant=_refuse)
    try:
        again = encode_value(value, max_bytes=max_bytes, max_depth=max_depth)
    except Refused as refused:
        raise ValueError(refused.detail) from None
    if again != data:
        raise ValueError("not written as agreed")
    return value


def _parse_int(text: str) -> int:
    if len(text.lstrip("-")) > MAX_DIGITS:
        raise ValueError("too many digits")
    return int(text)


def _refuse(text: str) -> object:
    raise ValueError(f"{text} is no JSON")


def decode_arguments(written: Any) -> Any:
    """Return the values that a task wrote in the `python` vocabulary; trusted, since none are the program's."""
    if type(written) is list:
        return [decode_arguments(item) for item in written]
    if type(written) is not dict:
        return written
    (tag, content), *others = written.items() or [("", None)]
    if others or tag not in _READERS:
        return {key: decode_arguments(item) for key, item in written.items()}
    return _READERS[tag](decode_arguments(content))


_READERS: dict[str, Callable[[Any], Any]] = {
    "$tuple": tuple,
    "$set": set,
    "$frozenset": frozenset,
    "$dict": dict,
    "$bytes": bytes.fromhex,
    "$float": float,
    "$complex": lambda parts: complex(*parts),
    "$fraction": lambda parts: Fraction(*parts),
}
