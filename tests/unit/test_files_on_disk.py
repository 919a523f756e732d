"""Files of a model that stay on the disk are read, proven and removed as those in memory."""

import json
import pickle
from pathlib import Path

import pytest
import safetensors.torch
from support.pretrained import small_folder, write

from bootstrap.canonical import sha256
from bootstrap.config.base_model import PretrainedModel
from bootstrap.errors import StoreCorrupt, StoreError
from bootstrap.stages.weights import read_model_folder
from bootstrap.store import durable, on_disk
from bootstrap.store.artifacts import put_artifact
from bootstrap.store.fingerprint import MODEL_WEIGHTS, fingerprint_model
from bootstrap.store.on_disk import FolderFiles, StoredFile, entries, opened, renamed, size_of, written
from bootstrap.training.chat import framed_by

pytestmark = pytest.mark.torch


def made(folder: Path) -> Path:
    path = durable.temporary_beside(folder / "any")
    durable.write_folder(path, {"one": b"1", "two": b"22"})
    return path


def test_what_a_run_wrote_goes_with_the_last_who_needs_it(tmp_path: Path) -> None:
    files = written(folder := made(tmp_path))
    kept = renamed(files, lambda name: f"inside/{name}") | {"three": b"333"}
    assert {**kept} == {"inside/one": b"1", "inside/two": b"22", "three": b"333"} and size_of(kept) == 6
    elsewhere = pickle.loads(pickle.dumps(files))
    assert elsewhere["two"] == b"22"
    del elsewhere, files
    assert folder.exists()
    del kept
    assert not folder.exists()


def test_a_stored_file_is_proven_when_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "file").write_bytes(b"1234")
    for found, told in (
        (StoredFile(tmp_path / "file", 4, sha256(b"1235")), "expected SHA-256"),
        (StoredFile(tmp_path / "file", 5), "expected 5 bytes, found 4"),
    ):
        with pytest.raises(StoreCorrupt, match=told):
            found.read()
        with pytest.raises(StoreCorrupt, match=told):
            found.check()
        with pytest.raises(StoreCorrupt, match=told):
            put_artifact(tmp_path / "artifacts", "weights", {}, FolderFiles({"file": found}))
        assert not [*(tmp_path / "artifacts").glob("weights-*")]
    with pytest.raises(StoreError, match="does not exist"):
        StoredFile(tmp_path / "missing", 4).read()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(StoreCorrupt, match="symbolic link"):
        StoredFile(tmp_path / "link", 4).read()


def test_a_large_model_is_the_same_without_being_brought_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = small_folder()
    for name in ("artifacts", "copies"):
        (tmp_path / name).mkdir()
    artifact = put_artifact(tmp_path / "artifacts", "weights", {}, files)
    monkeypatch.setattr(on_disk, "LARGE", len(files[MODEL_WEIGHTS]))
    found = artifact.model()
    kept = [name for name, entry in entries(found).items() if isinstance(entry, StoredFile)]
    assert kept == [MODEL_WEIGHTS] and {**found} == files
    assert fingerprint_model(found) == fingerprint_model(files)
    with opened(found) as there:
        assert not isinstance(there[MODEL_WEIGHTS], bytes)
    assert put_artifact(tmp_path / "copies", "weights", {}, found).digest == artifact.digest


@pytest.mark.parametrize("is_split", [False, True])
def test_a_large_folder_of_somebodys_own_is_not_brought_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_split: bool
) -> None:
    files = split(small_folder()) if is_split else small_folder()
    folder, scratch = write(files, tmp_path / "model"), tmp_path / "work"
    scratch.mkdir()
    expected = read_model_folder(folder)
    monkeypatch.setattr(on_disk, "LARGE", 1000)
    found = framed_by(read_model_folder(folder, scratch=scratch), PretrainedModel(path=str(folder), system=None))
    weights = entries(found)[MODEL_WEIGHTS]
    assert isinstance(weights, StoredFile) and weights.path.is_relative_to(scratch if is_split else folder)
    assert found == expected
    del found
    assert [*scratch.iterdir()] == [] and (folder / "config.json").exists()


def split(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return a folder with its weights in two files."""
    tensors = sorted(safetensors.torch.load(files.pop(MODEL_WEIGHTS)).items())
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    parts = dict(zip(names, (dict(tensors[::2]), dict(tensors[1::2])), strict=True))
    index = {"weight_map": {tensor: name for name, part in parts.items() for tensor in part}}
    stored = {name: safetensors.torch.save(part, metadata={"format": "pt"}) for name, part in parts.items()}
    return {**files, **stored, "model.safetensors.index.json": json.dumps(index).encode()}
