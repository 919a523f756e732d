"""Content-addressed artifacts: a folder named by the hash of what made it, with a manifest that proves it.

    <kind>-<first 16 hex digits of the id>/
        manifest.json     {"files": {name: {"sha256", "size"}}, "id", "inputs", "kind"} as canonical JSON
        <file> ...

The id is the hash of the inputs, known before the work is done, so finished work is found and not repeated. The
digest is the hash of the manifest, so it stands for every byte. No clocks and no hosts in either. Left out: which
folder an artifact lies in and when it may go (`lineage_store.py`), and what its files mean.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootstrap import schema
from bootstrap.canonical import canonical_json, digest_of, sha256
from bootstrap.errors import StoreCorrupt, StoreError
from bootstrap.ledger_records import ArtifactRef
from bootstrap.store import durable

MANIFEST_NAME = "manifest.json"
REMEDY = (
    "restore it from a copy of the store; if no committed generation uses it (`bootstrap verify` tells), delete its "
    "folder and run again"
)


def stage_id(kind: str, inputs: Mapping[str, Any]) -> str:
    """Return the id of the stage output of `kind` made from `inputs` (JSON values): SHA-256 of both."""
    # Through JSON and back first: keys that are numbers sort as the strings that the manifest will give back.
    made_of = {"kind": schema.hashed_kind(kind), "inputs": schema.hashed(inputs)}
    return digest_of(json.loads(canonical_json(made_of)))


def folder_name(kind: str, identity: str) -> str:
    """Return the folder's name for an artifact with the id `identity`."""
    return f"{kind}-{identity[:16]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """A complete artifact on disk. Its manifest has been read; its files are verified as they are read."""

    id: str
    kind: str
    path: Path
    files: Mapping[str, tuple[str, int]]
    """File name -> (SHA-256, size in bytes)."""
    digest: str
    """SHA-256 of the manifest."""

    def read(self, name: str) -> bytes:
        """Return the file's bytes, proven by size and SHA-256.

        Raises StoreCorrupt if they differ from the manifest or the file is missing, KeyError for a name not in it.
        """
        name = schema.file_name(self.kind, name)
        expected_hash, expected_size = self.files[name]
        path = self.path / name
        try:
            with durable.store_errors(path, doing="read"):
                data = path.read_bytes()
        except StoreError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise StoreCorrupt(f"{path} is missing: expected {expected_size} bytes; {REMEDY}") from error
            raise
        if len(data) != expected_size:
            raise StoreCorrupt(f"{path} is corrupt: expected {expected_size} bytes, found {len(data)}; {REMEDY}")
        if (found := sha256(data)) != expected_hash:
            raise StoreCorrupt(f"{path} is corrupt: expected SHA-256 {expected_hash}, found {found}; {REMEDY}")
        return data

    def json(self, name: str) -> Any:
        """Return the JSON document in the file, under the names of today; raises as `read`."""
        return schema.document(name, json.loads(self.read(name)))

    def read_all(self) -> dict[str, bytes]:
        """Return every file's bytes by name, each verified as in `read`."""
        return {name: self.read(name) for name in self.files}

    def ref(self, root: Path) -> ArtifactRef:
        """Return the artifact as the ledger names it, with its path relative to the lineage folder `root`."""
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

    An artifact that is there already is returned as it is. Raises StoreError; StoreCorrupt if what is there is broken.
    """
    durable.check_name(kind)
    if MANIFEST_NAME in contents:
        raise StoreError(f"an artifact's files cannot include {MANIFEST_NAME}: give the file another name")
    identity = stage_id(kind, inputs)
    manifest = {
        "files": {name: {"sha256": sha256(data), "size": len(data)} for name, data in contents.items()},
        "id": identity,
        "inputs": inputs,
        "kind": kind,
    }
    path = parent / folder_name(kind, identity)
    everything = {**contents, MANIFEST_NAME: canonical_json(manifest)}
    durable.write_folder(path, everything, files=files, mode=durable.READ_ONLY)
    artifact = find_artifact(parent, kind, inputs)
    assert artifact is not None, "a written folder is there"
    return artifact


def find_artifact(parent: Path, kind: str, inputs: Mapping[str, Any]) -> Artifact | None:
    """Return the artifact of `kind` made from `inputs` in the folder `parent`, or None if it is absent.

    Raises StoreCorrupt if it is there and broken.
    """
    identity = stage_id(kind, inputs)
    for name in dict.fromkeys((kind, schema.hashed_kind(kind))):
        path = parent / folder_name(name, identity)
        with durable.store_errors(path, doing="read"):
            if path.exists():
                break
    else:
        return None
    artifact = load_artifact(path)
    if artifact.id != identity:
        raise StoreCorrupt(f"{path} is corrupt: expected the artifact {identity}, found {artifact.id}; {REMEDY}")
    return artifact


def load_artifact(path: Path) -> Artifact:
    """Return the artifact in the folder `path` after checking its manifest and that every file has its size.

    Raises StoreCorrupt if the manifest is missing, unreadable or does not give the id it claims, or a file is missing
    or has another size.
    """
    where = path / MANIFEST_NAME
    with durable.store_errors(where, doing="read"):
        if not where.exists():
            raise StoreCorrupt(f"{where} is missing: expected a manifest; {REMEDY}")
        data = where.read_bytes()
    try:
        manifest = json.loads(data)
        kind, identity = manifest["kind"], manifest["id"]
        computed = stage_id(kind, manifest["inputs"])
        files = {name: (entry["sha256"], entry["size"]) for name, entry in manifest["files"].items()}
        for name in files:
            durable.check_name(name, depth=2)
    except (StoreError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreCorrupt(f"{where} is corrupt: {error!r} where a manifest is expected; {REMEDY}") from error
    if computed != identity:
        raise StoreCorrupt(f"{where} is corrupt: expected the id {computed} of its inputs, found {identity}; {REMEDY}")
    for name, (_, expected) in files.items():
        if not os.path.isfile(path / name):
            raise StoreCorrupt(f"{path / name} is missing: expected {expected} bytes; {REMEDY}")
        if (found := os.path.getsize(path / name)) != expected:
            raise StoreCorrupt(f"{path / name} is corrupt: expected {expected} bytes, found {found}; {REMEDY}")
    return Artifact(id=identity, kind=kind, path=path, files=files, digest=sha256(data))
