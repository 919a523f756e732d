"""The settings of a generation that differ from its parent's, by key: what the record and the recipe say."""

import json
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from bootstrap.ledger_records import Generation
from bootstrap.store.lineage_store import Header

_CHARACTERS = 200
"""Longest value shown."""
_ABSENT = object()


def changes(generation: Generation, parent: Generation | None, *, header: Header | None) -> list[dict[str, str]]:
    """Return each changed key with its value before and after, as text; empty without a parent.

    `header`: the lineage's, whose recipe has the settings of stages; None leaves them out. A key that only one side has
    is empty on the other. Of a step or another setting of another `type`, only the type is told.
    """
    if parent is None:
        return []
    before, after = (_settings(one, header) for one in (parent, generation))
    return [
        {"key": key, "before": _text(one), "after": _text(other)} for key, one, other in _differences(before, after, "")
    ]


def _settings(generation: Generation, header: Header | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "target_levels": list(generation.target_levels),
        "code_version": generation.code_version,
        "workers": generation.num_workers,
        "batch_rows": generation.batch_rows,
        "seed": generation.seed,
        "verifiers": dict(generation.verifiers),
    }
    # The settings of generation 0 are a base's, and name other things than those of the generations after it.
    if header is not None and generation.number:
        found["recipe"] = dict(header.settings(generation.number))
    return found


def _differences(before: Any, after: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted key, value before, value after) of every leaf that differs."""
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        if before.get("type") != after.get("type"):
            yield f"{place}.type", before.get("type", _ABSENT), after.get("type", _ABSENT)
            return
        for key in sorted(before.keys() | after.keys()):
            inner = f"{place}.{key}" if place else str(key)
            yield from _differences(before.get(key, _ABSENT), after.get(key, _ABSENT), inner)
    elif isinstance(before, list) and isinstance(after, list) and _is_of_mappings(before) and _is_of_mappings(after):
        for index, (one, other) in enumerate(zip_longest(before, after, fillvalue=_ABSENT)):
            yield from _differences(one, other, f"{place}[{index}]")
    else:
        yield place, before, after


def _is_of_mappings(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(value, Mapping) for value in values)


def _text(value: Any) -> str:
    text = "" if value is _ABSENT else value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]}…"
