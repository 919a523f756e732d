"""Rows of a file that count once, labels that can be shown, numbers of any size, and whose count a refusal tells."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bootstrap.config.files import FileTask
from bootstrap.errors import RecipeError
from bootstrap.prompts.files import Rows
from bootstrap.records import Split

NOUNS = ("apples", "pears", "books", "coins", "stones", "birds", "cups", "hats")
QUESTIONS = [f"Count the {noun} in box {letter}" for noun in NOUNS for letter in "abcde"]
BOTH = [Split.TRAIN, Split.HELDOUT]
LONG = "9" * 4301


def rows_of(folder: Path, rows: Sequence[dict[str, Any] | str], **settings: Any) -> Rows:
    path = folder / "rows.jsonl"
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    alphabet = "".join(map(chr, range(127))) + "\u00e9\u0301"
    return Rows(FileTask(path=str(path), **{"heldout_fraction": 0.25, "alphabet": alphabet, **settings}))


def plain(questions: Sequence[str] = QUESTIONS, **more: Any) -> list[dict[str, Any]]:
    return [{"prompt": question, "answer": "1", **more} for question in questions]


# --- one question counts once ---------------------------------------------------------------------------------------


def test_a_question_with_other_white_space_counts_once(tmp_path: Path) -> None:
    four = [f"{question}{' ' * blanks}" for question in QUESTIONS for blanks in range(4)]
    task = rows_of(tmp_path, plain(four))
    assert len(task.rows(*BOTH)) == len(QUESTIONS)
    assert len({row.question for row in task.rows(Split.HELDOUT)}) == task.num_heldout(1, 1000)
    assert task.left_out == {"with the question of an earlier row, white space aside": 3 * len(QUESTIONS)}
    assert [row.line % 4 for row in task.rows(*BOTH)] == [1] * len(QUESTIONS), "the first of each serves"


def test_a_question_counts_once_under_any_template_and_spelling_of_a_letter(tmp_path: Path) -> None:
    odd = ["caf\u00e9  one", "cafe\u0301 one", "caf\u00e9\tone"]
    task = rows_of(tmp_path, plain([*QUESTIONS, *odd]), prompt_template="Q:{prompt}.")
    assert task.left_out == {"with the question of an earlier row, white space aside": 2}


def test_where_texts_decide_on_the_split_every_text_serves(tmp_path: Path) -> None:
    four = [f"{question}{' ' * blanks}" for question in QUESTIONS for blanks in range(4)]
    task = rows_of(tmp_path, plain([*four, four[0]]), split_by="text")
    assert len(task.rows(*BOTH)) == 4 * len(QUESTIONS)
    assert task.left_out == {"with the prompt of an earlier row": 1}


def test_functions_of_different_heads_are_different_questions(tmp_path: Path) -> None:
    def row(text: str, head: str) -> dict[str, Any]:
        return {"text": text, "code": f"def {head}:\n    return x\n", "test_list": ["assert f(1) == 1"]}

    many = [row(question, "f(x)") for question in QUESTIONS]
    odd = [row(QUESTIONS[0], "f(x, y=2)"), row(f" {QUESTIONS[0]}", "f(x)"), row(f"{QUESTIONS[0]} ", "f(x, y=2)")]
    task = rows_of(tmp_path, [*many, *odd], form="mbpp")
    assert {row.line for row in task.rows(*BOTH)} == set(range(1, len(many) + 2))
    assert task.left_out.total() == 2


# --- labels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", ["\ud800", "\x1b", "\n", "\x00", "\u202e", "\u2028", "\ufeff"])
def test_a_slice_that_no_terminal_or_page_can_show_is_refused_by_line(tmp_path: Path, hidden: str) -> None:
    rows = [*plain(slice="sums"), {"prompt": "x", "answer": "1", "slice": f"al{hidden}[31mgebra"}]
    with pytest.raises(RecipeError) as caught:
        rows_of(tmp_path, rows)
    message = str(caught.value)
    assert f"rows.jsonl:{len(rows)}: slice holds {json.dumps(hidden)}, which no label can show" in message
    assert "task.columns.slice" in message and message.isprintable() and message.isascii()


def test_a_slice_may_be_of_any_script(tmp_path: Path) -> None:
    labels = [
        "geometry, plane",
        "\u4ee3\u6570",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "a\u00a0b",
        "7",
        "\u00b5 > 0",
    ]
    rows = [{**row, "slice": labels[place % len(labels)]} for place, row in enumerate(plain())]
    assert set(rows_of(tmp_path, rows).slices) == set(labels)


def test_a_row_s_columns_are_told_as_one_line_of_shown_characters(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        rows_of(tmp_path, [{"prompt": "x", "answ\x1b[2Jer\n": "1"}])
    assert "there is no column answer; the row has prompt, " in str(caught.value)
    assert str(caught.value).isprintable()


# --- numbers of any size --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", [LONG, f"-{LONG}"])
def test_a_whole_number_of_too_many_digits_is_no_answer(tmp_path: Path, written: str) -> None:
    task = rows_of(tmp_path, [*plain(), f'{{"prompt": "x", "answer": {written}}}'])
    assert task.left_out == {"with a whole number of more than 4300 digits": 1}
    beside = rows_of(tmp_path, [*plain(), f'{{"prompt": "x", "answer": "1", "id": {written}}}'])
    assert not beside.left_out, "a column that nobody reads may hold anything"


def test_a_whole_number_of_as_many_digits_as_can_be_read_is_an_answer(tmp_path: Path) -> None:
    number = "-" + LONG[1:]
    task = rows_of(tmp_path, [*plain(), f'{{"prompt": "x", "answer": {number}}}'], max_answer_length=5000)
    assert [row.reference for row in task.every_row() if row.text == "x"] == [number]


@pytest.mark.parametrize("column", ["level", "slice"])
def test_too_many_digits_are_no_level_and_no_slice(tmp_path: Path, column: str) -> None:
    with pytest.raises(RecipeError, match=rf"rows\.jsonl:41: {column} must be .*, not 99999"):
        rows_of(tmp_path, [*plain(), f'{{"prompt": "x", "answer": "1", "{column}": {LONG}}}'])


@pytest.mark.parametrize("place", ['"args": [@], "expected": 1', '"args": [1], "expected": [{"a": @}]'])
def test_cases_with_too_many_digits_are_left_out(tmp_path: Path, place: str) -> None:
    good = [
        {"prompt": q, "solution": "y", "reference": {"function": "f", "cases": [{"args": [1], "expected": 1}]}}
        for q in QUESTIONS
    ]
    cases = f'{{"kind": "calls", "function": "f", "cases": [{{{place.replace("@", LONG)}}}]}}'
    for reference in (cases, json.dumps(cases)):
        task = rows_of(tmp_path, [*good, f'{{"prompt": "x", "solution": "y", "reference": {reference}}}'], form="calls")
        assert task.left_out == {"with a whole number of more than 4300 digits": 1}


# --- whose rows are too many ----------------------------------------------------------------------------------------


def test_a_refusal_blames_each_verifier_for_its_own_rows(tmp_path: Path) -> None:
    task = rows_of(tmp_path, plain())
    task.leave_out({"1": "no number", "2": "no number", "3": "no number"}, verifier="numeric")
    with pytest.raises(RecipeError) as caught:
        task.leave_out({"3": "no JSON", "4": "no JSON", "5": "no JSON"}, verifier="json_schema")
    assert str(caught.value).startswith("the verifiers together cannot use 5 of the 40 rows of ")
    assert "rows.jsonl: numeric 3, json_schema 2 (12.5%, at most 10.0% allowed)" in str(caught.value)


def test_a_refusal_of_one_verifier_names_it(tmp_path: Path) -> None:
    task = rows_of(tmp_path, plain())
    with pytest.raises(RecipeError, match="the verifier numeric cannot use 5 of the 40 rows of "):
        task.leave_out({str(line): "no number" for line in range(1, 6)}, verifier="numeric")
