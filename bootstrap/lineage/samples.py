"""Readable tables of a generation's artifacts: a few rollouts as people read them, columns, numbers.

Rollouts are drawn by the hash of their id, so the same lineage always shows the same, half of them right if there are
enough of both kinds. Left out: tokens and log-probabilities.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from bootstrap import schema
from bootstrap.canonical import sha256
from bootstrap.errors import StoreCorrupt
from bootstrap.ids import Asking, HeldoutId
from bootstrap.ledger_records import Generation
from bootstrap.lineage.questions.tables import checked
from bootstrap.records import Status
from bootstrap.store.artifacts import Artifact
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.parquet import read_table

COLUMNS = ("rollout", "level", "prompt", "answer", "verdict", "reward", "reason", "use", "breakdown", "verifier")
VERDICT_COLUMNS = ["rollout_id", "status", "reward", "reason", "breakdown", "verifier", "version", "sandbox"]
_HEAD = 64
UNJUDGED = dict.fromkeys(VERDICT_COLUMNS, "") | {"reward": None, "breakdown": ()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """What verifiers found in all answers of one generation."""

    drawn: str = ""
    """Where the answers come from, in words."""
    statuses: Counter[str] = field(default_factory=Counter)
    values: dict[str, Counter[float]] = field(default_factory=dict)
    """By name of a reward: value -> answers. The whole stands first, under `reward`; its parts follow where there are
    several."""


def scores(store: LineageStore, generation: Generation) -> Scores:
    """Return the scores of all answers that `readable` picks from. Raises StoreCorrupt if an artifact is broken."""
    for drawn, artifacts in _drawn(store, generation).items():
        found = Scores(drawn=drawn)
        for artifact in artifacts:
            if "verdicts.parquet" not in artifact.files:
                continue
            table = _table(artifact, "verdicts.parquet", wanted=["status", "reward", "breakdown"])
            found.statuses.update(table["status"].to_pylist())
            if rewards := [value for value in table["reward"].to_pylist() if value is not None]:
                found.values.setdefault("reward", Counter()).update(rewards)
            for parts in table["breakdown"].combine_chunks().to_pylist():
                for name, value in parts:
                    found.values.setdefault(name, Counter())[value] += 1
        if len(found.values) == 2:
            found.values.popitem()
        if found.statuses:
            return found
    return Scores()


def whole_groups(store: LineageStore, generation: Generation, *, count: int) -> list[dict[str, Any]]:
    """Return about `count` rollouts of one generation in whole groups, drawn by the hash of their group, sorted by id.

    Rows are those of `readable` with the further keys `group`, `policy`, `seed`, `finish`, `prompt_tokens`, `tokens`
    (counts), `components` (reward by name), and the verifier's name and version, `judge` and `version`. No group is cut
    but the first, where it alone has more; right answers are as frequent among them as among all. Raises StoreCorrupt
    if an artifact is broken.
    """
    drawn = zip(("rollouts.parquet", "samples.parquet"), _drawn(store, generation).values(), strict=True)
    for name, artifacts in drawn:
        named: dict[str, list[str]] = {}
        for artifact in artifacts:
            for row in columns(artifact, name, wanted=["id", "group"]):
                named.setdefault(row["group"], []).append(row["id"])
        chosen: list[str] = []
        for group in sorted(named, key=lambda group: sha256(group.encode())):
            if chosen and len(chosen) + len(named[group]) > count:
                break
            chosen += named[group][:count]
        if chosen:
            rows = [row for artifact in artifacts for row in _in_full(artifact, name, chosen)]
            return sorted(rows, key=lambda row: row["rollout"])
    return []


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


def fields(artifact: Artifact, name: str) -> list[tuple[str, str]]:
    """Return name and type of the columns of an artifact's table; empty without such a file. Raises StoreCorrupt."""
    if name not in artifact.files:
        return []
    return [(field.name, _type(field.type)) for field in _table(artifact, name).schema]


def _type(kind: pa.DataType) -> str:
    return f"list of {kind.value_type}" if pa.types.is_list(kind) else str(kind)


def head(artifact: Artifact, name: str, wanted: list[str]) -> list[dict[str, Any]]:
    """Return a table's first rows that differ in the columns `wanted`; empty without such a file. Raises StoreCorrupt.

    At most `_HEAD` rows are read.
    """
    if name not in artifact.files:
        return []
    rows = _table(artifact, name, wanted=wanted).slice(0, _HEAD).to_pylist()
    return list({tuple(row.values()): row for row in rows}.values())


def replayed(store: LineageStore, generation: Generation) -> list[dict[str, Any]]:
    """Return a few of the answers that a generation added to the replay pool. Raises StoreCorrupt."""
    rows: list[dict[str, Any]] = []
    for ref in generation.steps.values():
        artifact = store.artifact(ref)
        uses = columns(artifact, "selections.parquet", wanted=["rollout_id", "replay"])
        kept = [row["rollout_id"] for row in uses if row["replay"]][:_HEAD]
        rows += _rows(artifact, "rollouts.parquet", only=kept)
    shown = [{key: row[key] for key in ("level", "prompt", "answer")} for row in rows]
    return list({tuple(row.values()): row for row in shown}.values())[:_HEAD]


def _drawn(store: LineageStore, generation: Generation) -> dict[str, list[Artifact]]:
    """Return the artifacts with a generation's answers: of its training steps, and of its evaluation."""
    steps = [store.artifact(ref) for ref in generation.steps.values()]
    evaluation = [store.artifact(generation.artifacts["evaluation"])] if "evaluation" in generation.artifacts else []
    return {"all that training drew": steps, "sampled held-out answers": evaluation}


def _table(artifact: Artifact, name: str, *, wanted: list[str] | None = None) -> pa.Table:
    data = artifact.read(name)
    try:
        table = read_table(data, columns=wanted)
        # Without a choice, it is any table.
        return table if wanted is None else checked(table)
    except ValueError as error:
        raise StoreCorrupt(
            f"{artifact.path / name} cannot be read as a table: {error}; run `bootstrap verify`"
        ) from error


def _in_full(artifact: Artifact, name: str, chosen: Sequence[str]) -> list[dict[str, Any]]:
    if name not in artifact.files:
        return []
    more = ["id", "group", "policy", "seed", "finish", "prompt_tokens", "tokens"]
    facts = {row["id"]: row for row in _chosen(_table(artifact, name, wanted=more), "id", chosen)}
    verdicts = columns(artifact, "verdicts.parquet", wanted=["rollout_id", "breakdown", "verifier", "version"])
    judged = {row["rollout_id"]: row for row in verdicts}
    rows = []
    for row in _rows(artifact, name, only=chosen):
        fact, verdict = facts[row["rollout"]], judged.get(row["rollout"], UNJUDGED)
        lengths = {key: len(fact[key]) for key in ("prompt_tokens", "tokens")}
        parts = {"components": dict(verdict["breakdown"]), "judge": verdict["verifier"], "version": verdict["version"]}
        rows.append({**row, **fact, **lengths, **parts})
    return rows


def _chosen(table: pa.Table, column: str, chosen: Sequence[str]) -> list[dict[str, Any]]:
    wanted = set(chosen)
    return table.filter(pa.array([value in wanted for value in table[column].to_pylist()], pa.bool_())).to_pylist()


def _rows(artifact: Artifact, name: str, *, only: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Return the rollouts of a table as rows with the keys `COLUMNS`. `only`: their ids; None for all."""
    if name not in artifact.files:
        return []
    verdicts = columns(artifact, "verdicts.parquet", wanted=VERDICT_COLUMNS)
    uses = columns(artifact, "selections.parquet", wanted=["rollout_id", "use", "replay"])
    verdict_of = {row["rollout_id"]: row for row in verdicts}
    use_of = {row["rollout_id"]: row["use"] + (" + replay" if row["replay"] else "") for row in uses}
    table = _table(artifact, name, wanted=["id", "prompt_text", "level", "text"])
    rows = []
    for rollout in table.to_pylist() if only is None else _chosen(table, "id", only):
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
