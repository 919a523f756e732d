"""Rows of CSV, Parquet, saved folders and lists of files: equal prompts, right values, and one clear refusal each."""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from bootstrap.config import data
from bootstrap.config.files import FileTask
from bootstrap.errors import RecipeError
from bootstrap.prompts.files import Rows
from bootstrap.records import Split

ODD = ('says "no", twice', "two\nlines", "a, b; c", "caf\u00e9 \u4e03", "  spaces  kept ", "#### 7")
RECORDS = [
    {
        "question": f"What is {n} plus {n}? {ODD[n % len(ODD)]}",
        "answer": (2 * n, 0.5 * n, -n, 10**15 + n)[n % 4],
        "worked": f"{n} and {n} is\n{2 * n}, so",
        "hardness": 1 + n % 2,
        "subject": ("sums", "more, sums")[n % 2],
    }
    for n in range(80)
]
"""Numbers of two types in one column become floats in a table, so each type has a column of its own below."""
WHOLE = [{**record, "answer": 2 * n} for n, record in enumerate(RECORDS)]
COLUMNS = {
    "prompt": "question",
    "answer": "answer",
    "solution": "worked",
    "level": "hardness",
    "slice": "subject",
}


def lines(records: Sequence[Mapping[str, Any]]) -> bytes:
    return "".join(f"{json.dumps(record)}\n" for record in records).encode()


def cells(records: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(records[0]))
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().encode()


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def saved(folder: Path, tables: Sequence[pa.Table]) -> Path:
    """Write a folder as `Dataset.save_to_disk` does."""
    folder.mkdir(parents=True)
    names = [f"data-{place:05d}-of-{len(tables):05d}.arrow" for place in range(len(tables))]
    for name, table in zip(names, tables, strict=True):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        (folder / name).write_bytes(sink.getvalue().to_pybytes())
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def forms(folder: Path, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the same rows in each form, and in several files."""
    table = pa.Table.from_pylist(list(records))
    return {
        "lines": write(folder / "rows.jsonl", lines(records)),
        "csv": write(folder / "rows.csv", cells(records)),
        "parquet": write(folder / "rows.parquet", parquet(table)),
        "saved": str(saved(folder / "saved", [table.slice(0, 30), table.slice(30)])),
        "several": (
            write(folder / "first.jsonl", lines(records[:30])),
            write(folder / "second.parquet", parquet(table.slice(30, 20))),
            write(folder / "third.csv", cells(records[50:])),
        ),
    }


def told(task: Rows) -> list[tuple[Any, ...]]:
    """Return everything that training and gates see of a task's rows."""
    return [
        (prompt.id, prompt.text, prompt.level, prompt.slice, split, task.reference(prompt), task.solution(prompt))
        for level in range(1, (task.highest_level or 0) + 1)
        for split in Split
        for prompt in task.every_prompt(level, split)
    ]


def rows_of(path: Any, **settings: Any) -> Rows:
    limits = {"alphabet": None, "max_prompt_length": None, "max_answer_length": None}
    return Rows(FileTask(path=path, **{**limits, "heldout_fraction": 0.3, "final_fraction": 0.2, **settings}))


# --- the same rows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "parquet", "saved", "several"])
@pytest.mark.parametrize("records", [WHOLE, [{**r, "answer": 0.1 * n} for n, r in enumerate(RECORDS)]])
def test_the_same_rows_in_another_form_give_equal_prompts(
    tmp_path: Path, form: str, records: Sequence[Mapping[str, Any]]
) -> None:
    paths = forms(tmp_path, records)
    wanted = told(rows_of(paths["lines"], columns=COLUMNS))
    assert len(wanted) == len(records)
    assert told(rows_of(paths[form], columns=COLUMNS)) == wanted
    # Draws are of the same rows in the same order.
    assert [p.text for p in rows_of(paths[form], columns=COLUMNS).draw(2, 9, seed=3)] == [
        p.text for p in rows_of(paths["lines"], columns=COLUMNS).draw(2, 9, seed=3)
    ]


@pytest.mark.slow
def test_folders_that_datasets_saved_give_equal_prompts(tmp_path: Path) -> None:
    import datasets

    paths = forms(tmp_path, WHOLE)
    found = datasets.Dataset.from_list(WHOLE)
    found.save_to_disk(tmp_path / "one", num_shards=3)
    datasets.DatasetDict({"train": found, "test": found.select(range(9))}).save_to_disk(tmp_path / "splits")
    shuffled = datasets.Dataset.from_list(WHOLE[::-1]).select(range(79, -1, -1))
    shuffled.save_to_disk(tmp_path / "ordered")
    wanted = told(rows_of(paths["lines"], columns=COLUMNS))
    for folder in ("one", "splits/train", "ordered"):
        assert told(rows_of(str(tmp_path / folder), columns=COLUMNS)) == wanted
    with pytest.raises(RecipeError, match=r"splits holds the splits train, test; name one of them, .*splits/train$"):
        rows_of(str(tmp_path / "splits"), columns=COLUMNS)


@pytest.mark.slow
def test_a_data_set_of_the_hub_gives_equal_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    paths = forms(tmp_path, WHOLE)
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "train.parquet").write_bytes(Path(paths["parquet"]).read_bytes())
    (copy / "test.parquet").write_bytes(parquet(pa.Table.from_pylist(WHOLE[:9])))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    read = datasets.load_dataset
    monkeypatch.setattr(datasets, "load_dataset", lambda name, *more, **how: read(str(copy), *more, **how))
    place = {"hub": "someone/sums", "split": "train", "revision": "a" * 40}
    task = FileTask(path=place, columns=COLUMNS).pinned()  # pyright: ignore[reportArgumentType]
    assert told(rows_of(place, columns=COLUMNS)) == told(rows_of(paths["lines"], columns=COLUMNS))
    assert FileTask(path=place, columns=COLUMNS).pinned() == task  # pyright: ignore[reportArgumentType]
    assert task.content != FileTask(path={**place, "split": "test"}).pinned().content  # pyright: ignore[reportArgumentType]
    with pytest.raises(
        RecipeError, match=r"cannot read someone/sums/dev@aaaaaaaa: .*; check hub, config, split and rev"
    ):
        rows_of({**place, "split": "dev"}, columns=COLUMNS)


def test_without_the_library_a_data_set_of_the_hub_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(RecipeError, match=r"datasets library, which is not installed; pip install 'bootstrap-lm\[data"):
        rows_of({"hub": "someone/none", "split": "train", "revision": "b" * 40})


# --- keys and content -------------------------------------------------------------------------------------------------


def test_keys_identify_rows_of_several_files_and_of_held_out_ones(tmp_path: Path) -> None:
    one, two = (write(tmp_path / f"{n}.jsonl", lines(WHOLE[40 * n : 40 * n + 40])) for n in (0, 1))
    alone = rows_of(one, columns=COLUMNS)
    assert [row.key for row in alone.every_row()] == [str(line) for line in range(1, 41)]
    both = rows_of((one, two), columns=COLUMNS)
    assert [row.key for row in both.every_row()][38:42] == ["39", "40", "2:1", "2:2"]
    apart = FileTask(path=one, heldout=(two, write(tmp_path / "c.csv", cells([{"prompt": "x", "answer": 1}]))))
    with pytest.raises(RecipeError, match=r"c.csv:1: there is no column question; the row has prompt, answer"):
        Rows(apart.model_copy(update={"columns": COLUMNS, "alphabet": None, "max_prompt_length": None}))
    held = rows_of(one, heldout=two, heldout_fraction=0.125, columns=COLUMNS)
    assert {row.key for row in held.rows(Split.HELDOUT, Split.FINAL)} == {f"heldout:{line}" for line in range(1, 41)}


def test_one_json_lines_file_keeps_its_hash_and_others_are_pinned_too(tmp_path: Path) -> None:
    paths = forms(tmp_path, WHOLE)
    task = FileTask(path=paths["lines"]).pinned()
    assert task.content == hashlib.sha256(Path(paths["lines"]).read_bytes()).hexdigest()
    assert FileTask(path=(paths["lines"],)).pinned().content == task.content
    for form in ("csv", "parquet", "saved", "several"):
        pinned = FileTask(path=paths[form]).pinned()
        assert pinned.content is not None and pinned.pinned() == pinned
    swapped = FileTask(path=paths["several"][::-1]).pinned().content
    assert swapped != FileTask(path=paths["several"]).pinned().content, "the order of files is the order of rows"
    several = FileTask(path=paths["several"]).pinned()
    Path(paths["several"][1]).write_bytes(parquet(pa.Table.from_pylist(WHOLE[:3])))
    with pytest.raises(ValueError, match=r"first.jsonl and 2 more has changed: its SHA-256 is"):
        several.pinned()


def test_paths_in_a_list_start_at_the_recipe_and_are_written_down_as_they_stand(tmp_path: Path) -> None:
    forms(tmp_path, WHOLE)
    written = {"type": "file", "path": ["first.jsonl", "third.csv"], "heldout": "second.parquet", "columns": COLUMNS}
    task = FileTask.model_validate(
        {**written, "alphabet": None, "max_prompt_length": None, "max_answer_length": None},
        context={"folder": tmp_path},
    )
    assert len(Rows(task).every_row()) == 80
    stored = task.pinned().model_dump(mode="json")
    assert (stored["path"], stored["heldout"]) == (written["path"], written["heldout"])
    assert task.paths == (("path", "first.jsonl"), ("path", "third.csv"), ("heldout", "second.parquet"))


# --- values -----------------------------------------------------------------------------------------------------------


def references(path: Any, **settings: Any) -> set[str]:
    return {row.reference for row in rows_of(path, columns={"prompt": "q"}, **settings).every_row()}


def table_of(answers: pa.Array) -> pa.Table:
    return pa.table({"q": [f"q{n}" for n in range(len(answers))], "answer": answers})


@pytest.mark.parametrize(
    ("answers", "wanted"),
    [
        (pa.array([1, 2, 2**63 - 1] * 20, pa.int64()), {"1", "2", "9223372036854775807"}),
        (pa.array([2**64 - 1] * 60, pa.uint64()), {"18446744073709551615"}),
        (pa.array([0.1, 2.0, 1e-7] * 20, pa.float32()), {"0.1", "2.0", "1e-07"}),
        (pa.array([Decimal("1.50"), Decimal("-12.00")] * 30, pa.decimal128(10, 2)), {"1.5", "-12.0"}),
        (pa.array([Decimal(10**30)] * 60, pa.decimal256(40, 0)), {str(10**30)}),
        (pa.array([True, False] * 30), {"true", "false"}),
        (pa.array(["yes", "no"] * 30).dictionary_encode(), {"yes", "no"}),
        (pa.array(["yes", "no"] * 30, pa.large_string()), {"yes", "no"}),
    ],
    ids=["int64", "uint64", "float32", "decimal", "whole decimal", "bool", "categories", "large"],
)
def test_numbers_of_a_table_are_those_that_it_means(tmp_path: Path, answers: pa.Array, wanted: set[str]) -> None:
    assert references(write(tmp_path / "r.parquet", parquet(table_of(answers)))) == wanted


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (pa.array([{"text": "a"}] * 60), 'r.parquet:1: answer must be text or a number, not {"text": "a"}'),
        (pa.array([["a", "b"]] * 60), 'r.parquet:1: answer must be text or a number, not ["a", "b"]'),
        (pa.array([b"a"] * 60), "r.parquet:1: answer must be text or a number, not bytes"),
        (pa.array([0] * 60, pa.timestamp("ms")), "r.parquet:1: answer must be text or a number, not a datetime"),
        (pa.array([0] * 60, pa.date32()), "r.parquet:1: answer must be text or a number, not a date"),
    ],
    ids=["nested", "list", "bytes", "timestamp", "date"],
)
def test_what_is_no_answer_in_a_table_is_named_by_its_row(tmp_path: Path, answers: pa.Array, reason: str) -> None:
    path = write(tmp_path / "r.parquet", parquet(table_of(answers)))
    with pytest.raises(RecipeError) as refusal:
        references(path)
    assert reason in str(refusal.value)


def test_what_nobody_reads_may_be_anything_and_nulls_of_optional_columns_are_none(tmp_path: Path) -> None:
    table = table_of(pa.array(range(60)))
    table = table.append_column("when", pa.array([0] * 60, pa.timestamp("ms"))).append_column(
        "raw", pa.array([b"x"] * 60)
    )
    table = table.append_column("level", pa.array([None, 1] * 30, pa.int32()))
    table = table.append_column("slice", pa.array([None, "s"] * 30))
    task = rows_of(write(tmp_path / "r.parquet", parquet(table)), columns={"prompt": "q"})
    assert (task.highest_level, task.slices, len(task.every_row())) == (1, ("s",), 60)


def test_no_finite_number_of_a_table_is_an_answer(tmp_path: Path) -> None:
    table = table_of(pa.array([*range(60), float("nan"), float("inf")], pa.float64()))
    task = rows_of(write(tmp_path / "r.parquet", parquet(table)), columns={"prompt": "q"})
    assert task.left_out.told() == "2 with an answer that is no finite number (rows 61, 62)"


def test_cells_keep_their_line_ends_and_byte_order_marks_are_skipped(tmp_path: Path) -> None:
    body = "".join(f'"two\r\nlines {n}","say ""{n}""",\r\n' for n in range(60))
    path = write(tmp_path / "r.csv", ("\ufeffq,answer,level\r\n" + body + "\r\n").encode())
    rows = rows_of(path, columns={"prompt": "q"}).every_row()
    assert (rows[7].text, rows[7].reference, rows[7].level, rows[7].key) == ("two\nlines 7", 'say "7"', 1, "8")
    marked = write(tmp_path / "r.jsonl", b"\xef\xbb\xbf" + lines(WHOLE).replace(b"\n", b"\r\n"))
    plain = write(tmp_path / "p.jsonl", lines(WHOLE))
    assert told(rows_of(marked, columns=COLUMNS)) == told(rows_of(plain, columns=COLUMNS))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.csv", b"", "r.csv is empty; the first row of a CSV file names its columns"),
        ("r.csv", b"q,answer\n", "level 1 has no train prompt among its 0 rows; add rows"),
        ("r.csv", b"q,answer,q\n1,2,3\n", "r.csv names the column q twice; give each a name of its own"),
        ("r.csv", b"q,answer\n1,2\n1,2,3\n", "r.csv:2: has 3 cells, and the header names 2 columns"),
        ("r.csv", b'q,answer\n1,2\n"open,2\n', "r.csv is no CSV from line 3 on: "),
        ("r.csv", b"q;answer\n1;2\n", "r.csv separates its columns by semicolons; write it with commas"),
        ("r.csv", b"q\tanswer\n1\t2\n", "r.csv separates its columns by tabs"),
        ("r.csv", b"q, answer\n1,2\n", 'the row has q, " answer"'),
        ("r.tsv", b"q\tanswer\n1\t2\n", "r.tsv is no JSON Lines file"),
        ("r.jsonl.gz", b"\x1f\x8b\x08\x00\xff", "r.jsonl.gz is packed by gzip; unpack it"),
        ("r.csv", b"q,answer\n1,\xe9\n", "r.csv is not UTF-8 text (byte 11); save it as UTF-8"),
        ("r.csv", b"q,answer,level\n1,2,easy\n1,2,1\n", 'r.csv:1: level must be a whole number from 1 up, not "easy"'),
        ("r.parquet", b"", "r.parquet is no Parquet file: "),
        ("r.parquet", b"PAR1 and then nothing", "r.parquet is no Parquet file: "),
        ("r.jsonl", b"", "level 1 has no train prompt among its 0 rows; add rows"),
        ("r.json", b'[{"q": 1}]', "r.json is one JSON array; write each of its objects on a line of its own"),
        ("rows.xlsx", b"PK\x03\x04\xff", "rows.xlsx is a zip archive or a sheet; unpack it, or save it as"),
    ],
)
def test_a_file_that_is_broken_is_refused_with_one_word_on_it(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(RecipeError) as refusal:
        references(write(tmp_path / name, content))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_two_columns_of_one_name_in_a_table_are_refused(tmp_path: Path) -> None:
    table = pa.table([pa.array(["a"]), pa.array(["b"]), pa.array(["c"])], names=["q", "answer", "q"])
    with pytest.raises(RecipeError, match=r"r.parquet names the column q twice"):
        references(write(tmp_path / "r.parquet", parquet(table)))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (None, "is a folder, and no data set that `datasets` saved"),
        ("{}", "state.json names no data files of this folder; save the data set again"),
        ('{"_data_files": [{"filename": "../other.arrow"}]}', "state.json names no data files of this folder"),
        ('{"_data_files": [{"filename": "gone.arrow"}]}', "there is no file "),
        ("[", "state.json is not valid JSON; save the data set again"),
        ('{"_data_files": [{"filename": "state.json"}]}', "is no Arrow data of `datasets`: "),
    ],
)
def test_a_folder_that_is_no_data_set_is_refused(tmp_path: Path, state: str | None, message: str) -> None:
    if state is not None:
        (tmp_path / "state.json").write_text(state)
    with pytest.raises(RecipeError) as refusal:
        references(str(tmp_path))
    assert message in str(refusal.value)


# --- places -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (3, "must be a path, a list of them, or {hub: NAME, split: SPLIT, revision: COMMIT}"),
        (["a.jsonl", ["b.jsonl"]], "must be a path, or {hub: NAME, split: SPLIT, revision: COMMIT}"),
        ([], "at least 1 item"),
        ({"hub": "a/b", "split": "train"}, "missing; add it (Commit of the data set's repository"),
        ({"hub": "a/b", "split": "train", "revision": "main"}, "revision"),
        ({"hub": "../b", "split": "train", "revision": "a" * 40}, "hub"),
    ],
)
def test_places_that_name_nothing_are_refused(path: Any, message: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        FileTask(path=path)
    assert message in str(refusal.value)


def test_a_missing_file_says_how_a_data_set_of_the_hub_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no file .*; .* a data set of the hub is written \{hub: NAME"):
        data.read(str(tmp_path / "openai/gsm8k"))


@pytest.mark.parametrize("path", ["~nosuchuser/rows.jsonl", "n" * 300])
def test_a_path_that_no_file_can_have_is_refused_like_a_missing_one(tmp_path: Path, path: str) -> None:
    task = FileTask.model_validate({"path": path}, context={"folder": tmp_path})
    with pytest.raises(ValueError, match=r"there is no file .*nosuchuser|cannot read .*: File name too long"):
        task.pinned()
