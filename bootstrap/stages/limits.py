"""What the workers of a lineage may take at once: settled when it begins, kept beside it, told when memory runs out.

    <lineage>/limits.json     memory of a worker, for how many workers; limits that a shortage has halved

A run that goes on has the limits of the run before it, since they decide the order of summation; another number of
workers measures anew. Left out: what the limits mean for a model (`memory.py`), and how they are kept to (`room.py`).
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bootstrap.canonical import canonical_json
from bootstrap.config.recipe import Recipe
from bootstrap.memory import Limits, Shortage
from bootstrap.pool import Pool
from bootstrap.records import Event, Observer
from bootstrap.store.lineage_store import LineageStore

FILE_NAME = "limits.json"


def settle(recipe: Recipe, store: LineageStore, pool: Pool, *, observe: Observer) -> Observer:
    """Give the workers their limits; see to it that a shortage is kept and told, and that answers are counted.

    Returns the observer to use: what is told has the last event's stage. Raises StoreError.
    """
    kept = _kept(store)
    own = recipe.resources.own_limits
    if kept.get("workers") != pool.size:
        kept = {"workers": pool.size, "memory": pool.memory(), "halved": {}}
    # A lower limit of the recipe's own replaces a halved one.
    halved = {kind: most for kind, most in kept["halved"].items() if own.get(kind, most) >= most}
    pool.limit(Limits(memory=kept["memory"], halved=halved, **own))
    newest = Event(generation=0, stage="")

    def keep() -> None:
        now = {"workers": pool.size, "memory": pool.limits.memory, "halved": dict(pool.limits.halved)}
        if now != _kept(store):
            store.keep(FILE_NAME, canonical_json(now))

    def short(worker: int, shortage: Shortage) -> None:
        keep()
        observe(replace(newest, metrics={}, message="", warning=shortage.told(worker)))

    def watch(event: Event) -> None:
        nonlocal newest
        newest = event
        observe(event)

    def sampled(done: int, total: int) -> None:
        observe(replace(newest, metrics={}, message=f"about {done} of {total} answers sampled", warning=""))

    keep()
    pool.on_shortage, pool.on_answers = short, sampled
    return watch


def memory_of(store: LineageStore, *, workers: int) -> int | None:
    """Return the bytes of each of so many workers that a lineage keeps; None where it keeps none. Raises StoreError."""
    kept = _kept(store)
    return kept["memory"] if kept.get("workers") == workers else None


def recorded(limits: Limits) -> dict[str, str]:
    """Return what annotations keep: the memory of a worker in bytes, and the limits that are not automatic."""
    found: Mapping[str, int | None] = {
        "memory": limits.memory,
        "rollout_rows": limits.most("rollout_rows"),
        "train_tokens": limits.most("train_tokens"),
    }
    return {name: str(value) for name, value in found.items() if value is not None}


def _kept(store: LineageStore) -> dict[str, Any]:
    """Return what is kept; nothing where the file is missing or damaged, since it can be measured again."""
    try:
        found = json.loads(store.kept(FILE_NAME) or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) and found.keys() == {"workers", "memory", "halved"} else {}
