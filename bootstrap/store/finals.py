"""The final comparisons that a lineage's store holds: found by the ledger record that each was made at.

Left out: making one (`stages/final.py`).
"""

from collections.abc import Sequence

from bootstrap.errors import StoreCorrupt
from bootstrap.ledger_records import FinalComparison
from bootstrap.store.artifacts import REMEDY, load_artifact
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

KIND = "final"
FILE = "final.json"


def final_of(store: LineageStore, entries: Sequence[Entry]) -> FinalComparison | None:
    """Return the latest comparison that was made of these records, None where there is none.

    Raises StoreCorrupt where a file of it is broken.
    """
    places = {entry.hash: number for number, entry in enumerate(entries)}
    found = []
    for folder in store.artifact_folders():
        if folder.name.startswith(f"{KIND}-"):
            data = load_artifact(folder).read(FILE)
            try:
                one = FinalComparison.model_validate_json(data)
            except ValueError as error:
                raise StoreCorrupt(f"{folder / FILE} is corrupt: {error}; {REMEDY}") from error
            if one.record in places:
                found.append(one)
    return max(found, key=lambda one: places[one.record], default=None)
