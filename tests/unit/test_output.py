"""A reader that leaves ends neither a command nor its exit code; what reaches standard error is harmless text."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from support import lineage_factory
from support.hostile import EVIL, FORGED

from bootstrap.cli import output
from bootstrap.cli.commands.jobs import JobEnded, _echo
from bootstrap.cli.progress import Expected, RichProgress


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


TOLD = f"""
import logging, sys, threading, warnings
from bootstrap.cli import main as command
evil = {EVIL!r}
def fail(*_, **__):
    warnings.warn("warned" + evil)
    logging.getLogger(evil).error("logged" + evil)
    try:
        raise ValueError("cause" + evil)
    except ValueError as error:
        thread = threading.Thread(target=int, args=["thread" + evil])
        thread.start()
        thread.join()
        error.add_note("noted" + evil)
        raise RuntimeError("uncaught" + evil)
command.app = fail
command.main()
"""


@pytest.mark.slow
def test_warnings_logs_and_tracebacks_are_harmless(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", TOLD], cwd=tmp_path, capture_output=True, timeout=60, check=False)
    told = done.stderr.decode()
    assert done.returncode == 1 and not done.stdout
    assert all(word in told for word in ("warned", "logged", "thread", "cause", "noted", "uncaught", "alert(1)"))
    assert not re.search(rf"[^\n -~]|^{FORGED}", told, re.MULTILINE), told
    # What is the traceback's own stays on lines of its own.
    assert "\n\n  During handling of the above exception, another exception occurred:\n\n  Traceback (most " in told


def test_what_others_write_beside_a_live_bar_is_harmless() -> None:
    before, shown = sys.stderr, io.StringIO()
    console = Console(file=shown, force_terminal=True, color_system=None)
    with RichProgress(console, last=1, expected=Expected()):
        print(f"warned{EVIL}", file=sys.stderr)
    assert sys.stderr is before
    assert "\\x9b2J" in shown.getvalue() and not re.search("[\x9b\u202e\0]|\x1b]", shown.getvalue())


def test_a_live_bar_on_standard_error_moves_the_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", shown := io.StringIO())
    with output.surviving():
        console = Console(file=output.display(), force_terminal=True)
        with RichProgress(console, last=1, expected=Expected()):
            print("warned\x9b", file=sys.stderr)
    assert "\x1b[" in shown.getvalue() and "warned\\x9b" in shown.getvalue()


@pytest.mark.slow
def test_lineage_into_head_ends_with_0(tmp_path: Path) -> None:
    lineage_factory.build(tmp_path / "addition", plan=(), name="addition")
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "bootstrap", "lineage", "--json", "--store", str(tmp_path)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
