"""Cost and leftovers of sealing: sealed executions and bare interpreters, in alternation within one run.

Absolute rates belong to the machine and its load; quote their ratio.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bootstrap.sandbox.job import CallJob, Ending, Level
from bootstrap.sandbox.pool import Sandbox

ROUNDS = 5
BATCH = 200
"""Executions in one batch. The first batch is not counted, so that memory has its size by then."""
BARE_SHARE = 0.05
"""Bare executions per sealed one: they are far slower, and a few suffice for a rate."""
LEVELS = tuple(level.value for level in Level if level is not Level.REFUSE)
"""Levels that can be measured, weakest first."""
JOB = CallJob(code="def square(x):\n    return x * x", function="square", inputs=[([7], {})])


@dataclass(frozen=True, slots=True)
class Footprint:
    """Processes, descriptors, memory and files of this process and its descendants at one moment."""

    processes: frozenset[tuple[int, int]]
    """(pid, start time) of each."""
    descriptors: frozenset[tuple[int, int, int]]
    """(number, device, inode) of each that this process has open."""
    resident_mb: float
    """Resident memory of all processes in MiB; shared pages count for each."""
    files: frozenset[str]
    """Names in the temporary folder."""

    def added_since(self, before: "Footprint") -> tuple[int, int, int]:
        """Return how many processes, descriptors and files are new since `before`.

        Those that have gone since do not offset them: another process may end at any time.
        """
        return (
            len(self.processes - before.processes),
            len(self.descriptors - before.descriptors),
            len(self.files - before.files),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxRow:
    """Rates at one level, as medians over the rounds, and the leftovers of all executions."""

    level: Level
    processes: int
    executions: int
    sealed_per_second: float
    bare_per_second: float
    """Of `python -I -c pass`, with as many processes."""
    processes_left: int
    """After the sandbox has been closed."""
    descriptors_left: int
    files_left: int
    megabytes_grown: float
    """From the warm-up to the last execution."""


def bench_sandbox(*, executions: int, processes: int, level: str | None) -> SandboxRow:
    """Time `executions`, `processes` at once, at one of `LEVELS` (None: the strongest that holds here).

    Raises SandboxUnavailable when the level, or every level, falls to the probe attacks.
    """
    assert executions >= ROUNDS
    sealed_rates, bare_rates = [], []
    wanted = None if level is None else Level(level)
    with tempfile.TemporaryDirectory() as folder, _temporary_files_in(folder):
        before = footprint()
        with Sandbox(processes=processes, level=wanted) as sandbox:
            _time_sealed(sandbox, BATCH)
            warm = footprint()
            for number in range(ROUNDS):
                share = executions // ROUNDS + (number < executions % ROUNDS)
                sealed_rates.append(_time_sealed(sandbox, share))
                bare_rates.append(_time_bare(max(2 * processes, round(share * BARE_SHARE)), processes))
            grown = footprint().resident_mb - warm.resident_mb
            used = sandbox.level
        after = footprint()
    processes_left, descriptors_left, files_left = after.added_since(before)
    return SandboxRow(
        level=used,
        processes=processes,
        executions=executions,
        sealed_per_second=statistics.median(sealed_rates),
        bare_per_second=statistics.median(bare_rates),
        processes_left=processes_left,
        descriptors_left=descriptors_left,
        files_left=files_left,
        megabytes_grown=grown,
    )


@contextmanager
def _temporary_files_in(folder: str) -> Iterator[None]:
    """Make this process's temporary files in `folder`, where they can be counted."""
    before, tempfile.tempdir = tempfile.tempdir, folder
    try:
        yield
    finally:
        tempfile.tempdir = before


def footprint() -> Footprint:
    """Return the present footprint of this process and its descendants."""
    ours = {pid: fields for pid in family(os.getpid()) if (fields := _fields(pid))}
    return Footprint(
        processes=frozenset((pid, int(fields[19])) for pid, fields in ours.items()),
        descriptors=frozenset(_descriptors()),
        resident_mb=sum(int(fields[21]) for fields in ours.values()) * os.sysconf("SC_PAGE_SIZE") / 2**20,
        files=frozenset(os.listdir(tempfile.gettempdir())),
    )


def _time_sealed(sandbox: Sandbox, count: int) -> float:
    """Return executions per second."""
    elapsed = 0.0
    for done in range(0, count, BATCH):
        start = time.perf_counter()
        outcomes = sandbox.run([JOB] * min(BATCH, count - done))
        elapsed += time.perf_counter() - start
        assert all(outcome.ending is Ending.DONE and outcome.values == (49,) for outcome in outcomes)
    return count / elapsed


def _time_bare(count: int, processes: int) -> float:
    """Return executions per second."""
    command = [os.path.realpath(sys.executable), "-I", "-c", "pass"]
    start = time.perf_counter()
    with ThreadPoolExecutor(processes) as threads:
        for ended in [threads.submit(subprocess.run, command, check=True) for _ in range(count)]:
            ended.result()
    return count / (time.perf_counter() - start)


def family(root: int) -> set[int]:
    """Return the pids of a process and all its descendants."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _fields(int(entry))
            if fields:
                parents[int(entry)] = int(fields[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _descriptors() -> Iterator[tuple[int, int, int]]:
    """Yield this process's open descriptors, except the one that lists them."""
    for number in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError):
            status = os.fstat(number)
            yield number, status.st_dev, status.st_ino


def _fields(pid: int) -> list[bytes]:
    """Return the fields of a process's `stat` from the third on; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return []
