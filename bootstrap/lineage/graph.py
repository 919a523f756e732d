"""Ledger -> the lineage page: nodes and typed edges as JSON, and one self-contained HTML file that draws them.

Pure: the same ledger, recipe and samples give the same bytes. The page loads nothing and stores nothing, because MLflow
shows it in a sandboxed frame without origin; it links within itself, and to MLflow's pages where it is given their
addresses. It carries its data as JSON and writes every text as a text node, so text from a model is shown and never
interpreted. Left out: the page's appearance (`page/`), its data's form (`page/pack.py`), and reading artifacts
(`publisher.py`).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bootstrap.ledger_records import Generation, LevelReport
from bootstrap.lineage import queries
from bootstrap.lineage.page import inline
from bootstrap.lineage.page.changes import changes
from bootstrap.lineage.page.pack import packed
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import Header

SCHEMA = 3
"""Of the graph's names and of what MLflow shows; a generation that is shown under another one is published again."""
_SAMPLE_CHARACTERS = 600


def lineage(
    entries: Sequence[Entry],
    *,
    header: Header | None = None,
    samples: Mapping[int, Sequence[Mapping[str, Any]]] | None = None,
    identifiers: Mapping[int, Mapping[str, str]] | None = None,
    links: Mapping[int, Mapping[str, str]] | None = None,
) -> dict[str, Any]:
    """Return the graph as plain JSON data.

    `header`: the lineage's, for the settings that differ from a generation's parent; None leaves the recipe's out.
    `samples`: readable rollouts by generation (`samples.readable`). `identifiers`: name -> id of a generation in
    another system (MLflow), by generation; `links`: the same names -> addresses of their pages. An edge's `from` and
    `to` are generation numbers; `from` is null for a model outside the lineage; `source` is `queries.source`, `role`
    that of `ledger_records.Edge`.
    """
    path = queries.champion_path(entries)
    on_path = set(path)
    generations = [entry.generation for entry in entries]
    children = queries.children(entries)
    champion = generations[-1].champion if generations else None
    nodes = []
    for entry in entries:
        generation = entry.generation
        number = generation.number
        parent = None if generation.parent is None else generations[generation.parent]
        best = queries.headline(generation)
        node = queries.details(entry, children=children.get(number, []), is_champion=number == champion)
        node["sampled"] = [row for row in node.pop("levels") if row["pass_at_1"] is not None]
        nodes.append(
            {
                **node,
                "headline": None if best is None else best.level,
                "gain": _gain(best, parent),
                "worse": [] if parent is None else _fallen(generation.report.levels, before=parent.report.levels),
                "changes": changes(generation, parent, header=header),
                "on_path": number in on_path,
                "samples": [_shortened(sample) for sample in (samples or {}).get(number, ())],
                "identifiers": dict((identifiers or {}).get(number, {})),
                "links": dict((links or {}).get(number, {})),
            }
        )
    edges = [
        {
            "from": edge.generation,
            "source": queries.source(edge),
            "to": generation.number,
            "role": edge.role,
            "fingerprint": edge.fingerprint,
            "record": edge.record,
            "on_path": edge.role in ("init", "merged")
            and edge.generation in generation.parents
            and generation.number in on_path,
        }
        for generation in generations
        for edge in generation.edges
    ]
    return {
        "schema": SCHEMA,
        "lineage": entries[-1].generation.lineage if entries else "",
        "champion": champion,
        "path": path,
        "why": [] if champion is None else [_decision(nodes[one]) for one in queries.decided_by(entries, champion)],
        "suites": _suites(generations),
        "nodes": nodes,
        "edges": edges,
    }


def to_html(graph: Mapping[str, Any]) -> str:
    """Return the graph as one self-contained page."""
    data = json.dumps(packed(graph), sort_keys=True, separators=(",", ":"))
    # In a script element only "<" can end the element or open a comment; escaped it is the same JSON.
    data = data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    before, _, after = inline.template().partition("{{data}}")
    return before + data + after


def _decision(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a decision of the chain that made the champion."""
    facts = {key: node[key] for key in ("name", "number", "status", "reason", "frontier")}
    return {**facts, "p_value": None if node["gate"] is None else node["gate"]["p_value"]}


def _gain(best: LevelReport | None, parent: Generation | None) -> float | None:
    """Return the gain over the parent on the headline level, on the same held-out prompts; None without a parent."""
    before = None if best is None or parent is None else parent.report.level(best.level)
    return None if best is None or before is None else best.accuracy - before.accuracy


def _suites(generations: Sequence[Generation]) -> list[dict[str, Any]]:
    """Return the frozen suites: name, each generation's share of right answers (None: not measured), and `worse`.

    Levels are those of generation 0, so that a suite asks every generation alike. `worse`: the generations below their
    parent at one of the levels, beyond both 95 % intervals.
    """
    found = []
    base = generations[0].report if generations else None
    measured = {} if base is None else {"": base.levels, **base.parts}
    for name, asked in measured.items():
        levels = {row.level for row in asked}
        rows = [
            [row for row in (one.report.parts.get(name, ()) if name else one.report.levels) if row.level in levels]
            for one in generations
        ]
        complete = [one if len(one) == len(levels) else [] for one in rows]
        found.append(_suite(name or "all tasks", generations, complete))
    panels = dict.fromkeys(task for one in generations for task in one.report.panel)
    found += [
        _suite(f"panel: {task}", generations, [one.report.panel.get(task, ()) for one in generations])
        for task in panels
    ]
    return found


def _suite(name: str, generations: Sequence[Generation], rows: Sequence[Sequence[LevelReport]]) -> dict[str, Any]:
    worse = [
        one.number
        for one in generations
        if one.parent is not None and _fallen(rows[one.number], before=rows[one.parent])
    ]
    return {"name": name, "values": [queries.overall(one) if one else None for one in rows], "worse": worse}


def _fallen(rows: Sequence[LevelReport], *, before: Sequence[LevelReport]) -> list[int]:
    """Return the levels that are lower than before, beyond both intervals."""
    bounds = {row.level: row.interval.low for row in before}
    return [row.level for row in rows if row.level in bounds and row.interval.high < bounds[row.level]]


def _shortened(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Return a sample with long texts cut, so that a page of many generations stays small."""
    limit = _SAMPLE_CHARACTERS
    return {key: value if len(str(value)) <= limit else f"{value[:limit]}…" for key, value in sample.items()}
