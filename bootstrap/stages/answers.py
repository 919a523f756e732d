"""What a committed generation's answers give to later ones: to the replay pool, its own and before them those that a
fork inherited; to the choice of prompts, how often each was answered right, in the fork's origin too.

Left out: which of them are replayed (`selection/replay.py`), and the fork itself (`origin.py`).
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
"""Role of the artifact with the answers and the pass rates that a fork's generation 0 comes with."""
ANSWERS, RATES = "answers.parquet", "rates.parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class RateRow:
    """How often one prompt was answered right."""

    prompt_id: str
    right: int
    judged: int


def contributors(entries: Sequence[Entry], parents: Collection[int], *, siblings: Collection[int] = ()) -> list[Entry]:
    """Return whose answers a child of `parents` may replay.

    Everyone's, those of rejected candidates too, since a verifier let each answer pass; but of generations left ungated
    only those that its weights come from, and of those that guards speak against (`evaluation.guards.distrusted`) none.
    `siblings`: those of the child, which differ in their randomness alone, so that none learns from another.
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
    """Yield the answers of one generation of the lineage in `store`, in the order they were sampled.

    Raises StoreCorrupt if an artifact is broken.
    """
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
    """Return how often a generation's prompts were answered right; `sampled`: which of its steps count.

    For a fork's generation 0 also how often its origin's were. Raises StoreCorrupt if an artifact is broken.
    """
    rates = PassRates()
    if INHERITED in generation.artifacts:
        handed_on = store.artifact(generation.artifacts[INHERITED])
        # Forks may have inherited answers alone.
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
