"""Files as people have them: labels in a column `level`, floats, nulls, test files without solutions."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from bootstrap.config.files import FileTask
from bootstrap.config.sources import References
from bootstrap.errors import RecipeError
from bootstrap.prompts.files import Rows
from bootstrap.records import Split
from bootstrap.stages.supervised import SupervisedTrainer

SOLVED = {"prompt": "prompt", "answer": "answer", "solution": "why"}
ROWS = [{"prompt": f"{n}?", "answer": n} for n in range(60)]


def write(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    match path.suffix:
        case ".csv":
            lines = [names, *(["" if row.get(name) is None else str(row[name]) for name in names] for row in rows)]
            path.write_text("".join(",".join(line) + "\n" for line in lines))
        case ".parquet":
            pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), path)
        case _:
            path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)


def task_of(folder: Path, rows: Sequence[dict[str, Any]], *, form: str = "jsonl", **settings: Any) -> Rows:
    return Rows(FileTask(path=write(folder / f"train.{form}", rows), **settings))


def apart(folder: Path, test: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]] = ROWS, **more: Any) -> Rows:
    return task_of(folder, rows, heldout=write(folder / "test.jsonl", test), **more)


TEST = [{"prompt": f"test {n}", "answer": n} for n in range(20)]


# --- levels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_whole_floats_are_levels(tmp_path: Path, form: str) -> None:
    task = task_of(tmp_path, [{**row, "level": 1.0 + (n % 2)} for n, row in enumerate(ROWS)], form=form)
    assert {row.level for row in task.every_row()} == {1, 2} and not task.without_levels


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_a_text_in_a_column_that_is_merely_called_level_is_none_and_told(tmp_path: Path, form: str) -> None:
    labelled = [{**row, "level": f"Level {1 + n % 5}"} for n, row in enumerate(ROWS)]
    task = task_of(tmp_path, labelled, form=form)
    assert task.highest_level == 1 and len(task.every_row()) == 60
    assert "train." in task.without_levels and 'not "Level 1"' in task.without_levels
    none = task_of(tmp_path, labelled, form=form, columns={"level": None})
    assert none.highest_level == 1 and not none.without_levels


@pytest.mark.parametrize(
    ("levels", "columns", "at"),
    [(["Level 5"], {"level": "level"}, 1), ([1, "Level 5"], {}, 2), ([1, 2.5], {}, 2), (["Level 5", 1], {}, 1)],
)
def test_what_is_no_level_among_levels_is_refused_with_the_remedy(
    tmp_path: Path, levels: list[Any], columns: dict[str, str], at: int
) -> None:
    rows = [{**row, "level": levels[n % len(levels)]} for n, row in enumerate(ROWS)]
    with pytest.raises(RecipeError, match=rf"jsonl:{at}: level must be .*; name another column in task.columns.level"):
        task_of(tmp_path, rows, columns=columns)


def test_null_leaves_out_what_may_be_left_out_alone(tmp_path: Path) -> None:
    task = task_of(
        tmp_path,
        [{**row, "level": n, "slice": "s"} for n, row in enumerate(ROWS)],
        columns={"level": None, "slice": None},
    )
    assert (task.highest_level, task.slices) == (1, ())
    with pytest.raises(ValidationError, match=r"columns.answer names no column; name one, or remove it"):
        FileTask(path="rows.jsonl", columns={"answer": None})


# --- nulls -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("settings", [{}, {"answer_template": "<a>{answer}</a>"}, {"extract": "(.+)"}])
def test_rows_without_prompt_or_answer_are_left_out_in_every_form(
    tmp_path: Path, form: str, settings: dict[str, Any]
) -> None:
    rows = [*ROWS, {"prompt": "61?", "answer": None}, {"prompt": None, "answer": 62}]
    task = task_of(tmp_path, rows, form=form, **settings)
    assert dict(task.left_out) == {"without prompt or answer": 2}
    assert len(task.every_row()) == 60


# --- held-out files --------------------------------------------------------------------------------------------------


def test_held_out_rows_need_no_solution_and_none_is_counted(tmp_path: Path) -> None:
    train = [{**row, "why": f"since\n{n}" if n else None} for n, row in enumerate(ROWS)]
    task = apart(tmp_path, TEST, train, columns=SOLVED)
    assert len(task.rows(Split.HELDOUT)) == 20
    assert task.not_shown.told() == "1 without a solution (line train.jsonl:1)"
    assert [row.solution for row in task.rows(Split.HELDOUT)][:2] == ["0", "1"]


def test_each_file_has_its_own_share_of_rows_without_a_match(tmp_path: Path) -> None:
    test = [{"prompt": f"test {n}", "answer": n if n < 4 else f"= {n}"} for n in range(20)]
    train = [{"prompt": f"{n}?", "answer": f"= {n}"} for n in range(300)]
    with pytest.raises(RecipeError, match=r"finds no answer in 4 of the 20 rows of .*test.jsonl \(20.0%"):
        apart(tmp_path, test, train, extract="= (.+)")


def test_rows_without_a_match_and_rows_that_a_verifier_cannot_use_are_one_share(tmp_path: Path) -> None:
    train = [{"prompt": f"{n}?", "answer": n if n < 5 else f"= {n}"} for n in range(60)]
    task = task_of(tmp_path, train, extract="= (.+)")
    task.leave_out({"60": "odd"}, verifier="exact")
    refused = r"task.extract and the verifier exact together cannot use 7 of the 60 rows of .*exact 2, task.extract 5"
    with pytest.raises(RecipeError, match=refused):
        task.leave_out({"59": "odd"}, verifier="exact")


def test_each_file_has_its_own_share_of_rows_that_a_verifier_cannot_use(tmp_path: Path) -> None:
    task = apart(tmp_path, TEST)
    with pytest.raises(RecipeError, match=r"cannot use 3 of the 20 rows of .*test.jsonl \(15.0%"):
        task.leave_out({f"heldout:{n}": "odd" for n in (1, 2, 3)}, verifier="exact")


def test_a_column_of_levels_that_one_file_lacks_is_named_with_that_file(tmp_path: Path) -> None:
    train = [{**row, "hard": 1} for row in ROWS]
    with pytest.raises(RecipeError, match=r"test.jsonl: no row has the column hard.*or write level: null"):
        apart(tmp_path, TEST, train, columns={"level": "hard"})


# --- what SFT shows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", ["epochs", "random"])
def test_solutions_that_are_hidden_are_shown_in_neither_order(tmp_path: Path, draw: Any) -> None:
    task = task_of(
        tmp_path, [{**row, "why": f"since\n{n}" if n % 3 else None} for n, row in enumerate(ROWS)], columns=SOLVED
    )
    trainer = SupervisedTrainer.__new__(SupervisedTrainer)
    trainer.context = cast(Any, SimpleNamespace(task=task, recipe=SimpleNamespace(task=task.settings, seed=0)))
    trainer.plan, trainer.index = cast(Any, SimpleNamespace(number=0)), 0
    trainer.encoder = cast(Any, SimpleNamespace(encode=list))
    size = len(task.every_shown(1))
    examples = trainer._references(References(draw=draw), size, number=0, seed=0)
    assert all(example.completion_text.startswith("since\n") for example in examples)
    if draw == "epochs":
        assert len({example.source for example in examples}) == size
