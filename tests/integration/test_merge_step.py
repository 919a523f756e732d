"""Merging as a generation of its own: what it is made of, that it is made the same again, and what is refused."""

from dataclasses import replace

import pytest
import safetensors.torch
from support import tiny
from support.pretrained import small_folder, write

from bootstrap.config.recipe import Recipe
from bootstrap.config.step import MergeStep
from bootstrap.errors import RecipeError
from bootstrap.ledger_records import Accounting
from bootstrap.lineage import queries
from bootstrap.lineage.graph import lineage
from bootstrap.planning.plan import make_plan
from bootstrap.stages.answers import answers_of
from bootstrap.stages.siblings import aimed_accuracy
from bootstrap.store.fingerprint import ADAPTER_WEIGHTS, MODEL_WEIGHTS
from bootstrap.store.ledger import Entry, Ledger
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.verify import verify
from bootstrap.training.merge import merge

pytestmark = [pytest.mark.torch, pytest.mark.training]

RL = {**tiny.RL, "rounds": 2}
SCOUTS = {"name": "scouts", "generations": 2, "branches": 2, "init": "base", "gate": "never", "steps": [RL]}
LINEAR = {"type": "merge", "models": [1, 2], "weights": [0.25, 0.75]}
TIES = {"type": "merge", "models": ["base", {"type": "stage", "stage": "scouts"}, 1], "method": "ties", "density": 0.3}


def soup(*steps, **changes) -> Recipe:
    stages = [SCOUTS, {"name": "soup", "steps": list(steps)}]
    return tiny.recipe(generations={"stages": stages}, **changes)


def files_of(root, entry):
    return LineageStore(root).artifact(entry.generation.artifacts["weights"]).read_all()


@pytest.mark.parametrize("step", [LINEAR, TIES], ids=["linear", "ties"])
def test_a_merged_generation_is_made_of_the_weights_that_it_names(tmp_path, step):
    entries = tiny.grow(soup(step), tmp_path / "tiny")
    assert len({entry.generation.fingerprint for entry in entries}) == 4
    found = entries[3].generation
    base, one, two = (files_of(tmp_path / "tiny", entry) for entry in entries[:3])
    ties = step is TIES
    best = max((1, 2), key=lambda number: aimed_accuracy(entries[number].generation))
    expected = merge(
        [base, (one, two)[best - 1], one] if ties else [one, two],
        method="ties" if ties else "linear",
        weights=[1, 1, 1] if ties else [0.25, 0.75],
        density=0.3,
        onto=base if ties else None,
    )
    assert found.fingerprint == expected.fingerprint
    merged = [(edge.generation, edge.fingerprint) for edge in found.edges if edge.role == "merged"]
    wanted = tuple(sorted({0, 1, best})) if ties else (1, 2)
    assert merged == [(number, entries[number].generation.fingerprint) for number in wanted]
    assert not [edge for edge in found.edges if edge.role == "init"], "nothing is left of the champion's weights"
    assert found.parents == wanted and found.parent is None
    assert found.diagnostics.kl_parent is None and found.diagnostics.kl_base is not None
    assert queries.origin(found) == " + ".join(f"gen-{number}" for number in wanted) + " merged"
    assert found.accounting == Accounting() and "train" not in found.compute.flops
    assert verify(tmp_path / "tiny").is_clean
    if not ties:
        theirs, ours = (safetensors.torch.load(files[MODEL_WEIGHTS]) for files in (base, expected.files))
        assert all(theirs[name].shape == ours[name].shape for name in theirs)


def test_a_killed_merge_ends_the_same_and_steps_go_on_from_it(tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    settings = soup(LINEAR, RL)
    undisturbed = tiny.grow(settings, tmp_path / "one")
    append = Ledger.append

    def killing(self, generation, annotations):
        if generation.number == 3:
            raise Killed
        return append(self, generation, annotations)

    monkeypatch.setattr(Ledger, "append", killing)
    with pytest.raises(Killed):
        tiny.grow(settings, tmp_path / "two")
    monkeypatch.undo()
    again = tiny.grow(settings, tmp_path / "two")
    assert [e.hash for e in again] == [e.hash for e in undisturbed]
    last = again[3].generation
    assert last.accounting.rollouts == 2 * 4 * 4
    merged = tiny.grow(soup(LINEAR), tmp_path / "three")[3].generation.fingerprint
    assert last.fingerprint != merged
    tables = LineageStore(tmp_path / "two").artifact(last.artifacts["step-1"])
    assert "rollouts.parquet" in tables.files


def test_adapters_are_merged_over_their_base(tmp_path):
    folder = write(small_folder(), tmp_path / "model")
    adamw = {"type": "adamw", "lr": 0.01}
    shown = {"type": "sft", "updates": 4, "batch_size": 8, "optimizer": adamw}
    stages = [
        {**SCOUTS, "steps": [shown]},
        {"name": "soup", "steps": [{"type": "merge", "method": "ties", "models": [1, 2, "base"]}]},
    ]
    settings = tiny.recipe(
        base={"model": {"type": "folder", "path": str(folder)}, "steps": [shown]},
        training={"adapter": {"type": "lora", "rank": 4, "alpha": 8}},
        generations={"stages": stages},
    )
    entries = tiny.grow(settings, tmp_path / "tiny")
    found = entries[3].generation
    base, one, two = (files_of(tmp_path / "tiny", entry) for entry in entries[:3])
    assert found.fingerprint == merge([one, two, base], method="ties", weights=[1, 1, 1], density=0.5).fingerprint
    assert ADAPTER_WEIGHTS in files_of(tmp_path / "tiny", entries[3])
    assert verify(tmp_path / "tiny").is_clean


def test_models_that_are_one_generation_are_merged_into_it_and_that_is_told(tmp_path):
    told: list[str] = []
    step = {"type": "merge", "models": ["champion", "previous"]}
    settings = tiny.recipe(steps=[step], count=1)
    entries = tiny.grow(settings, tmp_path / "tiny", observe=lambda event: told.append(event.message))
    assert entries[1].generation.fingerprint == entries[0].generation.fingerprint
    assert "all models to merge are gen-0 now" in told


def test_students_of_another_shape_are_refused(tmp_path):
    student = {**tiny.MODEL, "hidden_size": 16}
    shown = {"type": "sft", "updates": 1, "batch_size": 8}
    stages = [
        {"name": "student", "init": student, "gate": "never", "steps": [shown]},
        {"name": "soup", "steps": [{"type": "merge", "models": ["base", 1]}]},
    ]
    with pytest.raises(RecipeError, match="different shapes cannot be merged"):
        tiny.grow(tiny.recipe(generations={"stages": stages}), tmp_path / "tiny")


def test_what_is_trained_on_a_merge_replays_the_answers_of_those_merged(tmp_path):
    latest = RL | {"distillation": {"batch_size": 8, "data": "latest"}}
    entries = tiny.grow(soup(LINEAR, latest, guards=[]), tmp_path / "tiny")
    used = {edge.generation for edge in entries[3].generation.edges if edge.role == "data"}
    given = {
        number for number in (1, 2) if list(answers_of(LineageStore(tmp_path / "tiny"), entries[number].generation))
    }
    assert given and used <= given, "left ungated, and its ancestors all the same"
    graph = lineage([*entries[:3], promoted(entries[3])])
    assert graph["path"] == [0, 1, 2, 3]
    on_path = {(edge["from"], edge["to"], edge["role"]) for edge in graph["edges"] if edge["on_path"]}
    assert on_path == {(0, 1, "init"), (0, 2, "init"), (1, 3, "merged"), (2, 3, "merged")}


def promoted(entry: Entry) -> Entry:
    return replace(entry, generation=entry.generation.model_copy(update={"champion": entry.generation.number}))


def test_the_plan_tells_of_a_merge():
    plan = make_plan(soup(TIES), lineage="tiny", workers=1)
    (step,) = plan.generations[3].steps
    assert step.summary == "merge (ties)"
    assert plan.generations[3].start == "a merge" and plan.generations[3].parent is None
    assert step.data == "weights of the base, the last generation of scouts, gen-1"
    assert plan.generations[3].tokens["train"] == 0 and plan.generations[3].flops["train"] == 0


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"models": ["champion"]}, "at least 2"),
        ({"models": ["champion", "champion"]}, "a model stands twice"),
        ({"models": [0, 1], "density": 0.5}, "density has no effect with method linear"),
        ({"models": [0, 1], "weights": [1.0]}, "1 weights for 2 models"),
        ({"models": [0, 1], "weights": [0.5, 0.4]}, "sum to 0.9"),
        ({"models": [0, 1], "weights": [1.0, 0.0], "method": "ties"}, "weight of 0 or less"),
    ],
)
def test_settings_that_cannot_merge_are_refused(step, message):
    with pytest.raises(ValueError, match=message):
        MergeStep.model_validate(step)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": [{"type": "merge", "models": [0, 1]}]}, "generation 1 does not exist when generation 1 needs it"),
        ({"steps": [RL, LINEAR]}, "what the steps before it have trained would be lost"),
        ({"base": {"steps": [LINEAR]}}, "generation 0 has no ancestors"),
        (
            {"generations": {"stages": [{"name": "a", "steps": [TIES]}, {**SCOUTS, "init": "base"}]}},
            "generation 1 uses stage scouts before it ends",
        ),
        (
            {
                "generations": {
                    "stages": [SCOUTS, {"name": "soup", "init": {"type": "folder", "path": "m"}, "steps": [LINEAR]}]
                }
            },
            "nothing would be left of the model",
        ),
        (
            {"generations": {"stages": [SCOUTS, {"name": "soup", "init": "previous", "steps": [LINEAR]}]}},
            "remove its init",
        ),
        (
            {
                "generations": {
                    "stages": [
                        SCOUTS,
                        {"name": "soup", "steps": [LINEAR, {**tiny.DISTILL, "distillation": {"loss": "forward_kl"}}]},
                    ]
                }
            },
            "starts from a merge has no parent",
        ),
        (
            {
                "base": {"model": {"type": "folder", "path": "m"}},
                "training": {"adapter": {"type": "lora", "dora": True}},
                "generations": {"stages": [SCOUTS, {"name": "soup", "steps": [LINEAR]}]},
            },
            "set training.adapter.dora: false",
        ),
    ],
)
def test_recipes_that_cannot_merge_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny.recipe(**changes)
