"""A lineage of a hostile author: every text that its records, tables and header may hold attacks terminals and pages.

rich (rich_lineage.py), its answers, prompts and reasons hostile -> every other text of its records too
"""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import lineage_factory, rich_lineage

from bootstrap.canonical import canonical_json
from bootstrap.store.ledger import NO_PREVIOUS, _hash
from bootstrap.store.tables import to_parquet

FORGED = "FORGED: every hash agrees"
EVIL = f"\x1b[31m\x1b]8;;http://evil\x07\x9b2J\u202e\u2066\x00\r\n{FORGED}\n<script>alert(1)</script>|`x`[a](javascript:b)$\\frac$"
NOT_TEXT = {"outcome", "action", "metric", "side", "path", "id", "digest", "started", "finished", "sentence", "asked"}
"""Keys of values that are no free text: enumerations, dates, folders that hashes prove."""
FIXED = re.compile("[0-9a-f]{64}|data|init|merged|teacher|voter|sampler|reference")
"""Texts that link records: hashes and roles of edges."""
LOOSE = {"recipe_digest", "suite"}
"""Hashes that nothing else repeats."""
NAMED = {"verifiers", "panel", "parts", "slices", "dropped", "versions", "environment", "flops", "tokens", "seconds"}
"""Sections whose keys are free text."""


def build_hostile(root: Path) -> None:
    """Write the lineage into the folder `root`, and the one that it was forked from beside it, with sound hashes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rich_lineage, "TEACHER", f"/models/{EVIL}")
        patch.setattr(lineage_factory, "to_parquet", lambda rows, schema: to_parquet(list(map(_hostile, rows)), schema))
        rich_lineage.build_rich(root)
    previous = NO_PREVIOUS
    for path in sorted((root / "ledger").iterdir()):
        record = json.loads(path.read_bytes())
        payload, annotations = poisoned(record["payload"]), poisoned(record["annotations"])
        changed = {"annotations": annotations, "hash": _hash(payload, previous), "payload": payload}
        path.chmod(0o644)
        path.write_bytes(canonical_json({**changed, "previous": previous}))
        previous = changed["hash"]


def poisoned(value: Any, key: str = "") -> Any:
    """Return JSON data in which every free text ends in `EVIL`."""
    match value:
        case dict():
            names = {name: f"{name}{EVIL}" if key in NAMED else name for name in value}
            return {names[name]: poisoned(inner, name if key not in NAMED else "") for name, inner in value.items()}
        case list():
            return [poisoned(inner, key) for inner in value]
        case str() if key in LOOSE or (key not in NOT_TEXT and not FIXED.fullmatch(value)):
            return f"{value}{EVIL}"
    return value


def _hostile(row: Any) -> Any:
    """Return a table's row in which every free text ends in `EVIL`."""
    texts = {name: getattr(row, name) for name in ("prompt_text", "text", "reason") if getattr(row, name, "")}
    return replace(row, **{name: f"{text}{EVIL}" for name, text in texts.items()})
