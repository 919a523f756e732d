"""The model card names everything that the model was made from and judged by."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from support.lineage_factory import NASTY, OUTSIDE_FINGERPRINT, PROMOTED, SETTINGS, build

from bootstrap.ledger_records import ArtifactRef, Edge
from bootstrap.lineage.card import model_card
from bootstrap.store.lineage_store import LineageStore


def card(root: Path, number: int) -> str:
    store = LineageStore(root)
    return model_card(store.ledger.read()[number], identity=store.header().identity)


def test_the_card_names_base_parent_teachers_data_verifiers_and_results(tmp_path: Path) -> None:
    entries = build(tmp_path / "addition", plan=(PROMOTED, PROMOTED), outside="/models/tutor")
    node, text = entries[2].generation, card(tmp_path / "addition", 2)
    lines = text.splitlines()
    assert "# addition, generation 2" in lines
    assert "- base: random weights (from scratch)" in lines
    assert f"- task: addition; references were shown up to level {SETTINGS.task.base_level}" in lines
    assert f"- weights' fingerprint: `{node.fingerprint}`" in lines
    assert f"- ledger record: `{entries[2].hash}`" in lines
    assert f"- init: generation 1, fingerprint `{entries[1].generation.fingerprint}`" in lines
    assert f"- teacher: generation 0, fingerprint `{entries[0].generation.fingerprint}`" in lines
    assert f"- teacher: /models/tutor (outside the lineage), fingerprint `{OUTSIDE_FINGERPRINT}`" in lines
    data = [edge for edge in node.edges if edge.role == "data"]
    assert data and all(f"- data: generation {edge.generation}, digest `{edge.fingerprint}`" in lines for edge in data)
    assert all(f"- {role}: `{ref.digest}`" in lines for role, ref in node.artifacts.items())
    assert all(f"- {name}, version `{version}`" in lines for name, version in node.verifiers.items())
    assert f"Held-out prompts: suite `{node.report.suite}`. Frontier: level {node.report.frontier}." in lines
    for row in node.report.levels:
        assert any(line.startswith(f"| {row.level} | {row.num_prompts} | {row.accuracy:.3f} | ") for line in lines)
    assert "None" not in text


def test_the_card_of_the_base_says_that_nothing_came_before(tmp_path: Path) -> None:
    build(tmp_path / "addition", plan=())
    assert "- nothing earlier: this is generation 0" in card(tmp_path / "addition", 0)


def test_a_teachers_place_cannot_become_markup(tmp_path: Path) -> None:
    build(tmp_path / "addition", plan=(PROMOTED,), outside=NASTY)
    assert "<img" not in card(tmp_path / "addition", 1)


FOLDER = {"type": "folder", "path": NASTY}
FORK = {"type": "generation", "number": NASTY, "lineage": NASTY, "record": NASTY}


@pytest.mark.parametrize("base", [FOLDER, FORK])
def test_no_text_of_a_strangers_lineage_can_become_markup(tmp_path: Path, base: dict[str, Any]) -> None:
    entry = build(tmp_path / "addition", plan=(PROMOTED,))[1]
    node = entry.generation
    foreign = node.model_copy(
        update={
            "lineage": NASTY,
            "fingerprint": NASTY,
            "recipe_digest": NASTY,
            "code_version": NASTY,
            "edges": [
                Edge(role=NASTY, generation=0, fingerprint=NASTY),
                Edge(role="data", generation=None, external=NASTY, fingerprint=NASTY),
            ],
            "artifacts": {NASTY: ArtifactRef(id="", digest=NASTY, path="")},
            "verifiers": {NASTY: NASTY},
            "decision": node.decision.model_copy(update={"reason": NASTY}),
            "report": node.report.model_copy(
                update={"suite": NASTY, "parts": {NASTY: node.report.levels}, "panel": {NASTY: node.report.levels}}
            ),
        }
    )
    identity = {
        "base": {"model": base, "steps": []},
        "task": {"type": NASTY, "base_level": NASTY},
    }
    found = model_card(dataclasses.replace(entry, generation=foreign), identity=identity)
    body = found.split("---\n", 2)[2]
    assert body.count("link") > 15, "each of these texts is shown"
    assert not [mark for mark in ("<img", "[link]", "`code`", "|pipe|", "\n# heading") if mark in body]
