"""Rows that a verifier cannot use: left out before anything is drawn, counted, and refused where they are too many."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bootstrap.config import answers as settings_of
from bootstrap.config.code import CodeVerifier
from bootstrap.config.files import FileTask
from bootstrap.config.recipe import Recipe
from bootstrap.config.tasks import MixtureTask
from bootstrap.config.verifiers import ByTaskVerifier, Component, PluginVerifier, RubricVerifier
from bootstrap.errors import RecipeError, SandboxUnavailable, VerifierError
from bootstrap.evaluation.report import OutcomeRow
from bootstrap.ledger_records import Report
from bootstrap.planning.plan import make_plan
from bootstrap.prompts.build import build_task
from bootstrap.prompts.files import Rows
from bootstrap.records import Split
from bootstrap.scoring.sanity import Case, sanity_check
from bootstrap.scoring.verifier import (
    PATIENCE,
    Answer,
    Judgement,
    Tools,
    Verifier,
    build_verifier,
    failed,
    passed,
    unverifiable,
)
from bootstrap.stages import evaluate, findings, readable
from bootstrap.stages.evaluate import Evaluation, outcomes_of
from bootstrap.stages.heldout import judge_again, shared
from bootstrap.stages.readable import leave_out_by_settings, leave_out_unreadable
from bootstrap.stages.shown import ShownPrompts
from bootstrap.stages.verifiers import open_verifiers, prove
from bootstrap.store.tables import to_parquet
from bootstrap.training.chat import framing_of

pytestmark = [pytest.mark.sandbox, pytest.mark.usefixtures("own_plugins")]

STRIPPED = settings_of.Whole(strip=True)
NUMERIC = settings_of.NumericVerifier()
CODE = CodeVerifier(cpu_seconds=1.0)
PLAIN = ShownPrompts(framing=framing_of({}))
NUM_ROWS = 80
ODD = 17
"""Place of the odd row; its line is one more."""


@pytest.fixture(autouse=True)
def _nothing_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test find out by itself."""
    monkeypatch.setattr(findings, "_found", {})


def rows_of(answer: Any, good: Any = str, *, places: Sequence[int] = (ODD,)) -> list[dict[str, Any]]:
    return [{"prompt": f"q{n}", "answer": answer if n in places else good(n)} for n in range(NUM_ROWS)]


def file_task(folder: Path, rows: Sequence[dict[str, Any]], name: str = "rows.jsonl", **settings: Any) -> FileTask:
    path = folder / name
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return FileTask(path=str(path), **{"heldout_fraction": 0.25, **settings})


def served(task: Rows) -> set[str]:
    return {p.text for p in (*task.draw(1, 10 * NUM_ROWS, seed=0), *task.heldout(1, NUM_ROWS))}


@dataclass
class Told:
    """A verifier that says what it is told, and counts what it is asked."""

    judgement: Judgement
    name: str = "numeric"
    version: str = "told"
    judges: str = "answer"
    unread: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def reads(self, references: Sequence[str]) -> list[str]:
        return [self.unread.get(reference, "") for reference in references]

    def judge(self, answers: Sequence[Answer]) -> list[Judgement]:
        self.asked += [answer.reference for answer in answers]
        return [self.judgement] * len(answers)

    def close(self) -> None:
        pass


# --- references that cannot be read ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "odd", "good", "reason"),
    [
        (NUMERIC, "about 12", str, "with a reference that numeric cannot read: no number"),
        (NUMERIC, "1/0", str, "with a reference that numeric cannot read: no number"),
        (settings_of.ChoiceVerifier(), "E", lambda n: "ABCD"[n % 4], "choice cannot read: none of the choices ABCD"),
        (
            settings_of.JsonSchemaVerifier(json_schema={"type": "object"}),
            "{'a': 1}",
            lambda n: json.dumps({"a": n}),
            "json_schema cannot read: no JSON",
        ),
        (
            settings_of.JsonSchemaVerifier(json_schema={"type": "object"}),
            "[1]",
            lambda n: json.dumps({"a": n}),
            "json_schema cannot read: against the schema: $ (type)",
        ),
        (settings_of.MathVerifier(answer=STRIPPED), r"x \sim y", str, "with a reference that math cannot read: "),
        (
            settings_of.MathVerifier(answer=STRIPPED),
            r"\ln(0)",
            lambda n: rf"\sqrt{{{n}}}",
            "math cannot read: no value: a logarithm of zero",
        ),
    ],
    ids=["words", "no value", "choice", "json", "schema", "math", "math without a value"],
)
def test_one_row_that_cannot_be_read_is_left_out_and_nothing_else_moves(
    tmp_path: Path, settings: Any, odd: str, good: Any, reason: str
) -> None:
    settings_of_task = file_task(tmp_path, rows_of(odd, good))
    whole, task = Rows(settings_of_task), Rows(settings_of_task)
    verifier = build_verifier(settings, tools=Tools(processes=2))
    try:
        prove(verifier, task)
        answers = [Answer(prompt="", text="5", reference=row.reference) for row in task.rows(*Split)]
        assert all(judgement.reward is not None for judgement in verifier.judge(answers)), "each can be judged"
    finally:
        verifier.close()
    [(told, count)] = task.left_out.items()
    assert reason in told and count == 1
    assert task.left_out.lines[told] == [ODD + 1]
    assert served(whole) - served(task) == {f"q{ODD}"}
    kept = [prompt for prompt in whole.heldout(1, NUM_ROWS) if prompt.text != f"q{ODD}"]
    assert task.heldout(1, NUM_ROWS) == kept
    assert task.num_heldout(1, NUM_ROWS) == len(kept)
    assert {row.line for row in task.rows(*Split)} == {row.line for row in whole.rows(*Split)} - {ODD + 1}


@pytest.mark.parametrize("settings", [settings_of.ExactVerifier(), NUMERIC, settings_of.MathVerifier(answer=STRIPPED)])
def test_rows_that_can_be_used_all_stay(tmp_path: Path, settings: Any) -> None:
    task = Rows(file_task(tmp_path, rows_of("7")))
    verifier = build_verifier(settings, tools=Tools(processes=2))
    prove(verifier, task)
    verifier.close()
    assert not task.left_out and len(served(task)) == NUM_ROWS


def test_a_row_that_is_out_is_still_known_for_answers_that_were_given_to_it(tmp_path: Path) -> None:
    settings = file_task(tmp_path, rows_of("words"))
    whole, task = Rows(settings), Rows(settings)
    leave_out_unreadable(task, build_verifier(NUMERIC))
    [prompt] = [p for p in (*whole.draw(1, NUM_ROWS, seed=0), *whole.heldout(1, NUM_ROWS)) if p.text == f"q{ODD}"]
    assert task.reference(prompt) == "words"


def test_a_slice_of_rows_that_are_out_is_none(tmp_path: Path) -> None:
    rows = [{**row, "subject": "odd" if n == ODD else "even"} for n, row in enumerate(rows_of("words"))]
    task = Rows(file_task(tmp_path, rows, columns={"slice": "subject"}))
    assert task.slices == ("even", "odd")
    leave_out_unreadable(task, build_verifier(NUMERIC))
    assert task.slices == ("even",)


def test_reading_twice_counts_once(tmp_path: Path) -> None:
    task = Rows(file_task(tmp_path, rows_of("words")))
    for _ in range(3):
        leave_out_unreadable(task, build_verifier(NUMERIC))
    assert task.left_out.total() == 1


def test_two_verifiers_leave_out_what_either_cannot_use(tmp_path: Path) -> None:
    settings = file_task(
        tmp_path, [{"prompt": f"q{n}", "answer": {3: "words", 4: "4.5"}.get(n, str(n))} for n in range(NUM_ROWS)]
    )
    first, second = Rows(settings), Rows(settings)
    verifiers = [
        build_verifier(NUMERIC),
        build_verifier(settings_of.JsonSchemaVerifier(json_schema={"type": "integer"})),
    ]
    for verifier in verifiers:
        leave_out_unreadable(first, verifier)
    for verifier in verifiers[::-1]:
        leave_out_unreadable(second, verifier)
    assert {f"q{n}" for n in range(NUM_ROWS)} - served(first) == {"q3", "q4"}
    assert first.heldout(1, NUM_ROWS) == second.heldout(1, NUM_ROWS)


# --- rows whose own answer is wrong ---------------------------------------------------------------------------------


def calls(wrong: Sequence[int]) -> list[dict[str, Any]]:
    return [
        {
            "prompt": f"Add {n}.",
            "reference": {"function": "add", "cases": [{"args": [x], "expected": x + n} for x in (3, -8, 100)]},
            "solution": f"def add(x):\n    return x + {n + (n in wrong)}\n",
        }
        for n in range(40)
    ]


def test_rows_of_code_whose_own_solution_fails_are_left_out(tmp_path: Path) -> None:
    task = Rows(file_task(tmp_path, calls([4, 9]), form="calls"))
    said: list[tuple[str, int, int]] = []
    with_progress = Tools(processes=2, progress=lambda *told: said.append(told))
    verifier = build_verifier(CODE, tools=with_progress)
    try:
        leave_out_unreadable(task, verifier, tools=with_progress)
        prove(verifier, task)
    finally:
        verifier.close()
    [(reason, count)] = task.left_out.items()
    assert reason == "whose own answer code finds wrong: wrong: 0 of 3 cases right" and count == 2
    assert task.left_out.lines[reason] == [5, 10]
    assert not served(task) & {"Add 4.", "Add 9."}
    assert said == [(task.settings.path, 40, 40)]


def test_a_slow_machine_leaves_out_no_row_of_code_and_fails_no_sanity_check(tmp_path: Path) -> None:
    # Each solution takes more than the CPU time that an answer may take, as on a machine that is slower.
    rows = calls([])
    busy = "    while process_time() < 0.7:\n        pass\n"
    for place in (0, 1):
        solution = rows[place]["solution"].replace(":\n", f":\n{busy}", 1)
        rows[place]["solution"] = f"from time import process_time\n{solution}"
    task = Rows(file_task(tmp_path, rows, form="calls", max_answer_length=200))
    verifier = build_verifier(CodeVerifier(cpu_seconds=0.4), tools=Tools(processes=2))
    try:
        prove(verifier, task)
        slow = task.every_row()[0]
        answer = Answer(prompt=slow.text, text=slow.solution, reference=slow.reference)
        cut, known = verifier.judge([answer, replace(answer, patience=PATIENCE)])
        sanity_check(verifier, [Case(prompt=slow.text, reference=slow.reference, right=slow.solution, wrong=())])
    finally:
        verifier.close()
    assert not task.left_out
    assert cut.reason.startswith("cpu_limit") and known.reason == "right"


def test_trouble_with_judging_is_no_word_on_the_row(tmp_path: Path) -> None:
    task = Rows(file_task(tmp_path, rows_of("7")))
    with pytest.raises(
        VerifierError, match=r"could not judge the answer that .*rows\.jsonl:1 gives itself: the sandbox"
    ):
        leave_out_unreadable(task, Told(unverifiable("the sandbox is gone")))
    assert not task.left_out and len(served(task)) == NUM_ROWS


PICKY = """
asked = []
def verify(text, *, reference, prompt):
    asked.append(reference)
    if reference == '8':
        raise ValueError('eight is too many')
    assert prompt.startswith('Q: q')
    return text == reference and text != '9'
"""


@pytest.mark.parametrize("by_settings", [False, True])
@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_a_user_s_function_is_asked_about_rows_only_where_it_says_what_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: bool, by_settings: bool, inside: bool
) -> None:
    declared = "verify.reads = lambda reference: '' if reference.isdigit() else 'digits are wanted'\n"
    (tmp_path / "picky_verifier.py").write_text(PICKY + declared * reads)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "picky_verifier", raising=False)
    part = {"task": file_task(tmp_path, rows_of("-7")), "before": "Q: "}
    task = build_task(MixtureTask.model_validate({"base_level": 1, "parts": {"one": part}}))
    settings: Any = PluginVerifier(uses="picky_verifier:verify")
    if inside:
        settings = RubricVerifier(components=(Component(name="own", verifier=settings),))
    if by_settings:
        leave_out_by_settings(task, settings)
    else:
        leave_out_unreadable(task, build_verifier(settings))
    expected = {
        "with a reference that plugin cannot read: digits are wanted": [ODD + 1],
        "that plugin cannot judge: picky_verifier:verify: eight is too many": [9],
        "whose own answer plugin finds wrong: wrong": [10],
    }
    assert task.parts["one"].left_out.lines == (expected if reads else {})
    assert len(sys.modules["picky_verifier"].asked) == (NUM_ROWS - 1 if reads else 0)


# --- too many -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("odd", "bound", "refused"), [(8, 0.1, False), (9, 0.1, True), (9, 0.2, False), (1, 0.0, True)]
)
def test_more_than_the_bound_end_the_load(tmp_path: Path, odd: int, bound: float, refused: bool) -> None:
    task = Rows(file_task(tmp_path, rows_of("words", places=range(odd)), max_unreadable=bound))
    if not refused:
        leave_out_unreadable(task, build_verifier(NUMERIC))
        assert task.left_out.total() == odd
        return
    lines = "line 1" if odd == 1 else f"lines 1, 2, 3 and {odd - 3} more"
    with pytest.raises(RecipeError) as error:
        leave_out_unreadable(task, build_verifier(NUMERIC))
    assert f"the verifier numeric cannot use {odd} of the 80 rows of {task.settings.path}" in str(error.value)
    assert f"with a reference that numeric cannot read: no number ({lines})" in str(error.value)
    assert "or raise task.max_unreadable" in str(error.value)


def test_an_answer_that_stands_elsewhere_than_the_verifier_looks_is_told_with_the_remedy(tmp_path: Path) -> None:
    task = Rows(file_task(tmp_path, rows_of("7")))
    with pytest.raises(
        RecipeError, match=r"cannot use 80 of the 80 rows .*own answer numeric finds wrong: no answer: no"
    ):
        prove(build_verifier(settings_of.NumericVerifier(answer=settings_of.Boxed())), task)


def test_a_level_that_is_left_without_prompts_is_told(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{n}", "answer": "1" if n < 40 else "words", "level": 1 + (n >= 40)} for n in range(60)]
    task = Rows(file_task(tmp_path, rows, max_unreadable=1.0))
    with pytest.raises(
        RecipeError, match=r"level 2 has no \w+ prompt among its 0 rows.*20 with a reference that numeric"
    ):
        leave_out_unreadable(task, build_verifier(NUMERIC))


def test_the_bound_is_no_part_of_a_lineage_s_identity(tmp_path: Path) -> None:
    def digest(**task: Any) -> str:
        return recipe({**file_task(tmp_path, rows_of("7")).model_dump(mode="json"), **task}).digest()

    assert digest() == digest(max_unreadable=0.5) != digest(prompt_template="Q: {prompt}")


# --- several verifiers, several parts -------------------------------------------------------------------------------


def rubric(*, decides: bool) -> RubricVerifier:
    return RubricVerifier(
        components=(
            Component(name="right", verifier=settings_of.ExactVerifier()),
            Component(name="number", verifier=NUMERIC, decides=decides),
        )
    )


def test_every_component_of_a_rubric_must_read_the_reference(tmp_path: Path) -> None:
    for decides in (True, False):
        task = Rows(file_task(tmp_path, rows_of("words")))
        leave_out_unreadable(task, build_verifier(rubric(decides=decides)))
        assert task.left_out == {"with a reference that numeric cannot read: no number": 1}


def test_a_component_that_does_not_decide_may_find_the_row_s_own_answer_wrong(tmp_path: Path) -> None:
    kept, dropped = (
        Component(name="number", verifier=NUMERIC.model_copy(update={"answer": settings_of.Tagged()}), decides=decides)
        for decides in (False, True)
    )
    right = Component(name="right", verifier=settings_of.ExactVerifier())
    task = Rows(file_task(tmp_path, rows_of("7"), max_unreadable=1.0))
    leave_out_unreadable(task, build_verifier(RubricVerifier(components=(right, kept))))
    assert not task.left_out
    with pytest.raises(RecipeError, match="80 whose own answer numeric finds wrong"):
        leave_out_unreadable(task, build_verifier(RubricVerifier(components=(right, dropped))))


def test_each_part_of_a_mixture_is_read_by_its_own_verifier(tmp_path: Path) -> None:
    settings = MixtureTask.model_validate(
        {
            "base_level": 1,
            "parts": {
                "numbers": {"task": file_task(tmp_path, rows_of("words"))},
                "letters": {
                    "task": file_task(tmp_path, rows_of("E", lambda n: "ABCD"[n % 4]), "letters.jsonl"),
                    "before": "L: ",
                },
                "sums": {"task": {"type": "addition"}},
            },
        }
    )
    chosen = ByTaskVerifier(
        tasks={"numbers": NUMERIC, "letters": settings_of.ChoiceVerifier(), "sums": settings_of.ExactVerifier()}
    )
    opened, closed = build_task(settings), build_task(settings)
    leave_out_unreadable(opened, build_verifier(chosen))
    leave_out_by_settings(closed, chosen)
    for task in (opened, closed):
        found = {name: part.left_out.total() for name, part in task.parts.items() if isinstance(part, Rows)}
        assert found == {"numbers": 1, "letters": 1}
    assert [p.id for p in opened.heldout(1, 60)] == [p.id for p in closed.heldout(1, 60)]
    assert not {p.text for p in opened.heldout(1, 200)} & {f"q{ODD}", f"L: q{ODD}"}


RL = {"type": "rl", "rounds": 1, "prompts_per_update": 2, "group_size": 2}


def recipe(task: Any, **changes: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "small",
            "task": task,
            "base": {"model": {"type": "scratch", "max_length": 400}, "steps": [{"type": "sft", "updates": 1}]},
            "generations": {"count": 1, "steps": [RL]},
            "verifier": {"type": "numeric"},
            "evaluation": {"lookahead": 0},
            **changes,
        }
    )


def test_all_verifiers_of_a_run_read_before_it_begins_and_the_panel_s_too(tmp_path: Path) -> None:
    odd = {3: "words", 5: "about 5", 9: "4.5"}
    rows = [{"prompt": f"q{n}", "answer": odd.get(n, str(n))} for n in range(NUM_ROWS)]
    integers = {"type": "json_schema", "json_schema": {"type": "integer"}, "answer": {"type": "whole", "strip": True}}
    watched = file_task(
        tmp_path, [{"prompt": f"w{n}", "answer": "?" if n == 7 else "1"} for n in range(40)], "watched.jsonl"
    )
    stages = [
        {"name": "first", "generations": 1, "steps": [RL]},
        {"name": "later", "generations": 1, "verifier": integers, "steps": [RL]},
    ]
    settings = recipe(
        file_task(tmp_path, rows).model_dump(),
        generations={"count": 1, "stages": stages},
        evaluation={
            "lookahead": 0,
            "verifier": {"type": "numeric"},
            "panel": {"watched": {"task": watched.model_dump(), "levels": [1], "verifier": {"type": "numeric"}}},
        },
    )
    longer = settings.model_copy(update={"generations": settings.generations.model_copy(update={"count": 2})})
    found = []
    for asked in (settings, longer):
        task = build_task(asked.task)
        with open_verifiers(asked, task, Tools()) as (_, _, panel):
            found.append(served(task))
            assert panel["watched"].task.left_out == {"with a reference that numeric cannot read: no number": 1}
    assert found[0] == found[1] == {f"q{n}" for n in range(NUM_ROWS)} - {"q3", "q5", "q9"}
    [note] = [n for n in make_plan(settings, lineage="small", workers=1).notes if "rows.jsonl that are left out" in n]
    assert "2 with a reference that numeric cannot read: no number (lines 4, 6)" in note
    assert "json_schema cannot read: against the schema: $ (type) (line 10)" in note
    assert any(
        "watched.jsonl that are left out: 1 with" in n for n in make_plan(settings, lineage="s", workers=1).notes
    )


def test_a_plan_says_so_where_nothing_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(*_: Any, **__: Any) -> Verifier:
        raise SandboxUnavailable("nothing can be confined here")

    monkeypatch.setattr(readable, "build_verifier", unavailable)
    plan = make_plan(recipe(file_task(tmp_path, rows_of("words")).model_dump()), lineage="small", workers=1)
    assert "which rows the verifier numeric can use is not known here: nothing can be confined here" in plan.notes


def test_a_plan_refuses_what_a_run_refuses(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="the verifier numeric cannot use 20 of the 80 rows"):
        make_plan(
            recipe(file_task(tmp_path, rows_of("words", places=range(20))).model_dump()), lineage="small", workers=1
        )


# --- found out once -------------------------------------------------------------------------------------------------


def test_what_was_found_is_kept_by_rows_and_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools(cache=tmp_path / "cache")

    def asked(rows: list[dict[str, Any]], **changes: Any) -> int:
        # As in another process.
        monkeypatch.setattr(findings, "_found", {})
        verifier = Told(passed("numeric"), unread={"words": "no number"}, **changes)
        task = Rows(file_task(tmp_path, rows))
        leave_out_unreadable(task, verifier, tools=tools)
        assert task.left_out.lines == {"with a reference that numeric cannot read: no number": [ODD + 1]}
        return len(verifier.asked)

    assert asked(rows_of("words")) == NUM_ROWS - 1
    assert asked(rows_of("words")) == 0
    assert asked(rows_of("words", lambda n: str(n + 1))) == NUM_ROWS - 1
    assert asked(rows_of("words"), version="another") == NUM_ROWS - 1
    for path in (tmp_path / "cache" / "rows").iterdir():
        path.write_text("{")
    assert asked(rows_of("words")) == NUM_ROWS - 1, "a file that cannot be read is written anew"
    assert asked(rows_of("words")) == 0


def test_a_plan_and_the_run_after_it_read_once(tmp_path: Path) -> None:
    settings = file_task(tmp_path, rows_of("words"))
    first, second = Told(passed("numeric")), Told(failed("numeric"))
    leave_out_unreadable(Rows(settings), first)
    leave_out_unreadable(Rows(settings), second)
    assert len(first.asked) == NUM_ROWS and not second.asked


# --- what is stored stands ------------------------------------------------------------------------------------------


def outcomes(task: Rows) -> list[OutcomeRow]:
    return [OutcomeRow(prompt_id=p.id, level=1, correct=True, text="5") for p in task.heldout(1, NUM_ROWS)]


def test_stored_answers_to_rows_that_are_out_now_are_judged_no_more(tmp_path: Path) -> None:
    settings = file_task(tmp_path, rows_of("words", places=range(8)))
    whole, task = Rows(settings), Rows(settings)
    numeric = build_verifier(NUMERIC)
    leave_out_unreadable(task, numeric)
    again = judge_again(
        outcomes(whole), task=task, count=NUM_ROWS, eval_verifier=numeric, max_unverifiable=0.0, shown=PLAIN
    )
    assert [row.prompt_id for row in again] == [p.id for p in task.heldout(1, NUM_ROWS)]
    assert 0 < len(again) < len(outcomes(whole))


def test_panels_are_compared_on_the_prompts_that_all_were_asked() -> None:
    def panel(*ids: str) -> list[OutcomeRow]:
        return [OutcomeRow(prompt_id=each, level=1, correct=True, task="watched") for each in ids]

    found = shared([panel("a", "b", "c"), panel("b", "c", "d"), panel("c", "b")])
    assert [[row.prompt_id for row in rows] for rows in found] == [["b", "c"], ["b", "c"], ["c", "b"]]
    assert shared([panel("a"), panel("a")]) == [panel("a"), panel("a")]
    assert shared([[]]) == [[]]


@pytest.mark.parametrize("stored", ["all", "fewer"])
def test_a_champion_is_asked_again_where_its_evaluation_lacks_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: str
) -> None:
    settings = file_task(tmp_path, rows_of("words", places=range(8)))
    whole, task = Rows(settings), Rows(settings)
    leave_out_unreadable(task, build_verifier(NUMERIC))
    # The evaluation is older than the verifier: it asked rows that are out now, or lacks rows that are in.
    kept, asked = (whole, task) if stored == "all" else (task, whole)
    data = to_parquet(outcomes(kept), OutcomeRow)
    report = SimpleNamespace(levels=[SimpleNamespace(level=1)])
    generation = SimpleNamespace(
        artifacts={"evaluation": "e"}, verifiers={"numeric": "v"}, target_levels=(1,), report=report
    )
    store = SimpleNamespace(artifact=lambda ref: SimpleNamespace(read=lambda name: data, files=("outcomes.parquet",)))
    evaluation = SimpleNamespace(prompts_per_level=NUM_ROWS)
    context = SimpleNamespace(
        store=store,
        task=asked,
        heldout=lambda level: asked.heldout(level, NUM_ROWS),
        eval_verifier=SimpleNamespace(version="v"),
        recipe=SimpleNamespace(evaluation=evaluation, max_unverifiable=0.0),
        panel={},
        known={},
    )
    monkeypatch.setattr(evaluate, "weights_of", lambda *_: None)
    anew: list[Any] = []

    def measured(*_: Any, levels: Sequence[int], **__: Any) -> Evaluation:
        anew.extend(levels)
        return Evaluation(report=Report.model_construct(), rows=outcomes(asked), panel=[], artifact=None)

    monkeypatch.setattr(evaluate, "evaluate", measured)
    rows, _ = outcomes_of(context, [SimpleNamespace(generation=generation)], 0, levels=[1], meter=None)
    assert Counter(row.prompt_id for row in rows) == Counter(p.id for p in asked.heldout(1, NUM_ROWS))
    assert anew == ([] if stored == "all" else [1])
