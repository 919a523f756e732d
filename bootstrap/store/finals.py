"""Final comparisons in a lineage's store, each found by the ledger record that it was made at.

Left out: making one (`stages/final.py`).
"""

from collections.abc import Sequence

from bootstrap.ledger_records import FinalComparison
from bootstrap.schema import in_words
from bootstrap.store.artifacts import corrupt, load_artifact
from bootstrap.store.index import links
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

KIND = "final"
FILE = "final.json"


def final_of(store: LineageStore, entries: Sequence[Entry]) -> FinalComparison | None:
    """Return the latest final comparison made at one of these records; None without one.

    Raises StoreCorrupt if a file of a comparison is broken.
    """
    places = {link.hash: link.number for link in links(entries)}
    found = []
    for folder in store.artifact_folders(KIND):
        artifact = load_artifact(folder)
        try:
            one = FinalComparison.model_validate(artifact.json(FILE))
        except (KeyError, ValueError) as error:
            raise corrupt(folder / FILE, in_words(error)) from error
        if one.record in places:
            found.append(one)
    return max(found, key=lambda one: places[one.record], default=None)
