"""References of several cases, from a task for its verifier, as canonical JSON.

They never reach a model or the sandbox: a verifier passes on the inputs and keeps the expected results.

| `values`         | values of calls                | comparison                                         |
|------------------|--------------------------------|----------------------------------------------------|
| `json` (default) | JSON                           | exact type and value                               |
| `python`         | Python values as tagged JSON   | Python's `==` (`bootstrap.python_values`)          |
"""

import json
import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter, model_validator

from bootstrap import python_values
from bootstrap.records import Record

MAX_EXPECTED_BYTES = 2**20
"""Most bytes of one expected value as JSON, or of one expected output."""


def json_value(value: Any) -> Any:
    """Return a value as JSON: tuples become lists. Raises ValueError for values that JSON cannot hold."""
    if value is None or type(value) in (bool, int):
        return value
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is str:
        value.encode()
        return value
    if type(value) in (list, tuple):
        return [json_value(item) for item in value]  # pyright: ignore[reportGeneralTypeIssues]  # a list or tuple
    if type(value) is dict and all(type(key) is str for key in value):
        return {json_value(key): json_value(item) for key, item in value.items()}
    raise ValueError(f"{type(value).__name__} {repr(value)[:60]} is no JSON value")


JsonValue = Annotated[Any, AfterValidator(json_value)]


class Call(Record):
    """One hidden call of a function, and its expected JSON value."""

    args: tuple[JsonValue, ...] = ()
    kwargs: dict[str, JsonValue] = Field(default_factory=dict)
    expected: JsonValue
    tolerance: float = Field(default=0.0, ge=0)
    """Allowed absolute difference of expected floats, nested ones included; 0 for equality."""
    identical: bool = False
    """Whether the value must be the expected None, True or False by `is`; by `==` 1 would pass for True."""

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
    """Code before the answer, as the function's head; visible to the answer, which runs in the same program."""
    suffix: str = ""
    """Code after the answer; visible too, and an answer can keep it from running, so no verdict may depend on it."""
    values: Literal["json", "python"] = "json"
    """Kind of the cases' values, and of their comparison (see the module's docstring)."""
    cases: tuple[Call, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _values_are_values(self) -> "CallCases":
        if self.values == "python":
            for case in self.cases:
                for value in (*case.args, *case.kwargs.values()):
                    python_values.check(value)
                # No answer can return a value that equals nothing.
                python_values.canonical(case.expected)
        return self


class Script(Record):
    """One hidden input of a script, and its expected output."""

    stdin: str
    stdout: str


class ScriptCases(Record):
    """The answer is a script; outputs are compared by line, without white space at line ends."""

    kind: Literal["scripts"] = "scripts"
    cases: tuple[Script, ...] = Field(min_length=1)


CodeCases = Annotated[CallCases | ScriptCases, Field(discriminator="kind")]

_CODE: TypeAdapter[CallCases | ScriptCases] = TypeAdapter(CodeCases)


def write(cases: CallCases | ScriptCases) -> str:
    """Return the reference's text: stable for one content, even when later versions add fields."""
    content = cases.model_dump(mode="json")
    if isinstance(cases, CallCases):
        if cases.values == "json":
            del content["values"]
        for case in content["cases"]:
            if not case["identical"]:
                del case["identical"]
    # A function can see the order of a dict's keys.
    keeps_order = isinstance(cases, CallCases) and cases.values == "python"
    return json.dumps(content, sort_keys=not keeps_order, separators=(",", ":"), allow_nan=False)


def read_code(reference: str) -> CallCases | ScriptCases:
    """Return the cases in a reference. Raises ValueError for any other content."""
    return _CODE.validate_json(reference)


def oversize(cases: CallCases | ScriptCases) -> str:
    """Return why a case expects a value or output too large to be returned or printed, or "".

    The bounds are `MAX_EXPECTED_BYTES` and the nesting of a value, `python_values.MAX_DEPTH`.
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
    """Return a JSON value's size in bytes and its nesting depth; the size is 0 beyond `python_values.MAX_DEPTH`."""
    depth, inner = 0, [value]
    while inner := [item for item in inner if isinstance(item, list | dict)]:
        depth += 1
        inner = [item for each in inner for item in (each.values() if isinstance(each, dict) else each)]
    too_deep = depth > python_values.MAX_DEPTH
    return 0 if too_deep else len(json.dumps(value, separators=(",", ":"))), depth
