"""What later generations take from a committed one's answers: entries of the replay pool, and pass rates of prompts.

A fork's generation 0 hands on those of its origin too. Left out: which are replayed (`selection/replay.py`), and the
fork itself (`origin.py`).
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from bootstrap.evaluation.guards import distrusted
from bootstrap.ids import StepRole
from bootstrap.ledger_records import Generation, GenerationOutcome
from bootstrap.selection.replay import PoolEntry
from bootstrap.selection.retirement import PassRates
from bootstrap.stages.tables import Tables
from bootstrap.store.ancestry import ancestors
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.tables import from_parquet, to_parquet

INHERITED = "inherited"
"""Role of the artifact with the answers and pass rates of a fork's origin."""
ANSWERS, RATES = "answers.parquet", "rates.parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class RateRow:
    """How often one prompt was answered right."""

    prompt_id: str
    right: int
    judged: int


def contributors(entries: Sequence[Entry], parents: Collection[int], *, siblings: Collection[int] = ()) -> list[Entry]:
    """Return the generations whose answers a child of `parents` may replay.

    | generation | may be replayed |
    |---|---|
    | promoted or rejected | yes: a verifier let each answer pass |
    | ungated | if the child's weights come from it |
    | one that guards speak against (`evaluation.guards.distrusted`) | no |
    | one of the child's `siblings` | no: they are to differ in their randomness alone |
    """
    own = ancestors(entries, parents)
    left_out = distrusted([entry.generation for entry in entries]) | set(siblings)
    return [
        entry
        for entry in entries
        if entry.generation.number not in left_out
        and (entry.generation.outcome is not GenerationOutcome.UNGATED or entry.generation.number in own)
    ]


def answers_of(store: LineageStore, generation: Generation) -> Iterator[PoolEntry]:
    """Yield a generation's replayable answers in the order of sampling. Raises StoreCorrupt."""
    if INHERITED in generation.artifacts:
        yield from from_parquet(store.artifact(generation.artifacts[INHERITED]).read(ANSWERS), PoolEntry)
    for ref in generation.steps.values():
        tables = Tables.read(store.artifact(ref))
        kept = {s.rollout_id for s in tables.selections if s.replay}
        for rollout in tables.rollouts:
            if rollout.id in kept:
                yield PoolEntry(
                    rollout_id=rollout.id,
                    generation=generation.number,
                    level=rollout.level,
                    prompt_text=rollout.imitated_prompt,
                    completion_text=rollout.text,
                    task=rollout.task,
                )


def rates_of(store: LineageStore, generation: Generation, *, sampled: Sequence[bool]) -> PassRates:
    """Return how often a generation's prompts were answered right, and for a fork's generation 0 its origin's.

    `sampled`: for each step, whether it counts. Raises StoreCorrupt if an artifact is broken.
    """
    rates = PassRates()
    if INHERITED in generation.artifacts:
        handed_on = store.artifact(generation.artifacts[INHERITED])
        # An earlier version's fork may have inherited answers alone.
        rows = from_parquet(handed_on.read(RATES), RateRow) if RATES in handed_on.files else []
        rates.counts |= {row.prompt_id: (row.right, row.judged) for row in rows}
    for index, counts in enumerate(sampled):
        if counts:
            tables = Tables.read(store.artifact(generation.steps[StepRole(index)]))
            rates.add(tables.rollouts, tables.verdicts)
    return rates


def rates_file(rates: PassRates) -> bytes:
    """Return pass rates as `rates_of` reads them."""
    rows = [RateRow(prompt_id=name, right=right, judged=judged) for name, (right, judged) in rates.counts.items()]
    return to_parquet(sorted(rows, key=lambda row: row.prompt_id), RateRow)
