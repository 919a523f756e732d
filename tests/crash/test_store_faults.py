"""Faults and kills: every operation of a whole run fails or dies in turn, and the store stays complete or absent.

The method is SQLite's: raise N until the case completes, in once-only and in persistent mode, then check integrity.
"""

import errno
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.store_doubles import (
    NUM_GENERATIONS,
    ROLES,
    FailingFiles,
    Interposed,
    UnsyncedFiles,
    toy_contents,
    toy_inputs,
    toy_run,
)

from bootstrap.errors import StoreError
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.verify import verify

pytestmark = pytest.mark.slow


def undisturbed(folder: Path) -> list[str]:
    return toy_run(LineageStore(folder / "undisturbed", files=UnsyncedFiles()))


def leftovers(root: Path) -> list[Path]:
    return list(root.rglob(".tmp-*"))


def check_complete_or_absent(root: Path, promises: list[tuple[str, ...]]) -> None:
    """Assert that a new run sees whole artifacts or none, everything that was acknowledged, and no leftovers."""
    store = LineageStore(root, files=UnsyncedFiles())
    if store.exists:
        store.sweep()
        assert leftovers(root) == []
        assert verify(root).problems == ()
    num_records = len(store.ledger.read()) if store.ledger.folder.is_dir() else 0
    for number in range(NUM_GENERATIONS):
        assert number < num_records or ("record", str(number)) not in promises
        for role in ROLES:
            artifact = store.find(role, toy_inputs(role, number)) if store.artifacts_folder.is_dir() else None
            assert artifact is not None or ("artifact", role, str(number)) not in promises
            assert artifact is None or artifact.read_all() == toy_contents(role, number)


def faults(folder: Path, *, code: int, persistent: bool) -> Iterator[tuple[Path, str | None, list[tuple[str, ...]]]]:
    """Run with operation N failing, for N = 0, 1, ... until a run meets no fault; yield root, error, promises."""
    at = 0
    while True:
        root, promises = folder / f"{at}", []
        root.mkdir()
        files = FailingFiles(at=at, code=code, persistent=persistent)
        message = None
        try:
            toy_run(LineageStore(root / "toy", files=files), promises.append)
        except StoreError as error:
            message = str(error)
        if not files.has_failed:
            return
        yield root / "toy", message, promises
        at += 1


@pytest.mark.parametrize(
    ("code", "persistent", "remedy"),
    [(errno.ENOSPC, True, "free some space"), (errno.EROFS, True, "read-only"), (errno.EIO, False, "check the disk")],
    ids=["full", "read-only", "broken-once"],
)
def test_any_failing_operation_is_one_clear_error_and_the_next_run_ends_as_if_undisturbed(
    tmp_path: Path, code: int, persistent: bool, remedy: str
):
    expected = undisturbed(tmp_path)
    num_faults = 0
    for root, message, promises in faults(tmp_path, code=code, persistent=persistent):
        num_faults += 1
        assert message is not None, "a failing operation went unreported"
        assert remedy in message
        assert "--store" in message
        assert str(tmp_path) in message
        # What could not be removed has left its name already; everything else is cleaned up at once.
        assert persistent or all(path.parent.name == "work" for path in leftovers(root))
        check_complete_or_absent(root, promises)
        assert toy_run(LineageStore(root, files=UnsyncedFiles())) == expected
        assert verify(root).is_clean
        assert leftovers(root) == []
    assert num_faults > 100


class SuicidalFiles(Interposed):
    """Sends this process SIGKILL instead of operation number `at`."""

    def __init__(self, *, at: int) -> None:
        self.at, self.count = at, 0

    def interpose(self, operation: str, arguments: tuple[Any, ...], perform: Callable[[], Any]) -> Any:
        if self.count == self.at:
            if operation == "write":
                os.write(arguments[0], arguments[1][: len(arguments[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        self.count += 1
        return perform()


def run_in_child(root: Path, *, at: int) -> tuple[int, list[tuple[str, ...]]]:
    """Run in a forked child that kills itself at operation `at`; return its wait status and what it acknowledged."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            store = LineageStore(root, files=SuicidalFiles(at=at))
            toy_run(store, lambda promise: os.write(writer, (" ".join(promise) + "\n").encode()))
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as stream:
        promises = [tuple(line.split()) for line in stream]
    return os.waitpid(child, 0)[1], promises


def test_a_run_killed_at_any_operation_resumes_to_the_ledger_of_an_undisturbed_one(tmp_path: Path):
    expected = undisturbed(tmp_path)
    num_kills = 0
    while True:
        root = tmp_path / f"{num_kills}" / "toy"
        root.parent.mkdir()
        status, promises = run_in_child(root, at=num_kills)
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        check_complete_or_absent(root, promises)
        assert toy_run(LineageStore(root, files=UnsyncedFiles())) == expected
        assert verify(root).is_clean
        assert leftovers(root) == []
        num_kills += 1
    assert num_kills > 100
