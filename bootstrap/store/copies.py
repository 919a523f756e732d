"""A copy of a lineage to take elsewhere: which files it has, and the list that announces them.

    copy.json       lineage, last record's hash, and of every other file its SHA-256 and size
    lineage.json    as in the store
    recipe.json     the remembered recipe, without the folder that its paths start at
    limits.json     as in the store
    ledger/         every record
    artifacts/      what the records name, and final comparisons

A copy leaves out what belongs to one store or one machine: the lock, work in progress, judges' replies, the outbox and
the address of MLflow. Left out here: how a copy is written and read (`archive.py`), and what proves it (`transfer.py`).
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Literal

from pydantic import Field, ValidationError

from bootstrap.canonical import canonical_json, sha256
from bootstrap.errors import StoreCorrupt, StoreError
from bootstrap.reading import MAX_JSON_BYTES, parsed
from bootstrap.records import Record
from bootstrap.store import durable, freed
from bootstrap.store.artifacts import MANIFEST_NAME, Artifact, load_artifact
from bootstrap.store.finals import FILE, KIND
from bootstrap.store.ledger import FOLDER_NAME as LEDGER_FOLDER
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import HEADER_NAME, LineageStore
from bootstrap.store.names import NAME

LIST_NAME = "copy.json"
RECIPE_NAME = "recipe.json"
LIMITS_NAME = "limits.json"
BESIDE = (RECIPE_NAME, LIMITS_NAME)
"""Files that a copy may lack: a lineage's results do not depend on them."""
MAX_FILES = 1_000_000
MAX_BESIDE_BYTES = 1 << 20
"""Of recipe and limits."""
_MAX_CHARACTERS = 500
_LAYOUT = re.compile(
    r"lineage\.json|recipe\.json|limits\.json|ledger/[0-9]{6,9}\.json|artifacts/[\w.-]+-[0-9a-f]{16}/[^/]+(/[^/]+)?",
    re.ASCII,
)


class ListedFile(Record):
    """A file that a copy announces."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0, le=1 << 60)


class CopyList(Record):
    """The content of `copy.json`."""

    format: Literal["bootstrap lineage"] = "bootstrap lineage"
    schema_version: Literal[1] = 1
    lineage: str = Field(pattern=NAME)
    head: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Hash of the last ledger record."""
    files: dict[str, ListedFile]
    """By name relative to the lineage's folder."""

    @property
    def num_bytes(self) -> int:
        return sum(file.size for file in self.files.values())

    def to_file(self) -> bytes:
        """Return the content of the file; equal copies give equal bytes."""
        return canonical_json(self.model_dump(mode="json"))


def read_list(data: bytes, *, place: str) -> CopyList:
    """Return the list in a `copy.json`, its names and sizes within bounds.

    Raises StoreError for one of another version of this program, StoreCorrupt for any other fault; `place` names it.
    """
    try:
        found = CopyList.model_validate(parsed(data))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:80] for part in first["loc"])
        if where == "schema_version":
            raise StoreError(f"{place} was made by another version of this program: use that version") from None
        raise StoreCorrupt(f"{place} announces no lineage: {where!r}: {first['msg']}; export it again") from None
    except ValueError as error:
        raise StoreCorrupt(f"{place} announces no lineage: {error}; export it again") from None
    if len(found.files) > MAX_FILES:
        raise StoreCorrupt(f"{place} announces {len(found.files)} files, more than {MAX_FILES}; export it again")
    for name, file in found.files.items():
        check_layout(name, place=place)
        most = MAX_BESIDE_BYTES if name in BESIDE else MAX_JSON_BYTES
        if _is_read_as_json(name) and file.size > most:
            raise StoreCorrupt(
                f"{place} announces {file.size} bytes for {name}, more than the {most} that such a file may have; "
                "export it again"
            )
    return found


def shown(text: str) -> str:
    """Return a message that may quote a stranger as one line of bounded length without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_MAX_CHARACTERS]


def check_layout(name: str, *, place: str) -> str:
    """Return the name of a copy's file. Raises StoreCorrupt for one that no lineage has, or that can lead elsewhere."""
    try:
        durable.check_name(name, depth=4)
    except StoreError:
        known = False
    else:
        known = name.isprintable() and _LAYOUT.fullmatch(name) is not None
    if not known:
        raise StoreCorrupt(f"{place} holds {name[:200]!r}, which is no file of a lineage; export it again")
    return name


def files_of(store: LineageStore, entries: Sequence[Entry]) -> dict[str, Artifact | None]:
    """Return the names of all files that a copy of these records has, but `BESIDE`, each with its artifact.

    Raises StoreCorrupt for an artifact that is missing or differs from its record.
    """
    ledger = (f"{LEDGER_FOLDER}/{store.ledger.path(entry.generation.number).name}" for entry in entries)
    found: dict[str, Artifact | None] = dict.fromkeys((HEADER_NAME, *ledger))
    refs = {ref.path: ref for entry in entries for ref in entry.generation.artifacts.values()}
    artifacts = {path: store.artifact(ref) for path, ref in sorted(refs.items())}
    hashes = {entry.hash for entry in entries}
    for folder in store.artifact_folders(KIND):
        artifact = load_artifact(folder)
        # A comparison of a record that another driver commits meanwhile is for the next copy.
        if artifact.json(FILE).get("record") in hashes:
            artifacts[folder.relative_to(store.root).as_posix()] = artifact
    for path, artifact in artifacts.items():
        gone = artifact.freed.files if artifact.freed is not None else ()
        names = [MANIFEST_NAME, *sorted(set(artifact.files) - set(gone)), *([freed.FILE_NAME] if gone else ())]
        found |= {f"{path}/{name}": artifact for name in names}
    return found


def list_of(store: LineageStore, entries: Sequence[Entry], beside: Mapping[str, bytes]) -> CopyList:
    """Return the list of a copy of these records; `beside`: the content of the files outside the hashes.

    What the manifests say of their files is taken over, not proved. Raises StoreError, StoreCorrupt.
    """
    listed = {name: _listed(data) for name, data in beside.items()}
    for name, artifact in files_of(store, entries).items():
        check_layout(name, place=str(store.root))
        found = None if artifact is None else artifact.files.get(name.split("/", 2)[2])
        if found is None:
            listed[name] = _listed(store.stored.read(name))
        else:
            listed[name] = ListedFile(sha256=found[0], size=found[1])
    lineage = entries[-1].generation.lineage
    try:
        return CopyList(lineage=lineage, head=entries[-1].hash, files=dict(sorted(listed.items())))
    except ValidationError:
        raise StoreError(f"lineage {lineage!r} has a name that no copy can have: {NAME}") from None


def _listed(data: bytes) -> ListedFile:
    return ListedFile(sha256=sha256(data), size=len(data))


def _is_read_as_json(name: str) -> bool:
    return not name.startswith("artifacts/") or PurePosixPath(name).name == MANIFEST_NAME
