"""Lineages made for questions: those of `lineage_factory`, with tables that a test writes itself, and forks of them."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from support.lineage_factory import PROMOTED, build

from bootstrap import Lineage
from bootstrap.ledger_records import Edge
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.tables import to_parquet

Tables = Callable[[int], dict[str, bytes]]
"""Number of a generation -> files of one of its artifacts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """The columns of an outcome that pairs of answers need."""

    prompt_id: str
    level: int
    correct: bool | None
    text: str
    task: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Used:
    source: str
    stream: str
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    source: str
    prompt: str


def used(number: int) -> dict[str, bytes]:
    """Return a step's table of usage: gen-1 and gen-2 were trained on answers of gen-1, gen-0 on a reference."""
    rows = {
        0: [Used(source="0123456789abcdef", stream="ce", count=3)],
        1: [Used(source="g1.s0.u0.p0.k1", stream="rl", count=1)],
        2: [Used(source="g1.s0.u0.p0.k1", stream="ce", count=2), Used(source="g2.s0.u0.p0.k1", stream="rl", count=1)],
    }[number]
    shown = {"shown.parquet": to_parquet([Shown(source="0123456789abcdef", prompt="3+4=")], Shown)}
    return {"usage.parquet": to_parquet(rows, Used), **({} if number else shown)}


def rewritten(folder: Path, name: str = "made", **tables: Tables) -> Lineage:
    """Return a lineage of two promotions called `name`, whose artifacts hold other tables.

    `tables`: role of an artifact, `step_0` for `step-0`, -> what replaces its files.
    """
    build(folder / ".plain", plan=[PROMOTED, PROMOTED], teacher=False)
    source, made = LineageStore(folder / ".plain"), LineageStore(folder / name)
    made.open("addition", identity=source.header().identity)
    for entry in source.ledger.read():
        node = entry.generation
        files = {role: source.artifact(ref).read_all() for role, ref in node.artifacts.items()}
        for role, replaced in tables.items():
            files[role.replace("_", "-")] |= replaced(node.number)
        artifacts = {role: made.put(role, {"n": node.number}, data).ref(made.root) for role, data in files.items()}
        made.ledger.append(node.model_copy(update={"artifacts": artifacts}), entry.annotations)
    shutil.rmtree(folder / ".plain")
    return Lineage(folder, name)


@dataclass(frozen=True, kw_only=True, slots=True)
class Inherited:
    rollout_id: str
    level: int
    prompt_text: str
    completion_text: str
    task: str


def forked(folder: Path, *, origin: Lineage, number: int) -> Lineage:
    """Return a lineage that starts from a generation of another one, inherits an answer and was trained on it."""
    answer = "g0.addition.g1.s0.u0.p0.k1"
    build(folder / ".plain", plan=[PROMOTED], name="fork", teacher=False)
    source, made = LineageStore(folder / ".plain"), LineageStore(folder / "fork")
    made.open("fork", identity=source.header().identity)
    entry = origin.entries[number]
    start = Edge(
        role="init",
        generation=None,
        external=f"{origin.name}@gen-{number}",
        record=entry.hash,
        fingerprint=entry.generation.fingerprint,
    )
    for kept in source.ledger.read():
        node = kept.generation
        tables = {"usage.parquet": to_parquet([Used(source=answer, stream="ce", count=4)], Used)} if node.number else {}
        files = {role: source.artifact(ref).read_all() for role, ref in node.artifacts.items()}
        files["step-0"] |= tables
        if not node.number:
            row = Inherited(rollout_id=answer, level=5, prompt_text="21+40=", completion_text="640", task="addition")
            files["inherited"] = {"answers.parquet": to_parquet([row], Inherited)}
        artifacts = {role: made.put(role, {"n": node.number}, data).ref(made.root) for role, data in files.items()}
        edges = node.edges if node.number else (start,)
        changed = {"artifacts": artifacts, "edges": edges, "lineage": "fork"}
        made.ledger.append(node.model_copy(update=changed), kept.annotations)
    shutil.rmtree(folder / ".plain")
    return Lineage(folder, "fork")
