"""The append-only, hash-chained record of committed generations: the one source of truth.

One file per generation number, `ledger/000000.json`, created exclusively, so that each number is committed once:

    {"annotations": ..., "hash": ..., "payload": ..., "previous": ...}

`payload` is the `Generation`; `hash` is the SHA-256 of payload and `previous` as canonical JSON, and `previous` is the
hash of the record before (64 zeros for generation 0). `annotations` (seconds, dates, host) lie outside the hash: they
differ from run to run and can be edited unnoticed. A ledger cut short at the end is a valid, shorter ledger; what
shows the loss is the head's hash kept elsewhere (MLflow). Left out: the artifacts a record names (`verify.py`).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootstrap.canonical import canonical_json, digest_of
from bootstrap.errors import AccountingMismatch, StoreCorrupt, StoreError
from bootstrap.ledger_records import Annotations, Generation
from bootstrap.store import durable

FOLDER_NAME = "ledger"
NO_PREVIOUS = "0" * 64
_KEYS = {"annotations", "hash", "payload", "previous"}


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
        self.folder = Path(root) / FOLDER_NAME
        self._files = files

    def append(self, generation: Generation, annotations: Annotations) -> Entry:
        """Commit `generation` as the next record, durable once this returns.

        Raises AccountingMismatch; StoreError if its number is not the next one (another driver has committed it) or the
        record cannot be written; StoreCorrupt if the ledger so far is broken.
        """
        check_accounting(generation)
        entries = self.read()
        if generation.number != len(entries):
            raise self._not_next(generation.number, len(entries))
        previous = entries[-1].hash if entries else NO_PREVIOUS
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

        Raises StoreError if there is no ledger; StoreCorrupt naming the file that is missing, unreadable or differs.
        """
        entries = []
        for result in self.scan():
            if isinstance(result, StoreCorrupt):
                raise result
            entries.append(result)
        return entries

    def scan(self) -> Iterator[Entry | StoreCorrupt]:
        """Yield each record, or what is wrong with it, going on after the first fault. Raises StoreError as `read`."""
        with durable.store_errors(self.folder, doing="read"):
            found = {path.name for path in self.folder.iterdir() if not durable.is_temporary(path)}
        numbered = [self.path(number).name for number in range(len(found))]
        gap = next((name for name in numbered if name not in found), None)
        if gap is not None:
            stranger = min(found - set(numbered))
            yield StoreCorrupt(
                f"{self.folder / gap} is missing, but {stranger} is there: restore it from a copy of the store"
            )
        previous: str | None = NO_PREVIOUS
        for name in sorted(found):
            if gap is not None and name > gap:
                previous, gap = None, None
            try:
                entry = _load(self.folder / name, previous)
            except StoreCorrupt as error:
                yield error
                previous = None
            else:
                yield entry
                previous = entry.hash

    def path(self, number: int) -> Path:
        """Return where the record of generation `number` lies."""
        return self.folder / f"{number:06d}.json"

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
    """Raise AccountingMismatch unless every rollout has one verdict and one use.

    rollouts = verdicts = passed + failed + unverifiable, and trained + dropped = rollouts.
    """
    accounting = generation.accounting
    judged = accounting.passed + accounting.failed + accounting.unverifiable
    used = accounting.trained + sum(accounting.dropped.values())
    if not accounting.rollouts == accounting.verdicts == judged == used:
        raise AccountingMismatch(
            f"the accounting of generation {generation.number} does not reconcile: {accounting.rollouts} rollouts; "
            f"{accounting.verdicts} "
            f"verdicts; {accounting.passed} passed + {accounting.failed} failed + {accounting.unverifiable} "
            f"unverifiable = {judged}; "
            f"{accounting.trained} trained + {sum(accounting.dropped.values())} dropped = {used}. It is not "
            f"committed; please "
            "report this as a defect with the recipe"
        )


def _hash(payload: Any, previous: str) -> str:
    return digest_of({"payload": payload, "previous": previous})


def _load(path: Path, previous: str | None) -> Entry:
    """Read and verify one record; `previous` None leaves its link to the one before unchecked."""
    with durable.store_errors(path, doing="read"):
        data = path.read_bytes()
    try:
        record = json.loads(data)
        if not isinstance(record, dict) or record.keys() != _KEYS:
            raise ValueError(f"its keys are not {sorted(_KEYS)}")
        computed = _hash(record["payload"], record["previous"])
        if computed != record["hash"]:
            raise ValueError(f"expected the hash {computed} of its content, found {record['hash']}")
        if previous not in (None, record["previous"]):
            raise ValueError(f"expected the previous record's hash {previous}, found {record['previous']}")
        generation = Generation.model_validate(record["payload"])
        annotations = Annotations.model_validate(record["annotations"])
        if path.name != f"{generation.number:06d}.json":
            raise ValueError(f"it holds generation {generation.number}")
    except ValueError as error:
        raise StoreCorrupt(f"{path} is corrupt: {error}; restore it from a copy of the store") from error
    return Entry(generation=generation, annotations=annotations, hash=computed, previous=record["previous"])
