"""Publishing beside the run: after a commit, one child process brings MLflow up to date.

    loop --- commit ---> Publisher() --- starts, if none runs ---> `bootstrap lineage --sync --growing`, niced
    end of run ---> Publisher.finish() waits for it, then for a last one without `--growing`, at most `wait_seconds`

The loop never waits, and training has precedence: a child beside it is nicer to others than the workers are. A server
that is slow is published to for as long as it answers and the run lasts; one that lies ends the child at that call. At
its end the run waits seconds for a server, and the rest is left to `--sync`. Each publication publishes everything that
is missing, so the next one covers a commit made meanwhile; there is no last one where nothing is left to it. A failure
is reported once, and the outbox keeps the unpublished records. Left out: what is published (`lineage/`).
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from bootstrap.lineage.tracking import is_remote, redact

DATABASE_SECONDS = 120.0
"""Longest wait at the end of a run for the last publication, where this machine does all of its work."""
SERVER_SECONDS = 30.0
"""The same for a server, which may be slow at every call."""
GROWING = ("--growing",)
"""Added to the command while more commits come."""


def sync_command(
    root: Path, *, experiment: str | None, sample_rollouts: int, python: str = sys.executable
) -> list[str]:
    """Return the command that publishes the unpublished records of the lineage in the folder `root`.

    The tracking URI is not part of it: it can hold a password, and every user can read a process's arguments.
    """
    return [
        *(python, "-m", "bootstrap", "lineage", "--sync"),
        *("--store", str(root.parent), "--lineage", root.name),
        *("--sample-rollouts", str(sample_rollouts)),
        *(("--experiment", experiment) if experiment else ()),
    ]


def wait_seconds(tracking_uri: str) -> float:
    """Return the longest wait at the end of a run for the last publication to `tracking_uri`."""
    return SERVER_SECONDS if is_remote(tracking_uri) else DATABASE_SECONDS


def niced(command: Sequence[str]) -> list[str]:
    """Return a command that leaves precedence to the run, its workers included."""
    nice = shutil.which("nice")
    return [*((nice, "-n", "10") if nice else ()), *command]


class Publisher:
    """Starts `command` after commits, one at a time. As a context manager, it stops the child when an error leaves it.

    `growing`: words added to it while more commits come. `is_whole`: whether what they leave out has been published.
    `environment`: variables of the child, added to this process's.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        warn: Callable[[str], None],
        growing: Sequence[str] = (),
        is_whole: Callable[[], bool] = lambda: True,
        environment: Mapping[str, str] | None = None,
        wait_seconds: float = DATABASE_SECONDS,
    ) -> None:
        self.command, self.warn, self.wait_seconds = list(command), warn, wait_seconds
        self.growing, self.is_whole = list(growing), is_whole
        self.environment = {**os.environ, **(environment or {})}
        self.process: subprocess.Popen[str] | None = None
        self.reader: threading.Thread | None = None
        self.output = ""
        self.behind = False
        """Whether something was committed after the last publication began."""
        self.failed = False
        """Whether the last publication failed; what it left undone the next one does."""
        self.warned = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._stop()

    def __call__(self) -> None:
        """Note a commit; start publishing unless a child does it already. Returns at once."""
        self.behind = True
        if self._ended():
            self._start(niced([*self.command, *self.growing]))

    def finish(self) -> bool:
        """Publish the rest and wait for it; return whether MLflow is up to date. Warns at most once a run."""
        deadline = time.monotonic() + self.wait_seconds
        complete = self._wait(deadline)
        if complete and (self.behind or not (self.failed or self.is_whole())):
            # Nobody is left to give precedence to.
            self._start(self.command)
            complete = self._wait(deadline)
        if not complete:
            self._stop()
            self._warn(f"publishing the rest would take longer than {self.wait_seconds:g} seconds")
        return complete and not self.failed

    def _start(self, command: Sequence[str]) -> None:
        self.behind = self.failed = False
        # A session of its own: Ctrl-C on the terminal reaches the run, which then stops its child itself.
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            start_new_session=True,
        )
        self.reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self.reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        """Drain the child's messages, so that a full pipe never blocks it."""
        self.output = process.communicate()[1]

    def _ended(self) -> bool:
        """Whether no child runs. Reports the failure of one that has ended."""
        if self.process is None or self.reader is None:
            return True
        if self.reader.is_alive():
            return False
        self.failed = self.process.returncode != 0
        if self.failed:
            lines = [line for line in self.output.splitlines() if line.strip()]
            said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")] or lines[-1:]
            self._warn(redact(said[0]) if said else f"the publishing process ended with code {self.process.returncode}")
        self.process = self.reader = None
        return True

    def _wait(self, deadline: float) -> bool:
        if self.reader is None:
            return True
        self.reader.join(max(deadline - time.monotonic(), 0.0))
        return self._ended()

    def _stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.reader is not None:
            self.reader.join(5)

    def _warn(self, reason: str) -> None:
        if not self.warned:
            self.warned = True
            self.warn(f"MLflow is not up to date: {reason}. The run goes on and nothing is lost")
