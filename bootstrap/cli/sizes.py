"""Sizes of weights on disk beside what the ledger says, for `lineage` and `show`."""

from collections.abc import Mapping, Sequence
from typing import Any

from bootstrap.lineage import text
from bootstrap.store.gc import Size


def with_cells(rows: Sequence[Mapping[str, str]], found: Mapping[int, Size]) -> list[dict[str, str]]:
    """Return the outcome table, one row a generation, with a column `weights`."""
    return [{**row, "weights": told(found.get(number))} for number, row in enumerate(rows)]


def with_sizes(rows: Sequence[Mapping[str, Any]], found: Mapping[int, Size]) -> list[dict[str, Any]]:
    """Return generations as JSON data, each with the key `weights`: bytes on disk, and whether they were freed."""
    return [{**row, "weights": to_json(found.get(number))} for number, row in enumerate(rows)]


def to_json(size: Size | None) -> dict[str, Any] | None:
    """Return a size as JSON data; None without weights in the record."""
    return None if size is None else {"bytes": size.bytes, "freed": size.is_freed}


def told(size: Size | None) -> str:
    """Return a size as a cell of a table."""
    if size is None:
        return ""
    return "freed" if size.is_freed else text.si(size.bytes, unit="B") if size.bytes else "missing"


def line(found: Mapping[int, Size]) -> str:
    """Return the weights of a lineage in one sentence."""
    freed = sum(size.is_freed for size in found.values())
    total = text.si(sum({size.folder: size.bytes for size in found.values()}.values()), unit="B")
    kept = text.count(len(found) - freed, "generation")
    return f"weights: {total} in {kept}" + (f", {freed} freed" if freed else "")
