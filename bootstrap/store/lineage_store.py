"""One lineage's folder: which recipe it grows from, its artifacts, its work in progress, its ledger.

    <root>/
        LOCK              one driver at a time (lock.py)
        lineage.json      schema version, lineage name, the recipe's identity and its digest
        artifacts/        stage outputs that the ledger may name; never removed
        cache/            replies of models that judge, and which rows verifiers cannot use; may be removed, then it
                          is found out again
        work/             checkpoints inside a step, in the artifacts' form; gone once the step is done
        ledger/           committed generations (ledger.py)

Writers call `open` first, under `lineage_lock`; readers need neither. Left out: what the stages put in.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bootstrap import schema
from bootstrap.canonical import canonical_json, digest_of
from bootstrap.errors import LineageMismatch, StoreCorrupt, StoreError
from bootstrap.ledger_records import ArtifactRef
from bootstrap.records import Record
from bootstrap.store import durable
from bootstrap.store.artifacts import REMEDY, Artifact, find_artifact, load_artifact, put_artifact
from bootstrap.store.ledger import Ledger

HEADER_NAME = "lineage.json"
_ABSENT = object()


class Header(Record):
    """What `lineage.json` says."""

    schema_version: int = schema.SCHEMA_VERSION
    lineage: str
    identity: dict[str, Any]
    """The recipe's identity: every setting that the lineage's results depend on."""
    digest: str
    """SHA-256 of `identity`, as it is hashed (`schema.py`); equals `Recipe.digest()`."""

    def steps(self, number: int) -> Sequence[Mapping[str, Any]]:
        """Return the settings of a generation's training steps."""
        return self._stage(number)[1]["steps"] if number else self.identity["base"]["steps"]

    def siblings(self, number: int) -> range:
        """Return the numbers of those that start from one parent, the generation itself among them.

        Some may be yet to come.
        """
        if number == 0:
            return range(1)
        first, stage = self._stage(number)
        # A header may leave it out: one child then.
        branches = stage.get("branches", 1)
        eldest = number - (number - first) % branches
        return range(eldest, eldest + branches)

    def _stage(self, number: int) -> tuple[int, Mapping[str, Any]]:
        """Return the number of the first generation of the stage of generation `number`, 1 or more, and its settings.

        As they stand: what a recipe names, as a folder, need not be there any more.
        """
        generations, first = self.identity["generations"], 1
        for stage in generations.get("stages") or ():
            if number < first + stage["generations"]:
                return first, stage
            first += stage["generations"]
        assert generations["steps"] is not None, f"generation {number} is beyond the stages"
        return first, generations


class LineageStore:
    """The lineage folder `root`. Making the object touches nothing."""

    def __init__(self, root: Path, *, files: durable.Files = durable.OS) -> None:
        self.root = Path(root)
        self.ledger = Ledger(self.root, files=files)
        self.artifacts_folder = self.root / "artifacts"
        self.work_folder = self.root / "work"
        self.cache_folder = self.root / "cache"
        self._files = files

    @property
    def exists(self) -> bool:
        """Whether the folder holds a lineage."""
        with durable.store_errors(self.root, doing="read"):
            return (self.root / HEADER_NAME).is_file()

    def open(self, lineage: str, *, identity: Mapping[str, Any]) -> Header:
        """Make the folder ready for writing: create it at the first time, sweep it at every other.

        A lineage of which nothing has been made yet takes the new recipe: the old one may have been refused later on.
        The header of a lineage that an earlier version wrote gets the present names, so that such a version refuses
        the lineage from then on.
        Raises LineageMismatch naming each changed setting if the folder's lineage grows from another recipe;
        StoreError if the folder cannot be written or another version of this program made it.
        """
        header = _header(lineage, identity)
        for folder in (self.root.parent, self.root, self.artifacts_folder, self.work_folder, self.ledger.folder):
            durable.make_folder(folder, files=self._files)
        self.sweep()
        data = canonical_json(header.model_dump(mode="json"))
        if not self.exists:
            durable.create_exclusively(self.root / HEADER_NAME, data, files=self._files)
        elif self._is_untouched(lineage):
            durable.write_file(self.root / HEADER_NAME, data, files=self._files)
        self._check_same(header)
        if self.header().schema_version != schema.SCHEMA_VERSION:
            durable.write_file(self.root / HEADER_NAME, data, files=self._files)
        return header

    def _is_untouched(self, lineage: str) -> bool:
        """Whether nothing has been made of this version's lineage of that name."""
        found = self.header()
        same = found.schema_version in schema.READABLE and found.lineage == lineage
        return same and not self.artifact_folders() and not _visible(self.work_folder) and not self.ledger.read()

    def check(self, lineage: str, *, identity: Mapping[str, Any]) -> None:
        """Raise what `open` would raise of an existing lineage that does not grow from this recipe; touch nothing."""
        if not self._is_untouched(lineage):
            self._check_same(_header(lineage, identity))

    def header(self) -> Header:
        """Return which lineage this is, its recipe under the names of today.

        Raises StoreError if there is none, StoreCorrupt if the file is broken.
        """
        path = self.root / HEADER_NAME
        if not self.exists:
            raise StoreError(
                f"there is no lineage in {self.root}: check --store and --lineage, or start one with `bootstrap run`"
            )
        with durable.store_errors(path, doing="read"):
            data = path.read_bytes()
        try:
            header = Header.model_validate_json(data)
        except ValueError as error:
            raise StoreCorrupt(f"{path} is corrupt: {error}; restore it from a copy of the store") from error
        if (computed := digest_of(schema.hashed(header.identity))) != header.digest:
            raise StoreCorrupt(
                f"{path} is corrupt: expected the digest {computed} of its identity, found {header.digest}; "
                "restore it from a copy of the store"
            )
        if header.schema_version < schema.SCHEMA_VERSION:
            return header.model_copy(update={"identity": schema.settings(header.identity)})
        return header

    def find(self, kind: str, inputs: Mapping[str, Any]) -> Artifact | None:
        """Return the complete artifact of `kind` made from `inputs`, or None. Raises StoreCorrupt if it is broken."""
        return find_artifact(self.artifacts_folder, kind, inputs)

    def put(self, kind: str, inputs: Mapping[str, Any], contents: Mapping[str, bytes]) -> Artifact:
        """Write the artifact of `kind` made from `inputs`, durable once this returns; an existing one stays as it is.

        `contents`: file name -> bytes; a name may hold one subfolder. Raises StoreError.
        """
        return put_artifact(self.artifacts_folder, kind, inputs, contents, files=self._files)

    def find_work(self, kind: str, inputs: Mapping[str, Any]) -> Artifact | None:
        """Return work in progress as `find` does."""
        return find_artifact(self.work_folder, kind, inputs)

    def put_work(self, kind: str, inputs: Mapping[str, Any], contents: Mapping[str, bytes]) -> Artifact:
        """Write work in progress as `put` does."""
        return put_artifact(self.work_folder, kind, inputs, contents, files=self._files)

    def remove_work(self, artifact: Artifact) -> None:
        """Remove one piece of work in progress. Raises StoreError."""
        assert artifact.path.parent == self.work_folder, "only work in progress is ever removed"
        durable.remove_folder(artifact.path, files=self._files)

    def clear_work(self, *, keep: Collection[str] = ()) -> None:
        """Remove all work in progress except the artifacts whose ids are in `keep`. Raises StoreError."""
        with durable.store_errors(self.work_folder, doing="read"):
            folders = sorted(_visible(self.work_folder))
        kept = {identity[:16] for identity in keep}
        for folder in folders:
            if folder.name.rpartition("-")[2] not in kept:
                durable.remove_folder(folder, files=self._files)

    def artifact(self, ref: ArtifactRef) -> Artifact:
        """Return the artifact that the ledger names, its manifest proven by the digest.

        Raises StoreCorrupt if it is missing or another.
        """
        path = self.root / durable.check_name(ref.path, depth=2)
        artifact = load_artifact(path)
        if artifact.digest != ref.digest or artifact.id != ref.id:
            raise StoreCorrupt(
                f"{path} is corrupt: expected the artifact {ref.id} with digest {ref.digest}, "
                f"found {artifact.id} with {artifact.digest}; {REMEDY}"
            )
        return artifact

    def artifact_folders(self) -> list[Path]:
        """Return the folder of every artifact, committed or not, in order of name. Raises StoreError."""
        with durable.store_errors(self.artifacts_folder, doing="read"):
            return sorted(_visible(self.artifacts_folder))

    def sweep(self) -> int:
        """Remove what killed writers left, make what they finished durable, and return the number of leftovers.

        Only for the lineage's one driver. Raises StoreError.
        """
        folders = (self.root, self.artifacts_folder, self.work_folder, self.ledger.folder)
        return sum(durable.sweep(folder, files=self._files) for folder in folders)

    def _check_same(self, wanted: Header) -> None:
        found = self.header()
        if found.schema_version not in schema.READABLE:
            raise StoreError(
                f"{self.root} was written with schema version {found.schema_version}, this program writes "
                f"{wanted.schema_version}: use the program that made it, or start a new lineage with --lineage NAME"
            )
        old = {"lineage": found.lineage, "recipe": found.identity}
        new = {"lineage": wanted.lineage, "recipe": wanted.identity}
        changes = [
            f"{path.removeprefix('recipe.')}: {before} -> {after}" for path, before, after in _differences(old, new, "")
        ]
        if changes:
            raise LineageMismatch(
                f"the lineage in {self.root} grows from another recipe; changed: {'; '.join(changes)}. "
                "Change these back to go on with it, or start a new lineage with --lineage NAME"
            )


def _header(lineage: str, identity: Mapping[str, Any]) -> Header:
    return Header(lineage=lineage, identity=dict(identity), digest=digest_of(schema.hashed(identity)))


def _visible(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not durable.is_temporary(path)]


def _differences(old: Any, new: Any, path: str) -> Iterator[tuple[str, str, str]]:
    """Yield (dotted path, old value, new value) for each leaf that differs; values as JSON or `(absent)`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(old.get(key, _ABSENT), new.get(key, _ABSENT), f"{path}.{key}".lstrip("."))
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple):
        for index in range(max(len(old), len(new))):
            pair = (side[index] if index < len(side) else _ABSENT for side in (old, new))
            yield from _differences(*pair, f"{path}[{index}]")
    elif old is _ABSENT or new is _ABSENT or canonical_json(old) != canonical_json(new):
        yield path, _shown(old), _shown(new)


def _shown(value: Any) -> str:
    return "(absent)" if value is _ABSENT else canonical_json(value).decode()
