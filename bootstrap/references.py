"""References that are more than one text: what a task writes down for its verifier, as canonical JSON.

They never reach a model or the sandbox: a verifier takes the inputs out and keeps the expected results to itself.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from bootstrap.records import Record


class Call(Record):
    """One hidden call of a function, and the JSON value that it must return."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = Field(default_factory=dict)
    expected: Any
    tolerance: float = Field(default=0.0, ge=0)
    """Absolute difference allowed between floats."""


class CallCases(Record):
    """The answer defines a function."""

    kind: Literal["calls"] = "calls"
    function: str
    prefix: str = ""
    """Trusted code before the answer, as the head of the function."""
    suffix: str = ""
    """Trusted code after it."""
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
    return json.dumps(cases.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


def read_code(reference: str) -> CallCases | ScriptCases:
    """Return the cases that a reference holds. Raises ValueError when it holds something else."""
    return _CODE.validate_json(reference)
