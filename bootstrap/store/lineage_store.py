"""One lineage's folder: which recipe it grows from, its artifacts, its work in progress, its ledger.

    <root>/
        LOCK              one driver at a time (lock.py)
        lineage.json      schema version, lineage name, the recipe's identity and its digest
        artifacts/        stage outputs that the ledger may name; only `bootstrap gc` frees weights of them
        cache/            replies of judge models, and the rows that verifiers cannot use; recomputed if removed
        limits.json       what its workers may take at once (`stages/limits.py`)
        work/             checkpoints inside a step, stored as artifacts; removed once the step is done
        ledger/           committed generations (ledger.py)

Writers call `open` first, under `lineage_lock`; readers need neither. Left out: what the stages store.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from bootstrap import schema
from bootstrap.canonical import canonical_json, digest_of
from bootstrap.errors import LineageMismatch, StoreCorrupt, StoreError
from bootstrap.ledger_records import ArtifactRef
from bootstrap.reading import MAX_JSON_BYTES, Root, parsed
from bootstrap.records import Record
from bootstrap.store import durable
from bootstrap.store.artifacts import MANIFEST_NAME, Artifact, corrupt, find_artifact, load_artifact, put_artifact
from bootstrap.store.ledger import Ledger

HEADER_NAME = "lineage.json"
_MOST_BRANCHES = 10_000
"""Siblings that a header may tell of: each is looked for."""
_ABSENT = object()


class Header(Record):
    """The content of `lineage.json`."""

    schema_version: int = schema.SCHEMA_VERSION
    lineage: str
    identity: dict[str, Any]
    """Every setting of the recipe that the lineage's results depend on."""
    digest: str
    """SHA-256 of `identity`, as it is hashed (`schema.py`); equals `Recipe.digest()`."""

    def steps(self, number: int) -> Sequence[Mapping[str, Any]]:
        """Return the settings of a generation's training steps."""
        match self.settings(number):
            case {"steps": [*steps]} if all(isinstance(step, dict) for step in steps):
                return steps
        raise self._broken("steps")

    def settings(self, number: int) -> Mapping[str, Any]:
        """Return the settings of a generation's stage, or of the base for generation 0."""
        return self._stage(number)[1] if number else self.section("base")

    def section(self, name: str) -> Mapping[str, Any]:
        """Return the settings of a section of the recipe. Raises StoreCorrupt where there are none: a stranger's header
        may have any content below a right digest."""
        match self.identity.get(name):
            case dict(found):
                return found
        raise self._broken(name)

    def siblings(self, number: int) -> range:
        """Return the numbers of all that start from the same parent, the generation itself included.

        Some may not be committed yet.
        """
        if number == 0:
            return range(1)
        first, stage = self._stage(number)
        branches = stage.get("branches", 1)
        if type(branches) is not int or not 1 <= branches <= _MOST_BRANCHES:
            raise self._broken("branches")
        eldest = number - (number - first) % branches
        return range(eldest, eldest + branches)

    def _stage(self, number: int) -> tuple[int, Mapping[str, Any]]:
        """Return the first generation of the stage that generation `number` (1 or more) belongs to, and its settings.

        The settings are plain JSON, not validated: a folder that they name may be gone. Raises StoreCorrupt where they
        are no stages, or too few.
        """
        generations, first = self.section("generations"), 1
        for stage in generations.get("stages") or ():
            match stage:
                case {"generations": int(count)}:
                    if number < first + count:
                        return first, stage
                    first += count
                case _:
                    raise self._broken("stages")
        if generations.get("steps") is None:
            raise self._broken("steps")
        return first, generations

    def _broken(self, name: str) -> StoreCorrupt:
        return StoreCorrupt(f"{HEADER_NAME} holds no {name} of a recipe; restore it from a copy of the store")


def described(identity: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the settings of the base's model and of the task, each with its `type`.

    Raises StoreCorrupt where a recipe's identity has none: a stranger's header may have any below a right digest.
    """
    match identity:
        case {"base": {"model": {"type": str()} as model}, "task": {"type": str()} as task}:
            return model, task
    raise StoreCorrupt(f"{HEADER_NAME} holds no model and task of a recipe; restore it from a copy of the store")


class LineageStore:
    """The lineage folder `root`. Constructing the object touches no file."""

    def __init__(self, root: Path, *, files: durable.Files = durable.OS) -> None:
        self.root, self.ledger, self._files = root, Ledger(root, files=files), files
        self.stored = Root(root)
        """Reads what lies in the folder."""
        self.artifacts_folder, self.work_folder, self.cache_folder = root / "artifacts", root / "work", root / "cache"

    @property
    def exists(self) -> bool:
        """Whether the folder holds a lineage."""
        return self.stored.size(HEADER_NAME) is not None

    def open(self, lineage: str, *, identity: Mapping[str, Any]) -> Header:
        """Make the folder ready for writing: create it the first time, sweep it every other time.

        A lineage without any output takes over the new recipe, since its first one may have been refused later. The
        header of a lineage that an earlier version wrote gets today's names, so that such a version refuses it.
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

    @property
    def has_output(self) -> bool:
        """Whether the folder holds a lineage that a run has added to. Raises StoreError, StoreCorrupt."""
        return self.exists and bool(self.artifact_folders() or self._visible(self.work_folder) or self.ledger.read())

    def _is_untouched(self, lineage: str) -> bool:
        """Whether the folder holds a lineage of that name without any output."""
        return self.header().lineage == lineage and not self.has_output

    def check(self, lineage: str, *, identity: Mapping[str, Any]) -> None:
        """Raise as `open` does if an existing lineage does not grow from this recipe; touch nothing."""
        if not self._is_untouched(lineage):
            self._check_same(_header(lineage, identity))

    def header(self) -> Header:
        """Return the lineage's header, its recipe under today's names.

        Raises StoreError if there is no lineage or another version of this program made it, StoreCorrupt if the file is
        broken.
        """
        path = self.root / HEADER_NAME
        if not self.exists:
            raise StoreError(
                f"there is no lineage in {self.root}: check --store and --lineage, or start one with `bootstrap run`"
            )
        try:
            data = self.stored.read(HEADER_NAME)
            # First of all: another version may hash otherwise, and what it wrote is sound.
            schema.check_readable(parsed(data), place=self.root)
            header = Header.model_validate_json(data)
            if (computed := digest_of(schema.hashed(header.identity))) != header.digest:
                raise ValueError(f"expected the digest {computed} of its identity, found {header.digest}")
        except ValueError as error:
            raise StoreCorrupt(
                f"{path} is corrupt: {schema.in_words(error)}; restore it from a copy of the store"
            ) from error
        if header.schema_version < schema.SCHEMA_VERSION:
            return header.model_copy(update={"identity": schema.settings(header.identity)})
        return header

    def kept(self, name: str) -> bytes | None:
        """Return the file `name` beside the header; None without one. Raises StoreError, StoreCorrupt."""
        return self.stored.read_if_there(name, most=MAX_JSON_BYTES)

    def keep(self, name: str, data: bytes) -> None:
        """Write the file `name` beside the header, durable once this returns. Raises StoreError."""
        durable.write_file(self.root / name, data, files=self._files)

    def find(self, kind: str, inputs: Mapping[str, Any]) -> Artifact | None:
        """Return the artifact of `kind` made from `inputs`; None without one. Raises StoreCorrupt if it is broken."""
        return find_artifact(self.artifacts_folder, kind, inputs)

    def put(self, kind: str, inputs: Mapping[str, Any], contents: Mapping[str, bytes]) -> Artifact:
        """Write the artifact of `kind` made from `inputs`, durable once this returns; an existing one stays unchanged.

        `contents`: file name -> bytes; a name may hold one subfolder. Raises StoreError.
        """
        return put_artifact(self.artifacts_folder, kind, inputs, contents, files=self._files)

    def find_work(self, kind: str, inputs: Mapping[str, Any]) -> Artifact | None:
        """Return a piece of work in progress, as `find` does."""
        return find_artifact(self.work_folder, kind, inputs)

    def put_work(self, kind: str, inputs: Mapping[str, Any], contents: Mapping[str, bytes]) -> Artifact:
        """Write a piece of work in progress, as `put` does."""
        return put_artifact(self.work_folder, kind, inputs, contents, files=self._files)

    def remove_work(self, artifact: Artifact) -> None:
        """Remove one piece of work in progress. Raises StoreError."""
        assert artifact.path.parent == self.work_folder, "this removes work in progress alone"
        durable.remove_folder(artifact.path, files=self._files)

    def clear_work(self, *, keep: Collection[str] = ()) -> None:
        """Remove all work in progress except the artifacts whose ids are in `keep`. Raises StoreError."""
        kept = {identity[:16] for identity in keep}
        for folder in self._visible(self.work_folder):
            if folder.name.rpartition("-")[2] not in kept:
                durable.remove_folder(folder, files=self._files)

    def discard_uncommitted(self, kinds: Collection[str]) -> None:
        """Remove the artifacts of these kinds that no committed generation names. Raises StoreError, StoreCorrupt."""
        named = {ref.path for entry in self.ledger.read() for ref in entry.generation.artifacts.values()}
        for folder in self.artifact_folders():
            kind = folder.name.rpartition("-")[0]
            if kind in kinds and folder.relative_to(self.root).as_posix() not in named:
                durable.remove_folder(folder, files=self._files)

    def forget(self, name: str) -> None:
        """Remove one folder of the cache. Raises StoreError."""
        durable.remove_folder(self.cache_folder / name, files=self._files)

    def artifact(self, ref: ArtifactRef) -> Artifact:
        """Return the artifact that the ledger names, its manifest verified by the digest.

        Raises StoreCorrupt if it is missing or differs.
        """
        path = self.root / durable.check_name(ref.path, depth=2)
        artifact = load_artifact(path)
        if artifact.digest != ref.digest or artifact.id != ref.id:
            raise corrupt(
                path / MANIFEST_NAME,
                f"expected the artifact {ref.id} with digest {ref.digest}, found {artifact.id} with {artifact.digest}",
            )
        return artifact

    def artifact_folders(self, kind: str | None = None) -> list[Path]:
        """Return the folders of all artifacts, committed or not, sorted by name; with `kind`, only of that kind.

        Raises StoreError.
        """
        folders = self._visible(self.artifacts_folder)
        return folders if kind is None else [folder for folder in folders if folder.name.startswith(f"{kind}-")]

    def sweep(self) -> int:
        """Remove what killed writers left, make what they finished durable, and return the number of leftovers.

        Only the lineage's one driver may call it. Raises StoreError.
        """
        folders, swept = (self.root, self.artifacts_folder, self.work_folder, self.ledger.folder), 0
        for folder in folders:
            # Opened first: behind a link lies what is not the lineage's.
            with self.stored.open(*folder.relative_to(self.root).parts):
                swept += durable.sweep(folder, files=self._files)
        return swept

    def _visible(self, folder: Path) -> list[Path]:
        """Return what is in a folder, sorted, without writers' temporary names. Raises StoreError, StoreCorrupt."""
        with self.stored.open(folder.name) as found:
            return [folder / name for name in found.names() if not name.startswith(durable.TEMPORARY_PREFIX)]

    def _check_same(self, wanted: Header) -> None:
        found = self.header()
        changes = [*_differences(found.lineage, wanted.lineage, "lineage")]
        changes += _differences(found.identity, wanted.identity, "")
        if changes:
            raise LineageMismatch(
                f"the lineage in {self.root} grows from another recipe; changed: {'; '.join(changes)}. "
                "Change these back to go on with it, or start a new lineage with --lineage NAME"
            )


def _header(lineage: str, identity: Mapping[str, Any]) -> Header:
    return Header(lineage=lineage, identity=dict(identity), digest=digest_of(schema.hashed(identity)))


def _differences(old: Any, new: Any, path: str) -> Iterator[str]:
    """Yield `dotted.path: old -> new` for each leaf that differs; values as JSON or `(absent)`."""
    match old, new:
        case {**before}, {**after}:
            for key in sorted(before.keys() | after.keys()):
                inner = f"{path}.{key}".removeprefix(".")
                yield from _differences(before.get(key, _ABSENT), after.get(key, _ABSENT), inner)
        case [*before], [*after]:
            for index, pair in enumerate(zip_longest(before, after, fillvalue=_ABSENT)):
                yield from _differences(*pair, f"{path}[{index}]")
        case _:
            if _shown(old) != _shown(new):
                yield f"{path}: {_shown(old)} -> {_shown(new)}"


def _shown(value: Any) -> str:
    return "(absent)" if value is _ABSENT else canonical_json(value).decode()
