"""What MLflow shows and searches of a ledger: texts that say what the records say, none empty, none too long."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.lineage_factory import PROMOTED, RECIPE, REJECTED, UNGATED, build

from bootstrap.ledger_records import Edge, GenerationOutcome
from bootstrap.lineage import queries, tags
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.pretrained import Pretrained

MODELS = {number: f"m-{number}" for number in range(5)}
LEGAL = re.compile(r"[\w./ -]+")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store") / "addition"


@pytest.fixture(scope="module")
def entries(root: Path) -> Sequence[Entry]:
    return build(root, plan=(PROMOTED, REJECTED, PROMOTED, UNGATED), outside="/models/tutor")


def of(entry: Entry, *, base: Pretrained | None = None) -> dict[str, str]:
    return tags.of_generation(entry, models=MODELS, base=base)


def changed(entry: Entry, **update: Any) -> Entry:
    return replace(entry, generation=entry.generation.model_copy(update=update))


def test_no_tag_is_empty_or_longer_than_mlflow_keeps(entries: Sequence[Entry]) -> None:
    node = entries[2].generation
    long = changed(entries[2], decision=node.decision.model_copy(update={"reason": "x" * 9000}))
    for entry in (*entries, long):
        found = of(entry)
        assert all(0 < len(value) <= 5000 and LEGAL.fullmatch(key) for key, value in found.items())
    assert found["bootstrap.gate.reason"] == tags.of_version(long.generation, base=None)["bootstrap.gate.reason"]


def test_the_models_that_went_in_stand_under_their_roles_and_data_is_none_of_them(entries: Sequence[Entry]) -> None:
    for entry in entries:
        inside = [edge for edge in entry.generation.edges if edge.role != "data" and edge.generation is not None]
        told = [(role, model) for role, ids in json.loads(of(entry)["bootstrap.model_inputs"]).items() for model in ids]
        assert sorted(told) == sorted((edge.role, MODELS[edge.generation]) for edge in inside)
    assert of(entries[3])["bootstrap.teachers"] == "gen-0, /models/tutor"
    assert of(entries[3])["bootstrap.parent"] == "gen-1"


def test_a_generation_left_ungated_is_not_called_rejected(entries: Sequence[Entry]) -> None:
    words = {}
    for entry in entries:
        for outcome in (entry.generation.outcome, GenerationOutcome.UNGATED):
            told = changed(entry, outcome=outcome)
            words[outcome] = tags.gate(told.generation), queries.generation(told)["decision"]
    assert words == {
        GenerationOutcome.BASE: ("accepted", "promoted"),
        GenerationOutcome.PROMOTED: ("accepted", "promoted"),
        GenerationOutcome.REJECTED: ("rejected", "rejected"),
        GenerationOutcome.UNGATED: ("ungated", "ungated"),
    }
    for entry in entries:
        run, version = of(entry), tags.of_version(entry.generation, base=None)
        shared = run.keys() & version.keys()
        assert {"bootstrap.gate", "bootstrap.outcome"} <= shared
        assert {key: run[key] for key in shared} == {key: version[key] for key in shared}


def test_the_environment_of_a_run_is_searchable_whatever_its_names(entries: Sequence[Entry]) -> None:
    environment = {"git_commit": "c" * 40, "pod@name": "p-0", "empty": ""}
    annotations = entries[1].annotations.model_copy(update={"environment": environment})
    found = of(replace(entries[1], annotations=annotations))
    assert found["mlflow.source.git.commit"] == found["bootstrap.git_commit"] == "c" * 40
    assert found["bootstrap.pod_name"] == "p-0" and "bootstrap.empty" not in found
    bare = entries[1].annotations.model_copy(update={"environment": {}})
    assert "mlflow.source.git.commit" not in of(replace(entries[1], annotations=bare))


def test_the_head_of_the_lineage_names_the_champion_that_is_delivered(entries: Sequence[Entry]) -> None:
    for length in range(1, len(entries) + 1):
        head = tags.of_head(entries[:length])
        champion = entries[entries[length - 1].generation.champion].generation
        assert head["bootstrap.champion"] == champion.name
        assert head["bootstrap.frontier"] == str(champion.report.frontier)
        assert head[tags.LEDGER_HASH] == entries[length - 1].hash
    assert [tags.of_run(entry)[tags.LEDGER_HASH] for entry in entries] == [entry.hash for entry in entries]


def test_a_fork_and_its_lineage_say_which_record_they_go_back_to(entries: Sequence[Entry]) -> None:
    edge = Edge(role="init", generation=None, external="other@gen-3", record="a" * 64, fingerprint="f" * 64)
    forked = changed(entries[0], edges=(edge,))
    for found in (of(forked), tags.of_lineage(forked.generation, base=None)):
        assert found["bootstrap.forked_from"] == "other@gen-3"
        assert found["bootstrap.forked_from_record"] == "a" * 64
    assert not [key for entry in entries for key in of(entry) if "forked" in key]


@pytest.mark.parametrize("licence", ["apache-2.0", None])
def test_source_and_licence_of_a_pretrained_base_are_on_every_page(
    entries: Sequence[Entry], licence: str | None
) -> None:
    base = Pretrained(name="a/b", source="hub a/b@0123", licence=licence)
    node = entries[0].generation
    for found in (of(entries[0], base=base), tags.of_lineage(node, base=base), tags.of_version(node, base=base)):
        assert found["bootstrap.base.source"] == "hub a/b@0123"
        assert found.get("bootstrap.base.license") == licence


def test_a_models_params_lead_to_its_weights_and_its_parents(root: Path, entries: Sequence[Entry]) -> None:
    entry = entries[3]
    weights = LineageStore(root).artifact(entry.generation.artifacts["weights"])
    params = tags.model_params(entry, recipe=RECIPE, models=MODELS, weights=weights)
    assert (Path(params["weights_path"]) / "model.safetensors").exists()
    assert params["weights_sha256"] == weights.files["model.safetensors"][0]
    assert params["tokenizer_sha256"] == weights.files["tokenizer.json"][0]
    assert (params["parent"], params["parent_model_id"]) == ("gen-1", "m-1")
    assert (params["method"], params["ledger_hash"]) == ("rl", entry.hash)
    bare = tags.model_params(entries[0], recipe={}, models={}, weights=None)
    assert all(bare.values()) and not {"weights_path", "parent", "base", "method"} & bare.keys()


def test_the_method_is_that_of_the_generations_stage(entries: Sequence[Entry]) -> None:
    recipe = {
        "generations": {
            "steps": [{"type": "rl"}],
            "stages": [
                {"name": "cold start", "steps": [{"type": "sft"}]},
                {"name": "reasoning", "steps": [{"type": "sft"}, {"type": "rl", "distillation": {"weight": 1}}]},
            ],
        }
    }

    def method(stage: str) -> str:
        entry = changed(entries[1], stage=stage)
        return tags.model_params(entry, recipe=recipe, models={}, weights=None)["method"]

    assert [method(stage) for stage in ("cold start", "reasoning", "")] == ["sft", "sft, rl+distillation", "rl"]


def test_a_recipe_becomes_params_that_mlflow_accepts() -> None:
    params = tags.recipe_params({"a": {"b": [1, 2], "c": [{"d": True}, {"d": None}], "ü@": "x" * 9000, "e": ""}})
    assert params["a.b"] == "[1, 2]" and params["a.c.0.d"] == "true"
    assert set(params) == {"a.b", "a.c.0.d", "a.ü_"} and len(params["a.ü_"]) == 6000
    assert set(tags.recipe_params({"k" * 300: 1})) == {"k" * 250}


NAMES = st.text("abc_", min_size=1, max_size=4)
LEAVES = st.none() | st.booleans() | st.integers() | st.text("x1 ", max_size=3) | st.lists(st.integers(), max_size=3)
SETTINGS = st.dictionaries(
    NAMES,
    st.recursive(
        LEAVES,
        lambda inner: st.dictionaries(NAMES, inner, max_size=3) | st.lists(st.dictionaries(NAMES, inner), max_size=3),
        max_leaves=12,
    ),
    max_size=4,
)


def leaves(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Return what a recipe holds besides settings and lists of settings, by where it stands."""
    if isinstance(value, Mapping):
        return {where: leaf for key, inner in value.items() for where, leaf in leaves(inner, (*path, key)).items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return leaves({str(index): item for index, item in enumerate(value)}, path)
    return {path: value}


@given(SETTINGS)
def test_every_setting_that_says_something_is_one_param_that_can_be_read_back(recipe: dict[str, Any]) -> None:
    params = tags.recipe_params(recipe)
    said = {".".join(path): value for path, value in leaves(recipe).items() if value not in (None, "", [])}
    assert params.keys() == said.keys()
    for key, value in said.items():
        assert params[key] == value or json.loads(params[key]) == value
