"""A step of the user's own: what it is given, what it may return, and that its source is part of the recipe."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError
from support import tiny
from support.plugin_steps import SEEN

from bootstrap.config.load import load_recipe
from bootstrap.config.plugin_step import PluginStep
from bootstrap.config.recipe import Recipe
from bootstrap.errors import RecipeError
from bootstrap.planning.plan import make_plan
from bootstrap.prompts.build import build_task
from bootstrap.records import Example, Rollout, Status, Use, Verdict
from bootstrap.stages.plugin import RoundTools, Sample, _lessons, rehearse
from bootstrap.stages.tables import Tables
from bootstrap.store.lineage_store import LineageStore

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("own_plugins")]

OURS = "support.plugin_steps"


def settings(name: str, options: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "type": "plugin",
        "uses": f"{OURS}:{name}",
        "options": options or {},
        "rounds": 2,
        "prompts_per_update": 3,
        "group_size": 4,
        "distillation": {"batch_size": 4},
        **changes,
    }


def grown(tmp_path: Path, **step: Any) -> tuple[list[Example], Tables]:
    """Return what the step of one generation gave to the learner, and its tables."""
    pool, recipe = tiny.Watched(), tiny.recipe(steps=[settings(**step)], count=1)
    entries = tiny.grow(recipe, tmp_path, pool=pool)
    examples = [example for batch in pool.batches[-2:] for example in batch.examples]
    return examples, Tables.read(LineageStore(tmp_path).artifact(entries[1].generation.artifacts["step-0"]))


def tried(name: str, options: dict[str, Any] | None = None, **changes: Any) -> None:
    recipe = tiny.recipe()
    rehearse(PluginStep.model_validate(settings(name, options, **changes)), build_task(recipe.task))


def weighed(rl: Any, **changes: Any) -> list[Any]:
    """Return the checked lessons of a round whose one answer is given `rl`."""
    sample = Sample(**{"source": "s", "prompt": "1+1=", "text": "2", "level": 1, "task": "", "right": True, **changes})
    step = PluginStep.model_validate(settings("one", {"rl": rl}))
    task = build_task(tiny.recipe().task)
    tools = RoundTools(number=0, rounds=1, target_levels=(1,), rng=Random(0), task=task)
    return _lessons(lambda groups, *, tools, rl: [groups[0][0].learn(rl=rl)], step, [[sample]], tools)


def test_its_weights_reach_the_streams_of_the_learner_beside_what_is_replayed(tmp_path: Path) -> None:
    weights = {"rl": 0.5, "ce": 0.25, "kl": 2.0}
    examples, tables = grown(
        tmp_path, name="everything", options=weights, teaching={"loss": "reverse_kl", "teacher": "base"}
    )
    own = [example for example in examples if example.advantages]
    assert len(own) == len(tables.rollouts) == 2 * 3 * 4 and len(examples) == len(own) + 2 * 4
    assert {a for example in own for a in example.advantages} == {0.5}
    assert {(e.ce_weight, e.kl_weight) for e in own} == {(0.25, 2.0)} and len({e.teacher for e in own} - {None}) == 1
    logprobs = {rollout.id: rollout.logprobs for rollout in tables.rollouts}
    assert all(example.logprobs == logprobs[example.source] for example in own)
    assert {(s.use, s.reason) for s in tables.selections} == {(Use.RL, f"chosen by {OURS}:everything")}
    assert {row.stream for row in tables.usage if row.source in logprobs} == {"rl", "ce", "kl"}


def test_one_number_a_token_stands_as_it_is(tmp_path: Path) -> None:
    examples, _ = grown(tmp_path, name="last_token", distillation=None)
    assert examples and all(e.advantages == (0.0,) * (len(e.advantages) - 1) + (1.0,) for e in examples)


def test_a_step_that_draws_nothing_shows_references(tmp_path: Path) -> None:
    examples, tables = grown(
        tmp_path, name="showing", options={"count": 5, "ce": 1.0}, prompts_per_update=0, distillation=None
    )
    assert len(examples) == 2 * 5 and {example.ce_weight for example in examples} == {1.0}
    assert not tables.rollouts and {row.source for row in tables.shown} == {example.source for example in examples}


@pytest.mark.parametrize("made", [np.array, torch.tensor])
def test_an_array_without_dimensions_is_one_advantage_for_all_tokens(made: Callable[[float], Any]) -> None:
    (lesson,) = weighed(made(0.5), num_tokens=3)
    assert lesson.rl == (0.5, 0.5, 0.5)


def test_an_answer_without_tokens_has_no_advantage() -> None:
    assert not weighed(0.5, num_tokens=0)
    with pytest.raises(RecipeError, match="which nothing could judge"):
        weighed(0.5, num_tokens=0, right=None)


def test_what_it_leaves_out_is_dropped_with_that_reason_and_still_replayed_where_right(tmp_path: Path) -> None:
    examples, tables = grown(tmp_path, name="everything", options={})
    assert len(examples) == 2 * 4, "what is replayed"
    assert {(s.use, s.reason) for s in tables.selections} == {(Use.NONE, f"left out by {OURS}:everything")}
    right = {v.rollout_id for v in tables.verdicts if v.reward == 1.0}
    assert {s.rollout_id for s in tables.selections if s.replay} <= right


def test_an_answer_that_nothing_could_judge_has_no_advantage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsure(context: Any, rollouts: list[Rollout], prompts: Any, *, meter: Any) -> list[Verdict]:
        told = {
            "status": Status.UNVERIFIABLE,
            "reward": None,
            "breakdown": {},
            "reason": "",
            "verifier": "",
            "version": "",
        }
        return [Verdict(rollout_id=rollout.id, **told) for rollout in rollouts]

    monkeypatch.setattr("bootstrap.stages.plugin.judge", unsure)
    with pytest.raises(
        RecipeError, match=f"the step {OURS}:one returned a weight rl for .*, which nothing could judge"
    ):
        grown(tmp_path, name="one", options={"rl": 1.0})


def test_it_is_given_the_round_s_groups_and_the_same_chance_again() -> None:
    SEEN.clear()
    for _ in range(2):
        tried("telling")
    (groups, tools, chance), (*_, again) = SEEN
    assert chance == again and (tools.number, tools.rounds) == (0, 2)
    assert [[(sample.right, sample.reward) for sample in group] for group in groups] == [
        [(True, 1.0), *[(False, 0.0)] * 3]
    ] * 2


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("returns", {"value": None}, "returned a NoneType;"),
        ("returns", {"value": [1]}, "returned a int for a lesson;"),
        ("twice", {}, "returned the text '.*' twice;"),
        ("forging", {}, "returned the text 'forged', which it was not given;"),
        ("one", {"rl": [1.0]}, "returned 1 entries for the 5 tokens of rl of the text"),
        ("one", {"rl": True}, "returned a bool for rl of the text"),
        ("one", {"rl": float("nan")}, "returned nan for rl of the text"),
        ("one", {"ce": "1"}, "returned a str for ce of the text"),
        ("one", {"ce": -1}, "returned a weight ce or kl below 0 for the text"),
        ("one", {"kl": 1}, r"returned a weight kl for .* names no teacher \(teaching\)"),
        ("showing", {"count": 1, "rl": 1.0}, "returned a weight rl for .* a reference, which the model did not sample"),
        ("clumsy", {}, "raised KeyError: 'best'; fix it"),
    ],
)
def test_anything_else_stops_before_anything_is_grown_with_its_name(name: str, options: dict, told: str) -> None:
    with pytest.raises(RecipeError, match=f"the step {OURS}:{name} {told}"):
        tried(name, options)


@pytest.mark.parametrize("prompts", [0, 3])
def test_the_plan_says_that_references_are_the_functions_own_choice(prompts: int) -> None:
    step = settings("showing", {"count": 5, "ce": 1.0}, prompts_per_update=prompts, distillation=None)
    plan = make_plan(tiny.recipe(steps=[step], count=1), lineage="own", workers=1)
    assert (plan.generations[1].tokens["train"] > 0) == (prompts > 0)
    note = f"references that {OURS}:showing shows are not counted: how many it trains on is its own choice"
    assert plan.notes.count(note) == 1
    assert not any("not counted" in one for one in make_plan(tiny.recipe(), lineage="x", workers=1).notes)


def test_the_plan_tries_it_and_names_its_place() -> None:
    recipe = tiny.recipe(steps=[settings("clumsy")])
    with pytest.raises(RecipeError, match=r"generations\.steps\[0\]\.uses: the step .*clumsy raised KeyError"):
        make_plan(recipe, lineage="own", workers=1)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"teaching": {}}, r"teaching with loss ce has no teacher; set teaching.loss: reverse_kl"),
        (
            {"teaching": {"loss": "reverse_kl"}, "distillation": {"loss": "forward_kl"}},
            "summed in one divergence and name two",
        ),
        ({"uses": "no good"}, "must be of the form"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        PluginStep.model_validate(settings("everything", **changes))


def test_generation_0_has_none(tmp_path: Path) -> None:
    data = tiny.recipe().model_dump(mode="json")
    data["base"]["steps"] = [settings("showing", {"count": 4, "ce": 1.0}, prompts_per_update=0)]
    with pytest.raises(ValidationError, match="generation 0 has no ancestors"):
        Recipe.model_validate(data)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return an empty current folder; the import path and what is imported are put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    sys.modules.pop("mine", None)


def write(folder: Path, answer: str, **step: Any) -> Path:
    """Write a recipe and the step that it names, and return the recipe's path."""
    sys.modules.pop("mine", None)
    (folder / "mine.py").write_text(f"def f(groups, *, tools):\n    return {answer}\n")
    data = tiny.recipe().model_dump(mode="json")
    data["generations"]["steps"] = [{"type": "plugin", "uses": "mine:f", **step}]
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def test_the_recipe_s_identity_holds_what_the_function_means(folder: Path) -> None:
    one, same, other = (load_recipe(write(folder, answer)) for answer in ("[]", "([])", "list()"))
    assert one.digest() == same.digest() != other.digest()


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ({"source": "0" * 64}, "the step mine:f has changed"),
        ({"options": {"keep": 1}}, "the step mine:f cannot be called with the recipe's settings: .*'keep'"),
        ({"uses": "nowhere_at_all:f"}, "module of the step nowhere_at_all:f cannot be imported"),
        ({"uses": "no.such.entry"}, "entry points bootstrap.steps: none"),
    ],
)
def test_a_function_that_cannot_serve_is_refused_at_load_with_its_place(folder: Path, step: dict, told: str) -> None:
    with pytest.raises(RecipeError, match=rf"generations\.steps\[0\]\.uses.*{told}"):
        load_recipe(write(folder, "[]", **step))
