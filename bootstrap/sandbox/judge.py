"""Decides how a run ended from its traces: the report, which is hostile text, and the kernel's word, which is not.

The first that applies decides: never sealed (our trouble) -> killed by the pool -> CPU time -> output -> signal -> the
report and the exit status.
"""

import json
import signal
from dataclasses import dataclass, field

from bootstrap.sandbox.job import Ending, Limits
from bootstrap.sandbox.runner import SEALED
from bootstrap.sandbox.wire import decode_value

MAX_DETAIL = 300
_REPORT_MARGIN = 4096
"""Bytes allowed in a report beside its values."""
_REPORTED = {
    ending.value.encode("ascii"): ending
    for ending in (Ending.FORMAT, Ending.ERROR, Ending.MEMORY, Ending.TYPE, Ending.PROTOCOL)
}
"""Endings that a child may report; without `trouble`, so that no program passes its failure off as ours."""


@dataclass(slots=True)
class Traces:
    """Everything that one run left behind."""

    num_values: int | None
    """Values owed; None for a script, which owes none."""
    report: bytearray = field(default_factory=bytearray)
    stdout: bytearray = field(default_factory=bytearray)
    num_error_bytes: int = 0
    """Bytes of standard error, which are counted and thrown away."""
    killed: tuple[Ending, str] | None = None
    """Why the pool killed it."""
    status: int = 0
    """As wait(2) returns it."""
    cpu_seconds: float = 0.0

    @property
    def is_sealed(self) -> bool:
        """Whether the child has reported its confinement, which it does before it gets the job."""
        return self.report.startswith(SEALED)

    def report_room(self, limits: Limits) -> int:
        """Return the bytes of the longest honest report."""
        return _REPORT_MARGIN + (self.num_values or 0) * (limits.value_bytes + 1)


@dataclass(frozen=True, slots=True)
class Judgement:
    """An ending with its detail and values."""

    ending: Ending
    detail: str = ""
    values: tuple[object, ...] = ()


def judge(traces: Traces, limits: Limits) -> Judgement:
    """Return how a run ended."""
    if not traces.is_sealed:
        return Judgement(Ending.TROUBLE, printable(f"never sealed: {traces.report.decode('utf-8', 'replace')}"))
    if traces.killed:
        return Judgement(*traces.killed)
    if traces.cpu_seconds > limits.cpu_seconds:
        return Judgement(Ending.CPU_LIMIT, f"more than {limits.cpu_seconds:g} s of CPU time")
    if len(traces.stdout) + traces.num_error_bytes > limits.output_bytes:
        return Judgement(Ending.OUTPUT_LIMIT, f"more than {limits.output_bytes} bytes of output")
    number = traces.status & 0x7F
    if number == signal.SIGKILL:
        # The filter keeps a program from sending it, so the kernel did for lack of memory, or a person.
        return Judgement(Ending.TROUBLE, "killed from outside the sandbox")
    if number:
        return Judgement(Ending.CRASH, f"died of {_signal_name(number)}")
    return _read_report(traces, limits, bytes(traces.report[len(SEALED) :]), status=traces.status >> 8)


def _read_report(traces: Traces, limits: Limits, report: bytes, *, status: int) -> Judgement:
    if traces.num_values is None and not report:
        return Judgement(Ending.ERROR, f"exit status {status}") if status else Judgement(Ending.DONE)
    if len(report) > traces.report_room(limits):
        return Judgement(Ending.PROTOCOL, "the report is too long")
    if not report.endswith(b"\n"):
        return Judgement(Ending.PROTOCOL, "the program ended without all its values")
    head, *lines = report[:-1].split(b"\n")
    if traces.num_values is not None and head == Ending.DONE.value.encode("ascii"):
        if status or len(lines) != traces.num_values:
            return Judgement(
                Ending.PROTOCOL, f"{len(lines)} values for {traces.num_values} calls, exit status {status}"
            )
        try:
            values = [decode_value(line, max_bytes=limits.value_bytes, max_depth=limits.depth) for line in lines]
        except ValueError as error:
            return Judgement(Ending.PROTOCOL, printable(f"a value that is no bounded JSON: {error}"))
        return Judgement(Ending.DONE, values=tuple(values))
    if head in _REPORTED and len(lines) == 1:
        try:
            detail = decode_value(lines[0], max_bytes=_REPORT_MARGIN, max_depth=0)
        except ValueError:
            detail = None
        if isinstance(detail, str):
            return Judgement(_REPORTED[head], printable(detail))
    return Judgement(Ending.PROTOCOL, "the report is none of ours")


def printable(text: str) -> str:
    """Return the first 300 characters, with a `?` for each that is not printable."""
    return "".join(character if character.isprintable() else "?" for character in text[:MAX_DETAIL])


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def encode_payload(content: dict[str, object]) -> bytes:
    """Return a job as the child reads it: its length in 8 bytes, then JSON. Raises ValueError for a NaN."""
    data = json.dumps(content, allow_nan=False).encode("ascii")
    return len(data).to_bytes(8, "big") + data
