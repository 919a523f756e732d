"""A run's progress in MLflow while it lasts: the driver keeps the newest state, a child process posts it.

    run --- event ---> Live --- one JSON line every few seconds ---> stdin of the child --- LiveRuns.post ---> MLflow
    run --- end -----> Live.finish: a last line, at most `END_SECONDS` of waiting

Nothing here delays the run or ends it: an event costs a few assignments, and a thread writes to the child. A run that
is over within `START_SECONDS` starts no child. What fails is told once. Left out: what MLflow gets (`lineage/live.py`).
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from bootstrap.cli.publish import niced
from bootstrap.ledger_records import Generation
from bootstrap.lineage.live_state import METRICS, Snapshot
from bootstrap.lineage.tracking import redact
from bootstrap.records import Event
from bootstrap.telemetry import Telemetry

START_SECONDS = 5.0
EVERY_SECONDS = 2.0
"""Least time between two posts."""
BEAT_SECONDS = 15.0
"""Longest time between two posts while the run lives."""
END_SECONDS = 20.0
"""Longest wait for the last post."""
INTERRUPT_SECONDS = 3.0
"""The same where the run was interrupted or failed, or MLflow has failed already."""
FAILURES = 5
"""Posts that may fail in a row before the child gives up."""
RESTART_SECONDS = 60.0
"""Time from a child that gave up to the next one, which may find MLflow back."""


class Live(Telemetry):
    """Shows the events of a run in MLflow. As a context manager, it tells MLflow when the run ends, and why."""

    def __init__(
        self,
        root: Path,
        *,
        last: int,
        committed: int,
        experiment: str | None,
        warn: Callable[[str], None],
        environment: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`root`: the lineage's folder; `last`: number of the last generation; `environment`: added for the child."""
        self._command = child_command(root, experiment=experiment)
        self._environment, self._warn, self._clock = {**os.environ, **environment}, warn, clock
        self._newest = Snapshot(
            lineage=root.name,
            generation=committed,
            last=last,
            committed=committed,
            stage="start",
            beat=int(time.time()),
        )
        self._began, self._posted = clock(), -float("inf")
        self._changed, self._over = False, threading.Event()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._thread.start()

    def event(self, event: Event) -> None:
        with self._lock:
            before = self._newest
            if event.generation != before.generation:
                self._began = self._clock()
            same = (event.generation, event.stage) == (before.generation, before.stage)
            # An event of the same stage without figures, as of a call that goes on, takes none away.
            figures = {name: event.metrics[name] for name in METRICS if name in event.metrics}
            self._newest = before.model_copy(
                update={
                    "generation": event.generation,
                    "stage": event.stage,
                    "done": event.done,
                    "total": event.total,
                    "metrics": {**before.metrics, **figures} if same else figures,
                }
            )
            self._changed = True

    def committed(self, generation: Generation) -> None:
        with self._lock:
            self._newest = self._newest.model_copy(update={"committed": generation.number + 1})
            self._changed = True

    def finish(self, why: str, *, seconds: float | None = None) -> None:
        """Say why the run has ended, and wait for the child at most `seconds` (None: `END_SECONDS`). For once."""
        with self._lock:
            self._newest = self._newest.model_copy(update={"ended": why})
        self._over.set()
        self._thread.join(END_SECONDS if seconds is None else seconds)
        if self._child is not None and self._child.poll() is None:
            self._child.kill()

    def _run(self) -> None:
        """Feed a child until the run is over; one that gives up is told of once, and followed by another."""
        patience, warned = START_SECONDS, False
        while not self._over.wait(patience):
            failed = self._feed_one()
            if failed is not None and not warned:
                warned = True
                self._warn(f"MLflow does not show the generation in progress: {failed}. The run goes on")
            patience = RESTART_SECONDS

    def _feed_one(self) -> str | None:
        """Start a child and feed it until it or the run ends; return why it failed, None if it did not."""
        with tempfile.TemporaryFile("w+", errors="replace") as messages:
            # A session of its own: Ctrl-C on the terminal reaches the run, which then ends its child itself.
            child = self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=messages,
                text=True,
                env=self._environment,
                start_new_session=True,
            )
            # A child that has given up reads nothing more; its message says why.
            with suppress(BrokenPipeError):
                self._feed(child)
            child.wait()
            if child.returncode <= 0:
                return None
            messages.seek(0)
            lines = [line for line in messages.read().splitlines() if line.strip()]
        return redact(lines[-1].removeprefix("error: ")) if lines else f"its process ended ({child.returncode})"

    def _feed(self, child: subprocess.Popen[str]) -> None:
        """Hand on the newest state every few seconds, and the last one when the run is over."""
        assert child.stdin is not None
        while not self._over.wait(EVERY_SECONDS):
            if (line := self._line()) is not None:
                print(line, file=child.stdin, flush=True)
        print(self._last_line(), file=child.stdin, flush=True)
        child.stdin.close()

    def _line(self) -> str | None:
        """Return the newest state for the child; None while there is nothing to tell."""
        with self._lock:
            now = self._clock()
            if not self._changed and now - self._posted < BEAT_SECONDS:
                return None
            self._changed, self._posted = False, now
            return self._stamped(now).model_dump_json()

    def _last_line(self) -> str:
        with self._lock:
            return self._stamped(self._clock()).model_dump_json()

    def _stamped(self, now: float) -> Snapshot:
        beat = self._newest.beat + 1
        self._newest = self._newest.model_copy(
            update={"beat": beat, "at": round(time.time() * 1000), "seconds": round(now - self._began, 1)}
        )
        return self._newest


def child_command(root: Path, *, experiment: str | None) -> list[str]:
    """Return the command of the process that posts for the lineage in the folder `root`.

    The tracking URI is in its environment: it can hold a password, and every user can read a process's arguments.
    """
    named = (experiment,) if experiment else ()
    return niced([sys.executable, "-m", "bootstrap.cli.live_child", str(root.absolute()), *named])
