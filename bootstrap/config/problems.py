"""Problems of a recipe: pydantic's errors as sentences, each with file and line, place and remedy.

Settings word most problems themselves (`faults.py`). This module adds places in the data, words pydantic's own errors,
and joins the forms that one value may have.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from bootstrap.config.base import Place, dotted
from bootstrap.config.conflicts import Conflicts
from bootstrap.config.faults import MissingSetting, fault_of, nearest
from bootstrap.config.source import RecipeSource, holds, value_at

MAX_PROBLEMS = 10
"""Most problems listed in one message; the rest is counted."""


class RecipeProblem(NamedTuple):
    """A problem at a place of the recipe."""

    place: Place
    message: str
    """With the remedy, and without the place."""


def sentence(problems: Iterable[RecipeProblem]) -> str:
    """Return problems in one line, for settings that come from no file."""
    told = [f"{dotted(place)}: {message}" if place else message for place, message in problems]
    more = [f"and {len(told) - MAX_PROBLEMS} more"] if len(told) > MAX_PROBLEMS else []
    return "; ".join([*told[:MAX_PROBLEMS], *more])


def report(source: RecipeSource, problems: Sequence[RecipeProblem]) -> str:
    """Return one message with all problems, each with its line or override."""
    found = list(dict.fromkeys(problems))
    lines = [
        f"{source.origin(place)}: {dotted(place)}: {message}" if place else f"{source.origin(place)}: {message}"
        for place, message in found[:MAX_PROBLEMS]
    ]
    if len(lines) == 1:
        return lines[0]
    more = [f"and {len(found) - MAX_PROBLEMS} more"] if len(found) > MAX_PROBLEMS else []
    return "\n  ".join([f"{source.path} has {len(found)} problems:", *lines, *more])


def validation_problems(error: ValidationError, data: Any) -> Iterator[RecipeProblem]:
    """Yield pydantic's findings about a recipe's data, one problem for each place."""
    by_place: dict[Place, list[Mapping[str, Any]]] = {}
    for detail in error.errors(include_url=False):
        by_place.setdefault(_data_place(detail, data), []).append(detail)
    above = {place[:length] for place in by_place for length in range(len(place))}
    for place, details in by_place.items():
        value = value_at(place, data)
        if type(value) is dict and place in above:
            # A plain union also reports that a section does not fit its other members.
            continue
        if details[0]["type"] == "too_short" and len(value) >= details[0]["ctx"]["min_length"]:
            # Pydantic leaves faulty entries out of a list's length.
            continue
        match details[0]:
            case {"ctx": {"error": Conflicts(conflicts=conflicts)}}:
                yield from (RecipeProblem(*conflict) for conflict in conflicts)
            case _:
                yield RecipeProblem(place, _message(details, value))


def missing_types(error: ValidationError, data: Any) -> Iterator[tuple[Place, str | None]]:
    """Yield the place of each section without `type`, with its default's type, or None without a default."""
    for detail in error.errors(include_url=False):
        if (fault := fault_of(detail)) is not None and fault.types:
            yield _data_place(detail, data), fault.default


def infinite_numbers(value: Any, place: Place = ()) -> Iterator[RecipeProblem]:
    """Yield numbers that JSON, and so a lineage's identity, cannot hold; settings of type Any accept them."""
    match value:
        case dict():
            parts = value.items()
        case list():
            parts = enumerate(value)
        case float() if not math.isfinite(value):
            yield RecipeProblem(place, f"must be a finite number, not {json.dumps(value)}")
            return
        case _:
            return
    for key, inner in parts:
        yield from infinite_numbers(inner, (*place, key))


def _data_place(detail: Mapping[str, Any], data: Any) -> Place:
    """Return the place of an error in the data: pydantic's location without the names of unions' members."""
    place: list[str | int] = []
    parts, fault = detail["loc"], fault_of(detail)
    is_absence = detail["type"] == "missing" or (fault is not None and fault.is_absence)
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if holds(data, part) and (last or part != value_at(("type",), data)):
            data = data[part]
        elif not (last and is_absence):
            continue
        place.append(part)
    return tuple(place)


def _message(details: Sequence[Mapping[str, Any]], value: Any) -> str:
    """Return the problem of a value and the remedy: the settings' own words, or the forms that the value may have."""
    forms = []
    for detail in details:
        fault = fault_of(detail)
        if fault is not None and fault.form is None:
            return str(fault)
        if fault is not None:
            forms.append(fault.form)
        elif detail["type"] == "missing":
            # An entry of a list of fixed length; settings report missing keys themselves.
            return str(MissingSetting())
        elif detail["type"] == "string_pattern_mismatch" and detail["loc"][-1] == "[key]":
            return f"this name must be of the form {detail['ctx']['pattern']}"
        else:
            forms.append(_form(detail, value))
    return f"must be {' or '.join(dict.fromkeys(forms))}, not {_short(value)}"


def _form(detail: Mapping[str, Any], value: Any) -> str:
    """Return the completion of `must be` for a value that pydantic refused."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in ("literal_error", "enum"):
        expected = re.findall(r"'([^']*)'", context["expected"])
        return f"one of {', '.join(expected)}{_close(value, expected)}" if len(expected) > 1 else expected[0]
    if kind == "too_short":
        return f"{'a section' if type(value) is dict else 'a list'} of at least {context['min_length']} entries"
    return _FORMS.get(kind) or re.sub(r"^(Input|String|Value|Tuple) should (be|have) ", "", detail["msg"])


_FORMS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a section of settings (one per name)",
    "finite_number": "a finite number",
}
"""Pydantic's name of an error -> completion of `must be`; other errors keep pydantic's words."""


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _close(value: Any, names: Sequence[str]) -> str:
    close = nearest(str(value), names)
    return f" (did you mean {close}?)" if close else ""
