"""The settings of a generation that differ from its parent's, by key: what the record and the recipe say."""

import json
from collections.abc import Iterator
from typing import Any

from bootstrap.ledger_records import Generation
from bootstrap.lineage.questions.settings import Change, settings_of
from bootstrap.lineage.questions.settings import changes as differences
from bootstrap.store.lineage_store import Header

_CHARACTERS = 200
"""Longest value shown."""


def changes(generation: Generation, parent: Generation | None, *, header: Header | None) -> list[dict[str, str]]:
    """Return each changed key with its value before and after, as text; empty without a parent.

    `header`: the lineage's, whose recipe has the settings of stages; without it only a stage's name is known. A key
    that only one side has is empty on the other. Of a step or another setting of another `type`, only the type is told.
    """
    if parent is None:
        return []
    found = list(differences(_settings(parent, header), _settings(generation, header)))
    return [{"key": one.name, "before": _text(one.a), "after": _text(one.b)} for one in _outermost(found)]


def _settings(generation: Generation, header: Header | None) -> dict[str, Any]:
    return {**settings_of(generation, header), "verifiers": dict(generation.verifiers)}


def _outermost(found: list[Change]) -> Iterator[Change]:
    """Yield the changes without those inside a section whose type differs, since all of its settings do."""
    types = [one.name for one in found if one.name.endswith(".type")]
    for one in found:
        if not any(one.name != name and one.name.startswith(name.removesuffix("type")) for name in types):
            yield one


def _text(value: str) -> str:
    """Return a setting's JSON text as people read it: a text without its quotes, and not too long."""
    text = json.loads(value) if value.startswith('"') else value
    return text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]}…"
