"""A reader that leaves ends neither a command nor its exit code."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import lineage_factory

from bootstrap.cli import output
from bootstrap.cli.commands.jobs import JobEnded, _echo


@pytest.fixture
def unread() -> io.TextIOWrapper:
    """A stream into a pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w")


def test_what_is_written_after_the_reader_has_left_is_dropped(
    unread: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", unread)
    with output.surviving():
        assert output.is_read()
        for line in range(10_000):
            print(f"generation {line}", flush=line % 100 == 0)
        assert not output.is_read()
    assert sys.stdout is unread
    unread.close()


def test_a_stream_that_is_read_gets_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stdout", shown)
    with output.surviving():
        print("one", file=output.stdout())
        assert output.is_read()
    assert shown.getvalue() == "one\n"


def test_following_a_log_ends_when_nobody_reads_it(unread: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", unread)
    with output.surviving(), pytest.raises(JobEnded) as ended:
        _echo("a line of the job")
    assert ended.value.code == 0
    unread.close()


@pytest.mark.slow
def test_lineage_into_head_ends_with_0(tmp_path: Path) -> None:
    lineage_factory.build(tmp_path / "addition", plan=(), name="addition")
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "bootstrap", "lineage", "--json", "--store", str(tmp_path)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
