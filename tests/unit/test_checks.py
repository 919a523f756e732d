"""What only the rows of files tell of a recipe: levels that are not there, questions on both sides, slices."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bootstrap.cli.main import main
from bootstrap.config.files import FileTask
from bootstrap.config.recipe import Recipe
from bootstrap.errors import RecipeError
from bootstrap.evaluation.intervals import paired_lower_bound
from bootstrap.plan import LineagePlan, make_plan
from bootstrap.prompts.build import build_task
from bootstrap.prompts.files import Rows
from bootstrap.prompts.overlap import near_duplicates
from bootstrap.prompts.task import split_of
from bootstrap.records import Split
from bootstrap.stages.checks import check_tasks

BASE = {"model": {"type": "scratch"}, "steps": [{"type": "sft", "updates": 2, "batch_size": 4}]}
RL = {"type": "rl", "rounds": 2, "prompts_per_update": 2, "group_size": 4, "distillation": {"batch_size": 4}}
NOUNS = ("apples", "pears", "books", "coins", "stones", "birds", "cups", "hats", "shoes", "keys")
WORDS = [
    {"prompt": f"Tell the colour of {noun} in box {letter}", "answer": noun[::-1], "subject": noun[:1]}
    for noun in NOUNS
    for letter in "abcdefgh"
]
"""Eighty questions that differ in more than numbers."""


def write(folder: Path, rows: Sequence[dict[str, Any]], name: str = "rows.jsonl") -> str:
    (folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(folder / name)


def file(folder: Path, rows: Sequence[dict[str, Any]] = WORDS, name: str = "rows.jsonl", **settings: Any) -> dict:
    return {"type": "file", "path": write(folder, rows, name), "max_prompt_length": 200, **settings}


def recipe(task: dict[str, Any], *, panel: dict[str, Any] | None = None, **generations: Any) -> Recipe:
    settings = {
        "name": "words",
        "task": task,
        "base": {**BASE, "model": {"type": "scratch", "max_length": 512}},
        "generations": {"count": 2, "steps": [RL], **generations},
        "evaluation": {"panel": {name: {"task": one} for name, one in (panel or {}).items()}},
    }
    return Recipe.model_validate(settings)


def planned(*arguments: Any, **settings: Any) -> LineagePlan:
    return make_plan(recipe(*arguments, **settings), lineage="words", workers=1)


def refusal(*arguments: Any, **settings: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        planned(*arguments, **settings)
    return str(caught.value)


def levelled(count: int, rows: Sequence[dict[str, Any]] = WORDS) -> list[dict[str, Any]]:
    return [{**row, "level": 1 + place % count} for place, row in enumerate(rows)]


# --- levels ---------------------------------------------------------------------------------------------------------


def test_an_aim_stays_at_a_files_last_level_and_nothing_beyond_it_is_asked(tmp_path: Path) -> None:
    plan = planned(file(tmp_path, levelled(2), heldout_fraction=0.3), count=4)
    assert [generation.target_levels for generation in plan.generations] == [(1,), (2,), (2,), (2,), (2,)]
    one = planned(file(tmp_path, heldout_fraction=0.3), count=2)
    assert [generation.target_levels for generation in one.generations] == [(1,), (1,), (1,)]
    assert one.generations[1].tokens == one.generations[2].tokens


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"curriculum": {"type": "given", "levels": [2, 3]}},
            "generations.curriculum.levels: level 3 is given, and the task's last level is 2; give levels up to 2",
        ),
        (
            {"curriculum": {"type": "fixed"}},
            "generations.curriculum: generation 2 would aim at level 3, and the task's last level is 2; lower "
            "generations.count",
        ),
    ],
)
def test_levels_that_a_recipe_names_beyond_the_last_are_refused(tmp_path: Path, settings: Any, message: str) -> None:
    task = file(tmp_path, levelled(2), heldout_fraction=0.3)
    assert message in refusal(task, **settings)
    assert planned(task, count=1, curriculum={"type": "fixed"}).generations[1].target_levels == (2,)
    assert planned(task, curriculum={"type": "given", "levels": [2]}).generations[2].target_levels == (2,)


def test_references_and_a_panel_beyond_the_last_level_are_refused(tmp_path: Path) -> None:
    task = file(tmp_path, levelled(2), heldout_fraction=0.3)
    assert "task.base_level: references go up to level 3, and the task's last level is 2" in refusal(
        {**task, "base_level": 3}
    )
    message = refusal(task, panel={"again": {**task, "base_level": 4}})
    assert "evaluation.panel.again.levels: level 4 is asked, and this task's last level is 2" in message


def test_one_level_has_none_below_to_draw_from(tmp_path: Path) -> None:
    task = file(tmp_path, heldout_fraction=0.3)
    message = refusal(task, steps=[{**RL, "levels": "reached"}])
    assert (
        "generations.steps[0].levels: no level lies below level 1, the task's only one; set levels: targets" in message
    )


# --- questions on both sides ----------------------------------------------------------------------------------------


def test_a_panel_that_asks_what_is_trained_on_is_refused_with_how_many(tmp_path: Path) -> None:
    # Another file, in another order, with another template, and half of it other questions.
    others = [{"prompt": f"Say {row['prompt']}", "answer": row["answer"]} for row in WORDS[:40]]
    panel = file(
        tmp_path, [*WORDS[::-1], *others], "panel.jsonl", prompt_template="Q: {prompt}\nA: ", heldout_fraction=0.6
    )
    task = file(tmp_path, heldout_fraction=0.2)
    trained = {row.question for row in build_task(FileTask(**task)).rows(Split.TRAIN)}
    asked = {row.question for row in build_task(FileTask(**panel)).rows(Split.HELDOUT)}
    assert 0 < len(trained & asked) < len(asked)
    message = refusal(task, panel={"other": panel})
    assert message.startswith(
        f"evaluation.panel.other.task: {len(trained & asked)} of its {len(asked)} held-out questions are trained on"
    )
    assert "set its heldout_fraction to 0.2 or less" in message and "take these rows out" in message
    assert planned(task, panel={"other": {**panel, "heldout_fraction": 0.2}})


def test_a_panel_may_not_ask_what_is_kept_for_the_end(tmp_path: Path) -> None:
    task = file(tmp_path, heldout_fraction=0.2, final_fraction=0.4)
    panel = file(tmp_path, name="panel.jsonl", heldout_fraction=0.6)
    assert "or kept for the final comparison" in refusal(task, panel={"other": panel})
    assert planned(task, panel={"other": {**panel, "heldout_fraction": 0.2}})


def test_a_part_may_not_hold_out_what_another_trains_on(tmp_path: Path) -> None:
    one = {"task": file(tmp_path, heldout_fraction=0.2)}
    other = {"task": file(tmp_path, name="other.jsonl", heldout_fraction=0.5, prompt_template="Q: {prompt}")}
    mixture = {"type": "mixture", "base_level": 1, "parts": {"one": one, "other": other}}
    assert refusal(mixture).startswith("task.parts.other.task: ")
    other["task"]["heldout_fraction"] = 0.2
    assert planned(mixture)


def parts(folder: Path, **tasks: dict[str, Any]) -> dict[str, Any]:
    return {"type": "mixture", "base_level": 1, "parts": {name: {"task": task} for name, task in tasks.items()}}


OTHERS = [{"prompt": f"Spell {row['prompt']}", "answer": "1"} for row in WORDS]
"""Eighty questions that no other file here asks."""


def test_a_part_that_is_split_by_texts_excuses_no_other_part(tmp_path: Path) -> None:
    unrelated = file(tmp_path, OTHERS, "unrelated.jsonl", split_by="text")
    one = file(tmp_path, heldout_fraction=0.2)
    other = file(tmp_path, name="other.jsonl", heldout_fraction=0.5)
    mixture = parts(tmp_path, one=one, other=other, unrelated=unrelated)
    message = refusal(mixture)
    assert message.startswith("task.parts.other.task: ") and "unrelated.jsonl" not in message
    assert planned({**mixture, "parts": {name: part for name, part in mixture["parts"].items() if name != "other"}})


def test_of_two_files_that_share_questions_the_one_split_by_texts_is_told(tmp_path: Path) -> None:
    by_text = file(tmp_path, name="texts.jsonl", heldout_fraction=0.3, split_by="text")
    panel = file(tmp_path, name="panel.jsonl", heldout_fraction=0.6, prompt_template="Q: {prompt}")
    by_question = file(tmp_path, OTHERS, "others.jsonl", heldout_fraction=0.2)
    notes = planned(parts(tmp_path, texts=by_text, others=by_question), panel={"other": panel}).notes
    [told] = [note for note in notes if note.startswith("evaluation.panel.other.task: ")]
    assert "texts.jsonl" in told and "others.jsonl" not in told
    # Its file shares questions with one of each: that of the other is refused.
    both = file(tmp_path, [*WORDS, *OTHERS], "panel.jsonl", heldout_fraction=0.6)
    message = refusal(parts(tmp_path, texts=by_text, others=by_question), panel={"other": both})
    assert "others.jsonl" in message and "texts.jsonl" not in message


def test_the_remedy_names_the_files_that_share_questions_and_their_share(tmp_path: Path) -> None:
    task = parts(
        tmp_path,
        shares=file(tmp_path, name="shares.jsonl", heldout_fraction=0.3),
        unrelated=file(tmp_path, OTHERS, "unrelated.jsonl", heldout_fraction=0.05),
    )
    panel = file(tmp_path, name="panel.jsonl", heldout_fraction=0.6)
    message = refusal(task, panel={"other": panel})
    assert "shares.jsonl, for example" in message and "unrelated.jsonl" not in message
    assert "set its heldout_fraction to 0.3 or less" in message
    assert planned(task, panel={"other": {**panel, "heldout_fraction": 0.3}})


def test_a_lineage_that_was_split_by_texts_is_told_and_goes_on(tmp_path: Path) -> None:
    task = file(tmp_path, heldout_fraction=0.3, split_by="text")
    panel = file(tmp_path, name="panel.jsonl", heldout_fraction=0.3, split_by="text", prompt_template="Q: {prompt}")
    notes = planned(task, panel={"other": panel}).notes
    assert any(
        "held-out questions are trained on" in note and "evaluation.panel.other.task: " in note for note in notes
    )


def test_plan_and_run_end_with_the_exit_code_of_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = recipe(
        file(tmp_path, heldout_fraction=0.2),
        panel={"other": file(tmp_path, name="panel.jsonl", heldout_fraction=0.6)},
    )
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(settings.model_dump(mode="json")), encoding="utf-8")
    for command in (["plan", str(path)], ["run", str(path), "--local"]):
        assert main([*command, "--store", str(tmp_path / "runs")]) == 2
        assert "held-out questions are trained on" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


# --- what is told ---------------------------------------------------------------------------------------------------

SAME_WORDS = "a merchant carries heavy boxes of fruit over the old bridge"


def rows_of(folder: Path, rows: Sequence[dict[str, Any]], **settings: Any) -> Rows:
    found = build_task(FileTask(**file(folder, rows, **settings)))
    assert isinstance(found, Rows)
    return found


def pairs(rows: Rows) -> set[str]:
    return {pair.heldout.question for pair in near_duplicates(rows)}


def test_questions_of_one_text_up_to_numbers_are_near(tmp_path: Path) -> None:
    shops = [
        {"prompt": f"Shop {n // 3} sells {n} cups at 1,{n:03d}.50 each. How many?", "answer": "1"} for n in range(60)
    ]
    rows = rows_of(tmp_path, [*WORDS, *shops])
    held = {row.question for row in rows.rows(Split.HELDOUT) if row.question.startswith("Shop")}
    assert held and pairs(rows) == held
    assert all(pair.train.question.startswith("Shop") for pair in near_duplicates(rows))


def test_questions_with_ten_words_in_a_row_are_near_and_with_nine_are_not(tmp_path: Path) -> None:
    words = SAME_WORDS.split()
    names = ["".join("abcdefghij"[int(digit)] for digit in str(100 + n)) for n in range(80)]
    for shared, near in ((9, False), (10, True)):
        asked = [" ".join([name, *words[:shared], name]) for name in names]
        rows = rows_of(tmp_path, [{"prompt": question, "answer": "1"} for question in asked])
        held = {row.question for row in rows.rows(Split.HELDOUT)}
        assert held and pairs(rows) == (held if near else set())


def test_numbers_alone_are_the_question(tmp_path: Path) -> None:
    sums = [{"prompt": f"{a}+{b}=", "answer": str(a + b)} for a in range(9) for b in range(9)]
    assert pairs(rows_of(tmp_path, sums)) == set()


def test_the_plan_tells_slices_and_near_duplicates_with_two_examples_in_one_line(tmp_path: Path) -> None:
    twins = [{"prompt": f"Count {n}\x1b[2J\n cups" + " and more" * 20, "answer": "1"} for n in range(60)]
    settings = {"alphabet": "".join(map(chr, range(127))), "columns": {"slice": "subject"}}
    notes = planned(file(tmp_path, [*WORDS, *twins], **settings)).notes
    [near] = [note for note in notes if "nearly the same" in note]
    held = build_task(FileTask(**file(tmp_path, [*WORDS, *twins], **settings))).rows(Split.HELDOUT)
    count = sum(row.question.startswith("Count") for row in held)
    assert near.startswith(f"{count} of {len(held)} held-out rows of ") and f"({count / len(held):.1%})" in near
    assert near.count("line ") == 4 and "\\x1b" in near and near.isprintable()
    [slices] = [note for note in notes if note.startswith("rows of ") and "slice" in note.partition(" are of ")[2]]
    assert "are of 7 slices (subject): a, b, c, h, k, p, s" in slices


# --- the final set --------------------------------------------------------------------------------------------------


class NoFinal:
    """A task of which no level from `first` on has a prompt in the final set."""

    def __init__(self, task: Any, *, first: int) -> None:
        self._task, self._first = task, first

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    @property
    def parts(self) -> dict[str, Any]:
        return {self._task.name: self}

    def final(self, level: int, count: int) -> Any:
        if level >= self._first:
            raise RecipeError(f"level {level} has no final prompt at task.final_fraction 0.01; raise it")
        return self._task.final(level, count)


SUMS = {"type": "addition", "base_level": 1, "final_fraction": 0.2}


@pytest.mark.parametrize(("first", "refused"), [(2, 2), (3, 3), (4, None)])
def test_a_level_that_may_be_aimed_at_must_have_a_final_prompt(first: int, refused: int | None) -> None:
    # Two generations aim at levels up to 3; evaluation looks further.
    settings = recipe(SUMS)
    task = NoFinal(build_task(settings.task), first=first)
    if refused is None:
        return check_tasks(settings, task, {})
    with pytest.raises(RecipeError) as caught:
        check_tasks(settings, task, {})
    assert str(caught.value) == (
        f"task.final_fraction: level {refused} may be aimed at, and level {refused} has no final prompt at "
        "task.final_fraction 0.01; raise it; or set final_fraction: 0"
    )


def test_a_task_that_keeps_no_final_share_is_asked_for_none() -> None:
    settings = recipe({**SUMS, "final_fraction": 0.0})
    check_tasks(settings, NoFinal(build_task(settings.task), first=1), {})


def test_each_part_of_a_mixture_must_have_final_prompts(tmp_path: Path) -> None:
    settings = recipe(parts(tmp_path, sums=SUMS, words=file(tmp_path, heldout_fraction=0.2)))
    task = build_task(settings.task)
    task.parts = {**task.parts, "sums": NoFinal(task.parts["sums"], first=3)}
    with pytest.raises(RecipeError, match=r"^task\.parts\.sums\.task\.final_fraction: level 3 may be aimed at"):
        check_tasks(settings, task, {})


# --- few prompts ----------------------------------------------------------------------------------------------------


def note_with(words: str, notes: Sequence[str]) -> str | None:
    found = [note for note in notes if words in note]
    assert len(found) < 2
    return found[0] if found else None


def sliced(rows: int, odd: int) -> list[dict[str, Any]]:
    """`rows` rows of slice `many`, and as many of slice `few` as give `odd` held-out ones."""
    many = [{"prompt": f"Name {n} of many", "answer": "1", "slice": "many"} for n in range(rows)]
    few = [{"prompt": f"Name {n} of few", "answer": "1", "slice": "few"} for n in range(400)]
    held = [row for row in few if split_of("file", row["prompt"], heldout_fraction=0.3) is Split.HELDOUT]
    trained = [row for row in few if row not in held]
    return [*many, *trained[:5], *held[:odd]]


@pytest.mark.parametrize(("odd", "told"), [(0, True), (5, True), (6, False)])
def test_slices_of_which_a_total_loss_could_be_chance_are_named(tmp_path: Path, odd: int, told: bool) -> None:
    # Two slices and one level share alpha 0.05: 2^-5 > 0.05 / 3 > 2^-6.
    plan = planned(file(tmp_path, sliced(100, odd), heldout_fraction=0.3))
    note = note_with("the gate could not reject the loss of all of them", plan.notes)
    assert (note is not None) == told
    assert not told or ("1 of 2 slices have so few held-out prompts" in note and f": few ({odd}); 6 are needed" in note)


def test_slices_of_a_part_count_the_prompts_that_the_part_is_dealt(tmp_path: Path) -> None:
    task = parts(tmp_path, words=file(tmp_path, sliced(100, 20), heldout_fraction=0.3), sums={**SUMS})
    settings = recipe(task)
    asked = settings.evaluation.model_copy(update={"prompts_per_level": 8})
    few = make_plan(settings.model_copy(update={"evaluation": asked}), lineage="words", workers=1)
    words = "the gate could not reject the loss of all of them"
    assert note_with(words, planned(task).notes) is None
    assert note_with(words, few.notes).startswith("2 of 2 slices")


@pytest.mark.parametrize(
    ("prompts", "margin", "most"), [(200, 0.03, 10), (200, 0.06, None), (1000, 0.03, None), (20, 0.03, 0), (1, 0.03, 0)]
)
def test_a_panel_task_of_few_prompts_is_told_with_how_few_may_differ(
    tmp_path: Path, prompts: int, margin: float, most: int | None
) -> None:
    settings = recipe({**SUMS, "final_fraction": 0.0}, panel={"other": {"type": "addition", "base_level": 4}})
    evaluation = settings.evaluation
    watched = evaluation.panel["other"].model_copy(update={"levels": (4,), "prompts_per_level": prompts})
    settings = settings.model_copy(
        update={
            "evaluation": evaluation.model_copy(update={"panel": {"other": watched}}),
            "gate": settings.gate.model_copy(update={"panel_margin": margin}),
        }
    )
    note = note_with("evaluation.panel.other: ", make_plan(settings, lineage="words", workers=1).notes)
    if most is None:
        assert note is None
        return
    assert f"at most {most} of its {prompts} answers differ" in note and f"gate.panel_margin {margin:g}" in note
    assert "Raise its prompts_per_level, or gate.panel_margin" in note

    def low(swapped: int) -> float:
        return paired_lower_bound(swapped, lost=swapped, total=prompts, confidence=0.95)

    allowed = max(margin, -low(0))
    assert low(most // 2) >= -allowed
    assert most + 2 > prompts or low(most // 2 + 1) < -allowed
