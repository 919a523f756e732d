"""The settings of a generation that differ from its parent's, by key: what the record and the recipe say."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bootstrap.ledger_records import Generation
from bootstrap.store.lineage_store import Header

_CHARACTERS = 200
"""Longest value shown."""


def changes(generation: Generation, parent: Generation | None, *, header: Header | None) -> list[dict[str, str]]:
    """Return each changed key with its value before and after, as text; empty without a parent.

    `header`: the lineage's, whose recipe has the settings of stages; None leaves them out. A key that only one side has
    is empty on the other.
    """
    if parent is None:
        return []
    before, after = (_settings(one, header) for one in (parent, generation))
    keys = sorted(before.keys() | after.keys())
    return [
        {"key": key, "before": before.get(key, ""), "after": after.get(key, "")}
        for key in keys
        if before.get(key) != after.get(key)
    ]


def _settings(generation: Generation, header: Header | None) -> dict[str, str]:
    found: dict[str, Any] = {
        "target_levels": list(generation.target_levels),
        "code_version": generation.code_version,
        "workers": generation.num_workers,
        "batch_rows": generation.batch_rows,
        "seed": generation.seed,
        "verifiers": dict(generation.verifiers),
    }
    if header is not None:
        # A base's steps and a stage's are named alike, so that generation 1 is compared key by key.
        found["recipe"] = {key: value for key, value in header.settings(generation.number).items() if key != "model"}
    return {key: text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]}…" for key, text in _flat(found, "")}


def _flat(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield (dotted key, value as text) of every leaf; an empty list or mapping is a leaf."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple) and value and any(isinstance(one, Mapping | list) for one in value):
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{place}[{index}]")
    else:
        yield place, value if isinstance(value, str) else json.dumps(value, sort_keys=True)
