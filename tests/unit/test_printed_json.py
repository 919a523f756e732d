"""JSON on a terminal holds no character that the terminal would act on; for programs it is as it was written."""

import io
import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from bootstrap.cli import chat, render

ACTS = "\x1b[2J \x9b2J \u202e \u2066 \x7f é"
"""Escape, its eight-bit form, changes of direction, delete; and a letter."""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def chatted(told: dict[str, Any]) -> None:
    found: Any = SimpleNamespace(ask=lambda text: told)
    chat._ask(found, "1+1=", as_json=True, goes_on=False)


@pytest.mark.parametrize("show", [render.print_json, chatted])
def test_a_terminal_gets_escapes_and_the_same_data(show: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    show({ACTS: ACTS})
    told = terminal.getvalue()
    assert told.isascii() and told.replace("\n", "").isprintable()
    assert json.loads(told) == {ACTS: ACTS}


@pytest.mark.parametrize("show", [render.print_json, chatted])
def test_a_program_gets_letters_as_they_are(show: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stdout", written)
    show({"text": "é"})
    assert "é" in written.getvalue() and json.loads(written.getvalue()) == {"text": "é"}
