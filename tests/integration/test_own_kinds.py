"""A task, a verifier and an algorithm of the user's own: `examples/`, whose lineage is planned and grown."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import tiny

from bootstrap.config.load import load_recipe, recipe_of
from bootstrap.config.recipe import Recipe
from bootstrap.plan import make_plan
from bootstrap.prompts.build import build_task
from bootstrap.records import Split, Use
from bootstrap.stages.step import Tables
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

pytestmark = pytest.mark.training

EXAMPLES = Path(__file__).parents[2] / "examples"
MODULES = ("sorting_task", "prefix_verifier", "rank_algorithm")
SMALL = (
    "base.steps[0].updates=60",
    "base.steps[0].batch_size=16",
    "generations.count=1",
    "generations.steps[0].rounds=4",
    "generations.steps[0].prompts_per_update=8",
    "generations.steps[0].group_size=4",
    "task.levels=6",
    "evaluation.prompts_per_level=40",
    "gate.min_prompts=10",
)


@pytest.fixture(scope="module")
def recipe() -> Iterator[Recipe]:
    """Return the example, made smaller, as it is read where its modules lie."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(EXAMPLES)
        patch.setattr(sys, "path", list(sys.path))
        patch.setattr(sys, "dont_write_bytecode", True)
        yield load_recipe("own.yaml", SMALL)
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def grown(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Entry], LineageStore]:
    root = tmp_path_factory.mktemp("own")
    return tiny.grow(recipe, root, fresh=True), LineageStore(root)


def test_the_recipe_s_identity_holds_the_source_of_all_but_the_verifier_whose_version_does(recipe, grown) -> None:
    told = json.dumps(recipe.identity())
    [(_, step)] = recipe.generation_steps()
    assert len(recipe.task.source) == len(step.algorithm.source) == 64
    assert recipe.task.source in told and step.algorithm.source in told
    assert len(grown[0][1].generation.verifiers["plugin"]) == 16
    assert recipe_of(recipe.identity()).digest() == recipe.digest(), "a lineage remembers it"


def test_the_plan_tells_of_them(recipe) -> None:
    planned = make_plan(recipe, lineage="own", workers=1).generations[1]
    assert planned.steps[0].summary == "rl (plugin), 4 rounds of 8 x 4"
    assert "judged by plugin" in planned.steps[0].data
    assert planned.target_levels == (5,)


def test_a_lineage_grows_by_all_three(recipe, grown) -> None:
    entries, store = grown
    assert [entry.generation.name for entry in entries] == ["gen-0", "gen-1"]
    found = Tables.read(store.artifact(entries[1].generation.artifacts["step-0"]))
    assert {verdict.verifier for verdict in found.verdicts} == {"plugin"}
    rewards = {verdict.reward for verdict in found.verdicts}
    assert any(0 < reward < 0.5 for reward in rewards), "partial credit is the verifier's"
    assert any(selection.use is Use.RL for selection in found.selections)
    assert {len(rollout.prompt_text) for rollout in found.rollouts} == {8}, "level 5 has seven letters and a ="


def test_nothing_that_is_held_out_was_drawn(recipe, grown) -> None:
    entries, store = grown
    task = build_task(recipe.task)
    found = Tables.read(store.artifact(entries[1].generation.artifacts["step-0"]))
    assert found.rollouts and {task.split_of(r.prompt_text) for r in found.rollouts} == {Split.TRAIN}
    heldout = {prompt.text for level in range(1, 7) for prompt in task.heldout(level, 40)}
    assert not heldout & {r.prompt_text for r in found.rollouts}


def test_the_algorithm_s_numbers_are_what_the_learner_weighs(recipe, tmp_path) -> None:
    pool = tiny.Watched()
    tiny.grow(recipe, tmp_path, pool=pool)
    given = {a for batch in pool.batches for e in batch.examples for a in e.advantages}
    # Ranks of four: thirds from -1 to 1.
    assert len(given) > 1 and {round(3 * a, 9) for a in given} <= set(range(-3, 4))
