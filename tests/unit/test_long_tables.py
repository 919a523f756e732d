"""Tables of many rows: every cell is there, in columns that fit the terminal."""

import io
from collections.abc import Sequence

import pytest
from rich.cells import cell_len
from rich.console import Console

from bootstrap.cli import render


def printed(rows: list[dict[str, str]], *, width: int, spare: Sequence[str] = ()) -> list[str]:
    assert len(rows) > render.LONG
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "console", lambda: Console(file=out, width=width, highlight=False))
        render.print_rows("lineage x", rows, spare=spare, keep="\n")
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_rows_stand_in_columns_under_their_names_and_empty_columns_are_left_out():
    rows = [{"generation": f"gen-{number}", "empty": "", "gain": "+1.0 pp" * (number % 2)} for number in range(200)]
    lines = printed(rows, width=80)
    assert lines[:5] == ["lineage x", "", "  generation   gain", f" {'─' * 22}", "  gen-0"]
    assert lines[5] == "  gen-1        +1.0 pp" and len(lines) == 205


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_widest_column_is_folded_between_words_and_no_word_is_lost(width: int):
    reason = "rejected: level 2 fell 0.996 -> 0.877 (lower bound -0.124, margin 0.030); 数字 were lost too"
    rows = [{"generation": f"gen-{number}", "reason": reason, "seconds": "1.5"} for number in range(150)]
    lines = printed(rows, width=width)
    assert max(map(cell_len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    assert text.count("gen-") == 150 and text.count("1.5") == 150
    words = " ".join(line[15 : 15 + len(line)] for line in lines[4:]).replace("1.5", "").split()
    assert words == reason.split() * 150


def test_a_word_that_is_longer_than_its_column_is_cut():
    lines = printed([{"a": "z" * 95, "b": "y"}] * 120, width=40)
    assert max(map(cell_len, lines)) <= 40 and "".join(lines).count("z") == 95 * 120


def test_a_narrow_terminal_does_without_spare_columns_one_after_the_other():
    row = {"generation": "gen-1", "tokens": "1.23M", "accuracy": "level 6: 98.9 % (98.3-99.5)", "FLOPs": "9.1T"}
    names = [printed([row] * 150, width=width, spare=("tokens", "FLOPs"))[2].split() for width in (70, 60, 50)]
    assert names == [[*row], ["generation", "accuracy", "FLOPs"], ["generation", "accuracy"]]


def test_a_table_that_cannot_fold_is_a_list_of_each_rows_cells():
    rows = [{f"column {n}": f"row {row} cell {n}" if n != 3 else "" for n in range(8)} for row in range(150)]
    rows[149]["column 3"] = "数字 " * 30
    lines = printed(rows, width=60)
    assert max(map(cell_len, lines)) <= 60
    assert lines[2:4] == ["  column 0   row 0 cell 0", "  column 1   row 0 cell 1"]
    told = [line for line in lines if line.startswith("  column")]
    assert len(told) == 150 * 7 + 1 and "".join(lines).count("数字") == 30


def test_control_codes_and_lines_in_a_cell_leave_the_table_whole():
    lines = printed([{"a": "one\ntwo\r\a", "b": "[bold]z[/bold]"}] * 120, width=80)
    assert lines[4:6] == ["  one         [bold]z[/bold]", "  two\\r\\x07"]


def test_long_tables_take_this_way_and_short_ones_do_not(capsys: pytest.CaptureFixture[str]):
    rows = [{"generation": f"gen-{number}"} for number in range(render.LONG + 1)]
    render.print_rows("long", rows)
    assert capsys.readouterr().out.splitlines()[4].strip() == "gen-0"
    render.print_rows("short", rows[:-1])
    assert "gen-99" in capsys.readouterr().out
