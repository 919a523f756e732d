"""One driver per lineage: an advisory lock that the kernel releases when its owner dies, however it dies.

The file `LOCK` stays; only the lock on it counts. A note inside names the owner to a process that is refused. Readers
need no lock, because everything they read is complete or absent.
"""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from bootstrap.errors import LineageLocked
from bootstrap.reading import parsed
from bootstrap.store import durable

LOCK_NAME = "LOCK"

_held: set[int] = set()


def _close_in_child() -> None:
    """Close a forked child's copies of the locks, so that a lock ends with the driver."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)


@contextmanager
def lineage_lock(root: Path) -> Iterator[None]:
    """Hold the lineage folder `root` (created if missing) as its only driver.

    Raises LineageLocked at once, naming the owner, if another driver holds it; StoreError if the folder cannot be
    written.
    """
    durable.make_folder(root)
    path = root / LOCK_NAME
    descriptor = durable.open_for_lock(path)
    _held.add(descriptor)
    try:
        with durable.store_errors(path, doing="lock"):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _refusal(root, os.pread(descriptor, 4096, 0)) from None
            started = datetime.now(UTC).isoformat(timespec="seconds")
            owner = {"pid": os.getpid(), "host": socket.gethostname(), "started": started}
            durable.overwrite(descriptor, json.dumps(owner).encode())
        yield
    finally:
        if descriptor in _held:
            _held.remove(descriptor)
            os.close(descriptor)


def _refusal(root: Path, note: bytes) -> LineageLocked:
    try:
        found = parsed(note)
        owner = f"process {found['pid']} on host {found['host']} since {found['started']}"
    except (ValueError, KeyError, TypeError):
        owner = None
    who = owner or "a process that has not yet written its name into the lock"
    return LineageLocked(
        f"another driver writes the lineage {root}: {who}. Wait until it ends, or stop that process "
        "(what it has finished is kept), or start a lineage of your own with --lineage NAME",
        owner=owner,
    )
