"""Which generations are published: one marker file per generation and tracking store; those without one are due.

    <lineage>/outbox/<hash of tracking URI and experiment>/
        000000.json     MLflow's ids of generation 0
        head.json       the ledger's head and final comparison that the lineage's own pages show, their run, and the
                        number of generations on the lineage page

A marker is valid only together with the lineage's run that it names; a store that was emptied gets another run. When a
store moves, its database's address changes, and the folder gets another name (`places.py`). A
marker is written after its generation is published, so a crash in between publishes it again, which changes nothing.
Without the folder, everything is published again onto the same pages. Left out: publishing (`publisher.py`). Imports no
MLflow.
"""

import json
import time
from bisect import insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError, field_validator

from bootstrap.canonical import json_file, sha256
from bootstrap.errors import LineageLocked, TrackingError
from bootstrap.ledger_records import FinalComparison
from bootstrap.reading import MAX_JSON_BYTES, Folder, Root, parsed
from bootstrap.records import Record
from bootstrap.store import durable
from bootstrap.store.index import links
from bootstrap.store.index_file import Link
from bootstrap.store.ledger import Entry
from bootstrap.store.lock import lineage_lock

_FOLDER, _HEAD_NAME = "outbox", "head.json"
LOCK_SECONDS = 60.0
"""Longest wait for another process that publishes the same."""
_TEXTS = ("rollout", "prompt", "answer", "verdict", "reason")
"""Columns of a sample that hold text."""
_MOST = 2**53
"""Largest whole number up to which JavaScript has all."""


class Receipt(Record):
    """MLflow's ids of one published generation."""

    hash: str
    """Hash of the ledger's record that was published."""
    experiment_id: str
    lineage_run_id: str
    run_id: str
    model_id: str
    version: str
    """Version of the registered model, unrelated to the generation's number."""
    shown_as: int = 1
    """`graph.SCHEMA` of what was published; a marker that does not tell it is of 1."""
    samples: tuple[dict[str, Any], ...] = ()
    """Rollouts on the lineage page, kept so that drawing the page again reads no artifact. Rows that no page can show
    are left out of a marker that is read."""

    @field_validator("samples", mode="before")
    @classmethod
    def _as_shown(cls, rows: Any) -> Any:
        return [row for row in rows if _is_sample(row)] if isinstance(rows, list) else rows


class Outbox:
    """The markers of the lineage folder `root` for one tracking URI and experiment. Constructing it touches no file."""

    def __init__(self, root: Path, *, tracking_uri: str, experiment: str) -> None:
        self.folder = root / _FOLDER / _name(tracking_uri, experiment)

    def receipts(self, entries: Sequence[Entry]) -> dict[int, Receipt]:
        """Return the receipts of the published entries, by generation number. Raises StoreError.

        A marker counts as absent if it is torn or stands for another record of the same number.
        """
        return dict(self.published(entries))

    def published(
        self, entries: Sequence[Entry], *, lineage_run_id: str | None = None, shown_as: int | None = None
    ) -> "Receipts":
        """Return what `receipts` does, each marker read when it is asked for.

        A marker counts as absent, too, if it names another run of the lineage than `lineage_run_id`, or was shown under
        another schema than `shown_as` (None accepts any).
        """
        return Receipts(self, links(entries), lineage_run_id=lineage_run_id, shown_as=shown_as)

    def receipt(self, number: int) -> Receipt | None:
        """Return what the marker of a generation says; None without one, or with a torn one. Raises StoreError."""
        if (folder := self._opened()) is None:
            return None
        with folder:
            data = folder.read_if_there(self._path(number).name, most=MAX_JSON_BYTES)
        try:
            return Receipt.model_validate_json(data or b"")
        except ValidationError:
            return None

    def marked(self, generations: int) -> list[int]:
        """Return those of the first `generations` generations that have a marker, whatever it says."""
        if (folder := self._opened()) is None:
            return []
        with folder:
            names = set(folder.names())
        return [number for number in range(generations) if self._path(number).name in names]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the only publisher of this lineage to this store.

        Raises TrackingError naming the holder after `LOCK_SECONDS`, StoreError.
        """
        deadline = time.monotonic() + LOCK_SECONDS
        with ExitStack() as held:
            while True:
                try:
                    held.enter_context(lineage_lock(self.folder))
                    break
                except LineageLocked as error:
                    if time.monotonic() < deadline:
                        time.sleep(0.2)
                        continue
                    raise TrackingError(
                        f"waited {LOCK_SECONDS:g} s for another process that is publishing this lineage to MLflow "
                        f"({error.owner or 'which has not written its name'}); if it hangs, stop it"
                    ) from error
            yield

    def length(self, generations: int) -> int:
        """Return how many of the first `generations` generations have no marker.

        Cheap, because it opens no marker; an invalid marker therefore counts as a valid one.
        """
        return generations - len(self.marked(generations))

    def mark(self, number: int, receipt: Receipt) -> None:
        """Record that generation `number` is published. Raises StoreError."""
        durable.make_folder(self.folder)
        data = json_file(receipt.model_dump(mode="json"), indent=1)
        durable.write_file(self._path(number), data)

    def shows(self, entry: Entry, *, lineage_run_id: str, final: FinalComparison | None, shown_as: int) -> bool:
        """Whether the lineage's pages in this run show `entry` as the newest generation, and `final`."""
        return _head(entry, lineage_run_id, final, shown_as).items() <= self._shown().items()

    def shown(self, entries: Sequence[Entry], *, lineage_run_id: str, shown_as: int) -> int:
        """Return how many of the generations the lineage's pages in this run show; 0 if that is not known."""
        head = self._shown()
        if (head.get("lineage_run_id"), head.get("shown_as")) != (lineage_run_id, shown_as):
            return 0
        return next((link.number + 1 for link in reversed(links(entries)) if link.hash == head.get("hash")), 0)

    def drawn(self) -> int:
        """Return how many generations the published lineage page draws; 0 if that is not known."""
        drawn = self._shown().get("drawn")
        return drawn if isinstance(drawn, int) else 0

    def mark_head(
        self, entry: Entry, *, lineage_run_id: str, final: FinalComparison | None, shown_as: int, drawn: int
    ) -> None:
        """Record what the lineage's pages show: `entry` as the newest generation, `final`, and a page of `drawn` ones.

        Raises StoreError.
        """
        head = {**_head(entry, lineage_run_id, final, shown_as), "drawn": drawn}
        durable.write_file(self.folder / _HEAD_NAME, json.dumps(head).encode())

    def _shown(self) -> dict[str, Any]:
        """Return the content of `head.json`; empty where there is none, or one that nobody here has written."""
        try:
            if (folder := self._opened()) is None:
                return {}
            with folder:
                head = parsed(folder.read_if_there(_HEAD_NAME, most=MAX_JSON_BYTES) or b"")
        except ValueError:
            return {}
        return head if isinstance(head, dict) else {}

    def _opened(self) -> Folder | None:
        """Open the folder of the markers; None without any. Raises StoreError, StoreCorrupt."""
        return Root(self.folder.parent.parent).open_if_there(_FOLDER, self.folder.name)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.json"


class Receipts(Mapping[int, Receipt]):
    """The receipts of a lineage's published generations; a marker is read when it is asked for. Raises StoreError."""

    def __init__(
        self, outbox: Outbox, entries: Sequence[Link], *, lineage_run_id: str | None, shown_as: int | None
    ) -> None:
        self._outbox, self._entries = outbox, entries
        self._wanted = (lineage_run_id, shown_as)
        self._read: dict[int, Receipt | None] = {}
        self.marked = outbox.marked(len(entries))
        """The generations that have a marker, whatever it says, and those added, ascending."""

    def __getitem__(self, number: int) -> Receipt:
        if number not in self._read:
            self._read[number] = self._valid(number)
        if (found := self._read[number]) is None:
            raise KeyError(number)
        return found

    def __iter__(self) -> Iterator[int]:
        return (number for number in self.marked if number in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def add(self, number: int, receipt: Receipt) -> None:
        """Take this receipt for that of generation `number`, whatever its marker says."""
        self._read[number] = receipt
        if number not in self.marked:
            insort(self.marked, number)

    def newest(self) -> Receipt | None:
        """Return the receipt of the newest published generation; None before the first publication."""
        return next((self[number] for number in reversed(self.marked) if number in self), None)

    def _valid(self, number: int) -> Receipt | None:
        found = self._outbox.receipt(number) if 0 <= number < len(self._entries) else None
        if found is None or found.hash != self._entries[number].hash:
            return None
        run, schema = self._wanted
        return found if run in (None, found.lineage_run_id) and schema in (None, found.shown_as) else None


class ModelIds(Mapping[int, str]):
    """MLflow's model ids of published generations, by number."""

    def __init__(self, receipts: Mapping[int, Receipt]) -> None:
        self._receipts = receipts

    def __getitem__(self, number: int) -> str:
        return self._receipts[number].model_id

    def __iter__(self) -> Iterator[int]:
        return iter(self._receipts)

    def __len__(self) -> int:
        return len(self._receipts)


def rename_outboxes(store: Path, *, before: str, now: str, experiments: Iterable[str]) -> None:
    """Let the markers of a store's lineages for the tracking URI `before` be those for `now`. Raises StoreError.

    Markers for `now` that are there already stay as they are.
    """
    with durable.store_errors(store, doing="read"):
        folders = sorted(store.glob(f"*/{_FOLDER}"))
    for folder in folders:
        for experiment in experiments:
            durable.rename_folder(folder / _name(before, experiment), _name(now, experiment))


def _is_sample(row: Any) -> bool:
    """Whether a row of a marker is a rollout as pages show it: texts, and numbers that JavaScript has too."""
    return (
        isinstance(row, dict)
        and all(isinstance(row.get(name, ""), str) for name in _TEXTS)
        and all(value is None or isinstance(value, str) or _is_number(value) for value in row.values())
    )


def _is_number(value: Any) -> bool:
    # No NaN and no infinity either: neither is at most anything.
    return isinstance(value, int | float) and abs(value) <= _MOST


def _name(tracking_uri: str, experiment: str) -> str:
    return sha256(f"{tracking_uri}\n{experiment}".encode())[:16]


def _head(entry: Entry, lineage_run_id: str, final: FinalComparison | None, shown_as: int) -> dict[str, Any]:
    made = "" if final is None else sha256(final.model_dump_json().encode())
    return {"hash": entry.hash, "lineage_run_id": lineage_run_id, "final": made, "shown_as": shown_as}
