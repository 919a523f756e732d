"""`verify` finds every damage to a lineage, names the place, and blames nothing that is sound."""

import shutil
from pathlib import Path

import pytest
from support.store_doubles import (
    ANNOTATIONS,
    IDENTITY,
    LINEAGE,
    toy_contents,
    toy_generation,
    toy_inputs,
    toy_run,
    toy_weights,
)

from bootstrap.canonical import canonical_json
from bootstrap.errors import StoreError
from bootstrap.ledger_records import Edge, Generation
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.verify import VerifyReport, verify


@pytest.fixture
def store(tmp_path: Path) -> LineageStore:
    store = LineageStore(tmp_path / "runs" / LINEAGE)
    toy_run(store)
    return store


def rewrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def only_problem(store: LineageStore) -> tuple[str, str]:
    report = verify(store.root)
    assert len(report.problems) == 1, report.problems
    return report.problems[0].path, report.problems[0].message


def commit(store: LineageStore, number: int, **changes: object) -> Generation:
    """Commit one more generation whose weights are in order, except for `changes`."""
    weights = store.put("weights", {"extra": number}, toy_contents("weights", number))
    generation = toy_generation(number, {"weights": weights.ref(store.root)}, **changes)
    store.ledger.append(generation, ANNOTATIONS)
    return generation


def test_a_sound_lineage_is_clean_and_everything_is_counted(store: LineageStore):
    report = verify(store.root)
    assert report.is_clean
    assert (report.num_records, report.num_artifacts, report.num_files) == (2, 4, 10)
    files = [path for path in store.artifacts_folder.rglob("*") if path.is_file()]
    assert report.num_bytes == sum(path.stat().st_size for path in files)
    assert VerifyReport.model_validate_json(report.model_dump_json()) == report


def test_every_file_of_every_artifact_is_checked(store: LineageStore):
    files = [path for path in store.artifacts_folder.rglob("*") if path.is_file()]
    assert len(files) == 10
    for path in files:
        intact = path.read_bytes()
        rewrite(path, intact[:-1] + bytes([intact[-1] ^ 1]))
        where, message = only_problem(store)
        assert where in str(path)
        assert str(path.parent) in message or str(path) in message
        rewrite(path, intact)
    assert verify(store.root).is_clean


def test_a_lost_artifact_is_named(store: LineageStore):
    folder = store.artifact_folders()[0]
    shutil.rmtree(folder)
    where, message = only_problem(store)
    assert where == str(folder)
    assert "missing" in message


def test_a_broken_record_is_named_and_the_rest_is_still_checked(store: LineageStore):
    rewrite(store.ledger.path(0), b"{}")
    weights = store.find("weights", toy_inputs("weights", 1))
    rewrite(weights.path / "model/config.json", b"[]")
    report = verify(store.root)
    assert report.num_records == 1
    assert [("000000.json" in problem.message, "weights" in problem.path) for problem in report.problems] == [
        (True, False),
        (False, True),
    ]


def test_weights_other_than_the_recorded_ones_are_found(store: LineageStore):
    generation = commit(store, 2, fingerprint="f" * 64)
    where, message = only_problem(store)
    assert where.endswith("model.safetensors")
    assert generation.fingerprint in message
    assert "generation 2" in message


def test_weights_that_are_no_safetensors_are_found(store: LineageStore):
    weights = store.put("weights", {"extra": 2}, {"model.safetensors": toy_weights(2)[:-1]})
    store.ledger.append(toy_generation(2, {"weights": weights.ref(store.root)}), ANNOTATIONS)
    assert "no valid safetensors" in only_problem(store)[1]


def test_a_record_without_weights_is_found(store: LineageStore):
    store.ledger.append(toy_generation(2, {}), ANNOTATIONS)
    assert "names no weights" in only_problem(store)[1]


def test_an_edge_from_weights_that_the_ledger_does_not_hold_is_found(store: LineageStore):
    commit(store, 2, edges=(Edge(role="teacher", generation=1, fingerprint="e" * 64),))
    assert "teacher edge" in only_problem(store)[1]


def test_an_edge_from_a_later_generation_is_found(store: LineageStore):
    commit(store, 2, edges=(Edge(role="data", generation=2, fingerprint="e" * 64),))
    assert "not earlier" in only_problem(store)[1]


def test_accounting_that_does_not_reconcile_is_found(store: LineageStore, monkeypatch: pytest.MonkeyPatch):
    accounting = toy_generation(2, {}).accounting.model_copy(update={"trained": 3})
    with monkeypatch.context() as patch:
        patch.setattr("bootstrap.store.ledger.check_accounting", lambda _: None)
        commit(store, 2, accounting=accounting)
    assert "does not reconcile" in only_problem(store)[1]


def test_a_record_of_another_recipe_is_found(store: LineageStore):
    commit(store, 2, recipe_digest="d" * 64)
    assert "d" * 64 in only_problem(store)[1]


def test_a_changed_header_is_found(store: LineageStore):
    header = store.header().model_dump(mode="json")
    rewrite(store.root / "lineage.json", canonical_json(header | {"identity": {**IDENTITY, "seed": 8}}))
    assert "lineage.json" in only_problem(store)[1]


def test_an_artifact_that_no_record_names_is_information_and_no_problem(store: LineageStore):
    extra = store.put("step-0", {"generation": 2}, {"rollouts.parquet": b"rows"})
    report = verify(store.root)
    assert report.is_clean
    assert report.unreferenced == (extra.path.relative_to(store.root).as_posix(),)


def test_a_folder_without_a_lineage_is_one_clear_error(tmp_path: Path):
    with pytest.raises(StoreError, match="there is no lineage"):
        verify(tmp_path)
