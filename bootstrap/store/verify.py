"""Recompute every hash of a lineage and report each disagreement. Reads only; needs no lock.

- header: its digest
- ledger: numbers, hashes, chain
- each generation: accounting; edges (a fork's also against its origin's ledger); weights' fingerprint
- each artifact that a record names, each final comparison: manifest against the record, files against the manifest

Artifacts that no record names are listed, not reported as problems: a run may be about to commit them. So are weights
that `bootstrap gc` has freed, whose manifests are checked; without its mark a missing file is lost. Left out:
annotations, which lie outside the hash, and whether the same work would give the same result again.
"""

from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath

from bootstrap.errors import AccountingMismatch, StoreCorrupt, StoreError
from bootstrap.ids import ForeignGeneration
from bootstrap.ledger_records import Edge, FinalComparison, Generation
from bootstrap.records import Record
from bootstrap.schema import in_words
from bootstrap.store.artifacts import MANIFEST_NAME, Artifact, load_artifact
from bootstrap.store.finals import FILE, KIND
from bootstrap.store.fingerprint import (
    ADAPTER_BASE,
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    MODEL_WEIGHTS,
    fingerprint_adapter,
    fingerprint_file,
    named_base,
)
from bootstrap.store.ledger import check_accounting
from bootstrap.store.lineage_store import Header, LineageStore

WEIGHTS_ROLE = "weights"
BASE_ROLE = "base"


class IntegrityProblem(Record):
    """One disagreement."""

    path: str
    message: str


class VerifyReport(Record):
    """The result of `verify`."""

    root: str
    problems: tuple[IntegrityProblem, ...]
    unproven: tuple[str, ...]
    """Sentences on what could not be checked, because a fork's origin is not in this store."""
    unreferenced: tuple[str, ...]
    """Artifact folders, relative to the root, that no record names."""
    freed: tuple[str, ...] = ()
    """Artifact folders, relative to the root, whose weights were freed."""
    num_records: int
    """Records whose hash and place in the chain are right."""
    num_artifacts: int
    num_files: int
    """Files of committed artifacts, manifests included."""
    num_bytes: int

    @property
    def is_clean(self) -> bool:
        return not self.problems


def verify(root: Path) -> VerifyReport:
    """Recompute every hash of the lineage in the folder `root`; every disagreement is a problem in the report.

    Raises StoreError if there is no lineage or it cannot be read at all.
    """
    return _Verification(LineageStore(root)).run()


class _Verification:
    """The findings so far. Each artifact is read once, however many generations name it."""

    def __init__(self, store: LineageStore) -> None:
        self.store = store
        self.problems: list[IntegrityProblem] = []
        self.unproven: list[str] = []
        self.fingerprints: dict[int, str] = {}
        """By number of each generation read so far."""
        self.seen: dict[str, Artifact | None] = {}
        """By reference; None for a broken one."""
        self.bases: dict[Path, str] = {}
        """Fingerprint of each base model under an adapter, by its artifact's folder."""
        self.referenced: set[str] = set()
        self.freed: set[str] = set()
        self.num_records = self.num_files = self.num_bytes = 0

    def run(self) -> VerifyReport:
        header, hashes = self._header(), set[str]()
        try:
            for entry in self.store.ledger.scan(lambda fault: self._problem(self.store.ledger.folder, fault)):
                self.num_records += 1
                hashes.add(entry.hash)
                self._generation(entry.generation, header)
        except StoreCorrupt as error:
            self._problem(self.store.ledger.folder, error)
        root = self.store.root
        try:
            found = self.store.artifact_folders()
        except StoreCorrupt as error:
            self._problem(self.store.artifacts_folder, error)
            found = []
        folders = [path.relative_to(root).as_posix() for path in found]
        for folder in found:
            if folder.name.startswith(f"{KIND}-"):
                self._final(folder, hashes)
        return VerifyReport(
            root=str(root),
            problems=tuple(self.problems),
            unproven=tuple(self.unproven),
            unreferenced=tuple(folder for folder in folders if folder not in self.referenced),
            freed=tuple(sorted(self.freed)),
            num_records=self.num_records,
            num_artifacts=len(self.seen),
            num_files=self.num_files,
            num_bytes=self.num_bytes,
        )

    def _problem(self, path: Path, message: object) -> None:
        # What several checks meet is one problem.
        if all(str(message) != problem.message for problem in self.problems):
            self.problems.append(IntegrityProblem(path=str(path), message=str(message)))

    def _header(self) -> Header | None:
        try:
            return self.store.header()
        except StoreCorrupt as error:
            self._problem(self.store.root, error)
            return None

    def _generation(self, generation: Generation, header: Header | None) -> None:
        record = self.store.ledger.path(generation.number)
        self.fingerprints[generation.number] = generation.fingerprint
        try:
            check_accounting(generation)
        except AccountingMismatch as error:
            self._problem(record, error)
        if header is not None and (generation.lineage, generation.recipe_digest) != (header.lineage, header.digest):
            self._problem(
                record,
                f"the record belongs to lineage {generation.lineage} with recipe {generation.recipe_digest}, "
                f"the folder to {header.lineage} with {header.digest}",
            )
        if not 0 <= generation.champion <= generation.number:
            self._problem(record, f"its champion is generation {generation.champion}, which is not earlier")
        for edge in generation.edges:
            if edge.generation is None:
                self._origin(record, edge)
            elif not 0 <= edge.generation < generation.number:
                self._problem(record, f"its {edge.role} edge names generation {edge.generation}, which is not earlier")
            elif edge.role != "data" and edge.fingerprint != (
                found := self.fingerprints.get(edge.generation, edge.fingerprint)
            ):
                self._problem(
                    record,
                    f"its {edge.role} edge expects the fingerprint {edge.fingerprint} of generation "
                    f"{edge.generation}, found {found}",
                )
        artifacts = {role: self._artifact(generation, role) for role in sorted(generation.artifacts)}
        if WEIGHTS_ROLE not in artifacts:
            self._problem(record, f"the record names no {WEIGHTS_ROLE}")
        elif (weights := artifacts[WEIGHTS_ROLE]) is not None:
            self._weights(weights, generation, base=artifacts.get(BASE_ROLE))

    def _origin(self, record: Path, edge: Edge) -> None:
        """Check an edge from a generation of another lineage against that lineage's ledger, if it is in this store.

        Other models outside the lineage have no record to check against.
        """
        if edge.record is None or edge.external is None:
            return
        named = ForeignGeneration.parse(edge.external)
        origin = None if named is None else LineageStore(self.store.root.parent / named.lineage)
        if named is None or origin is None or not _is_readable(origin):
            self.unproven.append(f"{edge.external} is not in this store, so the origin of the weights is unproven")
            return
        try:
            found = next((e for e in origin.ledger.scan(lambda _: None) if e.generation.number == named.number), None)
        except StoreError as error:
            self._problem(record, error)
            return
        there = None if found is None else (found.hash, found.generation.fingerprint)
        if there != (edge.record, edge.fingerprint):
            self._problem(
                record,
                f"its {edge.role} edge expects {edge.external} with the record {edge.record} and the fingerprint "
                f"{edge.fingerprint}, found {'no such record' if there is None else ' and '.join(there)}",
            )

    def _artifact(self, generation: Generation, role: str) -> Artifact | None:
        """Return the artifact if every file is intact, else None; each fault is reported once."""
        ref = generation.artifacts[role]
        self.referenced.add(ref.path)
        key = ref.model_dump_json()
        if key not in self.seen:
            self.seen[key] = self._intact(self.store.root / ref.path, lambda: self.store.artifact(ref))
        return self.seen[key]

    def _final(self, folder: Path, hashes: Collection[str]) -> None:
        """Check a final comparison: it is made after the last record, so no record names it."""
        ref = folder.relative_to(self.store.root).as_posix()
        self.referenced.add(ref)
        artifact = self.seen[ref] = self._intact(folder, lambda: load_artifact(folder))
        if artifact is None:
            return
        try:
            report = FinalComparison.model_validate(artifact.json(FILE))
        except StoreError as error:
            self._problem(folder, error)
        except (KeyError, ValueError) as error:
            self._problem(folder, in_words(error))
        else:
            if report.record not in hashes:
                self._problem(folder, f"it is about the ledger record {report.record}, which is not in this lineage")

    def _intact(self, folder: Path, load: Callable[[], Artifact]) -> Artifact | None:
        """Return the artifact in a folder after reading every file; None if one is broken."""
        try:
            artifact = load()
        except StoreError as error:
            self._problem(folder, error)
            return None
        num_problems = len(self.problems)
        gone = artifact.freed.files if artifact.freed is not None else ()
        if gone:
            self.freed.add(folder.relative_to(self.store.root).as_posix())
        self.num_files += 1 + len(artifact.files) - len(gone)
        with artifact.opened() as found:
            self.num_bytes += found.size(MANIFEST_NAME) or 0
        for name in sorted(set(artifact.files) - set(gone)):
            try:
                self.num_bytes += artifact.check(name)
            except StoreError as error:
                self._problem(folder / name, error)
        return artifact if len(self.problems) == num_problems else None

    def _weights(self, artifact: Artifact, generation: Generation, *, base: Artifact | None) -> None:
        """Check the weights' fingerprint, and for an adapter that of its base. Freed weights have none to check."""
        if artifact.freed is not None:
            return
        kinds = (ADAPTER_WEIGHTS, MODEL_WEIGHTS)
        name = next((name for name in sorted(artifact.files) if PurePosixPath(name).name in kinds), None)
        if name is None:
            self._problem(artifact.path, f"the weights hold no {MODEL_WEIGHTS} and no {ADAPTER_WEIGHTS}")
            return
        try:
            names = {PurePosixPath(name).name: name for name in sorted(artifact.files)}
            if ADAPTER_WEIGHTS in names:
                needed = named_base(artifact.read(names[ADAPTER_BASE]))
                weights = _fingerprint(artifact, names[ADAPTER_WEIGHTS])
                found = fingerprint_adapter(weights, needed, artifact.read(names[ADAPTER_CONFIG]))
                self._check_base(artifact, base, needed)
            else:
                found = _fingerprint(artifact, names[MODEL_WEIGHTS])
        except StoreError as error:
            self._problem(artifact.path / name, error)
            return
        except KeyError as error:
            self._problem(artifact.path, f"the weights hold no {error.args[0]}")
            return
        if found != generation.fingerprint:
            self._problem(
                artifact.path / name,
                f"{artifact.path / name} has the fingerprint {found}, generation {generation.number} records "
                f"{generation.fingerprint}; restore it from a copy of the store",
            )

    def _check_base(self, artifact: Artifact, base: Artifact | None, needed: str) -> None:
        if base is None:
            self._problem(
                artifact.path, f"the adapter needs the base weights {needed}, and no sound {BASE_ROLE} exists"
            )
            return
        if base.freed is not None:
            self._problem(artifact.path, f"the adapter needs the base weights {needed}, which were freed")
            return
        if base.path not in self.bases:
            self.bases[base.path] = _fingerprint(base, MODEL_WEIGHTS)
        if self.bases[base.path] != needed:
            self._problem(
                base.path,
                f"{base.path} has the fingerprint {self.bases[base.path]}, the adapter in {artifact.path} needs "
                f"{needed}; restore it from a copy of the store",
            )


def _fingerprint(artifact: Artifact, name: str) -> str:
    """Return the fingerprint of weights without holding them in memory. Raises StoreError; KeyError without them."""
    if name not in artifact.files:
        raise KeyError(name)
    with artifact.opened() as folder, folder.file(name) as file:
        return fingerprint_file(file)


def _is_readable(origin: LineageStore) -> bool:
    """Whether a fork's origin is in this store; a link or a broken folder of its name is not."""
    try:
        return origin.exists
    except StoreError:
        return False
