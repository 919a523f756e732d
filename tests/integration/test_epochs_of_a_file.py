"""A lineage on a file of rows: epochs over generations, newest answers replayed, the same after any kill."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support import tiny

from bootstrap import plugins
from bootstrap.cli.fork import fork_lineage
from bootstrap.cli.remembered import FILE_NAME, remember_recipe
from bootstrap.config.load import load_recipe
from bootstrap.config.recipe import Recipe
from bootstrap.ids import is_rollout
from bootstrap.lineage import queries
from bootstrap.pool import LocalPool
from bootstrap.prompts.build import build_task
from bootstrap.records import Event, Split
from bootstrap.selection.epochs import Visit
from bootstrap.stages.answers import answers_of
from bootstrap.stages.tables import Tables
from bootstrap.stages.visits import counted
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

pytestmark = pytest.mark.training

RL = tiny.RL | {"rounds": 5, "prompts_per_update": 5, "group_size": 4, "algorithm": {"type": "grpo", "resample": 1}}
REJECTION = {**tiny.REJECTION, "source": {"type": "rejection", "prompts": 7, "samples_per_prompt": 2}}
PLUGIN = {
    "type": "plugin",
    "uses": "support.plugin_steps:everything",
    "options": {"ce": 1.0},
    "rounds": 3,
    "prompts_per_update": 4,
    "group_size": 2,
    "checkpoint_every": 1,
    "distillation": {"batch_size": 4},
}


class Killed(Exception):
    pass


class FragilePool(LocalPool):
    """A pool whose process dies at its n-th update."""

    def __init__(self, left: int) -> None:
        super().__init__(1, batch_rows=64)
        self.left = left

    def update(self, *args: Any, **kwargs: Any) -> Any:
        if not self.left:
            raise Killed
        self.left -= 1
        return super().update(*args, **kwargs)


def on_a_file(folder: Path, *steps: dict[str, Any], count: int = 3, rows: int = 60, **changes: Any) -> Recipe:
    """Return a recipe on a file of sums, of which the base gets some right."""
    path = folder / "rows.jsonl"
    lines = [{"prompt": f"{n // 8}{n % 8}=", "answer": f"{(n // 8 + n % 8) % 4}"} for n in range(rows)]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    limits = {"alphabet": "=01234567", "max_prompt_length": 3, "max_answer_length": 1, "heldout_fraction": 0.3}
    settings = {
        "task": {"type": "file", "path": str(path), **limits},
        "gate": {"min_prompts": 4},
        "evaluation": {"sampled": None},
    }
    return tiny.recipe(steps=steps or (RL,), count=count, **(settings | changes))


def tables_of(root: Path, entry: Entry) -> list[Tables]:
    store = LineageStore(root)
    return [Tables.read(store.artifact(ref)) for ref in entry.generation.steps.values()]


def draws(root: Path, entries: list[Entry]) -> list[str]:
    """Return the prompts of the lineage in the order of drawing."""
    rollouts = [r for entry in entries[1:] for tables in tables_of(root, entry) for r in tables.rollouts]
    return list({r.group: r.prompt_id for r in rollouts}.values())


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path, list[Entry]]:
    folder = tmp_path_factory.mktemp("epochs")
    recipe = on_a_file(folder, RL, REJECTION, PLUGIN, count=2)
    with plugins.trusting_only([PLUGIN["uses"]]):
        return recipe, folder / "l", tiny.grow(recipe, folder / "l")


def test_no_prompt_comes_again_before_all_have_been_drawn_in_whichever_generation_and_step(grown) -> None:
    recipe, root, entries = grown
    train = {prompt.id for prompt in build_task(recipe.task).every_prompt(1, Split.TRAIN) or ()}
    drawn = draws(root, entries)
    assert len(drawn) > len(train), "more than an epoch"
    first = drawn[: len(train)]
    assert set(first) == train and len(set(first)) == len(first)


def test_references_are_shown_each_once_before_any_comes_again(grown) -> None:
    recipe, root, entries = grown
    shown = {row.source: row.count for tables in tables_of(root, entries[0]) for row in tables.usage}
    train = {prompt.id for prompt in build_task(recipe.task).every_prompt(1, Split.TRAIN) or ()}
    assert shown.keys() == train and max(shown.values()) - min(shown.values()) == 1


def test_the_books_tell_what_was_drawn(grown) -> None:
    _, root, entries = grown
    assert entries[0].generation.drawing is None
    position = 0.0
    for entry in entries[1:]:
        drawing, accounting = entry.generation.drawing, entry.generation.accounting
        own = [r for tables in tables_of(root, entry) for r in tables.rollouts]
        assert drawing.drawn == accounting.prompts_drawn == len({r.group for r in own})
        assert drawing.distinct == len({r.prompt_id for r in own})
        assert drawing.epochs.keys() == {1} and drawing.epochs[1] > position
        position = drawing.epochs[1]
        assert "epochs so far" in queries.show(entries, entry.generation.name)["drawing"]["sentence"]
    first, second = (entry.generation.drawing for entry in entries[1:])
    assert first.epochs[1] >= first.drawn / first.prompts, "more where prompts sit out"
    assert first.replayable == 0 < second.replayable


def test_nothing_is_replayed_before_there_is_an_answer_and_no_reference_ever(grown) -> None:
    _, root, entries = grown
    first, second = entries[1:]
    sources = [[row.source for tables in tables_of(root, entry) for row in tables.usage] for entry in (first, second)]
    assert all(is_rollout(source) for step in sources for source in step)
    assert all(source.startswith("g1.") for source in sources[0])
    assert any(source.startswith("g1.") for source in sources[1])


def test_of_a_prompt_with_several_answers_the_newest_is_replayed(grown) -> None:
    _, root, entries = grown
    given = list(answers_of(LineageStore(root), entries[1].generation))
    newest = {entry.prompt_text: entry.rollout_id for entry in given}
    twice = {text for text, number in Counter(entry.prompt_text for entry in given).items() if number > 1}
    replayed = {row.source for tables in tables_of(root, entries[2]) for row in tables.usage} - {
        r.id for tables in tables_of(root, entries[2]) for r in tables.rollouts
    }
    assert replayed and replayed <= set(newest.values())
    assert not twice or {entry.rollout_id for entry in given} != set(newest.values())


def test_the_gate_asks_all_held_out_prompts(grown) -> None:
    recipe, _, entries = grown
    heldout = build_task(recipe.task).every_prompt(1, Split.HELDOUT) or ()
    assert {entry.generation.report.levels[0].num_prompts for entry in entries} == {len(heldout)}
    assert entries[1].generation.decision.improvement.num_prompts == len(heldout)


@pytest.mark.usefixtures("own_plugins")
def test_a_run_that_is_killed_in_every_step_draws_the_same_prompts(grown, tmp_path: Path) -> None:
    recipe, root, entries = grown
    base = recipe.base.steps[0].updates
    for left in (base + 3, 4, 3, 6, 5):
        with pytest.raises(Killed):
            tiny.grow(recipe, tmp_path / "killed", pool=FragilePool(left))
    resumed = tiny.grow(recipe, tmp_path / "killed")
    assert draws(tmp_path / "killed", resumed) == draws(root, entries)
    assert [entry.hash for entry in resumed] == [entry.hash for entry in entries]


def test_a_retry_goes_on_with_other_prompts_than_the_rejected_candidate_had(tmp_path: Path) -> None:
    recipe = on_a_file(tmp_path, RL | {"rounds": 2, "algorithm": {"type": "grpo"}}, gate={"alpha": 1e-9})
    entries = tiny.grow(recipe, tmp_path / "l")
    assert [entry.generation.parent for entry in entries[1:]] == [0, 0, 0], "all are rejected"
    drawn = draws(tmp_path / "l", entries)
    assert len(set(drawn)) == len(drawn) == 30
    measured = [entry.generation.drawing.all_right + entry.generation.drawing.all_wrong for entry in entries[1:]]
    assert measured[0] and measured == sorted(measured), "what was measured of weights close by counts"


def test_of_weights_that_others_grew_from_draws_count_and_results_do_not() -> None:
    base, child, grandchild = (SimpleNamespace(number=n, parents=(n - 1,) if n else ()) for n in range(3))
    visits = [Visit(round="g1.s0.u0", prompt_id="p", level=1, right=0, judged=4)]
    for generation, counts in ((base, True), (child, True), (grandchild, False)):
        found = counted(visits, cast(Any, generation), own={0})
        assert found == (visits if counts else [visits[0].unmeasured()])


def test_siblings_set_out_from_one_state_each_in_an_order_of_its_own(tmp_path: Path) -> None:
    step = RL | {"rounds": 2, "algorithm": {"type": "grpo"}}
    generations = {"count": 4, "branches": 2, "init": "champion", "steps": [step]}
    recipe = on_a_file(tmp_path, rows=24, generations=generations)
    entries = tiny.grow(recipe, tmp_path / "l")
    train = {prompt.id for prompt in build_task(recipe.task).every_prompt(1, Split.TRAIN) or ()}
    first, second, third, _ = (draws(tmp_path / "l", [entries[0], entry]) for entry in entries[1:])
    assert first != second and set(first) & set(second), "both begin one epoch"
    assert len({entry.generation.drawing.epochs[1] for entry in entries[1:3]}) == 1
    left = train.difference(first, second)
    assert left and set(third[: len(left)]) == left, "what either has drawn waits for the next epoch"


def test_a_fork_goes_on_in_its_origins_epoch_with_its_newest_answers(tmp_path: Path) -> None:
    recipe = on_a_file(tmp_path, RL | {"rounds": 2, "algorithm": {"type": "grpo"}}, count=2)
    recipe = recipe.model_copy(update={"task": recipe.task.pinned()})
    entries = tiny.grow(recipe, tmp_path / "tiny")
    remember_recipe(LineageStore(tmp_path / "tiny"), recipe, folder=tmp_path)
    fork_lineage("tiny@2", "heir", ("generations.count=1",), recipe_path=None, store=tmp_path)
    heirs = tiny.grow(load_recipe(tmp_path / "heir" / FILE_NAME), tmp_path / "heir")
    before, after = draws(tmp_path / "tiny", entries), draws(tmp_path / "heir", heirs)
    assert len({*before, *after}) == len(before) + len(after) == 30
    given = [answer for entry in entries for answer in answers_of(LineageStore(tmp_path / "tiny"), entry.generation)]
    handed_on = list(answers_of(LineageStore(tmp_path / "heir"), heirs[0].generation))
    assert [answer.rollout_id for answer in handed_on] == [f"g0.tiny.{answer.rollout_id}" for answer in given]


def test_a_run_says_that_it_has_nothing_to_replay_yet(tmp_path: Path) -> None:
    events: list[Event] = []
    tiny.grow(on_a_file(tmp_path, count=1), tmp_path / "l", observe=events.append)
    assert any(event.generation == 1 and "nothing to replay yet" in event.message for event in events)


def test_a_file_that_is_drawn_at_random_is_drawn_as_ever(tmp_path: Path) -> None:
    recipe = on_a_file(tmp_path, RL | {"draw": "random"})
    entries = tiny.grow(recipe, tmp_path / "l")
    assert {entry.generation.drawing for entry in entries} == {None}
    drawn = draws(tmp_path / "l", entries)
    assert len(set(drawn[:30])) < 30, "prompts come again"
