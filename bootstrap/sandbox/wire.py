"""Plain values as bounded strict JSON, on both sides of the sandbox's wall.

Inside, `encode_value` accepts exact built-in types only, so that no method of the program's own runs or decides
anything. Outside, `decode_value` accepts only what `encode_value` writes, byte for byte.

These functions look names up in a private copy of the built-ins: what a program does to `builtins` and `json` inside
does not reach them.
"""

import builtins
import json
import json.encoder
import math
import re
import sys

from bootstrap.sandbox.job import Ending

__builtins__ = dict(vars(builtins))

MAX_DIGITS = 4300
"""Of one whole number; CPython's own bound on converting text to numbers."""
_MAX_BITS = math.ceil(MAX_DIGITS * math.log2(10))
_quote = json.encoder.encode_basestring_ascii
_get_digits = sys.get_int_max_str_digits
_set_digits = sys.set_int_max_str_digits
_isfinite = math.isfinite
_loads = json.loads
_find_marks = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL).finditer
# A string without an end matches as well, so that no text is scanned twice.


class Refused(Exception):
    """A value that the wire does not carry."""

    def __init__(self, ending: Ending, detail: str) -> None:
        super().__init__(detail)
        self.ending = ending
        self.detail = detail


def encode_value(value: object, *, max_bytes: int, max_depth: int) -> bytes:
    """Return a value as ASCII JSON without blanks, tuples as lists.

    Raise Refused: TYPE for what JSON cannot hold exactly, PROTOCOL for what is too long or too deep.
    """
    parts: list[str] = []
    digits = _get_digits()
    _set_digits(0)
    try:
        _encode(value, parts, max_bytes, max_depth)
    finally:
        _set_digits(digits)
    return "".join(parts).encode("ascii")


def _encode(value: object, parts: list[str], room: int, depth: int) -> int:
    """Append the text of a value and return how many bytes are left."""
    kind = type(value)
    if value is None or kind is bool:
        text = "null" if value is None else "true" if value else "false"
    elif kind is int:
        if int.bit_length(value) > _MAX_BITS or len(text := int.__repr__(value)) - (value < 0) > MAX_DIGITS:
            raise Refused(Ending.TYPE, f"a whole number of more than {MAX_DIGITS} digits")
    elif kind is float:
        if not _isfinite(value):
            raise Refused(Ending.TYPE, "a float that is no number")
        text = float.__repr__(value)
    elif kind is str:
        if len(value) > room:
            raise Refused(Ending.PROTOCOL, "a value longer than value_bytes")
        if not str.isascii(value) and any("\ud800" <= character <= "\udfff" for character in value):
            raise Refused(Ending.TYPE, "text with lone surrogates")
        text = _quote(value)
    elif kind is list or kind is tuple or kind is dict:
        if not depth:
            raise Refused(Ending.PROTOCOL, "a value nested deeper than allowed")
        return _encode_container(value, kind, parts, room, depth - 1)
    else:
        raise Refused(Ending.TYPE, f"a value of type {_name(kind)}")
    return _append(text, parts, room)


def _encode_container(value: list | tuple | dict, kind: type, parts: list[str], room: int, depth: int) -> int:
    opening, closing = ("{", "}") if kind is dict else ("[", "]")
    room = _append(opening, parts, room)
    first = True
    for item in dict.items(value) if kind is dict else kind.__iter__(value):
        if not first:
            room = _append(",", parts, room)
        first = False
        if kind is dict:
            key, item = item
            if type(key) is not str:
                raise Refused(Ending.TYPE, f"a dict key of type {_name(type(key))}")
            room = _append(":", parts, _encode(key, parts, room, depth))
        room = _encode(item, parts, room, depth)
    return _append(closing, parts, room)


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
    """Return the value that `encode_value` wrote; raise ValueError for anything else, in time linear in its length."""
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
