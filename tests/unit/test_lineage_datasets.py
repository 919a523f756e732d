"""The data of a generation as datasets: named by the bytes that they are, as many rows as their table has."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.lineage_factory import PROMOTED, REJECTED, SETTINGS, build

from bootstrap.errors import StoreCorrupt
from bootstrap.lineage import datasets, samples
from bootstrap.lineage.datasets import Data
from bootstrap.store.artifacts import Artifact
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.tables import to_parquet

MODELS = {0: "m-0", 1: "m-1"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A table with columns of every kind."""

    update: int
    reward: float | None
    loss: float
    kept: bool
    reason: str
    lengths: tuple[int, ...]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store") / "addition"


@pytest.fixture(scope="module")
def entries(root: Path) -> Sequence[Entry]:
    return build(root, plan=(PROMOTED, REJECTED, PROMOTED))


def of(root: Path, entries: Sequence[Entry], number: int) -> list[Data]:
    return datasets.of_generation(LineageStore(root), entries, entries[number].generation, models=MODELS)


def table(tmp_path: Path, content: bytes) -> Artifact:
    store = LineageStore(tmp_path / "addition")
    store.open("addition", identity=SETTINGS.identity())
    return store.put("step", {"n": 1}, {"updates.parquet": content})


def test_a_table_is_named_by_the_hash_of_its_file_and_counted(root: Path, entries: Sequence[Entry]) -> None:
    found = {data.context: data for data in of(root, entries, 3) if data.context in ("rollouts", "training")}
    assert set(found) == {"rollouts", "training"}
    for data in found.values():
        artifact = LineageStore(root).artifact(entries[3].generation.artifacts["step-0"])
        assert data.digest == artifact.files[data.source.name][0] and data.source.exists()
        num_rows = len(samples.columns(artifact, data.source.name))
        assert data.num_rows == num_rows and data.tags["bootstrap.rows"] == str(num_rows)
        assert list(data.columns) == samples.fields(artifact, data.source.name)
        assert 0 < len(data.sample) <= 3 and set(data.sample[0]) <= {name for name, _ in data.columns}
    assert found["rollouts"].tags["bootstrap.producer_model_id"] == "m-1"


def test_what_is_replayed_names_the_generation_that_answered(root: Path, entries: Sequence[Entry]) -> None:
    for number, entry in enumerate(entries):
        replayed = [data for data in of(root, entries, number) if data.context == "replay"]
        edges = [edge for edge in entry.generation.edges if edge.role == "data"]
        assert [data.digest for data in replayed] == [edge.fingerprint for edge in edges]
        assert [data.tags["bootstrap.from_generation"] for data in replayed] == [str(e.generation) for e in edges]
        counts = [entries[edge.generation].generation.accounting.replayed or None for edge in edges]
        assert [data.num_rows for data in replayed] == counts


def test_generations_judged_on_the_same_prompts_share_that_dataset_and_no_other(
    root: Path, entries: Sequence[Entry]
) -> None:
    second, third = of(root, entries, 2), of(root, entries, 3)
    assert entries[2].generation.report.suite == entries[3].generation.report.suite
    shared = {(data.name, data.digest) for data in second} & {(data.name, data.digest) for data in third}
    assert {name.partition("-")[0] for name, _ in shared} == {"suite", "replay"}
    assert [data.context for data in of(root, entries, 0)] == ["eval"], "the base drew nothing"


def test_numbers_leave_out_other_columns_and_what_was_not_measured(tmp_path: Path) -> None:
    rows = [
        Row(update=0, reward=None, loss=2.0, kept=True, reason="x", lengths=(1, 2)),
        Row(update=1, reward=0.5, loss=float("inf"), kept=False, reason="", lengths=()),
    ]
    artifact = table(tmp_path, to_parquet(rows, Row))
    assert samples.numbers(artifact, "updates.parquet") == [
        {"update": 0.0, "loss": 2.0},
        {"update": 1.0, "reward": 0.5, "loss": float("inf")},
    ]
    assert samples.numbers(artifact, "self_play.parquet") == []


def test_a_table_that_is_none_is_the_stores_fault(tmp_path: Path) -> None:
    artifact = table(tmp_path, json.dumps({"no": "table"}).encode())
    with pytest.raises(StoreCorrupt, match=r"updates\.parquet cannot be read as a table.*bootstrap verify"):
        samples.numbers(artifact, "updates.parquet")
