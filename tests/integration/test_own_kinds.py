"""A task, a verifier, an algorithm and a step of the user's own: `examples/`, whose lineage is planned and grown."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import tiny

from bootstrap.config.load import load_recipe, recipe_of
from bootstrap.config.recipe import Recipe
from bootstrap.planning.plan import make_plan
from bootstrap.prompts.build import build_task
from bootstrap.records import Batch, Split, Status, Use
from bootstrap.stages.step import Tables
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

pytestmark = pytest.mark.training

EXAMPLES = Path(__file__).parents[2] / "examples"
MODULES = ("sorting_task", "prefix_verifier", "rank_algorithm", "best_of_step")
SMALL = (
    "base.steps[0].updates=60",
    "base.steps[0].batch_size=16",
    "generations.count=1",
    "generations.steps[0].rounds=4",
    "generations.steps[0].prompts_per_update=8",
    "generations.steps[0].group_size=4",
    "generations.steps[1].rounds=3",
    "generations.steps[1].prompts_per_update=6",
    "generations.steps[1].checkpoint_every=2",
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
    [(_, rl), (_, own)] = recipe.generation_steps()
    sources = {recipe.task.source, rl.algorithm.source, own.source}
    assert len(sources) == 3 and all(len(source) == 64 and source in told for source in sources)
    assert len(grown[0][1].generation.verifiers["plugin"]) == 16
    assert recipe_of(recipe.identity()).digest() == recipe.digest(), "a lineage remembers it"


def test_the_plan_tells_of_them(recipe) -> None:
    planned = make_plan(recipe, lineage="own", workers=1).generations[1]
    rl, own = planned.steps
    assert (rl.summary, own.summary) == (
        "rl (plugin), 4 rounds of 8 x 4",
        "plugin (best_of_step:step), 3 rounds of 6 x 4",
    )
    assert "answers of level 5, judged by plugin, weighted by best_of_step:step" in own.data
    assert "judged by plugin" in planned.steps[0].data
    assert planned.target_levels == (5,)


def test_a_lineage_grows_by_all_four(recipe, grown) -> None:
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
    # The step's own push is a tenth.
    given = {a for batch in pool.batches for e in batch.examples for a in e.advantages if a != -0.1}
    # Ranks of four: thirds from -1 to 1.
    assert len(given) > 1 and {round(3 * a, 9) for a in given} <= set(range(-3, 4))


def test_the_step_decides_what_is_trained_on_and_its_accounting_reconciles(recipe, grown) -> None:
    entries, store = grown
    found = Tables.read(store.artifact(entries[1].generation.artifacts["step-1"]))
    verdicts = {verdict.rollout_id: verdict for verdict in found.verdicts}
    chosen = {use: [s for s in found.selections if s.use is use] for use in Use}
    assert len(found.selections) == len(found.rollouts) == 3 * 6 * 4
    assert {verdicts[s.rollout_id].status for s in chosen[Use.CE]} <= {Status.PASS}
    assert {verdicts[s.rollout_id].status for s in chosen[Use.RL]} == {Status.FAIL}
    assert all(s.reason == "chosen by best_of_step:step" for use in (Use.CE, Use.RL) for s in chosen[use])
    used = {row.source for row in found.usage}
    assert used >= {s.rollout_id for use in (Use.CE, Use.RL) for s in chosen[use]}
    assert not used & {s.rollout_id for s in chosen[Use.NONE]}
    assert found.shown, "prompts that nobody solves show a reference"
    assert entries[1].generation.accounting.prompts_drawn >= 4 * 8 + 3 * 6


class Dying(tiny.Watched):
    """A pool that dies in the last round of the user's own step, after its first part."""

    def update(self, batch: Batch, **how: Any) -> Any:
        if len(self.batches) == 60 + 4 + 2:
            raise InterruptedError
        return super().update(batch, **how)


def test_a_killed_step_goes_on_to_the_same_ledger(recipe, grown, tmp_path) -> None:
    with pytest.raises(InterruptedError):
        tiny.grow(recipe, tmp_path, pool=Dying())
    pool = tiny.Watched()
    again = tiny.grow(recipe, tmp_path, pool=pool)
    assert len(pool.batches) == 1, "its first part, of two rounds, is not made again"
    assert [entry.hash for entry in again] == [entry.hash for entry in grown[0]]
