"""Tables fit a terminal of 60 columns, and lose no cell where they have no spare column."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from support import lineage_factory
from support.lineage_factory import SETTINGS

from bootstrap.cli import render
from bootstrap.cli.plan import print_plan
from bootstrap.cli.show import facts, print_generation
from bootstrap.planning.plan import make_plan
from bootstrap.store.lineage_store import LineageStore


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr(render, "console", lambda: Console(file=stream, width=60, highlight=False))
    return stream


def tables(stream: io.StringIO) -> list[str]:
    """Return the lines that belong to tables: those that are padded."""
    return [line for line in stream.getvalue().splitlines() if line.startswith(" ")]


@pytest.mark.parametrize("long", [render.LONG, 2])
def test_the_outcome_table_keeps_verdict_and_accuracy(
    tmp_path: Path, narrow: io.StringIO, monkeypatch: pytest.MonkeyPatch, long: int
) -> None:
    monkeypatch.setattr(render, "LONG", long)
    lineage_factory.build(tmp_path / "addition")
    render.print_lineage(LineageStore(tmp_path / "addition"))
    assert all(len(line) <= 60 for line in tables(narrow))
    for row in ("gen-3 *", "level 6: 98.9 % (98.3-99.5)", "promoted"):
        assert any(row in line for line in tables(narrow)), narrow.getvalue()


def test_the_plan_keeps_targets_and_seconds(narrow: io.StringIO) -> None:
    print_plan(make_plan(SETTINGS, lineage="addition", workers=1))
    assert all(len(line) <= 60 for line in tables(narrow))
    assert any("gen-3" in line and "level 7" in line for line in tables(narrow))


def test_all_of_one_generation_is_printed(tmp_path: Path, narrow: io.StringIO) -> None:
    lineage_factory.build(tmp_path / "addition")
    print_generation(facts(LineageStore(tmp_path / "addition"), "3"))
    assert all(len(line) <= 60 for line in tables(narrow))
    assert any(line.split() == ["majority", "98.9", "%"] for line in tables(narrow)), narrow.getvalue()


def test_a_table_that_cannot_fold_prints_each_row_as_a_list(narrow: io.StringIO) -> None:
    rows = [{f"column {n}": f"row {row} cell {n} [b]" for n in range(8)} for row in range(2)]
    render.print_rows("wide", rows)
    lines = narrow.getvalue().splitlines()
    assert all(len(line) <= 60 for line in lines)
    assert [" ".join(line.split()) for line in lines if "row 1" in line] == [
        f"column {n} row 1 cell {n} [b]" for n in range(8)
    ]


def test_only_the_widest_column_folds(narrow: io.StringIO) -> None:
    render.print_table(("name", "text"), [("short", "word " * 20), ("other", "one")])
    lines = narrow.getvalue().splitlines()
    assert all(len(line) <= 60 for line in lines) and any(line.split()[:1] == ["short"] for line in lines)
    assert sum(line.count("word") for line in lines) == 20
