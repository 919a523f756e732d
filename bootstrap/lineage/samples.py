"""Readable tables of a generation's artifacts: a few rollouts as people read them, columns, numbers.

Rollouts are drawn by the hash of their id, so the same lineage always shows the same, half of them right if there are
enough of both kinds. Left out: tokens and log-probabilities.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bootstrap import schema
from bootstrap.canonical import sha256
from bootstrap.errors import StoreCorrupt
from bootstrap.ids import Asking, HeldoutId
from bootstrap.ledger_records import Generation
from bootstrap.records import Status
from bootstrap.store.artifacts import Artifact
from bootstrap.store.lineage_store import LineageStore

COLUMNS = ("rollout", "level", "prompt", "answer", "verdict", "reward", "reason", "use", "breakdown", "verifier")
VERDICT_COLUMNS = ["rollout_id", "status", "reward", "reason", "breakdown", "verifier", "version", "sandbox"]
UNJUDGED = dict.fromkeys(VERDICT_COLUMNS, "") | {"reward": None, "breakdown": ()}


def readable(store: LineageStore, generation: Generation, *, count: int) -> list[dict[str, Any]]:
    """Return at most `count` rollouts of one generation as rows with the keys `COLUMNS`, sorted by rollout id.

    They come from its training steps, or from the evaluation's sampled answers if no step drew any. Raises
    StoreCorrupt if an artifact is broken.
    """
    rows = [row for ref in generation.steps.values() for row in _rows(store.artifact(ref), "rollouts.parquet")]
    if not rows and "evaluation" in generation.artifacts:
        rows = _rows(store.artifact(generation.artifacts["evaluation"]), "samples.parquet")
    return pick(rows, count=count)


def greedy(store: LineageStore, generation: Generation) -> list[dict[str, Any]]:
    """Return the greedy held-out answers that are kept of a generation, as rows with the keys `COLUMNS`.

    Those at the levels aimed at come first, then those of the highest levels. Raises StoreCorrupt if an artifact is
    broken.
    """
    rows = [row for row in _heldout(store, generation) if _is_greedy(row["rollout"])]
    return sorted(rows, key=lambda row: (row["level"] not in generation.target_levels, -row["level"], row["rollout"]))


def heldout(store: LineageStore, generation: Generation, *, count: int) -> list[dict[str, Any]]:
    """Return at most `count` held-out answers of a generation as rows with the keys `COLUMNS`, right and wrong ones.

    They are of the levels aimed at, if any of these are kept. Raises StoreCorrupt if an artifact is broken.
    """
    rows = _heldout(store, generation)
    aimed = [row for row in rows if row["level"] in generation.target_levels]
    return pick(aimed or rows, count=count)


def _heldout(store: LineageStore, generation: Generation) -> list[dict[str, Any]]:
    """Return the kept answers of a generation's evaluation, without those to tasks of the panel."""
    ref = generation.artifacts.get("evaluation")
    rows = [] if ref is None else _rows(store.artifact(ref), "samples.parquet")
    return [row for row in rows if (asked := HeldoutId.of_answer(row["rollout"])) is None or not asked.task]


def _is_greedy(rollout: str) -> bool:
    asked = HeldoutId.of_answer(rollout)
    return asked is not None and asked.asking is Asking.GREEDY


def pick(rows: Sequence[dict[str, Any]], *, count: int) -> list[dict[str, Any]]:
    """Return at most `count` of the rows, sorted by rollout id; half of them passed if there are enough of both."""
    rows = sorted(rows, key=lambda row: sha256(row["rollout"].encode()))
    passed = [row for row in rows if row["verdict"] == Status.PASS]
    others = [row for row in rows if row["verdict"] != Status.PASS]
    share = max(count - len(others), (count + 1) // 2)
    chosen = passed[:share] + others[: count - min(share, len(passed))]
    return sorted(chosen, key=lambda row: row["rollout"])


def columns(artifact: Artifact, name: str, *, wanted: list[str] | None = None) -> list[dict[str, Any]]:
    """Return an artifact's table as rows; empty without such a file. `wanted`: columns, in order; None takes all.

    Raises StoreCorrupt if the file is broken or lacks a column.
    """
    if name not in artifact.files:
        return []
    table = _table(artifact, name, wanted=wanted)
    if wanted is not None and table.column_names != wanted:
        raise StoreCorrupt(f"{artifact.path / name} lacks one of the columns {wanted}; run `bootstrap verify`")
    return table.to_pylist()


def numbers(artifact: Artifact, name: str) -> list[dict[str, float]]:
    """Return the numeric columns of an artifact's table as rows without missing values; empty without such a file.

    Columns have the names of today (`schema.py`). Raises StoreCorrupt if the file is broken.
    """
    if name not in artifact.files:
        return []
    table, former = _table(artifact, name), schema.columns_of_file(name)
    table = table.rename_columns([former.get(column, column) for column in table.column_names])
    numeric = [
        field.name for field in table.schema if pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
    ]
    rows = table.select(numeric).to_pylist()
    return [{key: float(value) for key, value in row.items() if value is not None} for row in rows]


def _table(artifact: Artifact, name: str, *, wanted: list[str] | None = None) -> pa.Table:
    try:
        return pq.read_table(pa.BufferReader(artifact.read(name)), columns=wanted, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise StoreCorrupt(
            f"{artifact.path / name} cannot be read as a table: {error}; run `bootstrap verify`"
        ) from error


def _rows(artifact: Artifact, name: str) -> list[dict[str, Any]]:
    verdicts = columns(artifact, "verdicts.parquet", wanted=VERDICT_COLUMNS)
    uses = columns(artifact, "selections.parquet", wanted=["rollout_id", "use", "replay"])
    verdict_of = {row["rollout_id"]: row for row in verdicts}
    use_of = {row["rollout_id"]: row["use"] + (" + replay" if row["replay"] else "") for row in uses}
    rows = []
    for rollout in columns(artifact, name, wanted=["id", "prompt_text", "level", "text"]):
        verdict = verdict_of.get(rollout["id"], UNJUDGED)
        values = (
            rollout["id"],
            rollout["level"],
            rollout["prompt_text"],
            rollout["text"],
            verdict["status"],
            verdict["reward"],
            verdict["reason"],
            use_of.get(rollout["id"], ""),
            ", ".join(f"{name} {reward:g}" for name, reward in verdict["breakdown"]),
            " ".join(filter(None, (verdict["verifier"], verdict["version"], verdict["sandbox"]))),
        )
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows
