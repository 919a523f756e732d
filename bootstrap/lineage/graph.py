"""Ledger -> the lineage page: nodes and typed edges as JSON, and one self-contained HTML file that draws them.

Pure: the same ledger and samples give the same bytes. The page loads nothing, links nowhere and stores nothing, because
MLflow shows it in a sandboxed frame without origin. It carries its data as JSON and writes every text as a text node,
so text from a model is shown and never interpreted. Left out: the page's appearance (`page/`), and reading artifacts
(`publisher.py`).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bootstrap.lineage import queries
from bootstrap.lineage.page import inline
from bootstrap.store.ledger import Entry

SCHEMA = 3
"""Of the graph's names and of what MLflow shows; a generation that is shown under another one is published again."""
_SAMPLE_CHARACTERS = 600


def lineage(
    entries: Sequence[Entry],
    *,
    samples: Mapping[int, Sequence[Mapping[str, Any]]] | None = None,
    identifiers: Mapping[int, Mapping[str, str]] | None = None,
) -> dict[str, Any]:
    """Return the graph as plain JSON data.

    `samples`: readable rollouts by generation (`samples.readable`). `identifiers`: name -> id of a generation in
    another system (MLflow), by generation. An edge's `from` and `to` are generation numbers; `from` is null for a model
    outside the lineage; `source` is `queries.source`, `role` that of `ledger_records.Edge`.
    """
    path = queries.champion_path(entries)
    nodes = []
    for entry in entries:
        number = entry.generation.number
        best = queries.headline(entry.generation)
        node = queries.show(entries, entry.generation.name)
        del node["edges"]
        node["sampled"] = [row for row in node.pop("levels") if row["pass_at_1"] is not None]
        nodes.append(
            {
                **node,
                "headline": None if best is None else best.level,
                "on_path": number in path,
                "samples": [_shortened(sample) for sample in (samples or {}).get(number, ())],
                "identifiers": dict((identifiers or {}).get(number, {})),
            }
        )
    edges = [
        {
            "from": edge.generation,
            "source": queries.source(edge),
            "to": entry.generation.number,
            "role": edge.role,
            "fingerprint": edge.fingerprint,
            "on_path": edge.role in ("init", "merged")
            and edge.generation in entry.generation.parents
            and entry.generation.number in path,
        }
        for entry in entries
        for edge in entry.generation.edges
    ]
    return {
        "schema": SCHEMA,
        "lineage": entries[-1].generation.lineage if entries else "",
        "champion": entries[-1].generation.champion if entries else None,
        "path": path,
        "why": queries.why(entries),
        "nodes": nodes,
        "edges": edges,
    }


def to_json(graph: Mapping[str, Any]) -> str:
    """Return the graph as canonical JSON text: sorted keys, ASCII."""
    return json.dumps(graph, sort_keys=True, indent=1)


def to_html(graph: Mapping[str, Any]) -> str:
    """Return the graph as one self-contained page."""
    data = json.dumps(graph, sort_keys=True, separators=(",", ":"))
    # In a script element only "<" can end the element or open a comment; escaped it is the same JSON.
    data = data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    before, _, after = inline.template().partition("{{data}}")
    return before + data + after


def _shortened(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Return a sample with long texts cut, so that a page of many generations stays small."""
    limit = _SAMPLE_CHARACTERS
    return {key: value if len(str(value)) <= limit else f"{value[:limit]}…" for key, value in sample.items()}
