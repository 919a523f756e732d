"""References that are more than one text: what a task writes down for its verifier, as canonical JSON.

They never reach a model or the sandbox: a verifier takes the inputs out and keeps the expected results to itself.
"""

import json
import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter

from bootstrap.records import Record


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


class CallCases(Record):
    """The answer defines a function."""

    kind: Literal["calls"] = "calls"
    function: str = Field(min_length=1)
    prefix: str = ""
    """Code before the answer, as the head of the function. No secret: the answer runs in one program with it."""
    suffix: str = ""
    """Code after it, no secret either; an answer can keep it from running, so nothing may rest on it."""
    cases: tuple[Call, ...] = Field(min_length=1)


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
    """Return the reference's text."""
    return json.dumps(cases.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False)


def read_code(reference: str) -> CallCases | ScriptCases:
    """Return the cases that a reference holds. Raises ValueError when it holds something else."""
    return _CODE.validate_json(reference)
