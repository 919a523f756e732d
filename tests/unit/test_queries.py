"""Answers from the ledger alone: names, tables, one generation, the chain of decisions."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.lineage_factory import PROMOTED, REJECTED, build, restarted

from bootstrap.errors import RecipeError
from bootstrap.lineage import queries
from bootstrap.store.ledger import Entry


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Entry]:
    return build(tmp_path_factory.mktemp("store") / "addition", plan=(PROMOTED, PROMOTED, REJECTED))


@pytest.mark.parametrize(
    ("name", "number"),
    [("gen-1", 1), ("1", 1), ("GEN-1", 1), ("champion", 2), ("@champion", 2), ("base", 0), ("last", 3)],
)
def test_a_generation_is_found_by_each_of_its_names(entries: Sequence[Entry], name: str, number: int) -> None:
    assert queries.find(entries, name).generation.number == number


def test_an_unknown_name_is_refused_with_those_that_exist(entries: Sequence[Entry]) -> None:
    with pytest.raises(RecipeError, match=r"did you mean champion\?.*gen-0 to gen-3"):
        queries.find(entries, "champoin")
    with pytest.raises(RecipeError, match="no committed generation"):
        queries.find([], "champion")


def test_a_generation_as_json_tells_identity_decision_accuracy_and_cost(entries: Sequence[Entry]) -> None:
    found = json.loads(json.dumps(queries.generation(entries[2])))
    node = entries[2].generation
    assert (found["name"], found["status"], found["decision"]) == ("gen-2", "promoted", "promoted")
    assert (found["parent"], found["teachers"], found["fingerprint"]) == (1, [0], node.fingerprint)
    row = node.report.level(6)
    assert row and found["accuracy"]["6"] == {
        "accuracy": row.accuracy,
        "low": row.interval.low,
        "high": row.interval.high,
        "prompts": row.num_prompts,
    }
    assert found["tokens"]["total"] == node.compute.total_tokens
    assert found["flops"]["total"] == node.compute.total_flops
    assert found["seconds"]["train"] == 23.5
    assert found["useful_share"] == 0.5


def test_the_base_has_no_parent_and_no_share_of_useful_tokens(entries: Sequence[Entry]) -> None:
    found = queries.generation(entries[0])
    assert (found["status"], found["parent"], found["gate"], found["useful_share"]) == ("base", None, None, None)


def test_a_teacher_outside_the_lineage_is_named_by_its_place(tmp_path: Path) -> None:
    entries = build(tmp_path / "addition", plan=(PROMOTED, PROMOTED), outside="/models/tutor")
    found = json.loads(json.dumps(queries.show(entries, "2")))
    assert (found["parent"], found["teachers"], found["outside_teachers"]) == (1, [0], ["/models/tutor"])
    assert [edge["source"] for edge in found["edges"]][:3] == ["gen-1", "gen-0", "/models/tutor"]
    assert queries.champion_path(entries) == [0, 1, 2]
    assert queries.teachers(entries[2].generation) == ["gen-0", "/models/tutor"]


def test_show_adds_edges_tests_accounting_artifacts_and_children(entries: Sequence[Entry]) -> None:
    found = json.loads(json.dumps(queries.show(entries, "champion")))
    assert found["is_champion"] and found["children"] == ["gen-3"]
    assert {edge["role"] for edge in found["edges"]} == {"init", "teacher", "data"}
    assert found["artifacts"]["weights"]["digest"] == entries[2].generation.artifacts["weights"].digest
    assert found["accounting"]["rollouts"] == 48
    assert found["previous_hash"] == entries[1].hash
    assert found["retention"] and found["measured"]["host"] == "test"


def test_the_table_has_a_row_per_generation_and_marks_the_champion(entries: Sequence[Entry]) -> None:
    rows = queries.table(entries)
    assert [row["generation"] for row in rows] == ["gen-0", "gen-1", "gen-2 *", "gen-3"]
    assert rows[2]["accuracy"] == "level 6: 98.9 % (98.3-99.5)"
    assert (rows[2]["from"], rows[2]["gate"], rows[2]["gain"]) == ("gen-1", "promoted", "+65.2 pp")
    assert rows[3]["gate"] == "rejected" and "no significant improvement" in rows[3]["reason"]
    assert all(isinstance(cell, str) for row in rows for cell in row.values())
    assert queries.table([]) == []


def test_decisions_are_a_chain_of_comparisons_whatever_the_weights_come_from(tmp_path: Path) -> None:
    entries = restarted(tmp_path / "addition")
    assert queries.champion_path(entries) == [0, 5]
    assert [queries.decided_by(entries, number) for number in range(6)] == [
        [0],
        [0, 1],
        [0, 1, 2],
        [0, 1, 3],
        [4],
        [0, 1, 3, 5],
    ]
