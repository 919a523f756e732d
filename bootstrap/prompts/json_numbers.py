"""JSON whose numbers keep the value that is written down, which a float may not hold."""

import json
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any

MAX_DIGITS = 4300
"""Digits of a whole number that Python turns into one and back (`sys.int_info.default_max_str_digits`)."""


class NotFinite(ValueError):
    """A number is NaN, or infinite, or beyond every float."""


class TooManyDigits(ValueError):
    """A whole number has more digits than Python reads (CVE-2020-10735)."""


class Written(float):
    """A number that is no integer, or one of too many digits: a float, with the text that it comes from."""

    text: str


def loads(text: str) -> Any:
    """Return the value of a JSON text; numbers with a fraction or an exponent, NaN, and whole numbers of more than
    `MAX_DIGITS` digits are `Written`.

    Raises ValueError for what is no JSON, RecursionError for what is nested too deeply.
    """
    return json.loads(text, parse_int=_whole, parse_float=_written, parse_constant=_written)


def number_text(number: Written) -> str:
    """Return a number as JSON writes its float, or as it was written where that is another number. Raises NotFinite,
    and TooManyDigits for a whole number."""
    check_digits(number)
    if not isfinite(number):
        raise NotFinite(number.text)
    shortest = json.dumps(float(number))
    try:
        return shortest if Decimal(number.text) == Decimal(shortest) else number.text
    except InvalidOperation:
        # An exponent of more digits than any number needs.
        return number.text


def check_digits(value: Any) -> None:
    """Raise TooManyDigits where a value that `loads` returned holds a whole number of too many digits."""
    inner = [value]
    while inner:
        one = inner.pop()
        if isinstance(one, dict):
            inner += one.values()
        elif isinstance(one, list):
            inner += one
        elif isinstance(one, Written) and one.text.removeprefix("-").isdecimal():
            raise TooManyDigits(f"a whole number of more than {MAX_DIGITS} digits")


def _whole(text: str) -> int | Written:
    return int(text) if len(text.removeprefix("-")) <= MAX_DIGITS else _written(text)


def _written(text: str) -> Written:
    number = Written(text)
    number.text = text
    return number
