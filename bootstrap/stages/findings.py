"""What is found of a file's rows, kept in the lineage's cache and in this process: reading thousands takes seconds.

Left out: finding it (`readable.py`, `fitting.py`).
"""

from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter

from bootstrap.reading import MAX_DOCUMENT_BYTES, Root
from bootstrap.store import durable

CACHE_FOLDER = "rows"


class Findings(NamedTuple):
    """Why rows cannot be used, or not be shown to training: key -> reason."""

    unusable: dict[str, str]
    not_shown: dict[str, str]
    """Rows that serve, and whose solutions training must not see."""


_found: dict[str, Findings] = {}
"""Findings of this process, so that a plan and the run after it read a file once."""
_FINDINGS: TypeAdapter[Findings] = TypeAdapter(Findings)


def known(key: str, cache: Path | None) -> Findings | None:
    """Return earlier findings; None without any, and for a file of theirs that cannot be read."""
    if key not in _found and cache is not None:
        try:
            data = Root(cache).read(f"{CACHE_FOLDER}/{key}.json", most=MAX_DOCUMENT_BYTES)
            _found[key] = _FINDINGS.validate_json(data, strict=True)
        except (OSError, ValueError):
            return None
    return _found.get(key)


def keep(key: str, found: Findings, cache: Path | None) -> None:
    """Keep findings in this process, and in the folder `cache` where there is one."""
    _found[key] = found
    if cache is not None:
        durable.make_folder(cache / CACHE_FOLDER)
        durable.write_file(cache / CACHE_FOLDER / f"{key}.json", _FINDINGS.dump_json(found))
