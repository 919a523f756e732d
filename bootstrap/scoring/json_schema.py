"""JSON answers: reward 1 for JSON that the schema accepts and that equals the reference, otherwise 0.

JSON is read strictly: one value, no duplicate key, no NaN or Infinity, no number beyond a float's range, and bounds on
length, depth and number of values, so that every answer is cheap. It may stand in one code fence, whose first line may
name `json`. Equality is by exact type and value: the integer `1`, `1.0`, `"1"` and `true` are four values, and decimals
differ even where one float stands for both. The order of keys is free.

The schema is self-contained: a `$ref` outside it is refused when the verifier is built, so nothing is ever fetched.
"""

import json
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from importlib.metadata import version
from math import isfinite
from typing import Any, NoReturn

import jsonschema
import referencing
import referencing.exceptions
import regex

from bootstrap.config.answers import JsonSchemaVerifier
from bootstrap.errors import VerifierError
from bootstrap.scoring import extract
from bootstrap.scoring.verifier import (
    Answer,
    AnswerVerifier,
    Judgement,
    Tools,
    failed,
    passed,
    unverifiable,
    version_of,
)

MAX_CHARACTERS = 16_384
MAX_DEPTH = 32
MAX_VALUES = 1_000
"""Values in one answer, nested values and keys included."""
MAX_DIGITS = 64
"""Characters of one number."""
MATCH_SECONDS = 10.0
"""Wall-clock seconds after which a `pattern` of the schema is given up; the answer is then UNVERIFIABLE."""

_FENCED = re.compile(r"```[ \t]*(?:json)?[ \t]*\n(.*)\n```", re.DOTALL | re.IGNORECASE)

_ENDLESS = (
    f"a pattern of the schema took more than {MATCH_SECONDS:g} s; it backtracks without end, so make its groups "
    "possessive (`(...)++`) or atomic (`(?>...)`)"
)


class NotJson(ValueError):
    """A text is not one strict, bounded JSON value."""


class _Decimal(float):
    """A number with a decimal part or an exponent: a float for the schema, with its exact value beside it."""

    exact: Decimal


class JsonSchema(AnswerVerifier):
    """Validates, then compares."""

    name, judges = "json_schema", JsonSchemaVerifier.judges

    def __init__(self, settings: JsonSchemaVerifier, tools: Tools) -> None:
        """Raise VerifierError when the schema is invalid, or needs another document."""
        self.version = version_of(__name__, settings=settings, also=f"{version('jsonschema')} {regex.__version__}")
        self._place = settings.answer
        schema = settings.json_schema
        try:
            jsonschema.Draft202012Validator.check_schema(schema)
        except jsonschema.SchemaError as error:
            place = "/".join(str(part) for part in error.absolute_path) or "its top"
            raise VerifierError(f"json_schema is no JSON Schema: at {place}, {error.message}; correct it") from None
        _check_stands_alone(schema)
        self._validator = _Validator(schema, registry=referencing.Registry())

    def reads(self, references: Sequence[str]) -> list[str]:
        try:
            return [self._unread(reference) for reference in references]
        except TimeoutError:
            raise VerifierError(f"json_schema: {_ENDLESS}") from None

    def judge_one(self, answer: Answer) -> Judgement:
        """Return the judgement. Raises ValueError when the reference is not JSON that the schema accepts."""
        try:
            right = loads(unfenced(answer.reference))
        except NotJson as error:
            raise ValueError(f"the reference is no JSON: {error}") from None
        found = extract.answer_of(answer, self._place)
        if found.text is None:
            return failed(self.name, found.reason)
        try:
            if problem := self._problem(right):
                raise ValueError(f"the schema does not accept the reference: {problem}")
            try:
                given = loads(unfenced(found.text))
            except NotJson as error:
                return failed(self.name, str(error))
            if problem := self._problem(given):
                return failed(self.name, f"against the schema: {problem}")
        except TimeoutError:
            return unverifiable(_ENDLESS)
        return passed(self.name) if _typed(given) == _typed(right) else failed(self.name)

    def _unread(self, reference: str) -> str:
        """Return why a reference cannot be compared with; "" where it can."""
        try:
            right = loads(unfenced(reference))
        except NotJson as error:
            return str(error)
        problem = self._problem(right)
        return f"against the schema: {problem}" if problem else ""

    def _problem(self, value: Any) -> str:
        """Return the place and the keyword by which the schema refuses a value; "" where it accepts it.

        Raises VerifierError when a reference of the schema is missing, or leads to itself without end.
        """
        try:
            error = next(self._validator.iter_errors(value), None)
        except referencing.exceptions.Unresolvable as unresolvable:
            raise VerifierError(f"json_schema refers to {unresolvable.ref}, which it does not hold; add it") from None
        except RecursionError:
            raise VerifierError("a $ref of json_schema leads to itself without end; break the circle") from None
        return f"{error.json_path} ({error.validator})" if error else ""


def unfenced(text: str) -> str:
    """Return the content of a text that is one code fence; any other text as it is."""
    found = _FENCED.fullmatch(text.strip())
    return text if found is None else found[1]


def loads(text: str) -> Any:
    """Return a text's JSON value. Raises NotJson for anything else, and beyond the bounds."""
    if len(text) > MAX_CHARACTERS:
        raise NotJson(f"no JSON: more than {MAX_CHARACTERS} characters")
    _check_size(text)
    try:
        return json.loads(
            text, object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
        )
    except NotJson:
        raise
    except ValueError:
        raise NotJson("no JSON") from None


def _check_size(text: str) -> None:
    """Raise NotJson when a text is nested too deeply or holds too many values, whether it is JSON or not."""
    depth = count = 0
    quoted = escaped = False
    for character in text:
        if quoted:
            quoted, escaped = escaped or character != '"', character == "\\" and not escaped
        elif character == '"':
            quoted = True
        elif character in "[{":
            depth += 1
            count += 1
        elif character in "]}":
            depth -= 1
        elif character in ",:":
            count += 1
        if depth > MAX_DEPTH or count > MAX_VALUES:
            raise NotJson(f"no JSON: more than {MAX_VALUES} values, or nested deeper than {MAX_DEPTH}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise NotJson("no strict JSON: a key stands twice")
    return value


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise NotJson(f"no JSON: a number of more than {MAX_DIGITS} characters")
    return int(digits)


def _float(digits: str) -> float:
    if len(digits) > MAX_DIGITS:
        raise NotJson(f"no JSON: a number of more than {MAX_DIGITS} characters")
    value = _Decimal(digits)
    # A number too small for a float becomes 0.
    if not isfinite(value) or (value == 0 and re.search("[1-9]", re.split("[eE]", digits)[0])):
        raise NotJson("no JSON: a number out of range")
    value.exact = Decimal(digits) if value else Decimal(0)
    return value


def _constant(name: str) -> NoReturn:
    raise NotJson(f"no strict JSON: {name}")


def _typed(value: Any) -> Any:
    """Return a value with its types; two are equal exactly where both are the same JSON."""
    if isinstance(value, dict):
        return {key: _typed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_typed(inner) for inner in value]
    return ("float", value.exact) if isinstance(value, _Decimal) else (type(value).__name__, value)


def _check_stands_alone(schema: dict[str, Any]) -> None:
    for key, value in _members(schema):
        if key in ("$ref", "$dynamicRef") and isinstance(value, str) and not value.startswith("#"):
            raise VerifierError(
                f"json_schema refers to {value}, and other documents are never fetched; put that schema under $defs "
                "and refer to it as #/$defs/..."
            )
        if key == "patternProperties":
            raise VerifierError(
                "json_schema holds patternProperties, whose patterns cannot be bounded in time; write propertyNames "
                "with a pattern, and additionalProperties for the values"
            )
        if key == "pattern" and isinstance(value, str):
            try:
                regex.compile(value)
            except regex.error as error:
                raise VerifierError(
                    f"the pattern {value!r} of json_schema does not compile: {error}; correct it"
                ) from None


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _members(inner)


def _matches(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    """Judge the keyword `pattern` within a bound on time, which the standard library's `re` lacks."""
    if isinstance(instance, str) and not regex.search(pattern, instance, timeout=MATCH_SECONDS):
        yield jsonschema.ValidationError("does not match")


_Validator = jsonschema.validators.extend(  # pyright: ignore[reportAttributeAccessIssue]  # jsonschema loads it
    jsonschema.Draft202012Validator, {"pattern": _matches}
)
