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
from bootstrap.plan import LineagePlan, make_plan
from bootstrap.prompts.build import build_task
from bootstrap.prompts.files import Rows
from bootstrap.prompts.overlap import near_duplicates
from bootstrap.records import Split

BASE = {"model": {"type": "scratch"}, "steps": [{"type": "sft", "updates": 2, "batch_size": 4}]}
RL = {"type": "rl", "updates": 2, "prompts_per_update": 2, "group_size": 4, "distillation": {"batch_size": 4}}
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
