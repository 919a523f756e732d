"""Content-addressed artifacts: folders named by the hash of their inputs, each with a manifest that proves it.

    <kind>-<first 16 hex digits of the id>/
        manifest.json     {"files": {name: {"sha256", "size"}}, "id", "inputs", "kind"} as canonical JSON
        <file> ...

The id is the hash of the inputs: it is known before the work is done, so finished work is found and not repeated. The
digest is the hash of the manifest, so it stands for every byte. Neither depends on a clock or host. Left out: where an
artifact lies and when it may be removed (`lineage_store.py`), and what its files mean.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootstrap import schema
from bootstrap.canonical import canonical_json, digest_of, sha256, sha256_of
from bootstrap.errors import StoreCorrupt, StoreError
from bootstrap.ledger_records import ArtifactRef
from bootstrap.reading import MAX_BYTES, MAX_DOCUMENT_BYTES, MAX_JSON_BYTES, Folder, Root, parsed
from bootstrap.records import Checkpoint
from bootstrap.store import durable, on_disk
from bootstrap.store.freed import FILE_NAME as FREED_NAME
from bootstrap.store.freed import Freed, freed_error, mark_of
from bootstrap.store.model_folder import check_folder, of_store
from bootstrap.store.on_disk import Entry, FolderFiles, StoredFile, entries, parts_of

MANIFEST_NAME = "manifest.json"
_REMEDY = (
    "restore it from a copy of the store; if no committed generation uses it (`bootstrap verify` tells), delete its "
    "folder and run again"
)


def stage_id(kind: str, inputs: Mapping[str, Any]) -> str:
    """Return the id of the artifact of `kind` made from `inputs` (JSON values): SHA-256 of both."""
    # Through JSON and back first: the manifest gives numeric keys back as strings, which sort otherwise.
    made_of = {"kind": schema.hashed_kind(kind), "inputs": schema.hashed(inputs)}
    return digest_of(json.loads(canonical_json(made_of)))


def folder_name(kind: str, identity: str) -> str:
    """Return the folder's name for an artifact with the id `identity`."""
    return f"{kind}-{identity[:16]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """A complete artifact on disk. Its manifest is verified, its files are as they are read."""

    id: str
    kind: str
    path: Path
    files: Mapping[str, tuple[str, int]]
    """File name -> (SHA-256, size in bytes)."""
    digest: str
    """SHA-256 of the manifest."""
    freed: Freed | None = None
    """Which of its files were freed and are gone; None where all are there."""

    def read(self, name: str) -> bytes:
        """Return the file's bytes, verified by size and SHA-256.

        Raises StoreCorrupt if the file is missing or differs from the manifest, WeightsFreed if it was freed, KeyError
        for a name not in the manifest.
        """
        data = self.content(name)
        if name.endswith(".json"):
            # Whatever reads it next may recurse.
            self._parsed(name, data)
        return data

    def content(self, name: str) -> bytes:
        """Return what `read` does, also of a `.json` file that another program may have written as it likes."""
        name = self._stored(name)
        most = MAX_DOCUMENT_BYTES if name.endswith(".json") else MAX_BYTES
        with self.opened() as folder:
            data = folder.read_if_there(name, most=most)
        if data is None:
            raise _missing(self.path / name, f"{self.files[name][1]} bytes")
        self._check(name, sha256(data), len(data))
        return data

    def json(self, name: str) -> Any:
        """Return the JSON document in the file, under the names of today; raises as `read`."""
        return schema.document(name, self._parsed(name, self.read(name)))

    def _parsed(self, name: str, data: bytes) -> Any:
        try:
            return parsed(data, strict=False)
        except ValueError as error:
            raise corrupt(self.path / name, str(error)) from error

    def check(self, name: str) -> int:
        """Verify the file as `read` does, however large it is, and return its size."""
        name = self._stored(name)
        with self.opened() as folder:
            file = folder.open_if_there(name)
        if file is None:
            raise _missing(self.path / name, f"{self.files[name][1]} bytes")
        with file:
            # A file of another size is not worth the hashing.
            digest = sha256_of(file.parts(0, file.size)) if file.size == self.files[name][1] else ""
        self._check(name, digest, file.size)
        return file.size

    def manifest(self) -> bytes:
        """Return the manifest's bytes. Raises StoreError, StoreCorrupt."""
        with self.opened() as folder:
            return folder.read(MANIFEST_NAME, most=MAX_JSON_BYTES)

    def opened(self) -> Folder:
        """Open the artifact's folder. Raises StoreError; StoreCorrupt for a link on the way."""
        return _root_of(self.path).open(self.path.parent.name, self.path.name)

    def _stored(self, name: str) -> str:
        """Return what a file is called here. Raises WeightsFreed, KeyError."""
        name = schema.file_name(self.kind, name)
        if name not in self.files:
            raise KeyError(name)
        if self.freed is not None and name in self.freed.files:
            raise freed_error(self.freed, self.path)
        return name

    def _check(self, name: str, digest: str, size: int) -> None:
        expected_hash, expected_size = self.files[name]
        if size != expected_size:
            raise corrupt(self.path / name, f"expected {expected_size} bytes, found {size}")
        if digest != expected_hash:
            raise corrupt(self.path / name, f"expected SHA-256 {expected_hash}, found {digest}")

    def read_all(self) -> dict[str, bytes]:
        """Return the bytes of every file by name, each verified as in `read`."""
        return {name: self.read(name) for name in self.files}

    def contents(self, wanted: Callable[[str], bool] = lambda name: True, *, large: int | None = None) -> FolderFiles:
        """Return its files by name: small ones read and verified now, large ones when they are asked for.

        `large`: bytes from which one is; None is `on_disk.LARGE`. Raises as `read`.
        """
        large = on_disk.LARGE if large is None else large
        return FolderFiles({name: self._entry(name, large=large) for name in self.files if wanted(name)})

    def _entry(self, name: str, *, large: int) -> Entry:
        digest, size = self.files[name]
        return self.read(name) if size < large else StoredFile(self.path / self._stored(name), size, digest)

    def model(self, wanted: Callable[[str], bool] = lambda name: True) -> FolderFiles:
        """Return the files of the model's folder that it is, as `contents` does, once they can be a model's.

        `wanted`: of a name, whether that file is read. Raises StoreCorrupt, which names file and key.
        """
        files = self.contents(wanted)
        with of_store(str(self.path)):
            check_folder(files)
        return files

    def checkpoint(self, fingerprint: str) -> Checkpoint:
        """Return the weights that it holds, which have this fingerprint. Raises StoreCorrupt as `model`."""
        return Checkpoint(fingerprint=fingerprint, files=self.model(), stored=str(self.path))

    def ref(self, root: Path) -> ArtifactRef:
        """Return the ledger's reference to the artifact, with its path relative to the lineage folder `root`."""
        return ArtifactRef(id=self.id, digest=self.digest, path=self.path.relative_to(root).as_posix())


def put_artifact(
    parent: Path,
    kind: str,
    inputs: Mapping[str, Any],
    contents: Mapping[str, bytes],
    *,
    files: durable.Files = durable.OS,
) -> Artifact:
    """Write `contents` as the artifact of `kind` made from `inputs` into the folder `parent`, and return it.

    Files on the disk (`on_disk.py`) are copied in parts. An existing artifact is returned unchanged, but for freed
    weights, which are put back. Raises StoreError; StoreCorrupt if an existing one is broken.
    """
    durable.check_name(kind)
    for name in (MANIFEST_NAME, FREED_NAME):
        if name in contents:
            raise StoreError(f"an artifact's files cannot include {name}: give the file another name")
    identity, given = stage_id(kind, inputs), entries(contents)
    manifest = {
        "files": {name: _proven(entry) for name, entry in given.items()},
        "id": identity,
        "inputs": inputs,
        "kind": kind,
    }
    everything = {name: parts_of(entry) for name, entry in {**given, MANIFEST_NAME: canonical_json(manifest)}.items()}
    durable.write_parts(parent / folder_name(kind, identity), everything, files=files, mode=durable.READ_ONLY)
    artifact = find_artifact(parent, kind, inputs)
    assert artifact is not None, "the folder has just been written"
    return artifact if artifact.freed is None else put_back(artifact, contents, files=files)


def _proven(entry: Entry) -> dict[str, Any]:
    """Return what the manifest says of a file."""
    if isinstance(entry, bytes):
        return {"sha256": sha256(entry), "size": len(entry)}
    return {"sha256": entry.sha256 or sha256_of(entry.parts()), "size": entry.size}


def put_back(artifact: Artifact, contents: Mapping[str, bytes], *, files: durable.Files = durable.OS) -> Artifact:
    """Write an artifact's freed files again, and return it whole. `contents`: file name -> bytes; others are ignored.

    Raises StoreError, and writes nothing, where one of the files is missing or differs from the manifest.
    """
    assert artifact.freed is not None, "nothing of it was freed"
    for name in artifact.freed.files:
        if name not in contents or sha256(contents[name]) != artifact.files[name][0]:
            what = "is missing" if name not in contents else "has another SHA-256"
            raise StoreError(f"{name} cannot be put back into {artifact.path}: it {what}; name the file that was freed")
    for name in artifact.freed.files:
        durable.create_exclusively(artifact.path / name, contents[name], files=files)
    durable.remove_file(artifact.path / FREED_NAME, files=files)
    return load_artifact(artifact.path)


def find_artifact(parent: Path, kind: str, inputs: Mapping[str, Any]) -> Artifact | None:
    """Return the artifact of `kind` made from `inputs` in the folder `parent`, or None if it is absent.

    Raises StoreCorrupt if it is there and broken.
    """
    identity = stage_id(kind, inputs)
    for name in dict.fromkeys((kind, schema.hashed_kind(kind))):
        path = parent / folder_name(name, identity)
        if (folder := _root_of(path).open_if_there(path.parent.name, path.name)) is not None:
            folder.close()
            break
    else:
        return None
    artifact = load_artifact(path)
    if artifact.id != identity:
        raise corrupt(path, f"expected the artifact {identity}, found {artifact.id}")
    return artifact


def load_artifact(path: Path) -> Artifact:
    """Return the artifact in the folder `path` after checking its manifest and the size of every file.

    Raises StoreCorrupt if the manifest is missing, unreadable or disagrees with its own id, or if a file has another
    size, or is missing and was not freed.
    """
    where = path / MANIFEST_NAME
    folder = _root_of(path).open_if_there(path.parent.name, path.name)
    if folder is None:
        raise _missing(where, "a manifest")
    with folder:
        return _loaded(folder, where)


def _loaded(folder: Folder, where: Path) -> Artifact:
    data = folder.read_if_there(MANIFEST_NAME, most=MAX_JSON_BYTES)
    if data is None:
        raise _missing(where, "a manifest")
    path = folder.path
    try:
        manifest = parsed(data)
        kind, identity = manifest["kind"], manifest["id"]
        computed = stage_id(kind, manifest["inputs"])
        files = {name: (entry["sha256"], entry["size"]) for name, entry in manifest["files"].items()}
        for name in files:
            durable.check_name(name, depth=2)
    except (StoreError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise corrupt(where, f"{error!r} where a manifest is expected") from error
    if computed != identity:
        raise corrupt(where, f"expected the id {computed} of its inputs, found {identity}")
    sizes = {name: folder.size(name) for name in files}
    mark = mark_of(folder, [name for name, size in sizes.items() if size is None])
    for name, (_, expected) in files.items():
        found = sizes[name]
        if found is None:
            if mark is None:
                raise _missing(path / name, f"{expected} bytes")
        elif found != expected:
            raise corrupt(path / name, f"expected {expected} bytes, found {found}")
    return Artifact(id=identity, kind=kind, path=path, files=files, digest=sha256(data), freed=mark)


def _root_of(path: Path) -> Root:
    """Return the folder two above an artifact's: a lineage's, below which nothing is read through links."""
    return Root(path.parent.parent)


def corrupt(path: Path, fault: str) -> StoreCorrupt:
    """Return the error that an artifact's file or folder is not what its hashes say."""
    return StoreCorrupt(f"{path} is corrupt: {fault}; {_REMEDY}")


def _missing(path: Path, expected: str) -> StoreCorrupt:
    return StoreCorrupt(f"{path} is missing: expected {expected}; {_REMEDY}")
