"""Where a lineage holds a sample, and who was trained on it: the two look-ups behind `trace`.

Both read the tables of steps: `locate` the one that the id names, `uses` those of every generation whose ledger record
says that it was trained on answers of the sample's generation. Left out: what the sample is (`trace.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bootstrap.errors import RecipeError, StoreCorrupt
from bootstrap.ids import HeldoutId, RolloutId, StepRole, is_rollout
from bootstrap.ledger_records import Generation
from bootstrap.lineage.questions import tables
from bootstrap.lineage.questions.grown import Grown
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

EVALUATION = "evaluation"
INHERITED = "inherited"
"""Role of the artifact with a fork's inherited answers."""
ROLLOUTS, SAMPLES = "rollouts.parquet", "samples.parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The table that holds a sample."""

    generation: int
    role: str
    """Of the artifact in its generation: `step-0`, `evaluation`."""
    file: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceUse:
    """One stream of one step in which a generation was trained on a source."""

    generation: int
    step: int
    stream: str
    """rl (policy gradient), ce (imitation), kl (divergence to a teacher)."""
    count: int
    """How many updates it was in."""


def locate(
    store: LineageStore, sample: str, *, entries: Sequence[Entry] | None = None, generation: int | None = None
) -> Place | None:
    """Return where a lineage holds a sample; None where it holds none of that id.

    `entries`: its ledger, if it has been read. `generation`: whose answer it is, for ids of held-out answers, which all
    generations share. Raises RecipeError for such an id without a generation, StoreError, StoreCorrupt.
    """
    entries = store.ledger.read() if entries is None else entries
    if HeldoutId.of_answer(sample) is not None:
        if generation is None:
            raise RecipeError(
                f"{sample} is an answer to a held-out prompt, and each generation gave one; name whose with "
                "--generation GENERATION"
            )
        place = Place(generation=generation, role=EVALUATION, file=SAMPLES)
    else:
        try:
            parsed = RolloutId.parse(sample)
        except StoreCorrupt:
            return None
        if parsed.lineage:
            return None
        role = str(StepRole(parsed.round.step))
        place = Place(generation=parsed.round.generation, role=role, file=ROLLOUTS)
    if place.generation >= len(entries):
        return None
    ref = entries[place.generation].generation.artifacts.get(place.role)
    if ref is None:
        return None
    found = tables.rows(store.artifact(ref), place.file, {"id": ""}, where=("id", (sample,)))
    return place if found else None


def uses(store: LineageStore, entries: Sequence[Entry], source: str) -> list[SourceUse]:
    """Return every use of a source in training, in the ledger's order; none where nobody was trained on it.

    `source`: id of a rollout in this lineage, or of a prompt whose reference was shown. Raises StoreCorrupt.
    """
    found = []
    for entry in entries:
        node = entry.generation
        for role, ref in node.steps.items() if _may_use(node, source) else ():
            table = tables.rows(store.artifact(ref), "usage.parquet", tables.USAGE, where=("source", (source,)))
            found += [
                SourceUse(generation=node.number, step=role.index, stream=row["stream"], count=row["count"])
                for row in table
            ]
    return found


def inherited_answers(grown: Grown, *, rollout: str | None = None) -> list[dict[str, Any]]:
    """Return the answers that a fork's generation 0 inherited; `rollout`: the one of this id. Raises StoreCorrupt."""
    ref = grown.entries[0].generation.artifacts.get(INHERITED) if grown.entries else None
    where = None if rollout is None else ("rollout_id", (rollout,))
    return [] if ref is None else tables.rows(grown.store.artifact(ref), "answers.parquet", tables.ANSWER, where=where)


def _may_use(node: Generation, source: str) -> bool:
    """Whether a generation can have been trained on a source, by its ledger record."""
    if not is_rollout(source):
        return True
    giver = RolloutId.parse(source).contributor
    return giver == node.number or any(edge.role == "data" and edge.generation == giver for edge in node.edges)
