"""The lineage's lock: one driver at a time, the owner named, gone with the owner however it ends."""

import copy
import errno
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import lineage_factory

from bootstrap.errors import LineageLocked, StoreError
from bootstrap.ledger_records import GenerationOutcome
from bootstrap.store import durable
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.lock import LOCK_NAME, lineage_lock, require_lock

HOLDER = """
import sys, time
from pathlib import Path
from bootstrap.store.lock import lineage_lock
with lineage_lock(Path(sys.argv[1])):
    {extra}
    print("held", flush=True)
    time.sleep(60)
"""
FORK = """
    import os
    ready, started = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(started, b"x")
        time.sleep(60)
        os._exit(0)
    os.read(ready, 1)
    print(child, flush=True)
"""


@contextmanager
def holder(root: Path, *, extra: str = "") -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A process that holds the lock, and the lines that it printed before it said so."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(extra=extra), str(root)], stdout=subprocess.PIPE, text=True
    )
    try:
        lines = []
        while (line := process.stdout.readline().strip()) != "held":
            assert line, "the holder ended without the lock"
            lines.append(line)
        yield process, lines
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_second_driver_is_refused_at_once_naming_process_host_and_remedy(tmp_path: Path):
    with (
        holder(tmp_path) as (process, _),
        pytest.raises(LineageLocked) as caught,
        lineage_lock(tmp_path),
    ):
        pass
    message = str(caught.value)
    assert f"process {process.pid} on host {socket.gethostname()}" in message
    assert str(tmp_path) in message
    assert "--lineage NAME" in message


def test_a_refusal_carries_its_owner_beyond_the_process(tmp_path: Path):
    odd = tmp_path / "process 1 on host x since y"
    with lineage_lock(odd), pytest.raises(LineageLocked) as caught, lineage_lock(odd):
        pass
    copied = copy.copy(caught.value)
    for error in (caught.value, copied):
        assert error.owner.startswith(f"process {os.getpid()} on host {socket.gethostname()} since 2")
    assert str(copied) == str(caught.value)


def test_an_owner_that_has_not_written_its_name_is_none(tmp_path: Path):
    with lineage_lock(tmp_path):
        (tmp_path / LOCK_NAME).write_bytes(b"")
        with pytest.raises(LineageLocked, match="has not yet written its name") as caught, lineage_lock(tmp_path):
            pass
    assert caught.value.owner is None


def test_the_lock_is_free_after_its_owner_was_killed(tmp_path: Path):
    with holder(tmp_path) as (process, _):
        process.send_signal(signal.SIGKILL)
        process.wait()
        with lineage_lock(tmp_path):
            pass


def test_a_child_that_outlives_a_killed_owner_does_not_hold_the_lock(tmp_path: Path):
    with holder(tmp_path, extra=FORK.strip()) as (process, lines):
        child = int(lines[0])
        try:
            process.send_signal(signal.SIGKILL)
            process.wait()
            os.kill(child, 0)
            with lineage_lock(tmp_path):
                pass
        finally:
            os.kill(child, signal.SIGKILL)


def test_the_lock_is_free_after_its_block_even_when_it_failed(tmp_path: Path):
    with pytest.raises(RuntimeError), lineage_lock(tmp_path):
        raise RuntimeError
    with lineage_lock(tmp_path):
        pass


def test_the_same_process_cannot_hold_it_twice_and_a_refusal_does_not_free_it(tmp_path: Path):
    with lineage_lock(tmp_path):
        for _ in range(2):
            with pytest.raises(LineageLocked, match=f"process {os.getpid()} "), lineage_lock(tmp_path):
                pass


def test_two_lineages_do_not_block_each_other(tmp_path: Path):
    with lineage_lock(tmp_path / "a"), lineage_lock(tmp_path / "b"):
        pass


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(StoreError, match="a file stands where a folder is needed"),
        lineage_lock(tmp_path / "file" / "x"),
    ):
        pass


def test_a_driver_whose_lock_was_removed_commits_nothing_more_and_loses_nothing(tmp_path: Path):
    lineage_factory.build(tmp_path / "addition", plan=())
    store = LineageStore(tmp_path / "addition")
    with lineage_lock(store.root):
        (store.root / LOCK_NAME).unlink()
        with pytest.raises(LineageLocked, match="was removed or replaced while it ran") as caught:
            lineage_factory.grow(store, outcome=GenerationOutcome.PROMOTED)
        assert caught.value.owner is None
    assert [entry.generation.number for entry in store.ledger.read()] == [0]
    with lineage_lock(store.root):
        lineage_factory.grow(store, outcome=GenerationOutcome.PROMOTED)
    assert [entry.generation.number for entry in store.ledger.read()] == [0, 1]


def test_of_two_drivers_that_a_removed_lock_let_in_the_second_goes_on_and_the_first_is_told_of_it(tmp_path: Path):
    with lineage_lock(tmp_path):
        (tmp_path / LOCK_NAME).unlink()
        with holder(tmp_path) as (process, _):
            with pytest.raises(LineageLocked, match=f"replaced by that of process {process.pid} on host") as caught:
                require_lock(tmp_path)
            assert f"process {process.pid} " in caught.value.owner
            # The second one's lock counts: a third is refused.
            with pytest.raises(LineageLocked, match=f"{process.pid}"), lineage_lock(tmp_path):
                pass


def test_a_lock_that_is_in_its_place_and_a_folder_that_nobody_locked_are_no_hindrance(tmp_path: Path):
    with lineage_lock(tmp_path / "a"):
        os.link(tmp_path / "a" / LOCK_NAME, tmp_path / "a" / "hard link of a backup")
        require_lock(tmp_path / "a")
        require_lock(tmp_path / "b")
    require_lock(tmp_path / "a")


def test_a_file_that_is_replaced_before_it_is_locked_is_locked_no_more_than_its_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    opened, replaced = durable.open_for_lock, []

    def slow(path: Path) -> int:
        descriptor = opened(path)
        if len(replaced) < 3:
            path.unlink()
            replaced.append(path)
        return descriptor

    monkeypatch.setattr(durable, "open_for_lock", slow)
    with lineage_lock(tmp_path):
        require_lock(tmp_path)
        assert len(replaced) == 3
    replaced.clear()
    monkeypatch.setattr("bootstrap.store.lock._ATTEMPTS", 2)
    with pytest.raises(LineageLocked, match="removed again and again"), lineage_lock(tmp_path):
        pass


def test_a_link_in_the_place_of_the_lock_is_not_written_through(tmp_path: Path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / LOCK_NAME).symlink_to(tmp_path / "precious")
    with pytest.raises(StoreError, match="is no regular file"), lineage_lock(tmp_path / "a"):
        pass
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize("call", ["fstat", "lstat"])
@pytest.mark.parametrize(("code", "expected"), [(errno.ESTALE, LineageLocked), (errno.EIO, StoreError)])
def test_a_lock_that_cannot_be_looked_at_is_a_named_error(
    call: str, code: int, expected: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fstat, asked = os.fstat, list[object]()

    def failing(*of: object) -> os.stat_result:
        """Fail for the first file that is asked about, the locked one: its note is read after that."""
        asked.extend(of)
        if of[0] != asked[0]:
            return fstat(of[0])
        raise OSError(code, os.strerror(code))

    with lineage_lock(tmp_path):
        with monkeypatch.context() as patch:
            if call == "fstat":
                patch.setattr("bootstrap.store.lock.os.fstat", failing)
            else:
                patch.setattr(Path, "lstat", lambda path: failing(path))
            with pytest.raises(expected, match=LOCK_NAME):
                require_lock(tmp_path)
        require_lock(tmp_path)


def test_a_file_system_that_reports_no_links_is_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fstat = os.fstat

    def without_links(descriptor: int) -> os.stat_result:
        found = list(fstat(descriptor))
        found[stat.ST_NLINK] = 0
        return os.stat_result(found)

    with monkeypatch.context() as patch:
        patch.setattr("bootstrap.store.lock.os.fstat", without_links)
        with lineage_lock(tmp_path):
            require_lock(tmp_path)
