"""Ledger -> the lineage as one JSON document with a schema version, for other programs.

    {"format": "bootstrap lineage graph", "schema_version": 2, "lineage", "recipe_digest", "head", "champion",
     "champion_path": [number], "recipe": {...},
     "generations": [{"name", "number", "parents", ..., "record": hash}], the fields of `bootstrap show --json`
     "edges": [{"from": number or null, "source": name, "to": number, "role", "fingerprint", "record"}],
     "data_sets": [{"from": number or null, "source": name, "fingerprint", "record"}],
     "data": [[[first, last], ...]]}

`from` is null for a model outside the lineage, whose name is `source`. `data` has for each generation the data sets
that it replays, as ranges of places in `data_sets`, so that the document grows with the number of generations and not
with its square. A field that goes or changes its meaning raises
the version; a new one does not. Left out: what the lineage page shows beside this (`graph.py`).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bootstrap.ledger_records import Edge
from bootstrap.lineage import queries, replayed
from bootstrap.store.ledger import Entry

SCHEMA_VERSION = 2


def to_json(entries: Sequence[Entry], *, identity: Mapping[str, Any]) -> str:
    """Return the lineage as JSON text in ASCII, keys sorted; the same ledger gives the same text.

    `entries`: at least one; `identity`: the recipe's, from the lineage's header.
    """
    last, children = entries[-1], queries.children(entries)
    data_sets, data = replayed.data_sets(entries)
    document = {
        "format": "bootstrap lineage graph",
        "schema_version": SCHEMA_VERSION,
        "lineage": last.generation.lineage,
        "recipe_digest": last.generation.recipe_digest,
        "recipe": identity,
        "head": last.hash,
        "champion": last.generation.champion,
        "champion_path": queries.champion_path(entries),
        "generations": [
            _node(entry, children.get(number, []), is_champion=number == last.generation.champion)
            for number, entry in enumerate(entries)
        ],
        "edges": [
            {**_source(edge), "to": entry.generation.number, "role": edge.role}
            for entry in entries
            for edge in entry.generation.edges
            if edge.role != "data"
        ],
        "data_sets": [_source(edge) for edge in data_sets],
        "data": [replayed.ranges(places) for places in data],
    }
    return json.dumps(document, sort_keys=True, indent=1)


def _source(edge: Edge) -> dict[str, Any]:
    return {
        "from": edge.generation,
        "source": queries.source(edge),
        "fingerprint": edge.fingerprint,
        "record": edge.record,
    }


def _node(entry: Entry, children: Sequence[str], *, is_champion: bool) -> dict[str, Any]:
    node = queries.details(entry, children=children, is_champion=is_champion)
    # Of the pretrained model only the files beside the weights tell. Edges stand once, for the whole lineage.
    del node["pretrained"]
    return node
