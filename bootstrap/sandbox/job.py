"""Jobs go into the sandbox, outcomes come out; expected answers and verdicts are in neither.

A job is a model's program with its inputs, or a function of ours with hostile text as its argument. An outcome is
bounded plain data: how the program ended, and JSON values or text. The caller decides outside whether those are right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How strongly a job is confined, weakest first."""

    REFUSE = "refuse"
    """Nothing runs."""
    SEAL = "seal"
    """Landlock, seccomp and resource limits; no privilege needed."""
    SEAL_NS = "seal+ns"
    """The same inside user, network, process, IPC and host-name namespaces."""
    BWRAP = "bwrap"
    """The same inside bubblewrap: a private mount tree with a sized scratch folder."""

    @property
    def rank(self) -> int:
        """Place in the order of strength; 0 is the weakest."""
        return list(Level).index(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Resources of one job. CPU time decides, because it does not depend on the machine's load."""

    cpu_seconds: float = 5.0
    address_space: int = 512 * 2**20
    """Bytes."""
    open_files: int = 64
    output_bytes: int = 64 * 2**10
    """Standard output and standard error together."""
    value_bytes: int = 16 * 2**10
    """One returned value as JSON."""
    code_bytes: int = 64 * 2**10
    depth: int = 32
    """Nesting of one returned value."""
    scratch_bytes: int = 0
    """Largest file in the working folder, in bytes; 0: no file can be written. More than 0 needs level `bwrap`."""

    @property
    def wall_seconds(self) -> float:
        """Time after which a job counts as stuck; it decides on no verdict, since it depends on load."""
        return 4 * self.cpu_seconds + 2


@dataclass(frozen=True, kw_only=True, slots=True)
class CallJob:
    """Define a program, then call one of its functions once per input, all in one process."""

    code: str
    function: str
    """Name of a function that the program defines at its top level."""
    inputs: Sequence[tuple[Sequence[Any], Mapping[str, Any]]]
    """Positional and keyword arguments of each call, JSON values."""
    python: bool = False
    """Whether arguments and returned values are Python's, written as JSON with tags (see `wire`)."""
    value_bytes: int = 0
    """Least room for one returned value, in bytes; the pool's limit holds where it is higher."""
    depth: int = 0
    """Least nesting allowed in a returned value; the pool's limit holds where it is higher."""
    patience: int = 1
    """How many times the pool's CPU time it may use."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptJob:
    """Run a program once as a script, with text on standard input."""

    code: str
    stdin: str = ""
    output_bytes: int = 0
    """Least room for its output, in bytes; the pool's limit holds where it is higher."""
    patience: int = 1
    """How many times the pool's CPU time it may use."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrustedJob:
    """Call a function of ours, from a preloaded module, on arguments that the model wrote."""

    function: str
    """`package.module:function`; it returns a JSON value."""
    arguments: Mapping[str, Any]
    """Keyword arguments, JSON values."""


Job = CallJob | ScriptJob | TrustedJob


class Ending(StrEnum):
    """How a job ended."""

    DONE = "done"
    """Every call returned a value, or the script ended by itself with exit status 0."""
    FORMAT = "format"
    """The program is too long, empty or no Python."""
    ERROR = "runtime_error"
    """It raised an exception, or lacks the function."""
    CPU_LIMIT = "cpu_limit"
    MEMORY = "memory"
    OUTPUT_LIMIT = "output_limit"
    CRASH = "crash"
    """It died of a signal."""
    IDLE = "idle"
    """It waited of its own accord until its wall limit, twice: the second time alone, unless it slept all along."""
    PROTOCOL = "protocol"
    """It ended before all its values, or wrote anything but bounded strict JSON to the result channel."""
    TYPE = "type"
    """It returned a value that the wire does not carry: an object, or in the `json` vocabulary a NaN or a subclass of
    a plain type."""
    TROUBLE = "trouble"
    """The sandbox failed, which says nothing about the program."""

    @property
    def is_verdict(self) -> bool:
        """Whether the program answers for it."""
        return self is not Ending.TROUBLE


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The result of one job."""

    ending: Ending
    values: tuple[Any, ...] = ()
    """One JSON value per input of a `CallJob`, with tags where it asks for them, or the one value of a `TrustedJob`;
    empty unless DONE."""
    stdout: str = ""
    """What a script printed, undecodable bytes replaced; empty unless DONE."""
    detail: str = ""
    """The exception's type and message, or the sandbox's finding: at most 300 printable characters."""
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    level: Level = Level.REFUSE
