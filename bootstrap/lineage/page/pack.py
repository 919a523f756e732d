"""The graph -> the page's data: the same facts without repetition, within `LIMIT` bytes for a thousand generations.

    columns     what the page draws of every generation: key -> one value per generation
    details     the rest of a generation, in full: of the newest ones for which there is room
    edges       per generation, those of weights and models; [role, from, on the champion's path, outside model]
    data        per generation, the replayed data sets that it takes on and drops, by their place in `pools`
    why         the generations whose decisions made the champion, generation 0 first
    shares      per generation, its accuracy by level as one character each; only if some generation has no details

`data.js` takes it apart again. Column values that repeat are kept once, and rows of a table are arrays under one list
of keys. The same graph gives the same bytes. Left out: what the page shows of it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

LIMIT = 1_800_000
"""Bytes of the data up to which details are added, newest generation first; what the page draws comes before."""
TABLES = {
    "gate_tests": [
        "test",
        "levels",
        "num_prompts",
        "candidate",
        "champion",
        "gained",
        "lost",
        "p_value",
        "difference_low",
        "passed",
        "reference",
        "alpha",
        "margin",
    ],
    "accuracy": ["level", "accuracy", "low", "high", "prompts"],
    "sampled": ["level", "num_samples", "pass_at_1", "pass_at_k", "k", "majority_at_k", "entropy"],
    "samples": ["rollout", "level", "prompt", "answer", "verdict", "reward", "reason"],
    "changes": ["key", "before", "after"],
}
"""Keys of the tables' rows."""
SHARES = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
"""Characters for the shares 0, 1/63, ... 1; a level that was not evaluated is a point."""
_COLUMNS = [
    "number",
    "status",
    "stage",
    "reason",
    "compared_with",
    "parents",
    "forked_from",
    "fingerprint",
    "hash",
    "frontier",
    "generalization_margin",
    "target_levels",
    "headline",
    "gain",
    "worse",
    "on_path",
    "useful_share",
    "diagnostics",
    "findings",
    "recipe_digest",
    "code_version",
    "suite",
    "seed",
    "workers",
    "verifiers",
    "identifiers",
    "links",
    "changes",
]
_DETAILS = [
    "reason",
    "accuracy",
    "gate_tests",
    "sampled",
    "parts",
    "panel",
    "slices",
    "tokens",
    "flops",
    "seconds",
    "accounting",
    "artifacts",
]
_COUNTS = ["prompts_drawn", "rollouts", "passed", "failed", "unverifiable", "trained", "replayed"]
_SAMPLES_PART = 3
"""Answers take at most a third of the room for details."""
_REASON_CHARACTERS, _NOTABLE_TESTS, _NOTABLE_LEVELS = 400, 6, 8


def packed(graph: Mapping[str, Any], *, limit: int = LIMIT) -> dict[str, Any]:
    """Return the page's data. `limit`: bytes of its JSON text up to which details are added."""
    nodes: Sequence[Mapping[str, Any]] = graph["nodes"]
    edges, data, pools, outside = _edges(graph)
    made: dict[str, Any] = {
        "schema": graph["schema"],
        "lineage": graph["lineage"],
        "champion": graph["champion"],
        "columns": _columns([_core(node) for node in nodes]),
        "tables": TABLES,
        "suites": [{**suite, "values": _rounded(suite["values"])} for suite in graph["suites"]],
        "edges": edges,
        "data": data,
        "pools": pools,
        "outside": outside,
        "why": [decision["number"] for decision in graph["why"]],
        "shares": {},
        "details": {},
    }
    details = {node["number"]: _detail(node) for node in nodes}
    samples = {node["number"]: _rows("samples", node["samples"]) for node in nodes if node["samples"]}
    left = limit - _size(made)
    if _size(details) + _size(samples) > left:
        made["shares"] = _shares(nodes)
        left -= _size(made["shares"])
        samples = _within(left // _SAMPLES_PART, samples)
        details = _within(left - _size(samples), details)
    made["details"] = {
        # The key of the samples comes on top of what was counted; the page has room for it.
        number: {**detail, **({"samples": samples[number]} if number in samples else {})}
        for number, detail in details.items()
    }
    return made


def _core(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page draws of a generation, with the notable part of what only its details have in full."""
    levels = dict.fromkeys([node["headline"], *node["target_levels"][:_NOTABLE_LEVELS], *node["worse"]])
    accuracy = {str(level): node["accuracy"][str(level)] for level in levels if str(level) in node["accuracy"]}
    tests = [test for test in node["gate_tests"] if test["test"] == "improvement" or not test["passed"]]
    measured = node["measured"]
    return {
        **{key: node[key] for key in _COLUMNS},
        "reason": node["reason"][:_REASON_CHARACTERS],
        "accuracy": _accuracy(dict(list(accuracy.items())[:_NOTABLE_LEVELS])),
        "gate_tests": _rows("gate_tests", tests[:_NOTABLE_TESTS]),
        "num_tests": [len(node["gate_tests"]), sum(test["passed"] for test in node["gate_tests"])],
        "changes": _rows("changes", node["changes"]),
        "accounting": {key: node["accounting"][key] for key in _COUNTS},
        "tokens": {key: node["tokens"][key] for key in ("total", "useful")},
        "flops": {"total": node["flops"]["total"]},
        "seconds": {"total": node["seconds"]["total"]},
        "started": measured["started"],
        "host": measured["host"],
        "environment": measured["environment"],
    }


def _detail(node: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{key: _rounded(node[key]) for key in _DETAILS},
        "accuracy": _accuracy(node["accuracy"]),
        "gate_tests": _rows("gate_tests", node["gate_tests"]),
        "sampled": _rows("sampled", node["sampled"]),
        **{
            kind: {name: [[row[key] for key in _PART] for row in _rounded(rows)] for name, rows in node[kind].items()}
            for kind in ("parts", "panel", "slices")
        },
    }


_PART = ("level", "accuracy", "num_correct", "num_prompts")


def _accuracy(measured: Mapping[str, Mapping[str, Any]]) -> list[list[Any]]:
    return _rows("accuracy", [{"level": int(level), **row} for level, row in measured.items()])


def _rows(table: str, rows: Iterable[Mapping[str, Any]]) -> list[list[Any]]:
    return [[_rounded(row.get(key)) for key in TABLES[table]] for row in rows]


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the rows by column; a column with many repeated values as {"values": distinct ones, "of": places}."""
    made: dict[str, Any] = {}
    for key in rows[0] if rows else ():
        values = [_rounded(row[key]) for row in rows]
        texts = [json.dumps(value, sort_keys=True) for value in values]
        distinct = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        if len(distinct) * 2 <= len(texts):
            made[key] = {"values": [json.loads(text) for text in distinct], "of": [distinct[text] for text in texts]}
        else:
            made[key] = values
    return made


def _edges(graph: Mapping[str, Any]) -> tuple[list[list[Any]], list[list[Any]], list[list[Any]], list[list[Any]]]:
    """Return edges and changes of replayed data by generation, the data sets, and the models outside the lineage."""
    places = {node["number"]: place for place, node in enumerate(graph["nodes"])}
    edges: list[list[Any]] = [[] for _ in places]
    taken: list[dict[int, None]] = [{} for _ in places]
    pools: dict[tuple[int | None, str], int] = {}
    outside: dict[tuple[str, str], int] = {}
    for edge in graph["edges"]:
        at, origin = places[edge["to"]], edge["from"]
        if edge["role"] == "data":
            taken[at][pools.setdefault((origin, edge["fingerprint"]), len(pools))] = None
        elif origin is None:
            model = outside.setdefault((edge["source"], edge["fingerprint"]), len(outside))
            edges[at].append([edge["role"], None, int(edge["on_path"]), model])
        else:
            edges[at].append([edge["role"], origin, int(edge["on_path"])])
    data: list[list[Any]] = []
    before: dict[int, None] = {}
    for one in taken:
        data.append([[pool for pool in one if pool not in before], [pool for pool in before if pool not in one]])
        before = one
    return edges, data, [list(pool) for pool in pools], [list(model) for model in outside]


def _shares(nodes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return all levels, and each generation's accuracy at the first ones of them as a text."""
    levels = sorted({int(level) for node in nodes for level in node["accuracy"]})
    texts = []
    for node in nodes:
        found = (node["accuracy"].get(str(level)) for level in levels)
        text = "".join("." if one is None else SHARES[round(63 * one["accuracy"])] for one in found)
        texts.append(text.rstrip("."))
    return {"levels": levels, "texts": texts}


def _within(left: int, wanted: Mapping[int, Any]) -> dict[int, Any]:
    """Return the newest generations' values that fit into so many bytes, without a gap, in ascending order."""
    found: dict[int, Any] = {}
    for number in sorted(wanted, reverse=True):
        # Number, quotes, colon and comma come on top.
        left -= _size(wanted[number]) + len(str(number)) + 4
        if left < 0:
            break
        found[number] = wanted[number]
    return dict(sorted(found.items()))


def _size(value: Any) -> int:
    """Return the bytes of a value in the page, where three characters of markup are escaped."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return len(text) + 5 * sum(text.count(character) for character in "<>&")


def _rounded(value: Any) -> Any:
    """Return plain JSON data with five significant digits, as many as the page shows."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value
