"""Lineages whose reward is not a comparison of texts: code that runs and votes of generations."""

from pathlib import Path
from typing import Any

import pytest
from support import tiny

from bootstrap.config.recipe import Recipe
from bootstrap.records import Event, Status
from bootstrap.sandbox.job import Level
from bootstrap.stages.tables import Tables
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.verify import verify

pytestmark = pytest.mark.training

CODE = {"type": "code", "cpu_seconds": 0.5, "memory_mb": 128}


def recipe(**changes: Any) -> Recipe:
    settings = tiny.recipe(count=1).model_dump(mode="json")
    settings["base"]["model"]["max_length"] = 128
    return Recipe.model_validate(settings | changes)


def test_a_lineage_judged_by_execution_is_the_same_every_time_and_says_how_it_was_confined(tmp_path: Path) -> None:
    settings = recipe(task={"type": "functions", "base_level": 2}, verifier=CODE)
    first, again = (tiny.grow(settings, tmp_path / name, fresh=True) for name in ("first", "again"))
    assert [entry.hash for entry in first] == [entry.hash for entry in again]
    assert not verify(tmp_path / "first").problems
    artifact = LineageStore(tmp_path / "first").artifact(first[1].generation.artifacts["step-0"])
    verdicts = Tables.read(artifact).verdicts
    assert {verdict.sandbox for verdict in verdicts} - {""} <= {Level.SEAL, Level.SEAL_NS, Level.BWRAP}
    assert any(verdict.sandbox for verdict in verdicts)
    assert Status.UNVERIFIABLE not in {verdict.status for verdict in verdicts}
    assert first[1].annotations.cpu_seconds["score"] > 0


def test_a_lineage_rewarded_by_a_coin_trains_on_right_and_wrong_alike_and_is_judged_by_another(tmp_path: Path) -> None:
    settings = recipe(
        verifier={"type": "random", "chance": 0.5}, evaluation={**tiny.EVALUATION, "verifier": {"type": "exact"}}
    )
    entries = tiny.grow(settings, tmp_path)
    generation = entries[1].generation
    assert set(generation.verifiers) == {"random", "held-out exact"}
    tables = Tables.read(LineageStore(tmp_path).artifact(generation.artifacts["step-0"]))
    assert {verdict.status for verdict in tables.verdicts} == {Status.PASS, Status.FAIL}
    rewarded = [selection for selection in tables.selections if selection.replay]
    assert rewarded
    assert not verify(tmp_path).problems


def test_generations_that_vote_are_edges_of_the_lineage_and_cost_tokens(tmp_path: Path) -> None:
    majority = {"type": "majority", "voters": ["base"], "voter_samples": 2, "voter_temperature": 1.0}
    settings = recipe(verifier=majority, evaluation={**tiny.EVALUATION, "verifier": {"type": "exact"}})
    base, first = (entry.generation for entry in tiny.grow(settings, tmp_path))
    assert set(first.verifiers) == {"majority", "held-out exact"}
    [voter] = [edge for edge in first.edges if edge.role == "voter"]
    assert (voter.generation, voter.fingerprint) == (0, base.fingerprint)
    assert first.compute.tokens["verify"] > 0
    assert "verify" not in base.compute.tokens


@pytest.mark.parametrize("stage", ["train", "evaluate", "diagnose"])
def test_what_voters_were_asked_for_is_booked_alike_where_a_run_is_cut_off(tmp_path: Path, stage: str) -> None:
    majority = {"type": "majority", "voters": ["base"]}
    settings = recipe(verifier=majority, evaluation={**tiny.EVALUATION, "verifier": {"type": "exact"}})
    undisturbed = [entry.hash for entry in tiny.grow(settings, tmp_path / "undisturbed")]

    def cut(event: Event) -> None:
        if (event.generation, event.stage) == (1, stage):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny.grow(settings, tmp_path / "cut", observe=cut)
    assert [entry.hash for entry in tiny.grow(settings, tmp_path / "cut")] == undisturbed
