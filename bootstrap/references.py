"""References that are more than one text: what a task writes down for its verifier, as canonical JSON.

They never reach a model or the sandbox: a verifier takes the inputs out and keeps the expected results to itself.

The values of calls are JSON, compared by exact kind and value (`values: json`), or Python values written as JSON with
tags, compared as Python's `==` does (`values: python`, see `bootstrap.python_values`). A reference that does not say
is of the first kind.
"""

import json
import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter, model_validator

from bootstrap import python_values
from bootstrap.records import Record

MAX_EXPECTED_BYTES = 2**20
"""Of one expected value, written as JSON, or of one expected output."""


def json_value(value: Any) -> Any:
    """Return a value as JSON holds it: tuples become lists. Raises ValueError for anything that JSON cannot hold."""
    if value is None or type(value) in (bool, int):
        return value
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is str:
        value.encode()
        return value
    if type(value) in (list, tuple):
        return [json_value(item) for item in value]
    if type(value) is dict and all(type(key) is str for key in value):
        return {json_value(key): json_value(item) for key, item in value.items()}
    raise ValueError(f"{type(value).__name__} {repr(value)[:60]} is no JSON value")


JsonValue = Annotated[Any, AfterValidator(json_value)]


class Call(Record):
    """One hidden call of a function, and the JSON value that it must return."""

    args: tuple[JsonValue, ...] = ()
    kwargs: dict[str, JsonValue] = Field(default_factory=dict)
    expected: JsonValue
    tolerance: float = Field(default=0.0, ge=0)
    """Absolute difference allowed where the expected value is a float, or holds floats; 0 asks for an equal float."""
    identical: bool = False
    """The value must be the expected None, True or False itself, as `is` asks, where `==` would take 1 for True."""

    @model_validator(mode="after")
    def _singletons_alone(self) -> "Call":
        if self.identical and not (self.expected is None or type(self.expected) is bool):
            raise ValueError("identical is for an expected None, True or False")
        return self


class CallCases(Record):
    """The answer defines a function."""

    kind: Literal["calls"] = "calls"
    function: str = Field(min_length=1)
    prefix: str = ""
    """Code before the answer, as the head of the function. No secret: the answer runs in one program with it."""
    suffix: str = ""
    """Code after it, no secret either; an answer can keep it from running, so nothing may rest on it."""
    values: Literal["json", "python"] = "json"
    """What the values of the cases are, and how they compare (see the module's head)."""
    cases: tuple[Call, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _values_are_values(self) -> "CallCases":
        if self.values == "python":
            for case in self.cases:
                for value in (*case.args, *case.kwargs.values()):
                    python_values.check(value)
                # What equals nothing, no answer can return.
                python_values.canonical(case.expected)
        return self


class Script(Record):
    """One hidden input of a script, and what it must print."""

    stdin: str
    stdout: str


class ScriptCases(Record):
    """The answer is a script; output is compared line by line, white space at line ends left out."""

    kind: Literal["scripts"] = "scripts"
    cases: tuple[Script, ...] = Field(min_length=1)


CodeCases = Annotated[CallCases | ScriptCases, Field(discriminator="kind")]

_CODE: TypeAdapter[CallCases | ScriptCases] = TypeAdapter(CodeCases)


def write(cases: CallCases | ScriptCases) -> str:
    """Return the reference's text: for one content always the same, whatever this version knows beside it."""
    content = cases.model_dump(mode="json")
    if isinstance(cases, CallCases):
        if cases.values == "json":
            del content["values"]
        for case in content["cases"]:
            if not case["identical"]:
                del case["identical"]
    # A function sees the order of a dict's keys.
    keeps_order = isinstance(cases, CallCases) and cases.values == "python"
    return json.dumps(content, sort_keys=not keeps_order, separators=(",", ":"), allow_nan=False)


def read_code(reference: str) -> CallCases | ScriptCases:
    """Return the cases that a reference holds. Raises ValueError when it holds something else."""
    return _CODE.validate_json(reference)


def oversize(cases: CallCases | ScriptCases) -> str:
    """Return why no program may return or print what a case expects, or "": an answer's room follows what is expected.

    Bounded here are bytes (`MAX_EXPECTED_BYTES`) and the nesting of a value (`python_values.MAX_DEPTH`).
    """
    for number, case in enumerate(cases.cases, start=1):
        if isinstance(case, Script):
            size, depth, kind = len(case.stdout.encode(errors="surrogatepass")), 0, "output"
        else:
            size, depth, kind = *extent(case.expected), "a value"
        if depth > python_values.MAX_DEPTH:
            return f"case {number} expects a value nested over {python_values.MAX_DEPTH} deep"
        if size > MAX_EXPECTED_BYTES:
            return f"case {number} expects {kind} of {size} bytes, over {MAX_EXPECTED_BYTES}"
    return ""


def extent(value: Any) -> tuple[int, int]:
    """Return how many bytes a JSON value takes, and how deep it is nested; no bytes are counted of one too deep."""
    depth, inner = 0, [value]
    while inner := [item for item in inner if isinstance(item, list | dict)]:
        depth += 1
        inner = [item for each in inner for item in (each.values() if isinstance(each, dict) else each)]
    too_deep = depth > python_values.MAX_DEPTH
    return 0 if too_deep else len(json.dumps(value, separators=(",", ":"))), depth
