"""Recompute every hash of a lineage and say what does not agree. Reads only; needs no lock.

Checked: the header's digest; the ledger's numbers, hashes and chain; for each committed generation its accounting, its
edges (a fork's also against the ledger of the lineage it comes from), each artifact's manifest against the recorded
digest and each file against the manifest, and the weights' fingerprint; each final comparison, its files against the
manifest and the record that it is about. Artifacts that no record names are listed, not
blamed: a run may be on its way to commit them. Left out: annotations, which lie outside the hash, and whether the work
would come out the same if done again.
"""

from collections.abc import Collection
from pathlib import Path, PurePosixPath

from bootstrap.errors import AccountingMismatch, StoreCorrupt, StoreError
from bootstrap.ids import ForeignGeneration
from bootstrap.ledger_records import ArtifactRef, Edge, FinalComparison, Generation
from bootstrap.records import Record
from bootstrap.store.artifacts import MANIFEST_NAME, Artifact, load_artifact
from bootstrap.store.finals import FILE, KIND
from bootstrap.store.fingerprint import ADAPTER_WEIGHTS, MODEL_WEIGHTS, base_fingerprint, fingerprint_model
from bootstrap.store.ledger import check_accounting
from bootstrap.store.lineage_store import Header, LineageStore

WEIGHTS_ROLE = "weights"
BASE_ROLE = "base"


class IntegrityProblem(Record):
    """One thing that does not agree."""

    path: str
    message: str


class VerifyReport(Record):
    """What was checked and what was found."""

    root: str
    problems: tuple[IntegrityProblem, ...]
    unproven: tuple[str, ...]
    """What could not be checked, because the lineage that a fork comes from is elsewhere."""
    unreferenced: tuple[str, ...]
    """Artifact folders, relative to the root, that no committed generation names."""
    num_records: int
    """Records whose hash and place in the chain hold."""
    num_artifacts: int
    num_files: int
    """Files of committed artifacts, manifests included."""
    num_bytes: int

    @property
    def is_clean(self) -> bool:
        return not self.problems


def verify(root: Path) -> VerifyReport:
    """Recompute every hash of the lineage in the folder `root`.

    Raises StoreError if there is no lineage or it cannot be read at all; every disagreement is a problem in the report.
    """
    return _Verification(LineageStore(root)).run()


class _Verification:
    """The findings so far. Each artifact is read once, however many generations name it."""

    def __init__(self, store: LineageStore) -> None:
        self.store = store
        self.problems: list[IntegrityProblem] = []
        self.fingerprints: dict[int, str] = {}
        self.seen: dict[str, Artifact | None] = {}
        self.bases: dict[Path, str] = {}
        self.unproven: list[str] = []
        self.num_records = self.num_files = self.num_bytes = 0
        self.referenced: set[str] = set()

    def run(self) -> VerifyReport:
        header, hashes = self._header(), set[str]()
        for result in self.store.ledger.scan():
            if isinstance(result, StoreCorrupt):
                self._problem(self.store.ledger.folder, result)
            else:
                self.num_records += 1
                hashes.add(result.hash)
                self._generation(result.generation, header)
        for folder in self.store.artifact_folders():
            if folder.name.startswith(f"{KIND}-"):
                self._final(folder, hashes)
        root = self.store.root
        folders = [path.relative_to(root).as_posix() for path in self.store.artifact_folders()]
        return VerifyReport(
            root=str(root),
            problems=tuple(self.problems),
            unproven=tuple(self.unproven),
            unreferenced=tuple(folder for folder in folders if folder not in self.referenced),
            num_records=self.num_records,
            num_artifacts=len(self.seen),
            num_files=self.num_files,
            num_bytes=self.num_bytes,
        )

    def _problem(self, path: Path, message: object) -> None:
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
        for edge in generation.edges:
            if edge.generation is None:
                # A model outside the lineage: its weights are not in this folder.
                self._origin(record, edge)
                continue
            found = self.fingerprints.get(edge.generation)
            if edge.generation >= generation.number:
                self._problem(record, f"its {edge.role} edge names generation {edge.generation}, which is not earlier")
            elif edge.role != "data" and found not in (None, edge.fingerprint):
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
        """Check that a generation of another lineage is what the edge says, if that lineage is in the same store."""
        if edge.record is None or edge.external is None:
            return
        named = ForeignGeneration.parse(edge.external)
        origin = LineageStore(self.store.root.parent / named.lineage) if named is not None else None
        if named is None or origin is None or not origin.exists:
            self.unproven.append(f"{edge.external} is not in this store, so where its weights come from stays unproven")
            return
        records = [result for result in origin.ledger.scan() if not isinstance(result, StoreCorrupt)]
        found = next((entry for entry in records if entry.generation.number == named.number), None)
        there = None if found is None else (found.hash, found.generation.fingerprint)
        if there != (edge.record, edge.fingerprint):
            self._problem(
                record,
                f"its {edge.role} edge expects {edge.external} with the record {edge.record} and the fingerprint "
                f"{edge.fingerprint}, found {'no such record' if there is None else ' and '.join(there)}",
            )

    def _artifact(self, generation: Generation, role: str) -> Artifact | None:
        """Return the artifact if every file agrees with it; what does not is noted once."""
        ref = generation.artifacts[role]
        self.referenced.add(ref.path)
        key = ref.model_dump_json()
        if key not in self.seen:
            self.seen[key] = self._read(ref)
        return self.seen[key]

    def _read(self, ref: ArtifactRef) -> Artifact | None:
        path = self.store.root / ref.path
        try:
            artifact = self.store.artifact(ref)
        except StoreError as error:
            self._problem(path, error)
            return None
        num_problems = len(self.problems)
        self.num_files += 1
        self.num_bytes += (path / MANIFEST_NAME).stat().st_size
        for name in sorted(artifact.files):
            self.num_files += 1
            try:
                self.num_bytes += len(artifact.read(name))
            except StoreError as error:
                self._problem(path / name, error)
        return artifact if len(self.problems) == num_problems else None

    def _final(self, folder: Path, hashes: Collection[str]) -> None:
        """Check a final comparison, which is made after the last record and so stands in none."""
        ref = folder.relative_to(self.store.root).as_posix()
        self.referenced.add(ref)
        try:
            artifact = load_artifact(folder)
            self.seen[ref] = artifact
            self.num_bytes += sum(len(artifact.read(name)) for name in sorted(artifact.files))
            self.num_files += 1 + len(artifact.files)
            self.num_bytes += (folder / MANIFEST_NAME).stat().st_size
            report = FinalComparison.model_validate_json(artifact.read(FILE))
        except (StoreError, ValueError) as error:
            self._problem(folder, error)
            return
        if report.record not in hashes:
            self._problem(folder, f"it is about the ledger record {report.record}, which is not in this lineage")

    def _weights(self, artifact: Artifact, generation: Generation, *, base: Artifact | None) -> None:
        """Check the fingerprint; an adapter's also names that of the whole model under it."""
        kinds = (ADAPTER_WEIGHTS, MODEL_WEIGHTS)
        name = next((name for name in sorted(artifact.files) if PurePosixPath(name).name in kinds), None)
        if name is None:
            self._problem(artifact.path, f"the weights hold no {MODEL_WEIGHTS} and no {ADAPTER_WEIGHTS}")
            return
        try:
            files = {PurePosixPath(name).name: data for name, data in artifact.read_all().items()}
            found = fingerprint_model(files)
            needed = base_fingerprint(files)
            if needed is not None:
                self._check_base(artifact, base, needed)
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
            self._problem(artifact.path, f"the adapter rests upon weights {needed}, and no sound {BASE_ROLE} is there")
            return
        if base.path not in self.bases:
            self.bases[base.path] = fingerprint_model({MODEL_WEIGHTS: base.read(MODEL_WEIGHTS)})
        if self.bases[base.path] != needed:
            self._problem(
                base.path,
                f"{base.path} has the fingerprint {self.bases[base.path]}, the adapter in {artifact.path} rests upon "
                f"{needed}; restore it from a copy of the store",
            )
