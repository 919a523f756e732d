"""Artifacts and the lineage's folder: named by what made them, complete or absent, every byte proven when read."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from support.store_doubles import IDENTITY, LINEAGE

from bootstrap.canonical import canonical_json
from bootstrap.errors import LineageMismatch, StoreCorrupt, StoreError
from bootstrap.store.artifacts import Artifact, stage_id
from bootstrap.store.lineage_store import LineageStore

INPUTS = {"generation": 3, "seed": 7, "lr": 0.1}
CONTENTS = {"rollouts.parquet": b"some rows", "model/config.json": b"{}"}


@pytest.fixture
def store(tmp_path: Path) -> LineageStore:
    store = LineageStore(tmp_path / "runs" / LINEAGE)
    store.open(LINEAGE, identity=IDENTITY)
    return store


def rewrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def test_an_id_changes_with_the_kind_and_with_every_input():
    ids = {
        stage_id("train", INPUTS),
        stage_id("evaluate", INPUTS),
        stage_id("train", INPUTS | {"seed": 8}),
        stage_id("train", INPUTS | {"seed": "7"}),
        stage_id("train", INPUTS | {"other": None}),
    }
    assert len(ids) == 5
    text = b'{"inputs":{"generation":3,"lr":0.1,"seed":7},"kind":"train"}'
    assert stage_id("train", INPUTS) == hashlib.sha256(text).hexdigest()


def test_what_was_put_is_found_again_and_reads_the_same(store: LineageStore):
    assert store.find("train", INPUTS) is None
    put = store.put("train", INPUTS, CONTENTS)
    found = LineageStore(store.root).find("train", dict(reversed(INPUTS.items())))
    assert found == put
    assert found.read_all() == CONTENTS
    assert found.id == stage_id("train", INPUTS)
    assert store.find("train", INPUTS | {"seed": 8}) is None
    assert store.find("evaluate", INPUTS) is None


def test_inputs_with_numbers_as_keys_are_found_again(store: LineageStore):
    inputs = {"levels": {9: 1, 10: 2}}
    assert store.put("train", inputs, CONTENTS) == store.find("train", inputs)


def test_putting_again_changes_nothing(store: LineageStore):
    first = store.put("train", INPUTS, CONTENTS)
    before = (first.path / "manifest.json").stat()
    assert store.put("train", INPUTS, {"rollouts.parquet": b"other rows"}) == first
    assert first.read("rollouts.parquet") == b"some rows"
    assert (first.path / "manifest.json").stat().st_mtime_ns == before.st_mtime_ns


def test_the_manifest_holds_no_clock_and_no_host(store: LineageStore):
    artifact = store.put("train", INPUTS, CONTENTS)
    manifest = json.loads(manifest_bytes(artifact))
    assert manifest.keys() == {"files", "id", "inputs", "kind"}
    assert manifest["inputs"] == INPUTS
    assert manifest["files"].keys() == CONTENTS.keys()
    assert all(entry.keys() == {"sha256", "size"} for entry in manifest["files"].values())


def manifest_bytes(artifact: Artifact) -> bytes:
    return (artifact.path / "manifest.json").read_bytes()


def test_the_same_artifact_in_another_place_has_the_same_digest(store: LineageStore, tmp_path: Path):
    other = LineageStore(tmp_path / "elsewhere")
    other.open(LINEAGE, identity=IDENTITY)
    assert other.put("train", INPUTS, CONTENTS).digest == store.put("train", INPUTS, CONTENTS).digest


def test_the_files_of_an_artifact_are_read_only(store: LineageStore):
    artifact = store.put("train", INPUTS, CONTENTS)
    files = [path for path in artifact.path.rglob("*") if path.is_file()]
    assert len(files) == 3
    assert all(path.stat().st_mode & 0o222 == 0 for path in files)


def test_every_flipped_bit_of_a_file_is_refused(store: LineageStore):
    artifact = store.put("train", INPUTS, CONTENTS)
    path = artifact.path / "rollouts.parquet"
    for bit in range(8 * len(b"some rows")):
        damaged = bytearray(b"some rows")
        damaged[bit // 8] ^= 1 << bit % 8
        rewrite(path, bytes(damaged))
        with pytest.raises(StoreCorrupt, match=r"expected SHA-256 [0-9a-f]{64}, found [0-9a-f]{64}") as caught:
            artifact.read("rollouts.parquet")
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"some", b"some rows and more"])
def test_a_torn_file_is_refused_when_read_and_when_looked_for(store: LineageStore, data: bytes):
    artifact = store.put("train", INPUTS, CONTENTS)
    rewrite(artifact.path / "rollouts.parquet", data)
    with pytest.raises(StoreCorrupt, match=f"expected 9 bytes, found {len(data)}"):
        artifact.read("rollouts.parquet")
    with pytest.raises(StoreCorrupt, match=f"expected 9 bytes, found {len(data)}"):
        store.find("train", INPUTS)


def test_a_missing_file_is_refused_when_read_and_when_looked_for(store: LineageStore):
    artifact = store.put("train", INPUTS, CONTENTS)
    (artifact.path / "model/config.json").unlink()
    with pytest.raises(StoreCorrupt, match="is missing"):
        artifact.read("model/config.json")
    with pytest.raises(StoreCorrupt, match="is missing"):
        store.find("train", INPUTS)


def test_a_flipped_bit_in_any_byte_of_a_manifest_is_refused_by_the_ledgers_digest(store: LineageStore):
    artifact = store.put("train", INPUTS, CONTENTS)
    ref = artifact.ref(store.root)
    intact = manifest_bytes(artifact)
    for position in range(len(intact)):
        damaged = bytearray(intact)
        damaged[position] ^= 1 << position % 8
        rewrite(artifact.path / "manifest.json", bytes(damaged))
        with pytest.raises(StoreCorrupt):
            store.artifact(ref)


def test_the_ledgers_name_for_an_artifact_leads_back_to_it(store: LineageStore):
    artifact = store.put("train", INPUTS, CONTENTS)
    ref = artifact.ref(store.root)
    assert ref.path == f"artifacts/train-{artifact.id[:16]}"
    assert store.artifact(ref) == artifact


def test_another_artifact_in_the_named_place_is_refused(store: LineageStore):
    ref = store.put("train", INPUTS, CONTENTS).ref(store.root)
    other = store.put("train", INPUTS | {"seed": 8}, CONTENTS)
    shutil.rmtree(store.root / ref.path)
    os.rename(other.path, store.root / ref.path)
    with pytest.raises(StoreCorrupt, match=ref.id):
        store.find("train", INPUTS)
    with pytest.raises(StoreCorrupt, match=ref.digest):
        store.artifact(ref)


def test_a_lost_artifact_is_refused_by_name(store: LineageStore):
    ref = store.put("train", INPUTS, CONTENTS).ref(store.root)
    shutil.rmtree(store.root / ref.path)
    with pytest.raises(StoreCorrupt, match=ref.path):
        store.artifact(ref)


@pytest.mark.parametrize("path", ["../other/artifacts", "/etc", "artifacts/../../x"])
def test_a_reference_that_leads_out_of_the_lineage_is_refused(store: LineageStore, path: str):
    ref = store.put("train", INPUTS, CONTENTS).ref(store.root)
    with pytest.raises(StoreError, match="cannot name a stored file"):
        store.artifact(ref.model_copy(update={"path": path}))


def test_a_manifest_that_leads_out_of_its_folder_is_refused(store: LineageStore):
    artifact = store.put("train", INPUTS, CONTENTS)
    manifest = json.loads(manifest_bytes(artifact))
    manifest["files"]["../../lineage.json"] = manifest["files"]["rollouts.parquet"]
    rewrite(artifact.path / "manifest.json", canonical_json(manifest))
    with pytest.raises(StoreError, match="cannot name a stored file"):
        store.find("train", INPUTS)


@pytest.mark.parametrize("name", ["../x", "/x", "a/b/c", "manifest.json"])
def test_a_file_name_that_an_artifact_cannot_hold_is_refused(store: LineageStore, name: str):
    with pytest.raises(StoreError):
        store.put("train", INPUTS, {name: b""})
    assert store.artifact_folders() == []


def test_work_in_progress_is_found_until_it_is_cleared(store: LineageStore):
    kept = store.put_work("checkpoint", {"update": 20}, {"state.json": b"20"})
    store.put_work("checkpoint", {"update": 10}, {"state.json": b"10"})
    store.put("train", INPUTS, CONTENTS)
    store.clear_work(keep=[kept.id])
    assert store.find_work("checkpoint", {"update": 10}) is None
    assert store.find_work("checkpoint", {"update": 20}).read("state.json") == b"20"
    store.clear_work()
    assert store.find_work("checkpoint", {"update": 20}) is None
    assert store.find("train", INPUTS) is not None
    assert store.find("checkpoint", {"update": 20}) is None


def test_opening_again_with_the_same_recipe_keeps_everything(store: LineageStore):
    artifact = store.put("train", INPUTS, CONTENTS)
    again = LineageStore(store.root)
    assert again.open(LINEAGE, identity=IDENTITY) == store.header()
    assert again.find("train", INPUTS) == artifact


def test_opening_sweeps_what_a_killed_writer_left(store: LineageStore):
    for folder in (store.root, store.artifacts_folder, store.work_folder, store.ledger.folder):
        (folder / ".tmp-dead").mkdir()
        (folder / ".tmp-dead/part").write_bytes(b"torn")
    assert store.artifact_folders() == []
    assert store.ledger.read() == []
    LineageStore(store.root).open(LINEAGE, identity=IDENTITY)
    assert list(store.root.rglob(".tmp-*")) == []


def test_another_recipe_is_refused_naming_each_change_and_the_remedy(store: LineageStore):
    changed = {
        "seed": 8,
        "task": {"type": "addition", "base_level": 4, "heldout_fraction": 0.25},
        "steps": [{"type": "rl", "rounds": 40}, {"type": "sft"}],
    }
    store.put("weights", {"seed": 1}, {"model": b"1"})
    with pytest.raises(LineageMismatch) as caught:
        LineageStore(store.root).open(LINEAGE, identity=changed)
    message = str(caught.value)
    assert "seed: 7 -> 8" in message
    assert "task.heldout_fraction: (absent) -> 0.25" in message
    assert "steps[0].rounds: 60 -> 40" in message
    assert 'steps[1]: (absent) -> {"type":"sft"}' in message
    assert "base_level" not in message
    assert "--lineage NAME" in message


def test_a_lineage_of_which_nothing_is_made_yet_takes_another_recipe(store: LineageStore):
    LineageStore(store.root).open(LINEAGE, identity={"seed": 8})
    assert store.header().identity == {"seed": 8}


def test_a_folder_of_another_lineage_is_refused(store: LineageStore):
    with pytest.raises(LineageMismatch, match='lineage: "toy" -> "other"'):
        LineageStore(store.root).open("other", identity=IDENTITY)


def test_a_folder_of_another_schema_version_is_refused(store: LineageStore):
    path = store.root / "lineage.json"
    found = json.loads(path.read_bytes())
    # Whatever else changes with the version: the digest's way, or the keys.
    for header in (found, found | {"digest": "0"}, {"name": LINEAGE}):
        rewrite(path, canonical_json(header | {"schema_version": 5}))
        for refused in (lambda: store.open(LINEAGE, identity=IDENTITY), store.header):
            with pytest.raises(StoreError, match="written with schema version 5, this program writes 4: use") as caught:
                refused()
            assert not isinstance(caught.value, StoreCorrupt) and "restore" not in str(caught.value)


def test_a_damaged_header_is_refused(store: LineageStore):
    path = store.root / "lineage.json"
    header = json.loads(path.read_bytes())
    for damaged in (b"", b"{", canonical_json(header | {"identity": {"seed": 9}}), canonical_json([])):
        rewrite(path, damaged)
        with pytest.raises(StoreCorrupt, match=r"lineage\.json"):
            store.header()


def test_reading_a_folder_without_a_lineage_is_one_clear_error(tmp_path: Path):
    store = LineageStore(tmp_path / "nothing")
    assert not store.exists
    with pytest.raises(StoreError, match="--lineage"):
        store.header()
    with pytest.raises(StoreError, match="does not exist"):
        store.ledger.read()
    assert list(tmp_path.iterdir()) == []


def test_a_store_below_a_file_is_one_clear_error(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="a file stands where a folder is needed"):
        LineageStore(tmp_path / "file" / "toy").open(LINEAGE, identity=IDENTITY)
