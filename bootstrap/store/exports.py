"""Which generation exported weights are: a file beside them in a model's folder.

    generation.json    {"fingerprint": of the weights beside it, "generation", "lineage", "record": the record's hash}

`bootstrap export` writes it. A lineage that starts from such a folder or learns from it keeps the record's hash with
the edge, so that `taint` finds it, whatever the folder is called. Left out: proof, which only the ledger in the same
store gives: the file may be anybody's.
"""

import re
from pathlib import Path

from bootstrap.canonical import json_file
from bootstrap.errors import StoreError
from bootstrap.reading import named_folder, parsed
from bootstrap.store.ledger import Entry

FILE = "generation.json"
_MOST_BYTES = 10_000
_HASH = re.compile(r"[0-9a-f]{64}")


def to_file(entry: Entry, *, fingerprint: str) -> bytes:
    """Return the file beside the weights of a generation; `fingerprint`: theirs, as they are exported."""
    node = entry.generation
    facts = {"fingerprint": fingerprint, "generation": node.number, "lineage": node.lineage, "record": entry.hash}
    return json_file(facts, indent=2)


def record_of(folder: Path, *, fingerprint: str) -> str | None:
    """Return the hash of the ledger record that the weights in a folder are exported from; None for other weights.

    `fingerprint`: of the weights that were read there.
    """
    try:
        with named_folder(folder) as place:
            found = parsed(place.read(FILE, most=_MOST_BYTES))
        named, record = found["fingerprint"], found["record"]
    except (StoreError, ValueError, TypeError, LookupError):
        # No such file, or another program's.
        return None
    return record if named == fingerprint and isinstance(record, str) and _HASH.fullmatch(record) else None
