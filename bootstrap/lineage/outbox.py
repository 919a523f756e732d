"""Which generations are published: one marker file per generation and tracking store; those without one are due.

    <lineage>/outbox/<hash of tracking URI and experiment>/
        000000.json     MLflow's ids of generation 0
        head.json       the ledger's head and final comparison that the lineage's own pages show, and their run

A marker is valid only together with the lineage's run that it names; a store that was emptied gets another run. When a
store moves, its database's address changes, and the folder gets another name (`places.py`). A
marker is written after its generation is published, so a crash in between publishes it again, which changes nothing.
Without the folder, everything is published again onto the same pages. Left out: publishing (`publisher.py`). Imports no
MLflow.
"""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError, field_validator

from bootstrap.canonical import json_file, sha256
from bootstrap.ledger_records import FinalComparison
from bootstrap.reading import MAX_JSON_BYTES, Folder, Root, parsed
from bootstrap.records import Record
from bootstrap.store import durable
from bootstrap.store.ledger import Entry

_FOLDER, _HEAD_NAME = "outbox", "head.json"
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

    def receipts(self, entries: Sequence[Entry], *, lineage_run_id: str | None = None) -> dict[int, Receipt]:
        """Return the receipts of the published entries, by generation number. Raises StoreError.

        A marker counts as absent if it is torn, stands for another record of the same number, or names another run of
        the lineage than `lineage_run_id` (None accepts any).
        """
        found, folder = {}, self._opened()
        if folder is None:
            return {}
        with folder:
            for entry in entries:
                data = folder.read_if_there(self._path(entry.generation.number).name, most=MAX_JSON_BYTES)
                try:
                    receipt = Receipt.model_validate_json(data or b"")
                except ValidationError:
                    continue
                if receipt.hash == entry.hash and lineage_run_id in (None, receipt.lineage_run_id):
                    found[entry.generation.number] = receipt
        return found

    def length(self, generations: int) -> int:
        """Return how many of the first `generations` generations have no marker.

        Cheap, because it opens no marker; an invalid marker therefore counts as a valid one.
        """
        try:
            marked = set(os.listdir(self.folder))
        except OSError:
            marked = set()
        return sum(self._path(number).name not in marked for number in range(generations))

    def mark(self, number: int, receipt: Receipt) -> None:
        """Record that generation `number` is published. Raises StoreError."""
        durable.make_folder(self.folder)
        data = json_file(receipt.model_dump(mode="json"), indent=1)
        durable.write_file(self._path(number), data)

    def shows(self, entry: Entry, *, lineage_run_id: str, final: FinalComparison | None) -> bool:
        """Whether the lineage's pages in this run show `entry` as the newest generation, and `final`."""
        return self._shown() == _head(entry, lineage_run_id, final)

    def shown(self, entries: Sequence[Entry], *, lineage_run_id: str) -> int:
        """Return how many of the generations the lineage's pages in this run show; 0 if that is not known."""
        head = self._shown()
        if head.get("lineage_run_id") != lineage_run_id:
            return 0
        return next((entry.generation.number + 1 for entry in reversed(entries) if entry.hash == head.get("hash")), 0)

    def mark_head(self, entry: Entry, *, lineage_run_id: str, final: FinalComparison | None) -> None:
        """Record that the lineage's pages show `entry` as the newest generation, and `final`. Raises StoreError."""
        durable.write_file(self.folder / _HEAD_NAME, json.dumps(_head(entry, lineage_run_id, final)).encode())

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


def _head(entry: Entry, lineage_run_id: str, final: FinalComparison | None) -> dict[str, str]:
    made = {} if final is None else {"final": sha256(final.model_dump_json().encode())}
    return {"hash": entry.hash, "lineage_run_id": lineage_run_id, **made}
