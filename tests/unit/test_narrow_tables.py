"""Tables fit a terminal of 60 columns, and say which columns they leave out."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from support import lineage_factory
from support.lineage_factory import SETTINGS

from bootstrap.cli import render
from bootstrap.cli.main import main
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
    assert any("(k " in line for line in tables(narrow)), narrow.getvalue()
    assert "left out for want of width: entropy, distinct, majority" in narrow.getvalue()


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


COMMANDS = [
    ("lineage",),
    ("show", "rich@gen-8"),
    ("why", "rich@gen-8"),
    ("why", "rich@gen-4"),
    ("diff", "rich@gen-3", "rich@gen-6"),
    ("samples", "rich@gen-3"),
    ("taint", "addition@gen-1"),
    ("taint", "exact", "--lineage", "rich", "--kind", "verifier"),
    ("contamination", "rich@champion"),
    ("compare", "addition", "rich"),
    ("gc",),
    ("verify",),
    ("report", "--no-publish"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command))
def test_every_table_fits_60_columns(
    rich_store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert main([*command, "--store", str(rich_store)]) == 0
    lines = capsys.readouterr().out.splitlines()
    # Lines of tables are padded; sentences are wrapped by the terminal.
    padded = [line for line in lines if line.endswith(" ") or "─" in line]
    assert (command[0] in ("samples", "verify")) is not padded
    assert [line for line in padded if len(line) > 60] == []


@pytest.mark.parametrize("command", [("recipes",), ("plan", "pipelines/r1.yaml")], ids=" ".join)
def test_every_table_about_recipes_fits_60_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert main([*command]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if (line.endswith(" ") or "─" in line) and len(line) > 60] == []


def test_a_table_of_tests_keeps_one_line_a_test(rich_store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "60")
        assert main(["why", "rich@gen-8", "--store", str(rich_store)]) == 0
    printed = capsys.readouterr().out
    assert "decision" in printed and "  left out for want of width: " in printed and "--json" in printed
    [header] = [line for line in printed.splitlines() if line.split()[:2] == ["test", "on"]]
    assert {"before", "after", "passed"} <= set(header.split())
