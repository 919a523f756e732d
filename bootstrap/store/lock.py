"""One driver per lineage: an advisory lock that the kernel releases when its owner dies, however it dies.

The file `LOCK` stays; only the lock on it counts. A note inside names the owner to a process that is refused. A file
that somebody removes or replaces lets a second driver in, so each commit first asks whether the locked file is still
the one in the folder (`require_lock`). Readers need no lock, because everything they read is complete or absent.
"""

import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from bootstrap.errors import LineageLocked
from bootstrap.reading import Root, parsed
from bootstrap.store import durable

LOCK_NAME = "LOCK"

_ATTEMPTS = 10
"""Most files that are locked only to find that another has taken their place."""
_held: dict[int, Path] = {}
"""Descriptors of the locks of this process, with their files' paths."""


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
    path = root.absolute() / LOCK_NAME
    descriptor = _locked(path, root)
    try:
        with durable.store_errors(path, doing="lock"):
            started = datetime.now(UTC).isoformat(timespec="seconds")
            owner = {"pid": os.getpid(), "host": socket.gethostname(), "started": started}
            durable.overwrite(descriptor, json.dumps(owner).encode())
        yield
    finally:
        _release(descriptor)


def require_lock(root: Path) -> None:
    """Raise LineageLocked if this process's lock on the folder `root` counts no more: its file was removed or replaced.

    Nothing is required of a process that has locked no such folder. Raises StoreError.
    """
    path = root.absolute() / LOCK_NAME
    ours = [descriptor for descriptor, held in _held.items() if held == path]
    if not ours or _is_in_place(ours[0], path):
        return
    owner = _owner(Root(path.parent).read_if_there(LOCK_NAME) or b"")
    now = f"replaced by that of {owner}" if owner else "removed or replaced"
    raise LineageLocked(
        f"the lock {path} of this driver was {now} while it ran, so this driver commits nothing more; what is "
        "committed is kept. Once no other driver writes the lineage, run the same command again: it goes on from the "
        "last checkpoint",
        owner=owner,
    )


def _locked(path: Path, root: Path) -> int:
    """Return the descriptor of the file `path`, locked, and in its place after that. Raises LineageLocked, StoreError.

    The file that was opened may have been removed before it was locked, and another driver may hold its successor.
    """
    for _ in range(_ATTEMPTS):
        descriptor = durable.open_for_lock(path)
        _held[descriptor] = path
        try:
            with durable.store_errors(path, doing="lock"):
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise _refusal(root, os.pread(descriptor, 4096, 0)) from None
                if _is_in_place(descriptor, path):
                    return descriptor
        except BaseException:
            _release(descriptor)
            raise
        _release(descriptor)
    raise LineageLocked(f"the lock {path} is removed again and again; find out what removes it, and run again")


def _release(descriptor: int) -> None:
    if _held.pop(descriptor, None) is not None:
        os.close(descriptor)


def _is_in_place(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one at `path`. Raises StoreError.

    The number of links does not tell: some file systems report 0 for a file in its place.
    """
    with durable.store_errors(path, doing="look at"):
        try:
            return os.path.samestat(os.fstat(descriptor), path.lstat())
        except FileNotFoundError:
            return False
        except OSError as error:
            # A network file system's word for a file that another machine has removed.
            if error.errno == errno.ESTALE:
                return False
            raise


def _owner(note: bytes) -> str | None:
    """Return who has written a lock's note, as a clause of a sentence; None where it does not tell."""
    try:
        found = parsed(note)
        return f"process {found['pid']} on host {found['host']} since {found['started']}"
    except (ValueError, KeyError, TypeError):
        return None


def _refusal(root: Path, note: bytes) -> LineageLocked:
    owner = _owner(note)
    who = owner or "a process that has not yet written its name into the lock"
    return LineageLocked(
        f"another driver writes the lineage {root}: {who}. Wait until it ends, or stop that process "
        "(what it has finished is kept), or start a lineage of your own with --lineage NAME",
        owner=owner,
    )
