"""Tasks from JSON Lines files: forms, levels, splits, what is left out, and what is refused with which words."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from support.splits import split_of

from bootstrap.config.answers import ExactVerifier
from bootstrap.config.code import CodeVerifier
from bootstrap.config.files import FileTask
from bootstrap.config.task import PRINTABLE
from bootstrap.errors import RecipeError
from bootstrap.prompts.build import build_task
from bootstrap.prompts.files import Rows
from bootstrap.prompts.task import Task
from bootstrap.records import Split, Status
from bootstrap.references import read_code
from bootstrap.scoring.code import Code
from bootstrap.scoring.sanity import Case, sanity_check
from bootstrap.scoring.verifier import Answer, Tools, build_verifier

SUMS = [{"prompt": f"{a}+{b}=", "answer": str(a + b), "level": 1 + (a > 9)} for a in range(4, 16) for b in range(10)]
CALLS = [
    {
        "prompt": f"Add {n}.",
        "reference": {"function": "add", "cases": [{"args": [x], "expected": x + n} for x in (3, -8, 100)]},
        "solution": f"def add(x):\n    return x + {n}\n",
    }
    for n in range(40)
]
BODIES = [
    {
        "prompt": f"Times {n}.",
        "reference": json.dumps(
            {
                "kind": "calls",
                "function": "f",
                "prefix": "def f(x):\n    return ",
                "cases": [{"args": [x], "expected": x * n} for x in (3, -8, 100)],
            }
        ),
        "solution": f"x * {n}",
    }
    for n in range(40)
]
SCRIPTS = [
    {
        "prompt": f"Repeat {n} times.",
        "reference": {"cases": [{"stdin": word, "stdout": f"{word * n}\n"} for word in ("ab", "?")]},
        "solution": f"print(input() * {n})",
    }
    for n in range(40)
]
HUMANEVAL = [
    {
        "task_id": f"Own/{n}",
        "prompt": f'def plus(x: int) -> int:\n    """Return x plus {n}.\n    >>> plus(0)\n    {n}\n    """\n',
        "entry_point": "plus",
        "canonical_solution": f"    return x + {n}\n",
        "test": f"def check(candidate):\n    assert candidate(7) == {7 + n}\n    assert candidate(-2) == {n - 2}\n",
    }
    for n in range(40)
]
MBPP = [
    {
        "text": f"Write a function to subtract {n}.",
        "code": f"import math\ndef minus(x, by={n}):\n    return x - by\n",
        "test_list": [f"assert minus(7) == {7 - n}", f"assert minus(50) == {50 - n}"],
    }
    for n in range(40)
]


def write_rows(folder: Path, rows: Sequence[Any], name: str = "rows.jsonl") -> str:
    path = folder / name
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


def task_of(folder: Path, rows: Sequence[Any], **settings: Any) -> Rows:
    task = build_task(FileTask(path=write_rows(folder, rows), **settings))
    assert isinstance(task, Rows)
    return task


def cases_of(task: Task, level: int = 1, count: int = 3) -> list[Case]:
    return [
        Case(
            prompt=prompt.text,
            reference=task.reference(prompt),
            right=task.solution(prompt),
            wrong=task.wrong_answers(prompt),
        )
        for prompt in task.heldout(level, count)
    ]


@pytest.fixture(scope="module")
def code() -> Iterator[Code]:
    verifier = Code(CodeVerifier(cpu_seconds=1.0), Tools(processes=2))
    yield verifier
    verifier.close()


# --- what becomes of good rows --------------------------------------------------------------------------------------


def test_rows_become_prompts_of_their_level(tmp_path: Path) -> None:
    task = task_of(tmp_path, SUMS, heldout_fraction=0.3)
    for level in (1, 2):
        wanted = {row["prompt"]: row["answer"] for row in SUMS if row["level"] == level}
        prompts = [*task.draw(level, 50, seed=0), *task.heldout(level, 100)]
        assert {prompt.text: task.solution(prompt) for prompt in prompts} == wanted
        assert all(task.reference(prompt) == wanted[prompt.text] for prompt in prompts)
        assert all(prompt.level == level and prompt.task == "file" for prompt in prompts)


def test_the_split_is_by_the_hash_of_the_text(tmp_path: Path) -> None:
    task = task_of(tmp_path, SUMS, heldout_fraction=0.3)
    train = {prompt.text for prompt in task.draw(1, 200, seed=1)}
    heldout = {prompt.text for prompt in task.heldout(1, 200)}
    assert not train & heldout
    assert all(split_of("file", text, heldout_fraction=0.3) is Split.TRAIN for text in train)
    assert all(split_of("file", text, heldout_fraction=0.3) is Split.HELDOUT for text in heldout)
    assert {prompt.text for prompt, _ in task.demonstrate([1], 300, seed=0)} == train


def test_draws_are_distinct_until_the_split_is_through_and_depend_on_the_seed_alone(tmp_path: Path) -> None:
    task = task_of(tmp_path, SUMS)
    every = len({prompt.text for prompt in task.draw(1, 500, seed=0)})
    assert len({prompt.text for prompt in task.draw(1, every, seed=3)}) == every
    assert task.draw(1, 20, seed=3) == task_of(tmp_path, SUMS).draw(1, 20, seed=3)
    assert task.draw(1, 20, seed=3) != task.draw(1, 20, seed=4)


def test_the_suite_does_not_depend_on_the_order_of_the_rows(tmp_path: Path) -> None:
    one, other = task_of(tmp_path, SUMS), task_of(tmp_path, SUMS[::-1])
    assert [prompt.text for prompt in one.heldout(1, 5)] == [prompt.text for prompt in other.heldout(1, 5)]


def test_a_level_beyond_the_last_is_refused_with_the_remedy(tmp_path: Path) -> None:
    task = task_of(tmp_path, SUMS, base_level=3, final_fraction=0.2)
    assert task.highest_level == 2
    asked = (
        lambda: task.draw(3, 1, seed=0),
        lambda: task.heldout(3, 1),
        lambda: task.final(3, 1),
        lambda: task.num_heldout(3, 1),
        lambda: task.demonstrate([3], 1, seed=0),
    )
    for ask in asked:
        with pytest.raises(RecipeError, match=r"level 3 of file was asked for, its last is 2; name levels up to 2"):
            ask()


def test_references_end_at_the_base_level(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="references of file end at level 1"):
        task_of(tmp_path, SUMS).demonstrate([1, 2], 5, seed=0)
    shown = task_of(tmp_path, SUMS, base_level=2).demonstrate([2], 5, seed=0)
    assert all(answer == str(eval_sum(prompt.text)) for prompt, answer in shown)


def eval_sum(text: str) -> int:
    one, other = text.removesuffix("=").split("+")
    return int(one) + int(other)


def test_columns_and_templates_are_the_recipe_s(tmp_path: Path) -> None:
    rows = [{"question": f"{n}?", "gold": n, "hardness": 1} for n in range(60)]
    task = task_of(
        tmp_path,
        rows,
        columns={"prompt": "question", "answer": "gold", "level": "hardness"},
        prompt_template="Q: {prompt}\nA: ",
        answer_template="<answer>{answer}</answer>",
    )
    prompt = task.heldout(1, 1)[0]
    number = prompt.text.removeprefix("Q: ").removesuffix("?\nA: ")
    assert (task.reference(prompt), task.solution(prompt)) == (number, f"<answer>{number}</answer>")
    assert all(answer.startswith("<answer>") for answer in task.wrong_answers(prompt))


@pytest.mark.parametrize("answers", [range(60), ["yes", "no"] * 30, "ABCD" * 15, ["same"] * 60])
def test_wrong_answers_are_four_or_more_that_differ(tmp_path: Path, answers: Sequence[Any]) -> None:
    task = task_of(tmp_path, [{"prompt": f"{n}", "answer": answer} for n, answer in enumerate(answers)])
    for prompt in task.heldout(1, 5):
        wrong = task.wrong_answers(prompt)
        assert len(set(wrong)) == len(wrong) >= 4
        assert task.solution(prompt) not in wrong
        assert wrong == task.wrong_answers(prompt)
    assert sanity_check(build_verifier(ExactVerifier()), cases_of(task)) >= 15


def test_one_number_written_in_two_ways_is_no_wrong_answer(tmp_path: Path) -> None:
    answers = ["1000", "1,000", "1e3", "1000.0", "2000/2", " 1000", "7"]
    task = task_of(tmp_path, [{"prompt": f"{n}", "answer": answers[n % 7]} for n in range(70)])
    for prompt in task.draw(1, 60, seed=0):
        if task.reference(prompt) != "7":
            assert not set(task.wrong_answers(prompt)) & set(answers[:6])


@pytest.mark.parametrize(
    "answers",
    [
        [r"\frac{1}{2}", "0.5", r"\dfrac12", ".5", "1/2", r"x = \frac{1}{2}"],
        ["10080", r"10,\!080", "10{,}080", r"\$10,080", r"10080 \text{ cm}", r"10080^\circ"],
        ["C", r"\text{(C)}", "c", r"\textbf{C}", "(C)", r"\text{ C }"],
    ],
)
def test_one_answer_in_another_type_or_with_its_unit_is_no_wrong_answer(tmp_path: Path, answers: list[str]) -> None:
    others = [*answers, "-7", "east"]
    task = task_of(tmp_path, [{"prompt": f"{n}", "answer": others[n % 8]} for n in range(80)])
    for prompt in task.draw(1, 60, seed=0):
        if task.reference(prompt) in answers:
            wrong = task.wrong_answers(prompt)
            assert not set(wrong) & set(answers)
            assert {"-7", "east"} <= set(wrong)


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("form", "rows"),
    [("calls", CALLS), ("calls", BODIES), ("scripts", SCRIPTS), ("humaneval", HUMANEVAL), ("mbpp", MBPP)],
    ids=["calls", "calls with a prefix", "scripts", "humaneval", "mbpp"],
)
def test_solutions_pass_and_wrong_programs_fail_by_execution(
    tmp_path: Path, code: Code, form: str, rows: list[dict[str, Any]]
) -> None:
    task = task_of(tmp_path, rows, form=form)
    cases = cases_of(task)
    assert cases and all(len(set(case.wrong)) >= 4 for case in cases)
    assert sanity_check(code, cases) == sum(1 + len(case.wrong) for case in cases)
    for case in cases:
        answers = [Answer(prompt="", text=text, reference=case.reference) for text in case.wrong]
        reasons = {judgement.reason.split(":")[0] for judgement in code.judge(answers)}
        assert "wrong" in reasons, "some wrong answers run to their end"


@pytest.mark.sandbox
def test_answers_can_be_fenced(tmp_path: Path) -> None:
    for form, rows in (("mbpp", MBPP), ("humaneval", HUMANEVAL)):
        task = task_of(tmp_path, rows, form=form, answer_template="```python\n{answer}\n```", max_answer_length=200)
        verifier = Code(CodeVerifier(cpu_seconds=1.0, code="fenced"), Tools(processes=2))
        assert sanity_check(verifier, cases_of(task)) > 0
        verifier.close()


def test_tests_do_not_stand_in_the_prompt(tmp_path: Path) -> None:
    task = task_of(tmp_path, MBPP, form="mbpp")
    for prompt in task.heldout(1, 5):
        assert "assert" not in prompt.text and "50" not in prompt.text
        assert "\ndef minus(x, by=" in prompt.text, "the head alone says what the function is to be called"


@pytest.mark.sandbox
def test_a_complete_function_is_as_good_as_a_body(tmp_path: Path, code: Code) -> None:
    task = task_of(tmp_path, HUMANEVAL, form="humaneval")
    prompt = task.heldout(1, 1)[0]
    whole = prompt.text + task.solution(prompt)
    (judgement,) = code.judge([Answer(prompt="", text=whole, reference=task.reference(prompt))])
    assert judgement.status is Status.PASS, judgement.reason


# --- questions, slices, and what is kept for the end ------------------------------------------------------------------


def sides(task: Rows, rows: Sequence[Any], column: str = "prompt") -> dict[str, Split]:
    """The split of each row that serves, by its own text."""
    found = {row.line: split for split in Split for row in task.rows(split)}
    return {row[column]: found[line] for line, row in enumerate(rows, start=1) if line in found}


def test_another_template_or_form_holds_out_the_same_questions(tmp_path: Path) -> None:
    share = {"heldout_fraction": 0.3, "final_fraction": 0.2}
    plain = sides(task_of(tmp_path, SUMS, **share), SUMS)
    assert set(plain.values()) == set(Split)
    assert sides(task_of(tmp_path, SUMS, prompt_template="Reckon {prompt}\nA: ", **share), SUMS) == plain
    assert sides(task_of(tmp_path, SUMS, answer_template="<answer>{answer}</answer>", **share), SUMS) == plain
    as_text = [{"text": row["text"], "answer": row["code"]} for row in MBPP]
    mbpp = sides(task_of(tmp_path, MBPP, form="mbpp", **share), MBPP, "text")
    assert mbpp == sides(task_of(tmp_path, as_text, columns={"prompt": "text"}, **share), MBPP, "text")


def test_by_text_another_template_holds_out_others(tmp_path: Path) -> None:
    plain = sides(task_of(tmp_path, SUMS, split_by="text"), SUMS)
    assert sides(task_of(tmp_path, SUMS, split_by="text", prompt_template="Reckon {prompt}"), SUMS) != plain
    assert all(split is split_of("file", text, heldout_fraction=0.125) for text, split in plain.items())


def test_white_space_and_composed_letters_make_no_other_question(tmp_path: Path) -> None:
    words = [f"caf\u00e9 number {n}" for n in range(40)]
    forms = [f"  cafe\u0301\n\tnumber   {n} " for n in range(40)]
    settings = {"alphabet": PRINTABLE + "\t\u00e9\u0301", "heldout_fraction": 0.4}
    one, other = ([{"prompt": text, "answer": "1"} for text in texts] for texts in (words, forms))
    found, again = (sides(task_of(tmp_path, rows, **settings), rows) for rows in (one, other))
    assert [found[text] for text in words] == [again[text] for text in forms]
    assert {Split.TRAIN, Split.HELDOUT} == set(found.values())


def test_final_rows_are_drawn_for_nothing_else(tmp_path: Path) -> None:
    task = task_of(tmp_path, SUMS, final_fraction=0.3)
    final = task.final(1, 100)
    assert final and {prompt.split for prompt in final} == {Split.FINAL}
    assert final[:3] == task.final(1, 3) == task_of(tmp_path, SUMS, final_fraction=0.3).final(1, 3)
    others = [
        *task.draw(1, 300, seed=0),
        *task.heldout(1, 100),
        *(prompt for prompt, _ in task.demonstrate([1], 300, seed=0)),
    ]
    assert not {prompt.id for prompt in final} & {prompt.id for prompt in others}
    assert task_of(tmp_path, SUMS).final(1, 3) == []
    with pytest.raises(RecipeError, match=r"has no final prompt among its 60 rows; add rows, or raise task.final_frac"):
        task_of(tmp_path, SUMS, final_fraction=0.000001)


def test_a_row_is_of_the_slice_that_it_names(tmp_path: Path) -> None:
    rows = [{**row, "subject": ("  sums of four ", 7, None)[n % 3]} for n, row in enumerate(SUMS)]
    task = task_of(tmp_path, rows, columns={"slice": "subject"}, final_fraction=0.2)
    assert task.slices == ("7", "sums of four")
    wanted = {row["prompt"]: ("sums of four", "7", "")[n % 3] for n, row in enumerate(SUMS)}
    prompts = [*task.draw(1, 60, seed=0), *task.heldout(1, 60), *task.final(1, 60)]
    assert {prompt.text: prompt.slice for prompt in prompts}.items() <= wanted.items()
    assert {prompt.slice for prompt in prompts} == {"sums of four", "7", ""}
    plain = task_of(tmp_path, rows, final_fraction=0.2)
    assert plain.slices == ()
    assert [prompt.id for prompt in plain.heldout(1, 60)] == [prompt.id for prompt in task.heldout(1, 60)]
    own = task_of(tmp_path, [{**row, "slice": "own"} for row in SUMS])
    assert own.slices == ("own",), "the column that is called so needs no naming"


@pytest.mark.parametrize("label", [["a"], {"a": 1}, "x" * 81])
def test_what_is_no_label_is_refused_with_its_line(tmp_path: Path, label: Any) -> None:
    with pytest.raises(RecipeError, match=r"rows.jsonl:121: slice must be text of at most 80 characters or a number"):
        task_of(tmp_path, [*SUMS, {"prompt": "x", "answer": "y", "slice": label}])


def test_a_column_of_slices_that_no_row_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"no row that serves has a label in column subjekt; name another in task.col"
    ):
        task_of(tmp_path, SUMS, columns={"slice": "subjekt"})


# --- what is left out, and counted ----------------------------------------------------------------------------------


def test_rows_that_cannot_serve_are_left_out_and_counted(tmp_path: Path) -> None:
    strange = [
        {"prompt": "x" * 300, "answer": "1"},
        {"prompt": "long", "answer": "1" * 100},
        {"prompt": "é", "answer": "1"},
        {"prompt": "tab", "answer": "\t"},
        {"prompt": SUMS[0]["prompt"], "answer": "other"},
        {"prompt": "", "answer": "1"},
        {"prompt": "empty", "answer": ""},
    ]
    task = task_of(tmp_path, [*SUMS, "", *strange, "   "])
    assert task.left_out == {
        "with a prompt over task.max_prompt_length 256": 1,
        "with an answer over task.max_answer_length 64": 1,
        "with characters outside task.alphabet: 'é', '\\t'": 2,
        "with the prompt of an earlier row": 1,
        "without prompt or answer": 2,
    }
    served = [prompt for level in (1, 2) for prompt in (*task.draw(level, 200, seed=0), *task.heldout(level, 200))]
    assert {prompt.text for prompt in served} == {row["prompt"] for row in SUMS}
    assert all(task.solution(prompt) != "other" for prompt in served)


def test_characters_that_keep_rows_out_are_named_the_most_frequent_first(tmp_path: Path) -> None:
    texts = [*["a\rb", "c\rd", "\u00a0x"], *(f"{chr(code)}{n}" for n, code in enumerate(range(0x3B1, 0x3B9)))]
    task = task_of(tmp_path, [*SUMS, *({"prompt": text, "answer": "1"} for text in texts)])
    [(reason, count)] = task.left_out.items()
    assert reason.startswith("with characters outside task.alphabet: '\\r', '\\xa0', '\u03b1', ") and count == len(
        texts
    )
    assert reason.endswith(" and 2 more")
    assert task.left_out.told() == f"11 {reason} (lines 121, 122, 123 and 8 more)"


def test_lines_may_end_as_windows_ends_them(tmp_path: Path) -> None:
    def windows(value: Any) -> Any:
        return value.replace("\n", "\r\n") if isinstance(value, str) else value

    for form, rows in (("mbpp", MBPP), ("humaneval", HUMANEVAL), ("calls", CALLS)):
        task = task_of(tmp_path, rows, form=form)
        changed = [{key: windows(value) if key != "reference" else value for key, value in row.items()} for row in rows]
        other = task_of(tmp_path, changed, form=form)
        assert not other.left_out
        assert other.every_row() == task.every_row()
    told = [{"prompt": f"{n}\r\nthen?", "answer": f"{n}\r\n"} for n in range(60)]
    assert {row.reference[-2:] for row in task_of(tmp_path, told).every_row()} == {f"{n}\n"[-2:] for n in range(60)}
    # A model that knows the character is shown it.
    kept = task_of(tmp_path, told, alphabet="0123456789then?\r\n").every_row()
    assert [row.text for row in kept] == [row["prompt"] for row in told]
    alone = task_of(tmp_path, [*SUMS, {"prompt": "a\rb", "answer": "1"}])
    assert alone.left_out == {"with characters outside task.alphabet: '\\r'": 1}


@pytest.mark.parametrize(
    ("written", "reference"),
    [
        ("0.7", "0.7"),
        ("1e-7", "1e-07"),
        ("1.50", "1.5"),
        ("-0.0", "-0.0"),
        ("12345678901234567890", "12345678901234567890"),
        ("9007199254740993.0", "9007199254740993.0"),
        ("3.14159265358979323846", "3.14159265358979323846"),
        ("0.1000000000000000055", "0.1000000000000000055"),
        ("1e-400", "1e-400"),
        ("0e-99999999999999999999", "0e-99999999999999999999"),
        ("true", "true"),
    ],
)
def test_a_number_as_answer_keeps_its_value(tmp_path: Path, written: str, reference: str) -> None:
    task = task_of(tmp_path, [*SUMS, f'{{"prompt": "x", "answer": {written}}}'])
    assert [row.reference for row in task.every_row() if row.text == "x"] == [reference]


@pytest.mark.parametrize("written", ["NaN", "Infinity", "-Infinity", "1e400", "-1e999"])
def test_what_is_no_finite_number_is_no_answer(tmp_path: Path, written: str) -> None:
    task = task_of(tmp_path, [*SUMS, f'{{"prompt": "x", "answer": {written}}}'])
    assert task.left_out == {"with an answer that is no finite number": 1}
    beside = task_of(tmp_path, [*SUMS, f'{{"prompt": "x", "answer": "1", "score": {written}}}'])
    assert not beside.left_out, "a column that nobody reads may hold anything"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400"])
@pytest.mark.parametrize(
    "place", ['"args": [@], "expected": 1', '"args": [1], "expected": @', '"tolerance": @, "expected": 1']
)
def test_cases_hold_finite_numbers_alone(tmp_path: Path, number: str, place: str) -> None:
    cases = f'{{"function": "f", "cases": [{{{place.replace("@", number)}}}]}}'
    for reference in (cases, json.dumps(cases.replace('{"function"', '{"kind": "calls", "function"'))):
        row = f'{{"prompt": "x", "solution": "y", "reference": {reference}}}'
        with pytest.raises(RecipeError, match=r"rows\.jsonl:41: the cases: calls\.cases\.0\."):
            task_of(tmp_path, [*CALLS, row], form="calls")


def test_numbers_of_cases_stay_python_s(tmp_path: Path) -> None:
    cases = '[{"args": [7, 0.5, 1e3], "expected": 2.0}]'
    row = f'{{"prompt": "x", "solution": "y", "reference": {{"function": "f", "cases": {cases}}}}}'
    task = task_of(tmp_path, [*CALLS, row], form="calls")
    [case] = read_code(next(row.reference for row in task.every_row() if row.text == "x")).cases
    assert [(type(value), value) for value in (*case.args, case.expected)] == [
        (int, 7),
        (float, 0.5),
        (float, 1000.0),
        (float, 2.0),
    ]


def test_rows_whose_tests_do_not_convert_are_left_out_with_the_reason(tmp_path: Path) -> None:
    strange = {**MBPP[0], "text": "other", "test_list": ["assert set(minus(1)) == {1}"]}
    nameless = {**MBPP[0], "text": "another", "code": "def plus(x): return x"}
    task = task_of(tmp_path, [*MBPP, strange, nameless], form="mbpp")
    assert sorted(task.left_out) == [
        "with tests that do not convert: no call with a literal: set(minus(1)) == {1}",
        "with tests that do not convert: the solution does not define minus",
    ]


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "rows.jsonl:121: not valid JSON"),
        ("[" * 100_000, "rows.jsonl:121: not valid JSON"),
        ("[1]", "rows.jsonl:121: no JSON object: [1]"),
        ({"prompt": "x"}, "rows.jsonl:121: there is no column answer; the row has prompt"),
        ({"prompt": 1, "answer": "x"}, "rows.jsonl:121: prompt must be text, not 1"),
        ({"prompt": "x", "answer": ["x"]}, 'rows.jsonl:121: answer must be text or a number, not ["x"]'),
        ({"prompt": "x", "answer": "y", "level": 0}, "rows.jsonl:121: level must be a whole number from 1 up, not 0"),
        ({"prompt": "x", "answer": "y", "level": True}, "level must be a whole number from 1 up, not true"),
        ({"prompt": "x", "answer": "y", "level": 4}, "level 3 has no train prompt among its 0 rows"),
    ],
)
def test_a_broken_row_is_named_by_its_line(tmp_path: Path, row: Any, message: str) -> None:
    with pytest.raises(RecipeError) as refusal:
        task_of(tmp_path, [*SUMS, row])
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ({"function": "f", "cases": []}, "the cases: calls.cases: "),
        ({"cases": [{"expected": 1}]}, "the cases: calls.function: "),
        ("no JSON", "the cases: "),
        (
            {"kind": "scripts", "cases": [{"stdin": "", "stdout": "x"}]},
            "reference is of kind scripts, and task.form is calls",
        ),
        (7, "no JSON object: 7"),
    ],
)
def test_a_broken_reference_is_named_by_its_line(tmp_path: Path, reference: Any, message: str) -> None:
    with pytest.raises(RecipeError) as refusal:
        task_of(tmp_path, [*CALLS, {**CALLS[0], "prompt": "x", "reference": reference}], form="calls")
    assert f"rows.jsonl:41: {message}" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_too_few_rows_are_refused_with_what_was_left_out(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="level 1 has no heldout prompt among its 1 rows; add rows, or raise"):
        task_of(tmp_path, SUMS[:1], heldout_fraction=0.001)
    with pytest.raises(RecipeError, match=r"Rows left out: 40 with a prompt over task.max_prompt_length 5"):
        task_of(tmp_path, CALLS, form="calls", max_prompt_length=5)
    with pytest.raises(RecipeError, match=r"level 1 has no train prompt among its 0 rows; add rows$"):
        task_of(tmp_path, [])


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="there is no file"):
        build_task(FileTask(path=str(tmp_path / "none.jsonl")))
    with pytest.raises(RecipeError, match=r"is a folder, and no data set that `datasets` saved .*; name a JSON"):
        build_task(FileTask(path=str(tmp_path)))


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"prompt": "\xe9", "answer": "1"}')
    with pytest.raises(RecipeError, match=r"is not UTF-8 text \(byte 12\)"):
        build_task(FileTask(path=str(path)))


def test_easier_variants_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no easier variants"):
        task_of(tmp_path, SUMS).draw(1, 1, seed=0, easier_variant=True)


# --- settings -------------------------------------------------------------------------------------------------------


def test_content_is_pinned_and_another_is_refused(tmp_path: Path) -> None:
    path = write_rows(tmp_path, SUMS)
    task = FileTask(path=path).pinned()
    assert task.content == hashlib.sha256(Path(path).read_bytes()).hexdigest()
    assert task.pinned() == task
    assert Rows(task).content == task.content
    write_rows(tmp_path, SUMS[1:])
    for refused in (task.pinned, lambda: Rows(task)):
        with pytest.raises(ValueError, match="has changed: its SHA-256 is"):
            refused()


def test_paths_start_at_the_recipe_and_are_written_down_as_they_stand(tmp_path: Path) -> None:
    write_rows(tmp_path, SUMS)
    task = FileTask.model_validate({"type": "file", "path": "rows.jsonl"}, context={"folder": tmp_path})
    assert Rows(task).highest_level == 2
    assert task.pinned().model_dump(mode="json")["path"] == "rows.jsonl"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"columns": {"answr": "x"}},
            "has no role answr in columns; there is prompt, answer, solution, level, slice",
        ),
        ({"heldout_fraction": 0.5, "final_fraction": 0.5}, "leave nothing to train on; lower one of them"),
        ({"columns": {"test": "x"}, "form": "mbpp"}, "form mbpp has no role test in columns"),
        ({"prompt_template": "Q:"}, "{prompt} must stand in it exactly once"),
        ({"answer_template": "{answer}{answer}"}, "{answer} must stand in it exactly once"),
        ({"content": "abc"}, "must be of the form"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        FileTask(path="rows.jsonl", **settings)
    assert message in str(refusal.value)
