"""The process beside a run that shows it in MLflow: `python -m bootstrap.cli.live_child ROOT [EXPERIMENT]`.

It reads a state (`Snapshot` as JSON) from each line of its standard input and posts the newest, until the input ends.
`MLFLOW_TRACKING_URI` names the server or database. A post that fails is dropped; `FAILURES` in a row end the process
with one message. No command for people: `cli/live.py` starts it.
"""

import os
import sys
import threading
from pathlib import Path
from typing import IO

from bootstrap.cli.live import FAILURES
from bootstrap.errors import BootstrapError, TrackingError
from bootstrap.lineage.live_state import Snapshot
from bootstrap.lineage.reach import check_reachable

KILLED = "the run's process was killed; the same command goes on from its last checkpoint"
SILENT_SECONDS = 120.0
"""Longest wait for a line; a living driver writes one every `BEAT_SECONDS`."""


class Newest:
    """The newest line of a stream, read by a thread, so that posting skips what it is too slow for."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._line, self._ended = stream, "", False
        self._there = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def take(self) -> str | None:
        """Wait for a line that has not been taken and return it; None once the stream has ended, or says nothing more.

        The stream ends with the driver, however that ends.
        """
        with self._there:
            self._there.wait_for(lambda: self._line or self._ended, timeout=SILENT_SECONDS)
            line, self._line = self._line, ""
            return line or None

    def _read(self) -> None:
        for line in self._stream:
            with self._there:
                self._line = line
                self._there.notify()
        with self._there:
            self._ended = True
            self._there.notify()


def follow(stream: IO[str], root: Path, *, tracking_uri: str, experiment: str | None) -> None:
    """Post what `stream` says until it ends. Raises TrackingError after `FAILURES` failed posts in a row."""
    check_reachable(tracking_uri)
    from bootstrap.lineage.connection import connected
    from bootstrap.lineage.live import LiveRuns

    newest, failed, snapshot = Newest(stream), 0, None
    with connected(tracking_uri):
        runs = LiveRuns(root, tracking_uri=tracking_uri, experiment=experiment)
    while (line := newest.take()) is not None:
        snapshot = Snapshot.model_validate_json(line)
        try:
            with connected(tracking_uri):
                (runs.end if snapshot.ended else runs.post)(snapshot)
            failed = 0
        except TrackingError:
            failed += 1
            if failed >= FAILURES:
                raise
    if snapshot is not None and not snapshot.ended:
        with connected(tracking_uri):
            runs.end(snapshot.model_copy(update={"ended": KILLED}))


def main() -> int:
    """Run the process; return its exit code."""
    root, *experiment = sys.argv[1:]
    try:
        uri = os.environ["MLFLOW_TRACKING_URI"]
        follow(sys.stdin, Path(root), tracking_uri=uri, experiment=experiment[0] if experiment else None)
    except BootstrapError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
