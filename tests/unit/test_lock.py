"""The lineage's lock: one driver at a time, the owner named, gone with the owner however it ends."""

import copy
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bootstrap.errors import LineageLocked, StoreError
from bootstrap.store.lock import LOCK_NAME, lineage_lock

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
