"""Problems of a recipe: pydantic's errors as sentences, each with file and line, place and remedy.

Settings word most of them themselves (`faults.py`); here stand their places in the data, pydantic's own messages, and
how one value of several allowed forms is answered.
"""

import difflib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from bootstrap.config.base import Place, dotted
from bootstrap.config.conflicts import Conflicts
from bootstrap.config.faults import MissingSetting, MissingType, NotOfForm
from bootstrap.config.source import RecipeSource, value_at

MAX_PROBLEMS = 10
"""Problems listed in one message; the rest is counted."""


class RecipeProblem(NamedTuple):
    """What is wrong at a place of the recipe."""

    place: Place
    message: str
    """With the remedy, and without the place."""


def sentence(problems: Iterable[RecipeProblem]) -> str:
    """Return problems one after the other, for what comes from no file."""
    return "; ".join(f"{dotted(place)}: {message}" if place else message for place, message in problems)


def report(source: RecipeSource, problems: Sequence[RecipeProblem]) -> str:
    """Return one message with all problems, each with the line or override that it comes from."""
    lines = []
    for problem in problems:
        where = f"{dotted(problem.place)}: " if problem.place else ""
        line = f"{source.origin(problem.place)}: {where}{problem.message}"
        if line not in lines:
            lines.append(line)
    if len(lines) == 1:
        return lines[0]
    more = [f"and {len(lines) - MAX_PROBLEMS} more"] if len(lines) > MAX_PROBLEMS else []
    return "\n  ".join([f"{source.path} has {len(lines)} problems:", *lines[:MAX_PROBLEMS], *more])


def validation_problems(error: ValidationError, data: Any) -> Iterator[RecipeProblem]:
    """Yield what pydantic found wrong with a recipe's data, one problem a place."""
    by_place: dict[Place, list[Mapping[str, Any]]] = {}
    for detail in error.errors(include_url=False):
        by_place.setdefault(_data_place(detail, data), []).append(detail)
    for place, details in by_place.items():
        value = value_at(place, data)
        if isinstance(value, dict) and any(other[: len(place)] == place and other != place for other in by_place):
            # A plain union also reports that a section is none of its other members.
            continue
        if details[0]["type"] == "too_short" and len(value) >= details[0]["ctx"]["min_length"]:
            # A list with faulty entries counts as shorter than it is.
            continue
        if isinstance(conflicts := _fault(details[0]), Conflicts):
            yield from (RecipeProblem(*conflict) for conflict in conflicts.conflicts)
        else:
            yield RecipeProblem(place, _message(details, value))


def missing_types(error: ValidationError, data: Any) -> Iterator[tuple[Place, str | None]]:
    """Yield the place of each section without its `type`, with the type of the section's default, if it has one."""
    for detail in error.errors(include_url=False):
        if isinstance(fault := _fault(detail), MissingType):
            yield _data_place(detail, data), fault.default


def infinite_numbers(value: Any, place: Place = ()) -> Iterator[RecipeProblem]:
    """Yield the numbers that a lineage's identity, which is JSON, could not hold; settings of any type take them."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from infinite_numbers(inner, (*place, key))
    elif isinstance(value, float) and not math.isfinite(value):
        yield RecipeProblem(place, f"must be a finite number, not {json.dumps(value)}")


def _fault(detail: Mapping[str, Any]) -> Exception | None:
    """Return the exception by which settings refused a value; None where pydantic did."""
    return detail.get("ctx", {}).get("error")


def _data_place(detail: Mapping[str, Any], data: Any) -> Place:
    """Return where in the data an error stands: pydantic's location without the names of unions' members."""
    place: list[str | int] = []
    parts = detail["loc"]
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        in_list = isinstance(data, list) and isinstance(part, int) and part < len(data)
        in_section = isinstance(data, dict) and part in data and (last or part != data.get("type"))
        if in_list or in_section:
            data = data[part]
        elif not (last and (detail["type"] == "missing" or isinstance(_fault(detail), MissingSetting))):
            continue
        place.append(part)
    return tuple(place)


def _message(details: Sequence[Mapping[str, Any]], value: Any) -> str:
    """Return what is wrong with a value and what to do: what settings say of it, or the forms that it may have."""
    forms = []
    for detail in details:
        fault = _fault(detail)
        if isinstance(fault, NotOfForm):
            forms.append(fault.form)
        elif fault is not None:
            return str(fault)
        elif detail["type"] == "missing":
            # An entry of a list with a fixed number of them; settings word what they lack themselves.
            return str(MissingSetting())
        elif detail["type"] == "string_pattern_mismatch" and detail["loc"][-1] == "[key]":
            return f"this name must be of the form {detail['ctx']['pattern']}"
        else:
            forms.append(_form(detail, value))
    return f"must be {' or '.join(dict.fromkeys(forms))}, not {_short(value)}"


def _form(detail: Mapping[str, Any], value: Any) -> str:
    """Return what follows `must be` where pydantic refused a value."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in ("literal_error", "enum"):
        expected = re.findall(r"'([^']*)'", context["expected"])
        return f"one of {', '.join(expected)}{_close(value, expected)}" if len(expected) > 1 else expected[0]
    if kind == "too_short":
        return f"{'a section' if isinstance(value, dict) else 'a list'} of at least {context['min_length']} entries"
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
"""Pydantic's name of an error -> what follows `must be`; others follow it in pydantic's own words."""


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _close(value: Any, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(value), names, n=1)
    return f" (did you mean {close[0]}?)" if close else ""
