"""Answers within worked solutions: what the verifier compares, and what training is shown."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bootstrap.config.answers import AnswerPlace, Boxed, ExactVerifier, LastLine, NumericVerifier, Tagged, Whole
from bootstrap.config.files import FileTask
from bootstrap.errors import RecipeError
from bootstrap.prompts.files import Rows
from bootstrap.records import Prompt, Split
from bootstrap.scoring.verifier import Answer, build_verifier
from bootstrap.stages import findings
from bootstrap.stages.readable import leave_out_by_settings

WORKED = [
    {
        "question": f"{n} bags hold 2 stones each. How many stones?",
        "answer": f"Each bag holds 2, so {n} hold {n}*2=<<{n}*2={2 * n}>>{2 * n} stones.\n#### {2 * n:,}",
    }
    for n in range(480, 540)
]
COLUMNS = {"prompt": "question", "answer": "answer", "solution": "answer"}
EXTRACT = "#### (.+)"
BOXED = r"\boxed{{answer}}"


@pytest.fixture(autouse=True)
def _nothing_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "_found", {})


def rows_of(folder: Path, rows: Sequence[dict[str, Any]], **settings: Any) -> Rows:
    path = folder / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    limits = {"max_prompt_length": None, "max_answer_length": None, "alphabet": None}
    given = {"columns": COLUMNS, "extract": EXTRACT, **limits, **settings}
    return Rows(FileTask(path=str(path), **given))


def prompt_of(task: Rows, key: str) -> Prompt:
    return next(p for split in Split for p in task.every_prompt(1, split) if p.key == key)


def shown(task: Rows) -> str:
    return task.solution(prompt_of(task, "21"))


def test_an_answer_is_cut_out_and_the_solution_ends_with_it_where_the_verifier_looks(tmp_path: Path) -> None:
    task = rows_of(tmp_path, WORKED, answer_template=BOXED)
    assert task.reference(prompt_of(task, "21")) == "1,000"
    assert shown(task) == "Each bag holds 2, so 500 hold 500*2=<<500*2=1000>>1000 stones.\n\\boxed{1,000}"
    assert all("####" not in row.solution for row in task.every_row())
    assert all(answer.startswith("\\boxed{") for answer in task.wrong_answers(prompt_of(task, "21")))
    shown_to_training = dict(task.demonstrate([1], 200, seed=0))
    assert all(text.endswith(f"\\boxed{{{task.reference(prompt)}}}") for prompt, text in shown_to_training.items())


def test_notes_are_removed_and_templates_have_the_last_word(tmp_path: Path) -> None:
    clean = {"answer_template": BOXED, "remove": "<<.*?>>"}
    assert shown(rows_of(tmp_path, WORKED, **clean)).startswith("Each bag holds 2, so 500 hold 500*2=1000 stones.\n")
    thought = rows_of(tmp_path, WORKED, **clean, solution_template="<think>{solution}</think>{answer}")
    assert shown(thought) == "<think>Each bag holds 2, so 500 hold 500*2=1000 stones.</think>\\boxed{1,000}"
    first = rows_of(tmp_path, WORKED, **clean, solution_template="{answer}: {solution}")
    assert shown(first) == "\\boxed{1,000}: Each bag holds 2, so 500 hold 500*2=1000 stones."


def test_texts_that_look_like_templates_stay_as_they_are(tmp_path: Path) -> None:
    odd = [{"question": f"{n}?", "answer": f"{n}", "why": "{answer} is {solution}"} for n in range(60)]
    columns = {"prompt": "question", "answer": "answer", "solution": "why"}
    task = rows_of(tmp_path, odd, columns=columns, extract=None, solution_template="{solution}={answer}")
    assert shown(task) == "{answer} is {solution}=20"


@pytest.mark.parametrize(
    ("template", "solution", "text"),
    [
        (BOXED, "so \\boxed{7}. Done", "so \\boxed{7}. Done"),
        (BOXED, "so 7", "so 7\n\\boxed{7}"),
        ("<answer>{answer}</answer>", "so <answer>7</answer>", "so <answer>7</answer>"),
        ("{answer}", "so it is\n7 \n", "so it is\n7"),
        ("{answer}", "so it is 7", "so it is 7\n7"),
        ("The answer is {answer}.", "First. The answer is 7.", "First. The answer is 7."),
    ],
)
def test_a_solution_that_holds_the_answer_in_its_form_is_shown_as_it_is(
    tmp_path: Path, template: str, solution: str, text: str
) -> None:
    rows = [{"question": f"{n}?", "answer": 7, "why": solution} for n in range(60)]
    columns = {"prompt": "question", "answer": "answer", "solution": "why"}
    assert shown(rows_of(tmp_path, rows, columns=columns, extract=None, answer_template=template)) == text


@pytest.mark.parametrize(
    ("place", "template"),
    [(Boxed(), BOXED), (Tagged(), "<answer>{answer}</answer>"), (LastLine(), "{answer}")],
    ids=["boxed", "tagged", "last line"],
)
def test_every_solution_passes_the_verifier_with_commas_in_its_numbers(
    tmp_path: Path, place: AnswerPlace, template: str
) -> None:
    task = rows_of(tmp_path, WORKED, answer_template=template)
    settings = NumericVerifier(answer=place)
    leave_out_by_settings(task, settings)
    assert not task.left_out and not task.not_shown
    verifier = build_verifier(settings)
    answers = [Answer(prompt="", text=row.solution, reference=row.reference) for row in task.every_row()]
    assert {judgement.reward for judgement in verifier.judge(answers)} == {1.0}


def test_where_the_whole_text_is_the_answer_rows_serve_and_solutions_are_not_shown(tmp_path: Path) -> None:
    task = rows_of(tmp_path, WORKED)
    leave_out_by_settings(task, NumericVerifier(answer=Whole(strip=True)))
    assert not task.left_out
    trained = len(task.rows(Split.TRAIN))
    assert task.not_shown == {"with a solution that numeric finds wrong: no number": trained}
    assert task.solution(prompt_of(task, "21")) == "1,000", "what probes a verifier is the answer alone"
    with pytest.raises(
        RecipeError, match=r"no solution of level 1 can be shown: \d+ with a solution that numeric finds"
    ):
        task.demonstrate([1], 1, seed=0)


def test_a_row_without_a_solution_or_with_a_wrong_one_is_sampled_and_not_shown(tmp_path: Path) -> None:
    columns = {"prompt": "question", "answer": "answer", "solution": "why"}
    rows = [{"question": f"{n}?", "answer": n, "why": f"thus \\boxed{{{n}}}"} for n in range(60)]
    rows[3]["why"], rows[4]["why"], rows[5]["why"] = None, "  ", "thus \\boxed{9}, no, \\boxed{5}"
    task = rows_of(tmp_path, rows, columns=columns, extract=None, answer_template=BOXED)
    leave_out_by_settings(task, ExactVerifier(answer=Boxed()))
    assert not task.left_out and len(task.every_row()) == 60
    assert task.not_shown.told() == (
        "2 without a solution (lines 4, 5), 1 with a solution that exact finds wrong: no one answer (line 6)"
    )
    told = {prompt.text for prompt, _ in task.demonstrate([1], 900, seed=0)}
    drawn = {prompt.text for prompt in task.draw(1, 60, seed=0)}
    assert drawn - told == drawn & {"3?", "4?", "5?"}
    assert task.solution(prompt_of(task, "4")) == "\\boxed{3}"


def test_without_a_column_of_solutions_the_answer_in_its_form_is_shown(tmp_path: Path) -> None:
    columns = {"prompt": "question"}
    task = rows_of(tmp_path, [{**row, "solution": "x"} for row in WORKED], columns=columns, answer_template=BOXED)
    assert shown(task) == "\\boxed{1,000}", "a column that is called so by chance is not read"


def test_rows_without_a_match_are_left_out_and_too_many_are_refused(tmp_path: Path) -> None:
    odd = [*WORKED, {"question": "?", "answer": "no mark"}, {"question": "??", "answer": "####  "}]
    task = rows_of(tmp_path, odd)
    assert task.left_out.told() == "2 in whose answer task.extract finds none (lines 61, 62)"
    with pytest.raises(RecipeError) as refusal:
        rows_of(tmp_path, WORKED, extract="=== (.+)")
    assert "task.extract === (.+) finds no answer in 60 of the 60 rows of " in str(refusal.value)
    assert "Correct it for what column answer holds, or raise task.max_unreadable" in str(refusal.value)


def test_of_several_matches_the_last_counts(tmp_path: Path) -> None:
    rows = [{"question": f"{n}?", "answer": f"#### 1\nno:\n#### {n}\nas said"} for n in range(60)]
    task = rows_of(tmp_path, rows)
    assert task.reference(prompt_of(task, "21")) == "20"
    assert shown(task) == "#### 1\nno:\n\nas said\n20"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"extract": "#### .+"}, "has no groups; put what is the answer in one pair of parentheses"),
        ({"extract": "(a)(b)"}, "has 2 groups; put what is the answer"),
        ({"extract": "(a"}, "is no regular expression: "),
        ({"remove": "["}, "is no regular expression: "),
        ({"remove": "<<.*?>>"}, "remove would change a worked solution; name its column in columns.solution"),
        ({"solution_template": "{solution}{answer}"}, "solution_template would change a worked solution"),
        ({"columns": COLUMNS, "solution_template": "{solution}"}, "{answer} must stand in it exactly once"),
        ({"columns": COLUMNS, "solution_template": "{answer}"}, "{solution} must stand in it exactly once"),
        ({"form": "mbpp", "extract": "(a)"}, "form mbpp has no answer in text; remove extract"),
        ({"form": "mbpp", "remove": "a"}, "remove would change a worked solution"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        FileTask(path="rows.jsonl", **settings)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"prompt": "question", "solution": "why"},
            "rows.jsonl:1: there is no column why; the row has question, answer.",
        ),
        (
            {"prompt": "question", "level": "grade"},
            "no row has the column grade, which task.columns.level names; the rows",
        ),
        ({"prompt": "query"}, "rows.jsonl:1: there is no column query; the row has question, answer."),
    ],
)
def test_columns_that_are_not_there_are_named_with_those_that_are(
    tmp_path: Path, columns: dict[str, str], message: str
) -> None:
    with pytest.raises(RecipeError) as refusal:
        rows_of(tmp_path, WORKED, columns=columns)
    assert message in str(refusal.value)
