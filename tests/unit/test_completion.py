"""Shells complete commands and options, and `--help` says how to install that."""

import os
import subprocess
import sys

import pytest

from bootstrap.cli.main import main

pytestmark = pytest.mark.slow


def completions(*words: str) -> list[str]:
    """Return what bash is offered for the last of the words."""
    environment = {
        **os.environ,
        "_BOOTSTRAP_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "bootstrap"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_and_options_are_completed() -> None:
    assert completions("bootstrap", "li") == ["lineage"]
    assert completions("bootstrap", "run", "--wo") == ["--workers"]


def test_help_names_the_installation(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "--install-completion" in capsys.readouterr().out
