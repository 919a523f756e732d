"""A task of the user's own: what is asked of it, what it may return, and that no prompt crosses the splits."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from support import tiny
from support.splits import split_of

from bootstrap.config.load import load_recipe
from bootstrap.config.plugin_task import PluginTask
from bootstrap.config.tasks import MixtureTask
from bootstrap.errors import RecipeError
from bootstrap.prompts.build import build_task
from bootstrap.prompts.task import Task
from bootstrap.records import Split

pytestmark = pytest.mark.usefixtures("own_plugins")

OURS = "support.plugin_tasks"
SETTINGS = {"levels": 8, "alphabet": "abcd=", "max_prompt_length": 9, "max_answer_length": 17, "heldout_fraction": 0.3}


def task(name: str = "Doubling", *, options: dict[str, Any] | None = None, **more: Any) -> Task:
    """Return the task; its first level has four prompts, of which each split has some."""
    return build_task(PluginTask(uses=f"{OURS}:{name}", options=options or {}, **{**SETTINGS, **more}))


@pytest.mark.parametrize(("name", "level"), [("Doubling", 3), ("Doubling", 8), ("made", 3), ("Told", 8), ("Seeded", 8)])
def test_no_prompt_crosses_the_splits(name: str, level: int) -> None:
    own = task(name, final_fraction=0.2)
    train, heldout, final = own.draw(level, 60, seed=1), own.heldout(level, 10), own.final(level, 10)
    for prompts, split in ((train, Split.TRAIN), (heldout, Split.HELDOUT), (final, Split.FINAL)):
        assert prompts and {prompt.split for prompt in prompts} == {split}
        for prompt in prompts:
            assert split_of("plugin", prompt.text, heldout_fraction=0.3, final_fraction=0.2) is split
    texts = [{prompt.text for prompt in prompts} for prompts in (train, heldout, final)]
    assert not texts[0] & texts[1] and not texts[0] & texts[2] and not texts[1] & texts[2]
    shown = own.demonstrate([1], 30, seed=1)
    assert len(shown) == 30 and all(
        prompt.split is Split.TRAIN and answer == prompt.text[:-1] * 2 for prompt, answer in shown
    )


def test_draws_depend_on_their_arguments_alone() -> None:
    assert task().draw(8, 20, seed=3) == task().draw(8, 20, seed=3) != task().draw(8, 20, seed=4)
    assert len({prompt.text for prompt in task().draw(8, 500, seed=3)}) == 500


def test_what_training_may_see_ends_at_the_base_level_and_levels_at_the_last() -> None:
    own = task(base_level=2)
    with pytest.raises(RecipeError, match=r"end at level 2 \(task.base_level\)"):
        own.demonstrate([3], 1, seed=0)
    with pytest.raises(RecipeError, match="its last is 8"):
        own.draw(9, 1, seed=0)
    assert own.highest_level == 8


def test_what_a_verifier_is_given_is_the_answer_unless_the_class_says_otherwise() -> None:
    [prompt] = task().heldout(3, 1)
    assert task().reference(prompt) == task().solution(prompt) == prompt.text[:-1] * 2
    assert task("Told").reference(prompt) == f"twice {prompt.text}"
    assert task().wrong_answers(prompt) == ["", "a=", "b=", "=", prompt.text[:-1] * 2 + "a"]


def test_answers_may_have_as_many_tokens_as_the_settings_say() -> None:
    assert task().max_answer_tokens(3) == 17 + 1 + 2
    assert task(max_answer_tokens=40).max_answer_tokens(3) == 40


def test_a_level_with_fewer_prompts_than_it_says_is_an_error_and_no_endless_search() -> None:
    with pytest.raises(RecipeError, match=r"different train prompts on level 3, far fewer than its num_prompts says"):
        task("Seeded").draw(3, 500, seed=0)


@pytest.mark.parametrize(
    ("method", "value", "told"),
    [
        ("num_prompts", 0, "num_prompts of the task .* returned 0 for level 1; it must return a whole number"),
        ("num_prompts", 4.0, "returned 4.0 for level 1"),
        ("num_prompts", True, "returned True for level 1"),
        ("prompt", None, "prompt of the task .* returned None; it must return text"),
        ("prompt", "", "returned ''; it must return text, and not empty"),
        ("prompt", "aaaaaaaaaa", r"10 characters .*raise task.max_prompt_length, now 9"),
        ("prompt", "xyz", "add 'xyz' to task.alphabet"),
        ("answer", 4, "answer of the task .* returned 4; it must return text"),
        ("answer", "a" * 18, "raise task.max_answer_length, now 17"),
        ("answer", "a?", r"add '\?' to task.alphabet"),
        ("reference", 4, "reference of the task .* returned a int; it must return text"),
        ("wrong_answers", ["1", "2", "3"], "it must return 4 or more texts that differ"),
        ("wrong_answers", ["1", "2", "3", "3"], "it must return 4 or more texts that differ"),
        ("wrong_answers", ["1", "2", "3", 4], "it must return 4 or more texts that differ"),
        ("wrong_answers", None, "wrong_answers of the task .* raised TypeError"),
    ],
)
def test_anything_else_that_it_returns_stops_the_run_with_its_name(method: str, value: Any, told: str) -> None:
    def used() -> None:
        own = task("Odd", options={"method": method, "value": value})
        [prompt] = own.heldout(3, 1)
        own.solution(prompt), own.reference(prompt), own.wrong_answers(prompt)

    with pytest.raises(RecipeError, match=told):
        used()


def test_the_right_answer_is_no_wrong_one() -> None:
    [prompt] = task().heldout(3, 1)
    wrong = ["1", "2", "3", "4", prompt.text[:-1] * 2]
    own = task("Odd", options={"method": "wrong_answers", "value": wrong})
    with pytest.raises(RecipeError, match=r"the right answer .* not among them"):
        own.wrong_answers(prompt)


def test_what_it_raises_is_told_with_its_name() -> None:
    own = task("Clumsy")
    with pytest.raises(RecipeError, match=f"answer of the task {OURS}:Clumsy raised KeyError.*fix it"):
        own.solution(own.heldout(3, 1)[0])


@pytest.mark.parametrize(
    ("name", "options", "remedy"),
    [
        ("Missing", {}, "no function Missing; write it there as class Task, with num_prompts"),
        ("Half", {}, "has no answer, wrong_answers; write it as class Task"),
        ("Doubling", {"strict": True}, "cannot be called.*'strict'"),
        ("Doubling", {"letters": "a"}, r"no heldout prompt on level \d|no train prompt on level \d"),
    ],
)
def test_a_class_that_cannot_serve_is_refused_with_the_remedy(name: str, options: dict, remedy: str) -> None:
    with pytest.raises(RecipeError, match=remedy):
        task(name, options=options)


def test_it_may_be_a_part_of_a_mixture() -> None:
    parts = {"mine": {"task": {"type": "plugin", "uses": f"{OURS}:Doubling", "base_level": 2, **SETTINGS}}}
    parts["sums"] = {"task": {"type": "addition"}}
    mixed = build_task(MixtureTask.model_validate({"type": "mixture", "base_level": 2, "parts": parts}))
    assert {prompt.task for prompt in mixed.draw(3, 40, seed=0)} == {"mine", "sums"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty current folder; the import path and what is imported are put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    sys.modules.pop("mine", None)


def write(folder: Path, answer: str, **more: Any) -> Path:
    """Write a recipe and the task that it names, and return the recipe's path."""
    sys.modules.pop("mine", None)
    (folder / "mine.py").write_text(
        f"from {OURS} import Doubling\nclass Mine(Doubling):\n    def answer(self, prompt):\n        return {answer}\n"
    )
    data = json.loads(tiny.recipe().model_dump_json())
    data["task"] = {"type": "plugin", "uses": "mine:Mine", **SETTINGS, **more}
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(data))
    return path


def test_the_recipe_s_identity_holds_what_the_class_means(folder: Path) -> None:
    one, same, other = (load_recipe(write(folder, text)) for text in ("prompt", "(prompt)", "prompt[:-1]"))
    assert one.digest() == same.digest() != other.digest()
    with pytest.raises(RecipeError, match=r"task\.uses.*task mine:Mine has changed.*remove `source`"):
        load_recipe(write(folder, "prompt[1:]", source=one.task.source))
    with pytest.raises(RecipeError, match="mine:Mine has changed"):
        build_task(one.task)


def test_a_class_that_is_not_there_is_told_with_its_place(folder: Path) -> None:
    path = write(folder, "prompt", uses="nowhere_at_all:Mine")
    with pytest.raises(RecipeError, match=r"task\.uses.*nowhere_at_all:Mine cannot be imported"):
        load_recipe(path)


def test_its_last_level_has_to_be_said() -> None:
    with pytest.raises(ValidationError, match="levels"):
        PluginTask(uses=f"{OURS}:Doubling")
