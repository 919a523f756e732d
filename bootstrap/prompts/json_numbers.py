"""JSON whose numbers keep the value that is written down, which a float may not hold."""

import json
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any


class NotFinite(ValueError):
    """A number is NaN, or infinite, or beyond every float."""


class Written(float):
    """A number that is no integer: a float, with the text that it comes from."""

    text: str


def loads(text: str) -> Any:
    """Return the value of a JSON text; numbers with a fraction or an exponent, and NaN, are `Written`.

    Raises ValueError for what is no JSON, RecursionError for what is nested too deeply.
    """
    return json.loads(text, parse_float=_written, parse_constant=_written)


def number_text(number: Written) -> str:
    """Return a number as JSON writes its float, or as it was written where that is another number. Raises NotFinite."""
    if not isfinite(number):
        raise NotFinite(number.text)
    shortest = json.dumps(float(number))
    try:
        return shortest if Decimal(number.text) == Decimal(shortest) else number.text
    except InvalidOperation:
        # An exponent of more digits than any number needs.
        return number.text


def _written(text: str) -> Written:
    number = Written(text)
    number.text = text
    return number
