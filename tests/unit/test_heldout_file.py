"""Held-out rows in a file of their own: who trains, who is asked, who is final, and what is refused."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import ValidationError

from bootstrap.config.files import FileTask
from bootstrap.config.load import load_recipe
from bootstrap.config.recipe import Recipe
from bootstrap.errors import RecipeError
from bootstrap.planning.notes import _served
from bootstrap.prompts.build import build_task
from bootstrap.prompts.files import Rows
from bootstrap.prompts.overlap import RUN, _runs
from bootstrap.records import Split
from bootstrap.selection.epochs import Visit
from bootstrap.stages import origin as origins
from bootstrap.stages.checks import _examples_of_gates, check_tasks
from bootstrap.stages.origin import _heldout

TRAIN = [{"prompt": f"train {n}", "answer": str(n)} for n in range(60)]
TEST = [{"prompt": f"test {n}", "answer": str(n)} for n in range(40)]


def write(folder: Path, rows: Sequence[dict[str, Any]], name: str) -> str:
    (folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(folder / name)


def task_of(folder: Path, train: Sequence[dict[str, Any]], test: Sequence[dict[str, Any]], **settings: Any) -> Rows:
    paths = {"path": write(folder, train, "train.jsonl"), "heldout": write(folder, test, "test.jsonl")}
    return Rows(FileTask(**paths, **settings))


def texts(task: Rows, split: Split) -> set[str]:
    return {row.text for row in task.rows(split)}


def test_all_other_rows_train_and_these_alone_are_asked(tmp_path: Path) -> None:
    task = task_of(tmp_path, TRAIN, TEST)
    assert texts(task, Split.TRAIN) == {row["prompt"] for row in TRAIN}
    assert texts(task, Split.HELDOUT) == {row["prompt"] for row in TEST}
    assert task.final(1, 99) == []
    assert {prompt.text for prompt in task.draw(1, 60, seed=0)} == texts(task, Split.TRAIN)
    assert {prompt.text for prompt in task.heldout(1, 99)} == texts(task, Split.HELDOUT)
    assert [prompt.text for prompt in task.every_prompt(1, Split.HELDOUT)] == [row["prompt"] for row in TEST]
    assert not task.left_out


def test_a_share_of_them_is_final_whatever_trains(tmp_path: Path) -> None:
    task = task_of(tmp_path, TRAIN, TEST, final_fraction=0.5)
    held, final = texts(task, Split.HELDOUT), texts(task, Split.FINAL)
    assert held | final == {row["prompt"] for row in TEST} and not held & final
    assert 10 <= len(final) <= 30
    other = task_of(tmp_path, TRAIN[:9], TEST, final_fraction=0.5)
    assert (texts(other, Split.HELDOUT), texts(other, Split.FINAL)) == (held, final)
    # A larger share keeps the rows that a smaller one keeps.
    assert final < texts(task_of(tmp_path, TRAIN, TEST, final_fraction=0.9), Split.FINAL)


def test_a_question_of_the_held_out_rows_is_not_trained_on(tmp_path: Path) -> None:
    asked = [{"prompt": "  test   7", "answer": "other"}, {"prompt": "test 8", "answer": "8"}]
    task = task_of(tmp_path, [*TRAIN, *asked], TEST, final_fraction=0.5)
    assert texts(task, Split.TRAIN) == {row["prompt"] for row in TRAIN}
    assert task.left_out.told() == "2 with a question of the held-out rows (lines train.jsonl:61, train.jsonl:62)"


def test_repeated_questions_count_once_on_each_side(tmp_path: Path) -> None:
    task = task_of(tmp_path, [*TRAIN, TRAIN[0]], [*TEST, TEST[0]])
    assert (len(task.rows(Split.TRAIN)), len(task.rows(Split.HELDOUT))) == (60, 40)
    assert task.left_out.told() == "2 with the prompt of an earlier row (lines test.jsonl:41, train.jsonl:61)"


@pytest.mark.parametrize(
    ("train", "test", "settings", "message"),
    [
        (TRAIN, [], {}, r"test.jsonl: level 1 has no heldout prompt among its 0 rows; add rows$"),
        (
            TRAIN,
            TEST[:1],
            {"final_fraction": 0.999},
            r"among its 1 rows; add rows, or lower task.final_fraction 0.999$",
        ),
        (
            TRAIN,
            TEST[:1],
            {"final_fraction": 0.001},
            r"among its 1 rows; add rows, or raise task.final_fraction 0.001$",
        ),
        (TEST[:1], TEST, {}, r"train.jsonl: level 1 has no train prompt among its 0 rows; add rows. Rows left out: 1"),
        (TRAIN, [{**row, "level": 2} for row in TEST], {}, r"test.jsonl: level 1 has no heldout prompt"),
        (TRAIN, TRAIN, {}, r"test.jsonl has the content of .*train.jsonl, which is trained on; name other rows"),
    ],
)
def test_sides_without_rows_are_refused_by_their_file(
    tmp_path: Path, train: Any, test: Any, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        task_of(tmp_path, train, test, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"heldout": "rows.jsonl"}, "heldout and path both name rows.jsonl"),
        ({"heldout": "b.jsonl", "heldout_fraction": 0.2}, "heldout_fraction would hold out others; remove one of them"),
        ({"heldout_content": "a" * 64}, "heldout_content pins held-out rows, and none are named"),
        ({"final_fraction": 0.9}, "leave nothing to train on"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        FileTask(path="rows.jsonl", **settings)
    assert message in str(refusal.value)
    assert FileTask(path="rows.jsonl", heldout="b.jsonl", final_fraction=0.9).final_fraction == 0.9


def test_their_content_is_pinned_and_older_recipes_keep_their_identity(tmp_path: Path) -> None:
    path, heldout = write(tmp_path, TRAIN, "train.jsonl"), write(tmp_path, TEST, "test.jsonl")
    alone, task = (FileTask(path=path, **more).pinned() for more in ({}, {"heldout": heldout}))
    assert task.content == alone.content and task.heldout_content is not None
    write(tmp_path, TEST[1:], "test.jsonl")
    with pytest.raises(ValueError, match=r"test.jsonl has changed: .* task.heldout_content says"):
        task.pinned()


def recipe_of(tmp_path: Path, **task: Any) -> Recipe:
    paths = {"path": write(tmp_path, TRAIN, "train.jsonl"), "heldout": write(tmp_path, TEST, "test.jsonl")}
    recipe = {
        "name": "apart",
        "task": {"type": "file", **paths, "max_prompt_length": 16, "max_answer_length": 8, **task},
        "base": {"model": {"type": "scratch", "max_length": 64}, "steps": [{"type": "sft", "updates": 2}]},
        "generations": {"count": 1, "steps": [{"type": "rl", "rounds": 2}]},
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    return load_recipe(tmp_path / "recipe.yaml")


def test_a_recipe_remembers_them_and_names_files_that_are_gone(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path)
    identity = recipe.identity()["task"]
    assert identity["heldout_content"] == recipe.model_dump()["task"]["heldout_content"]
    assert "heldout" not in identity and "path" not in identity
    remembered = {"folder": str(tmp_path), "recipe": recipe.model_dump(mode="json"), "schema_version": 4}
    (tmp_path / "recipe.json").write_text(json.dumps(remembered))
    assert load_recipe(tmp_path / "recipe.json").digest() == recipe.digest()
    (tmp_path / "test.jsonl").unlink()
    with pytest.raises(RecipeError, match=r"task.heldout: there is no file .*test.jsonl"):
        load_recipe(tmp_path / "recipe.json")


def test_a_panel_that_asks_what_is_trained_on_is_refused_by_its_rows(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path)
    watched = {
        "type": "file",
        "path": write(tmp_path, TEST[:9], "other.jsonl"),
        "heldout": str(tmp_path / "train.jsonl"),
        "max_prompt_length": 16,
        "max_answer_length": 8,
    }
    data = recipe.model_dump(mode="json") | {"evaluation": {"panel": {"p": {"task": watched}}}}
    with_panel = Recipe.model_validate_json(json.dumps(data))
    panel = {"p": build_task(with_panel.evaluation.panel["p"].task)}
    with pytest.raises(RecipeError, match=r"60 of its 60 held-out questions are trained on") as refusal:
        check_tasks(with_panel, build_task(with_panel.task), panel)
    assert "heldout_fraction" not in str(refusal.value), "no share would change it"


def test_a_fork_knows_which_rows_lay_apart() -> None:
    plain = {"type": "file", "heldout_fraction": 0.125, "final_fraction": 0.1}
    [(_, _, hashed)], [(_, _, apart)] = _heldout(plain), _heldout({**plain, "heldout_content": "a"})
    assert (hashed.share, hashed.kept, hashed.apart) == (0.125, 0.225, None)
    assert (apart.share, apart.kept, apart.apart) == (0.0, 0.0, "a")


# --- messages name the file that they mean ----------------------------------------------------------------------------


def test_a_missing_held_out_file_is_reported_at_its_setting(tmp_path: Path) -> None:
    recipe_of(tmp_path)
    (tmp_path / "test.jsonl").unlink()
    with pytest.raises(RecipeError, match=r"task\.heldout: there is no file .*test\.jsonl") as refusal:
        load_recipe(tmp_path / "recipe.yaml")
    assert "task.path" not in str(refusal.value)


def test_shared_questions_are_named_with_the_file_that_holds_them(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, final_fraction=0.5)
    task = build_task(recipe.task)
    final = [row for row in TEST if row["prompt"] in texts(task, Split.FINAL)]
    watched = {
        "type": "file",
        "path": write(tmp_path, [{"prompt": "x", "answer": "1"}], "other.jsonl"),
        "heldout": write(tmp_path, final, "asked.jsonl"),
        "max_prompt_length": 16,
        "max_answer_length": 8,
    }
    data = recipe.model_dump(mode="json") | {"evaluation": {"panel": {"p": {"task": watched}}}}
    with_panel = Recipe.model_validate_json(json.dumps(data))
    panel = {"p": build_task(with_panel.evaluation.panel["p"].task)}
    with pytest.raises(RecipeError, match=r"or kept for the final comparison, in \S+test\.jsonl, for example"):
        check_tasks(with_panel, task, panel)


def test_an_example_that_is_asked_is_named_with_the_held_out_file(tmp_path: Path) -> None:
    examples = SimpleNamespace(path="shots.jsonl", read=lambda: [SimpleNamespace(prompt="test 3")])
    model = SimpleNamespace(as_pretrained=SimpleNamespace(examples=examples))
    recipe = cast(Any, SimpleNamespace(base=SimpleNamespace(model=model)))
    [conflict] = _examples_of_gates(recipe, [task_of(tmp_path, TRAIN, TEST)])
    assert re.search(r"is a held-out question of \S+test\.jsonl", conflict.message)


def test_rows_are_counted_under_the_names_of_both_files(tmp_path: Path) -> None:
    assert re.search(
        r"rows of \S+train.jsonl and \S+test.jsonl that serve: 60 to", _served(task_of(tmp_path, TRAIN, TEST))
    )


def test_where_all_rows_are_too_long_the_limit_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"among its 0 rows; add rows, or raise task.max_prompt_length\. Rows left"):
        task_of(tmp_path, TRAIN, TEST, max_prompt_length=2)


def test_runs_of_words_take_no_more_memory_than_their_hashes() -> None:
    runs = _runs(" ".join(f"word{n}" for n in range(30)))
    assert len(set(runs)) == 30 - RUN + 1 and {len(run) for run in runs} == {16}
    assert _runs(" ".join(f"Word{n}," for n in range(5, 15))) == runs[5:6]


# --- forks ------------------------------------------------------------------------------------------------------------


def fork_problems(monkeypatch: pytest.MonkeyPatch, old: Recipe, new: Recipe, *, gone: bool = False) -> list[str]:
    """Return what keeps a lineage by `new` from starting from one by `old`."""
    monkeypatch.setattr(origins, "fit_problems", lambda *_, **__: ())
    monkeypatch.setattr(origins, "base_fingerprint", lambda _: None)
    origin = SimpleNamespace(
        generation=SimpleNamespace(lineage="old", name="gen-1"),
        store=None,
        weights=lambda: SimpleNamespace(files={"tokenizer.json": b"{}"}),
        config=dict,
        task=lambda: old.identity()["task"],
    )

    def recall(_: Any) -> Recipe:
        if gone:
            raise RecipeError("there is no file old.jsonl")
        return old

    return list(origins._problems(new, cast(Any, origin), lineage="new", recall=recall))


def test_a_fork_to_other_data_is_refused_by_the_questions_that_were_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = recipe_of(tmp_path)
    (tmp_path / "new").mkdir()
    other = write(tmp_path, [{"prompt": f"new {n}", "answer": "1"} for n in range(30)], "new/train.jsonl")
    fresh = write(tmp_path, [{"prompt": f"fresh {n}", "answer": "1"} for n in range(9)], "new/fresh.jsonl")
    seen = write(tmp_path, [*TRAIN[:3], {"prompt": "fresh", "answer": "1"}], "new/seen.jsonl")

    def on(heldout: str) -> Recipe:
        task = old.task.model_dump() | {"path": other, "heldout": heldout, "content": None, "heldout_content": None}
        return Recipe.model_validate(old.model_dump() | {"task": FileTask.model_validate(task).pinned().model_dump()})

    assert not fork_problems(monkeypatch, old, on(fresh))
    assert (
        "3 of the 4 questions that this lineage would ask are trained on"
        in fork_problems(monkeypatch, old, on(seen))[0]
    )
    assert "cannot be compared (there is no file" in fork_problems(monkeypatch, old, on(fresh), gone=True)[0]


def test_a_fork_may_not_keep_for_the_end_what_its_origins_gates_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    less, more = recipe_of(tmp_path, final_fraction=0.25), recipe_of(tmp_path, final_fraction=0.5)
    assert fork_problems(monkeypatch, less, less) == [] == fork_problems(monkeypatch, more, less)
    [problem] = fork_problems(monkeypatch, less, more)
    assert problem.endswith("set task.final_fraction to 0.25 or less")


def test_a_fork_inherits_visits_where_there_are_neither_answers_nor_rates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit = Visit(round="g1.s0.u0", prompt_id="a", level=1, right=0, judged=4)
    origin = SimpleNamespace(
        shares_task=lambda _: True,
        answers=lambda *, every: [],
        rates=lambda: SimpleNamespace(counts={}),
        visits=lambda: [visit],
    )
    put: dict[str, Any] = {}
    store = SimpleNamespace(root=tmp_path / "new", put=lambda kind, identity, contents: put.update(contents) or kind)
    model = SimpleNamespace(as_generation=SimpleNamespace(record="r"))
    recipe = SimpleNamespace(base=SimpleNamespace(model=model), is_on_fixed_data=True, has_fixed_data_alone=True)
    monkeypatch.setattr(origins, "find_origin", lambda *_: origin)
    monkeypatch.setattr(origins, "rates_file", lambda _: b"")
    found = origins.inherited(cast(Any, SimpleNamespace(recipe=recipe, store=store)), 0)
    assert found == {"inherited": "inherited"} and "visits.parquet" in put
