"""What is committed but not yet shown: one marker file per generation published to one tracking store.

    <lineage>/outbox/<hash of tracking URI and experiment>/
        000000.json     the ids MLflow gave it
        head.json       the ledger's head and final comparison that the lineage's own pages show, and their run

A marker counts only beside the lineage's run that it names, which is another in a store that was emptied. A marker is
written after its generation is published, so a crash in between publishes it again, which changes nothing.
Markers are no truth of their own: delete the folder, and everything is published anew onto the same pages. Imports no
MLflow; what publishing means is `publisher.py`'s.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bootstrap.canonical import json_file, sha256
from bootstrap.ledger_records import FinalComparison
from bootstrap.records import Record
from bootstrap.store import durable
from bootstrap.store.ledger import Entry

_HEAD_NAME = "head.json"


class Receipt(Record):
    """What MLflow calls one published generation."""

    hash: str
    """Hash of the ledger's record that was published."""
    experiment_id: str
    lineage_run_id: str
    run_id: str
    model_id: str
    version: str
    """Version of the registered model; it says nothing about the generation's number."""
    samples: tuple[dict[str, Any], ...] = ()
    """Rollouts shown on the lineage page, kept so that drawing the page again does not read every artifact again."""


class Outbox:
    """The markers of the lineage folder `root` for one tracking URI and experiment. Making it touches nothing."""

    def __init__(self, root: Path, *, tracking_uri: str, experiment: str) -> None:
        self.folder = Path(root) / "outbox" / sha256(f"{tracking_uri}\n{experiment}".encode())[:16]

    def receipts(self, entries: Sequence[Entry], *, lineage_run_id: str | None = None) -> dict[int, Receipt]:
        """Return the receipts of the entries that are published, by generation number.

        A marker that is torn, or that stands for another record of the same number, counts as absent. So does one of
        another lineage's run than `lineage_run_id`; None takes those of any.
        """
        found = {}
        for entry in entries:
            path = self._path(entry.generation.number)
            try:
                with durable.store_errors(path, doing="read"):
                    receipt = Receipt.model_validate_json(path.read_bytes()) if path.exists() else None
            except ValidationError:
                receipt = None
            if receipt is None or lineage_run_id not in (None, receipt.lineage_run_id):
                continue
            if receipt.hash == entry.hash:
                found[entry.generation.number] = receipt
        return found

    def length(self, generations: int) -> int:
        """Return how many of the first so many generations have no marker.

        It opens no marker, so it may be asked often; a marker that no longer counts passes for one that does.
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
        """Whether the pages about the whole lineage, those of this run, show `entry` as its newest, and `final`."""
        path = self.folder / _HEAD_NAME
        try:
            with durable.store_errors(path, doing="read"):
                return path.exists() and json.loads(path.read_bytes()) == _head(entry, lineage_run_id, final)
        except ValueError:
            return False

    def mark_head(self, entry: Entry, *, lineage_run_id: str, final: FinalComparison | None) -> None:
        """Record that the pages about the whole lineage show `entry` as its newest, and `final`. Raises StoreError."""
        durable.write_file(self.folder / _HEAD_NAME, json.dumps(_head(entry, lineage_run_id, final)).encode())

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.json"


def _head(entry: Entry, lineage_run_id: str, final: FinalComparison | None) -> dict[str, str]:
    made = {} if final is None else {"final": sha256(final.model_dump_json().encode())}
    return {"hash": entry.hash, "lineage_run_id": lineage_run_id, **made}
