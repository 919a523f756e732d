"""JSON whose numbers keep the written value, which a float may not hold."""

import json
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any

MAX_DIGITS = 4300
"""Most digits of a whole number that Python reads and writes (`sys.int_info.default_max_str_digits`)."""


class NotFinite(ValueError):
    """A number is NaN, infinite, or beyond every float."""


class TooManyDigits(ValueError):
    """A whole number has more digits than Python reads (CVE-2020-10735)."""


class Written(float):
    """A number that is no integer, or has too many digits: a float with its text."""

    text: str

    @classmethod
    def of(cls, text: str) -> "Written":
        """Return the number that a text writes."""
        number = cls(text)
        number.text = text
        return number


def loads(text: str) -> Any:
    """Return the value of a JSON text; numbers with a fraction or an exponent, NaN, and whole numbers of more than
    `MAX_DIGITS` digits are `Written`.

    Raises ValueError for invalid JSON, RecursionError for too deep nesting.
    """
    return json.loads(text, parse_int=_whole, parse_float=Written.of, parse_constant=Written.of)


def number_text(number: Written) -> str:
    """Return a number as JSON writes its float, or its own text where that float is another number.

    Raises NotFinite, and TooManyDigits for a whole number.
    """
    check_digits(number)
    if not isfinite(number):
        raise NotFinite(number.text)
    shortest = json.dumps(float(number))
    try:
        return shortest if Decimal(number.text) == Decimal(shortest) else number.text
    except InvalidOperation:
        # The exponent has too many digits for Decimal.
        return number.text


def check_digits(value: Any) -> None:
    """Raise TooManyDigits for a value from `loads` that holds a whole number of too many digits."""
    inner = [value]
    while inner:
        match inner.pop():
            case dict() as found:
                inner += found.values()
            case list() as found:
                inner += found
            case Written() as found if found.text.removeprefix("-").isdecimal():
                raise TooManyDigits(f"a whole number of more than {MAX_DIGITS} digits")


def _whole(text: str) -> int | Written:
    return int(text) if len(text.removeprefix("-")) <= MAX_DIGITS else Written.of(text)
