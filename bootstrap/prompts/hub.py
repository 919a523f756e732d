"""Data sets of the Hugging Face hub, by the `datasets` library: an extra, `pip install 'bootstrap-lm[datasets]'`.

A data set is read as tables alone: `datasets` runs no code of its author. It is downloaded once into the library's own
cache. Left out: the meaning of its columns (`rows.py`).
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from bootstrap.config.data import HubData, Source
from bootstrap.prompts.readers import rows_of

REMEDY = "check hub, config, split and revision in the recipe, and the network; a private data set needs HF_TOKEN"


def load(place: HubData) -> Source:
    """Return a data set's rows. Raises ValueError, with the remedy, where it cannot be read."""
    try:
        import datasets
        from datasets.exceptions import DatasetsError
        from httpx2 import HTTPError
    except ImportError:
        raise ValueError(
            f"{place.hub} is read with the datasets library, which is not installed; "
            "pip install 'bootstrap-lm[datasets]'"
        ) from None
    if Path(place.hub).exists():
        raise ValueError(
            f"{place.hub} is a file or folder here too, which `datasets` would read instead; name it as a path, or run "
            "in another folder"
        )
    try:
        found = datasets.load_dataset(place.hub, place.config, split=place.split, revision=place.revision).with_format(
            "arrow"
        )
    # A split or configuration that is not there is a ValueError or KeyError, a lost connection an OSError or HTTPError.
    except (DatasetsError, HTTPError, OSError, ValueError, LookupError) as error:
        told = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"cannot read {place.told}: {told[0]}; {REMEDY}") from error
    table: Any = found[:]
    content = _stream(table)
    return Source(told=place.told, kind="arrow", pieces=(content,), digest=_digest(place, content, table.column_names))


def _stream(table: Any) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _digest(place: HubData, content: bytes, names: list[str]) -> str:
    """Return a hash of the rows, which does not depend on how a version of a library stores them."""
    digest = hashlib.sha256()
    source = Source(told=place.told, kind="arrow", pieces=(content,), digest="")
    for _, row in rows_of(source, wanted=names):
        digest.update(json.dumps(row, sort_keys=True, default=str).encode() + b"\n")
    return digest.hexdigest()
