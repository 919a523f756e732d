"""The append-only, hash-chained record of committed generations: the one source of truth.

One file per generation number, `ledger/000000.json`, created exclusively, so that each number is committed once:

    {"annotations": ..., "hash": ..., "payload": ..., "previous": ...}

`payload` is the `Generation`, under the names of its `schema_version` (`schema.py`); `hash` is the SHA-256 of payload
and `previous` as canonical JSON, and `previous` is the hash of the record before (64 zeros for generation 0).
`annotations` (seconds, dates, host) lie outside the hash: they differ from run to run and can be edited unnoticed. A
ledger cut short at the end is a valid, shorter ledger; only the head's hash kept elsewhere (MLflow) shows the loss.
Left out: the artifacts that a record names (`verify.py`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootstrap import schema
from bootstrap.canonical import canonical_json, digest_of
from bootstrap.errors import AccountingMismatch, StoreCorrupt, StoreError
from bootstrap.ledger_records import Annotations, Generation
from bootstrap.reading import MAX_JSON_BYTES, Folder, Root, parsed
from bootstrap.records import Record
from bootstrap.store import durable
from bootstrap.store.lock import require_lock

FOLDER_NAME = "ledger"
NO_PREVIOUS = "0" * 64
_REMEDY = "restore it from a copy of the store"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One committed generation."""

    generation: Generation
    annotations: Annotations
    hash: str
    previous: str


class Ledger:
    """The ledger of the lineage folder `root`."""

    def __init__(self, root: Path, *, files: durable.Files = durable.OS) -> None:
        self.folder = root / FOLDER_NAME
        self._root = Root(root)
        self._files = files

    def append(self, generation: Generation, annotations: Annotations) -> Entry:
        """Commit `generation` as the next record, durable once this returns.

        Of the existing records it opens the newest alone, so that a commit costs the same however long the ledger is;
        a run reads the whole ledger when it starts. Raises AccountingMismatch; LineageLocked if this process's lock on
        the lineage was removed or replaced; StoreError if its number is not the next one (another driver has committed
        it) or the record cannot be written; StoreCorrupt if a record is missing or the newest one is broken.
        """
        check_accounting(generation)
        require_lock(self.folder.parent)
        head = self.head()
        committed = 0 if head is None else head.generation.number + 1
        if generation.number != committed:
            raise self._not_next(generation.number, committed)
        previous = NO_PREVIOUS if head is None else head.hash
        payload = generation.model_dump(mode="json")
        entry = Entry(generation=generation, annotations=annotations, hash=_hash(payload, previous), previous=previous)
        record = {
            "annotations": annotations.model_dump(mode="json"),
            "hash": entry.hash,
            "payload": payload,
            "previous": previous,
        }
        try:
            durable.create_exclusively(self.path(generation.number), canonical_json(record), files=self._files)
        except FileExistsError as error:
            raise self._not_next(generation.number, generation.number + 1) from error
        return entry

    def read(self) -> list[Entry]:
        """Return all records in order, the chain verified.

        Raises StoreError if there is no ledger or another version of this program wrote a record; StoreCorrupt naming
        the file that is missing, unreadable or altered.
        """

        def refuse(fault: StoreCorrupt) -> None:
            raise fault

        return list(self.scan(refuse))

    def head(self) -> Entry | None:
        """Return the newest record, proven by its own hash, not by its link to the one before; None without any.

        Raises StoreError, StoreCorrupt if a record is missing or the newest one is broken.
        """
        paths = self.paths()
        return prove(paths[-1], self.content(paths[-1]), previous=None) if paths else None

    def opened(self) -> Folder:
        """Open the ledger's folder. Raises StoreError; StoreCorrupt for a link."""
        return self._root.open(FOLDER_NAME)

    def content(self, path: Path) -> bytes:
        """Return the bytes of the record at `path`. Raises StoreError; StoreCorrupt for what is no such file."""
        with self.opened() as folder:
            return folder.read(path.name, most=MAX_JSON_BYTES)

    def paths(self) -> list[Path]:
        """Return the paths of all records in order. Raises StoreError; StoreCorrupt if one is missing."""
        names, missing = self._names()
        if missing is not None:
            raise missing[1]
        return [self.folder / name for name in names]

    def scan(self, on_fault: Callable[[StoreCorrupt], None]) -> Iterator[Entry]:
        """Yield each sound record in order, and call `on_fault` with each fault. Raises StoreError as `read` does.

        After a fault, the next record's link to the one before is not checked.
        """
        names, missing = self._names()
        gap = None
        if missing is not None:
            gap, fault = missing
            on_fault(fault)
        previous: str | None = NO_PREVIOUS
        with self.opened() as folder:
            for name in names:
                if gap is not None and name > gap:
                    previous, gap = None, None
                try:
                    data = folder.read(name, most=MAX_JSON_BYTES)
                    entry = prove(self.folder / name, data, previous=previous)
                except StoreCorrupt as error:
                    on_fault(error)
                    previous = None
                else:
                    yield entry
                    previous = entry.hash

    def path(self, number: int) -> Path:
        """Return the path of the record of generation `number`."""
        return self.folder / f"{number:06d}.json"

    def _names(self) -> tuple[list[str], tuple[str, StoreCorrupt] | None]:
        """Return the names in the ledger, sorted, and the first one missing with its error. Raises StoreError."""
        with self.opened() as folder:
            found = {name for name in folder.names() if not name.startswith(durable.TEMPORARY_PREFIX)}
        numbered = [self.path(number).name for number in range(len(found))]
        gap = next((name for name in numbered if name not in found), None)
        if gap is None:
            return numbered, None
        stranger = min(found - set(numbered))
        fault = StoreCorrupt(f"{self.folder / gap} is missing, but {stranger} is there: {_REMEDY}")
        return sorted(found), (gap, fault)

    def _not_next(self, number: int, committed: int) -> StoreError:
        if number < committed:
            return StoreError(
                f"{self.path(number)} exists: another driver has committed generation {number}. Nothing is lost; "
                "start the same command again to go on after it"
            )
        return StoreError(
            f"generation {number} cannot be committed to {self.folder}: the next one is {committed}; "
            "start the same command again to go on from there"
        )


def check_accounting(generation: Generation) -> None:
    """Raise AccountingMismatch unless the accounting shows one verdict and one use for every rollout:

    rollouts = verdicts = passed + failed + unverifiable, and trained + dropped = rollouts.
    """
    accounting = generation.accounting
    judged = accounting.passed + accounting.failed + accounting.unverifiable
    used = accounting.trained + sum(accounting.dropped.values())
    if not accounting.rollouts == accounting.verdicts == judged == used:
        raise AccountingMismatch(
            f"the accounting of generation {generation.number} does not reconcile: {accounting.rollouts} rollouts; "
            f"{accounting.verdicts} verdicts; {accounting.passed} passed + {accounting.failed} failed + "
            f"{accounting.unverifiable} "
            f"unverifiable = {judged}; {accounting.trained} trained + {sum(accounting.dropped.values())} dropped = "
            f"{used}. "
            "It is not committed; please report this as a defect with the recipe"
        )


def _hash(payload: Any, previous: str) -> str:
    return digest_of({"payload": payload, "previous": previous})


def prove(path: Path, data: bytes, *, previous: str | None) -> Entry:
    """Return the record in `data`, the content of the file `path`, after checking its hash.

    `previous`: the hash of the record before; None leaves its link to that one unchecked. Raises StoreCorrupt;
    StoreError if another version of this program wrote it.
    """
    try:
        record = parsed(data)
        # First of all: another version may hash otherwise, and what it wrote is sound.
        schema.check_readable(record.get("payload") if isinstance(record, dict) else None, place=path)
        match record:
            case {"annotations": _, "hash": recorded, "payload": payload, "previous": link, **others} if not others:
                computed = _hash(payload, link)
            case _:
                raise ValueError("its keys are not annotations, hash, payload and previous")
        if computed != recorded:
            raise ValueError(f"expected the hash {computed} of its content, found {recorded}")
        if previous not in (None, link):
            raise ValueError(f"expected the previous record's hash {previous}, found {link}")
        entry = _entry(record)
        if path.name != f"{entry.generation.number:06d}.json":
            raise ValueError(f"it holds generation {entry.generation.number}")
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        # A stranger's record may have any form below a right hash.
        raise StoreCorrupt(f"{path} is corrupt: {schema.in_words(error)}; {_REMEDY}") from error
    return entry


def reread(data: bytes) -> Entry:
    """Return the record in `data`, whose bytes `prove` has accepted before: nothing is hashed, and it is quick."""
    try:
        stored = _Stored.model_validate_json(data)
    except ValueError:
        # Of an earlier schema.
        return _entry(parsed(data))
    return Entry(generation=stored.payload, annotations=stored.annotations, hash=stored.hash, previous=stored.previous)


def outline(entry: Entry) -> bytes:
    """Return a record for `reread`, under the names of today and without its data edges (`store/index.py` says why)."""
    edges = tuple(edge for edge in entry.generation.edges if edge.role != "data")
    stored = _Stored(
        annotations=entry.annotations,
        hash=entry.hash,
        payload=entry.generation.model_copy(update={"edges": edges}),
        previous=entry.previous,
    )
    return stored.model_dump_json().encode()


class _Stored(Record):
    """A record's file under the names of today."""

    annotations: Annotations
    hash: str
    payload: Generation
    previous: str


def _entry(record: Mapping[str, Any]) -> Entry:
    """Return a record's content. Raises ValueError."""
    payload = record["payload"]
    return Entry(
        generation=Generation.model_validate(schema.generation(payload)),
        annotations=Annotations.model_validate(schema.annotations(record["annotations"], payload=payload)),
        hash=record["hash"],
        previous=record["previous"],
    )
