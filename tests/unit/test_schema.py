"""Stores of schema 3 are read under the names of today, and ids are made of the names of schema 3."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import tiny
from support.store_doubles import toy_generation

from bootstrap import schema
from bootstrap.canonical import digest_of
from bootstrap.config.base import identity_of
from bootstrap.config.self_play import SelfPlayStep
from bootstrap.config.sources import Rejection
from bootstrap.config.steps import RlStep
from bootstrap.ledger_records import Annotations, Generation
from bootstrap.scoring import learnability
from bootstrap.scoring.verifier import version_of
from bootstrap.stages.tables import UpdateRow
from bootstrap.store.artifacts import find_artifact, put_artifact, stage_id
from bootstrap.store.tables import from_parquet, to_parquet

STEP = {"type": "rl", "updates": 60, "probe": 4, "stepping_stones": 0.5, "distillation": {"type": "x", "updates": 1}}
RENAMED = {"type": "rl", "rounds": 60, "initial_samples": 4, "easier_variants": 0.5}
RECIPE = {"task": {"type": "addition"}, "health": {"prompts": 4}, "generations": {"steps": [STEP]}}


def test_a_stored_recipe_has_the_names_of_today_in_the_sections_that_renamed_them() -> None:
    found = schema.settings(RECIPE)
    assert found.keys() == {"task", "diagnostics", "generations"}
    assert found["generations"]["steps"] == [{**RENAMED, "distillation": {"type": "x", "updates": 1}}]


def test_ids_are_made_of_the_names_of_schema_3() -> None:
    assert schema.hashed(schema.settings(RECIPE)) == RECIPE == schema.hashed(RECIPE)
    plain = {name: value for name, value in STEP.items() if name != "distillation"}
    assert stage_id("step", {"settings": RENAMED}) == stage_id("step", {"settings": plain})
    assert stage_id("step", {"settings": RENAMED | {"type": "sft"}}) != stage_id("step", {"settings": plain})
    assert stage_id("diagnostics", {"seed": 1}) == stage_id("health", {"seed": 1}) != stage_id("evaluate", {"seed": 1})


@pytest.mark.parametrize(
    "section",
    [
        {"type": "plugin", "uses": "a:b", "options": {"inner": {"type": "rl", "updates": 1, "rounds": 2, "probe": 3}}},
        {"type": "plugin", "uses": "a:b", "options": {"type": "rl", "rounds": 2}},
        {"type": "plugin", "uses": "a:b", "settings": {"inner": [{"type": "self_play", "rounds": 2}]}},
        {"type": "json_schema", "json_schema": {"properties": {"x": {"type": "rl", "updates": 1}}}},
        {"name": "sums", "config": {"type": "rl", "rounds": 2}, "levels": [{"type": "rl", "updates": 2}]},
        {"type": "rl", "updates": 1, "rounds": 2},
    ],
)
def test_a_users_own_data_keep_their_names_in_both_directions(section: dict[str, Any]) -> None:
    recipe = {"task": {}, "generations": {"steps": [section]}}
    assert schema.settings(recipe) == recipe == schema.hashed(recipe)
    assert schema.hashed({"settings": section}) == {"settings": section}


def test_no_key_is_lost_where_both_names_are_there() -> None:
    recipe = {"task": {}, "generations": {}, "health": 1, "diagnostics": 2}
    assert schema.settings(recipe) == recipe == schema.hashed(recipe)


def test_every_renamed_setting_is_one_and_no_former_name_is() -> None:
    recipe = tiny.recipe()
    fields = {"Recipe": type(recipe), "rl": RlStep, "self_play": SelfPlayStep, "rejection": Rejection}
    assert fields.keys() == schema.RENAMED_SETTINGS.keys()
    for section, names in schema.RENAMED_SETTINGS.items():
        assert names.keys().isdisjoint(fields[section].model_fields)
        assert set(names.values()) <= fields[section].model_fields.keys()


def test_a_digest_is_that_of_the_recipe_under_the_names_of_schema_3() -> None:
    recipe = tiny.recipe(steps=(tiny.RL, tiny.REJECTION))
    former = schema.hashed(recipe.identity())
    assert former["generations"]["steps"][0]["updates"] == tiny.RL["rounds"] and "health" in former
    assert recipe.digest() == digest_of(former)


def test_the_version_of_what_a_proposer_earns_is_made_of_them_too() -> None:
    assert (
        version_of(learnability.__name__, settings=SelfPlayStep().written_out(fixed=False, epochs=False))
        == "33245544fb679fac"
    ), "as stores hold it"


def former(payload: dict[str, Any]) -> dict[str, Any]:
    """Return a record's payload as schema 3 wrote it."""
    found = {**payload, "schema_version": 3, "outcome": "aside"}
    found["books"], found["health"] = found.pop("accounting"), found.pop("diagnostics")
    found["artifacts"] = {**found["artifacts"], "health": {"id": "1", "digest": "2", "path": "artifacts/health-1"}}
    report = {**found["report"]}
    found["report"] = {"lead": report.pop("generalization_margin"), **report}
    found["compute"] = {**found["compute"], "flops": {"health": 2.0}, "tokens": {"health": 3}}
    cost = {"start": {"health": 4.0}, "since": {"train": 5.0}}
    found["edges"] = [
        {"role": "init", "generation": None, "external": "x@gen-1", "record": "r", "spent": cost, "fingerprint": "f"}
    ]
    return found


def test_a_ledger_record_of_schema_3_is_read_under_the_names_of_today() -> None:
    payload = toy_generation(1, {}).model_dump(mode="json")
    found = Generation.model_validate(schema.generation(former(payload)))
    assert (found.schema_version, found.outcome) == (3, "ungated")
    assert found.accounting.model_dump(mode="json") == payload["accounting"]
    assert found.artifacts["diagnostics"].path == "artifacts/health-1"
    assert found.report.generalization_margin == payload["report"]["generalization_margin"]
    assert (found.compute.flops, found.compute.tokens) == ({"diagnostics": 2.0}, {"diagnostics": 3})
    cost = found.edges[0].compute_cost
    assert cost is not None and (cost.start, cost.since) == ({"diagnostics": 4.0}, {"train": 5.0})


def test_annotations_go_by_the_version_of_their_record() -> None:
    measured = {"started": "", "finished": "", "host": "h", "versions": {}, "seconds": {"health": 1.0}}
    stored = measured | {"probe": {"matmul_flops": 2.0}, "bound_fraction": {"health": 0.5}}
    found = Annotations.model_validate(schema.annotations(stored, payload={"schema_version": 3}))
    assert (found.seconds, found.bound_fraction) == ({"diagnostics": 1.0}, {"diagnostics": 0.5})
    assert found.benchmark == {"matmul_flops": 2.0}


def test_a_record_of_today_is_read_as_it_is() -> None:
    payload = toy_generation(1, {}).model_dump(mode="json") | {"schema_version": schema.SCHEMA_VERSION}
    assert schema.generation(payload) is payload
    stored = {"seconds": {"health": 1.0}}
    assert schema.annotations(stored, payload=payload) is stored


def test_former_names_are_no_names_of_todays_records() -> None:
    payload = former(toy_generation(1, {}).model_dump(mode="json")) | {"schema_version": schema.SCHEMA_VERSION}
    with pytest.raises(ValueError, match="books"):
        Generation.model_validate(schema.generation(payload))


def test_documents_of_artifacts_are_known_by_the_names_in_them() -> None:
    assert schema.document("report.json", {"lead": 2, "frontier": 1}) == {"generalization_margin": 2, "frontier": 1}
    assert schema.document("meter.json", {"flops": {"health": 1.0}, "verdicts": 2}) == {
        "flops": {"diagnostics": 1.0},
        "verdicts": 2,
    }
    assert schema.document("result.json", {"lead": 1}) == {"lead": 1}


def test_an_artifact_of_schema_3_is_found_and_read_by_the_names_of_today(tmp_path: Path) -> None:
    made = put_artifact(tmp_path, "health", {"seed": 1}, {"health.json": b'{"entropy": 1.5}'})
    found = find_artifact(tmp_path, "diagnostics", {"seed": 1})
    assert found is not None and found.path == made.path
    assert found.json("diagnostics.json") == {"entropy": 1.5}
    assert find_artifact(tmp_path, "diagnostics", {"seed": 2}) is None


def test_a_table_of_schema_3_is_read_into_the_columns_of_today() -> None:
    kinds = UpdateRow.__annotations__
    names = ["live_groups" if name == "informative_groups" else name for name in kinds]
    stored = dataclass(frozen=True, kw_only=True)(
        type("UpdateRow", (), {"__annotations__": dict(zip(names, kinds.values(), strict=True))})
    )
    rows = [stored(**{name: 1 if name == "update" else 0.5 for name in names})]
    (found,) = from_parquet(to_parquet(rows, stored), UpdateRow)
    assert (found.update, found.informative_groups) == (1, 0.5)


def test_a_step_says_what_it_calls_a_renamed_setting() -> None:
    with pytest.raises(ValueError, match="a self_play step calls it rounds"):
        SelfPlayStep.model_validate({"updates": 3})
    with pytest.raises(ValueError, match="an rl step calls it initial_samples"):
        RlStep.model_validate({"probe": 3})
    assert "updates" in identity_of(tiny.recipe().base.steps[0]), "an sft step counts updates"
