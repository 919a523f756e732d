"""What a recipe on a file means without further settings, what older ones mean, and what a plan says and refuses."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support import tiny

from bootstrap.config.base import named
from bootstrap.config.base_model import PretrainedModel
from bootstrap.config.load import load_recipe, recipe_of
from bootstrap.config.recipe import Recipe
from bootstrap.config.step import StepBase
from bootstrap.errors import RecipeError
from bootstrap.planning.fixed_data import _on_bare_answers
from bootstrap.planning.plan import LineagePlan, make_plan

pytestmark = pytest.mark.torch

RL = tiny.RL | {"rounds": 5}
REJECTION = tiny.REJECTION
PLUGIN = {"type": "plugin", "uses": "support.plugin_steps:everything", "rounds": 5, "prompts_per_update": 4}
LIMITS = {"alphabet": "=0123456789", "heldout_fraction": 0.3, "max_prompt_length": 6, "max_answer_length": 4}
LATER = ("draw", "answers", "references")


def on_a_file(folder: Path, *steps: dict[str, Any], rows: int = 40, levels: int = 1, **changes: Any) -> Recipe:
    """Return a recipe on a file of rows, of one level unless more are asked for."""
    path = folder / "rows.jsonl"
    lines = [{"prompt": f"{n}=", "answer": str(n), "level": n % levels + 1} for n in range(rows)]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    task = {"type": "file", "path": str(path), **LIMITS}
    settings = {"task": task, "gate": {"min_prompts": 4}, "evaluation": {"sampled": None}}
    return tiny.recipe(**(settings | ({"steps": steps} if steps else {}) | changes))


def plan(recipe: Recipe) -> LineagePlan:
    return make_plan(recipe, lineage="tiny", workers=1)


def said(recipe: Recipe) -> str:
    return "\n".join(plan(recipe).notes)


# --- what null means -------------------------------------------------------------------------------------------------


def test_fixed_data_are_drawn_by_epochs_and_their_newest_answers_replayed(tmp_path: Path) -> None:
    recipe = on_a_file(tmp_path, RL, REJECTION, PLUGIN)
    rl, rejection, plugin = recipe.generations.steps
    for step in (rl, rejection, plugin):
        assert step.draws_epochs
        ((_, replay),) = step.replays()
        assert (replay.answers, replay.references) == ("newest", "min_share")
    assert recipe.evaluation.prompts_per_level is None
    assert recipe.base.steps[0].source.draw == "epochs"


def test_generated_tasks_are_drawn_at_random_and_their_first_answers_replayed() -> None:
    recipe = tiny.recipe(steps=(RL, REJECTION, PLUGIN), evaluation={"sampled": None})
    for step in recipe.generations.steps:
        assert not step.draws_epochs
        ((_, replay),) = step.replays()
        assert (replay.answers, replay.references) == ("first", "base_levels")
    assert recipe.evaluation.prompts_per_level == 1000
    assert not any(named(recipe.identity(), name) for name in LATER)


def test_several_sources_are_drawn_at_random() -> None:
    part = {"type": "copy", "alphabet": "abc", "base_level": 1}
    task = {"type": "mixture", "base_level": 1, "parts": {"one": {"task": part}, "two": {"task": part}}}
    assert not any(step.draws_epochs for step in tiny.recipe(task=task).generations.steps)


def mixture_of(folder: Path, *kinds: str) -> dict[str, Any]:
    rows = on_a_file(folder).task.model_dump(exclude={"content", "heldout_content", "asserts"})
    others = {"file": rows, "copy": {"type": "copy", "alphabet": "0123", "base_level": 1}}
    return {"type": "mixture", "base_level": 1, "parts": {f"p{n}": {"task": others[k]} for n, k in enumerate(kinds)}}


@pytest.mark.usefixtures("own_plugins")
def test_a_mixture_of_files_replays_newest_answers_and_no_references(tmp_path: Path) -> None:
    settings = {"evaluation": {"sampled": None}, "gate": {"min_prompts": 4}}
    recipe = tiny.recipe(task=mixture_of(tmp_path, "file", "file"), steps=(RL, REJECTION, PLUGIN), **settings)
    for step in recipe.generations.steps:
        ((_, replay),) = step.replays()
        assert (replay.answers, replay.references) == ("newest", "min_share")
        assert not step.draws_epochs
    assert recipe.evaluation.prompts_per_level == 1000
    assert "gen-1: nothing to replay yet" in said(recipe)
    mixed = tiny.recipe(task=mixture_of(tmp_path, "file", "copy"), steps=(RL,))
    ((_, replay),) = mixed.generations.steps[0].replays()
    assert (replay.answers, replay.references) == ("first", "base_levels")


def test_retiring_prompts_are_drawn_at_random_and_never_by_epochs(tmp_path: Path) -> None:
    assert not on_a_file(tmp_path, RL | {"retire": 0.9}).generations.steps[0].draws_epochs
    with pytest.raises(ValueError, match=r"draw epochs already lets solved prompts sit out.*set draw: random"):
        on_a_file(tmp_path, RL | {"retire": 0.9, "draw": "epochs"})


def test_what_the_recipe_says_itself_is_kept(tmp_path: Path) -> None:
    own = {"answers": "shortest", "references": "base_levels", "batch_size": 8}
    recipe = on_a_file(tmp_path, RL | {"draw": "random", "distillation": own}, evaluation={"prompts_per_level": 70})
    (step,) = recipe.generations.steps
    assert not step.draws_epochs and step.anchor.answers == "shortest" and not step.anchor.from_pool
    assert recipe.evaluation.prompts_per_level == 70


@pytest.mark.parametrize("kind", ["file", "generated"])
def test_a_stored_recipe_is_the_one_that_was_written_out(tmp_path: Path, kind: str) -> None:
    recipe = on_a_file(tmp_path, RL, REJECTION, PLUGIN) if kind == "file" else tiny.recipe(steps=(RL, REJECTION))
    assert recipe_of(recipe.identity() | ({"task": _with_path(recipe)} if kind == "file" else {})).digest() == (
        recipe.digest()
    )


def _with_path(recipe: Recipe) -> dict[str, Any]:
    return recipe.identity()["task"] | {"path": recipe.task.path}


def without(data: Any, *names: str) -> Any:
    """Return JSON data without some keys at any depth."""
    match data:
        case dict():
            return {name: without(value, *names) for name, value in data.items() if name not in names}
        case list():
            return [without(value, *names) for value in data]
    return data


@pytest.mark.usefixtures("own_plugins")
def test_a_recipe_that_an_older_lineage_remembers_means_what_it_did(tmp_path: Path) -> None:
    recipe = on_a_file(tmp_path, RL, REJECTION, PLUGIN, evaluation={"prompts_per_level": 1000, "sampled": None})
    settings = without(recipe.model_dump(mode="json", exclude={"tracking"}), *LATER)
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({"folder": str(tmp_path), "recipe": settings, "schema_version": 4}))
    old = load_recipe(path)
    for step in old.generations.steps:
        assert not step.draws_epochs
        ((_, replay),) = step.replays()
        assert (replay.answers, replay.references) == ("first", "base_levels")
    assert old.base.steps[0].source.draw == "random"
    assert not any(named(old.identity(), name) for name in LATER)
    assert old.evaluation.prompts_per_level == 1000


# --- levels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("curriculum", [{}, {"type": "accelerated"}, {"type": "given", "levels": [1]}])
def test_a_file_without_levels_has_one_which_every_generation_aims_at(tmp_path: Path, curriculum: Any) -> None:
    changes = {"generations": {"count": 2, "steps": [RL], **({"curriculum": curriculum} if curriculum else {})}}
    assert {generation.target_levels for generation in plan(on_a_file(tmp_path, **changes)).generations} == {(1,)}
    told = plan(on_a_file(tmp_path, **changes)).generations[1].steps[0].data
    assert told == "answers of train prompts, judged by exact; 8 a batch from the lineage's newest verified answers"


def test_levels_below_the_only_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"levels: no level lies below level 1.*set levels: targets or all"):
        plan(on_a_file(tmp_path, RL | {"levels": "reached"}))


def test_improvement_is_tested_on_the_whole_held_out_set(tmp_path: Path) -> None:
    recipe = on_a_file(tmp_path, rows=400)
    found = said(recipe)
    count = int(found.partition("improvement is tested on all ")[2].partition(" held-out prompts")[0])
    assert 80 < count < 160
    limited = on_a_file(tmp_path, rows=400, evaluation={"sampled": None, "prompts_per_level": 30})
    assert f"improvement is tested on 30 of {count} held-out prompts (evaluation.prompts_per_level 30)" in said(limited)


def test_a_held_out_set_on_which_nothing_can_be_promoted_is_noted(tmp_path: Path) -> None:
    strict = {"gate": {"min_prompts": 4, "alpha": 1e-9}}
    note = r"even a candidate that gains all \d+ of them is not significant.*: 32 are needed; add rows"
    assert re.search(note, said(on_a_file(tmp_path, **strict)))
    assert "not significant" not in said(on_a_file(tmp_path)) + said(on_a_file(tmp_path, rows=400, **strict))


def test_a_held_out_file_that_is_too_small_is_noted_with_a_share_that_acts(tmp_path: Path) -> None:
    heldout = tmp_path / "test.jsonl"
    heldout.write_text("".join(f'{{"prompt": "{n}=", "answer": "1"}}\n' for n in range(100, 140)))
    settings = {key: value for key, value in LIMITS.items() if key != "heldout_fraction"}
    on_a_file(tmp_path)
    task = {"type": "file", "path": str(tmp_path / "rows.jsonl"), "heldout": str(heldout), **settings}
    strict = tiny.recipe(
        task=task | {"final_fraction": 0.4}, gate={"min_prompts": 4, "alpha": 1e-9}, evaluation={"sampled": None}
    )
    assert "are needed; add rows, lower task.final_fraction 0.4, or raise gate.alpha" in said(strict)
    assert "task.final_fraction: 0.5 keeps half of the held-out rows" in said(tiny.recipe(task=task))


@pytest.mark.parametrize(("more", "noted"), [({}, True), ({"columns": {"solution": "answer"}}, False)])
def test_bare_answers_for_a_pretrained_model_are_noted(tmp_path: Path, more: dict[str, Any], noted: bool) -> None:
    recipe = on_a_file(tmp_path)
    bare = recipe.model_copy(
        update={
            "task": recipe.task.model_copy(update=more),
            "base": recipe.base.model_copy(update={"model": PretrainedModel(path="model")}),
        }
    )
    notes = list(_on_bare_answers(bare, first=0))
    assert [note.partition(",")[0] for note in notes] == ["sft shows a pretrained model the answers alone"][:noted]
    assert not list(_on_bare_answers(recipe, first=0))


# --- epochs and replay in a plan -------------------------------------------------------------------------------------


def test_a_plan_counts_the_epochs_that_its_steps_make(tmp_path: Path) -> None:
    rows = int(said(on_a_file(tmp_path, rows=100)).partition(" epochs of ")[2].split()[0])
    assert f"rl draws 5 x 4 prompts: {20 / rows:.2f} epochs of {rows}, {40 / rows:.2f} in 2 generations" in said(
        on_a_file(tmp_path, RL, rows=100)
    )
    again = RL | {"algorithm": {"type": "grpo", "resample": 1}}
    assert "in 2 generations, and more with redraws" in said(on_a_file(tmp_path, again, rows=100))
    assert f"sft shows 60 x 32 references: {60 * 32 / rows:.2f} epochs of {rows}" in said(on_a_file(tmp_path, rows=100))
    assert f"sft draws 20 prompts: {20 / rows:.2f} epochs" in said(on_a_file(tmp_path, REJECTION, rows=100))
    assert "rl draws" not in said(on_a_file(tmp_path, RL | {"draw": "random"}))
    assert "epochs of" not in said(tiny.recipe())


def test_a_plan_says_that_the_first_generation_has_nothing_to_replay(tmp_path: Path) -> None:
    assert "gen-1: nothing to replay yet: the lineage has no verified answers before generation 1" in said(
        on_a_file(tmp_path)
    )
    assert "gen-2: nothing to replay" not in said(on_a_file(tmp_path))
    for told in ({"min_reference_share": 0.5}, {"data": "references"}, {"references": "base_levels"}):
        recipe = on_a_file(tmp_path, RL | {"distillation": {"batch_size": 8} | told})
        assert ("nothing to replay" in said(recipe)) == ("min_reference_share" in told)


DISTILL = {"type": "distill", "updates": 3, "distillation": {"batch_size": 8}}
LATEST = {"distillation": {"batch_size": 8, "data": "latest"}}
NEVER = [
    ({"count": 1, "steps": [DISTILL]}, r"steps\[0\].distillation: generation 1 would train on nothing"),
    ({"count": 2, "steps": [RL, DISTILL]}, r"steps\[1\].distillation: generation 1 would train on nothing"),
    (
        {"stages": [{"name": "a", "steps": [RL], "gate": "never"}, {"name": "b", "init": "base", "steps": [DISTILL]}]},
        r"stages\[1\].steps\[0\].distillation: generation 2 would train on nothing.*no generation before it gives any",
    ),
    ({"count": 1, "steps": [RL | LATEST]}, r"steps\[0\].distillation.data: nothing can ever be replayed"),
    ({"count": 3, "init": "base", "steps": [RL | LATEST]}, r"distillation.data: nothing can ever be replayed: the par"),
    (
        {"count": 1, "steps": [{**REJECTION, "source": {**REJECTION["source"], "replay": {"data": "latest"}}}]},
        r"steps\[0\].source.replay.data: nothing can ever be replayed",
    ),
]


@pytest.mark.parametrize(("generations", "message"), NEVER)
def test_what_can_never_be_replayed_is_refused_before_anything_is_grown(tmp_path: Path, generations, message) -> None:
    with pytest.raises(RecipeError, match=message):
        plan(on_a_file(tmp_path, generations=generations))


EVER = [
    {"count": 1, "steps": [RL]},
    {"count": 1, "steps": [REJECTION]},
    {"count": 1, "steps": [{**DISTILL, "distillation": {"data": "references"}}]},
    {"count": 1, "steps": [{**DISTILL, "distillation": {"min_reference_share": 0.5}}]},
    {"count": 3, "steps": [RL | LATEST]},
    {"stages": [{"name": "a", "steps": [RL]}, {"name": "b", "steps": [DISTILL]}]},
    {"stages": [{"name": "a", "steps": [RL], "gate": "never"}, {"name": "b", "init": "previous", "steps": [DISTILL]}]},
]


@pytest.mark.parametrize("generations", EVER)
def test_what_may_be_replayed_is_planned(tmp_path: Path, generations: dict[str, Any]) -> None:
    assert plan(on_a_file(tmp_path, generations=generations)).generations


def test_generated_tasks_always_have_references_to_replay() -> None:
    assert plan(tiny.recipe(steps=(DISTILL,)))


def test_every_kind_of_step_tells_whether_it_measures() -> None:
    steps: list[StepBase] = [*tiny.recipe(steps=(RL, REJECTION, DISTILL, PLUGIN)).generations.steps]
    assert [step.measures for step in steps] == [True, True, False, True]
