"""Names of lineages: each is a folder of the store, a word of the command line and part of pages and of MLflow's names.

A lineage that is in a store opens under the name that it has; this says what a new one may be called.
"""

import re
from pathlib import Path

from bootstrap.errors import RecipeError
from bootstrap.store import durable
from bootstrap.store.lineage_store import LineageStore

NAME = r"^[A-Za-z0-9_À-ÖØ-öø-ɏ][A-Za-z0-9._À-ÖØ-öø-ɏ-]{0,63}$"
DATABASE = "mlflow.db"
"""MLflow's database, beside the lineages."""
ARTIFACTS_FOLDER = "mlflow-artifacts"
"""Folder of MLflow's artifacts, beside the lineages."""
_TAKEN = (DATABASE, *(f"{DATABASE}-{suffix}" for suffix in ("journal", "shm", "wal")), ARTIFACTS_FOLDER)


def check_name(name: str, store: Path | None) -> str:
    """Return the name of a lineage that is in `store`, or of a new one there; None: of a store on another machine.

    Raises RecipeError with the remedy, StoreError for a store that cannot be read.
    """
    is_part = name not in ("", ".", "..") and "/" not in name and "\0" not in name
    if is_part and store is not None and LineageStore(store / name).exists:
        return name
    if problem := _problem(name, store):
        raise RecipeError(
            f"{name[:100]!r} cannot name a lineage: {problem}; use up to 64 Latin letters, digits, `-`, `_` and "
            "`.`, first a letter, a digit or `_`, and no name that the store has, in whatever case: --lineage NAME"
        )
    return name


def _problem(name: str, store: Path | None) -> str:
    if len(name) > 64:
        return f"it has {len(name)} characters"
    if not re.fullmatch(NAME, name):
        return "it begins with, or has, a character that a name may not have"
    if name.casefold() in _TAKEN:
        return "the store keeps something else under it"
    if store is None:
        return ""
    with durable.store_errors(store, doing="read"):
        beside = [path.name for path in store.iterdir()] if store.is_dir() else []
    alike = [one for one in beside if one != name and one.casefold() == name.casefold()]
    return f"it differs from {alike[0]!r} by case alone, which not every file system tells apart" if alike else ""
