"""Where a lineage holds a sample: in the table of the generation and step that its id names; its held-out answers.

Left out: what the sample is (`trace.py`), and who was trained on it (`store/uses.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bootstrap.errors import RecipeError, StoreCorrupt
from bootstrap.ids import HeldoutId, RolloutId, StepRole
from bootstrap.ledger_records import Generation
from bootstrap.lineage.questions import tables
from bootstrap.lineage.questions.grown import Grown
from bootstrap.store import index
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


def locate(
    store: LineageStore, sample: str, *, entries: Sequence[Entry] | None = None, generation: int | None = None
) -> Place | None:
    """Return where a lineage holds a sample; None where it holds none of that id.

    `entries`: its ledger, if it has been read. `generation`: whose answer it is, for ids of held-out answers, which all
    generations share. Raises RecipeError for such an id without a generation, StoreError, StoreCorrupt.
    """
    entries = index.read(store) if entries is None else entries
    if HeldoutId.of_answer(sample) is not None:
        if generation is None:
            raise RecipeError(
                f"{sample} is an answer to a held-out prompt, and each generation gave one; name whose: "
                "--generation GENERATION (in Python generation=)"
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


def outcomes(grown: Grown, node: Generation) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the outcome of each of a generation's greedy answers to held-out prompts, its panel's last.

    By (task of the panel, empty for the run's own; prompt id). Raises StoreCorrupt.
    """
    if EVALUATION not in node.artifacts:
        return {}
    artifact = grown.store.artifact(node.artifacts[EVALUATION])
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for file in ("outcomes.parquet", "panel.parquet"):
        for row in tables.rows(artifact, file, tables.OUTCOME):
            # An earlier version may have asked a prompt again at a higher level.
            found.setdefault((row["task"], row["prompt_id"]), row)
    return found


def inherited_answers(grown: Grown, *, rollout: str | None = None) -> list[dict[str, Any]]:
    """Return the answers that a fork's generation 0 inherited; `rollout`: the one of this id. Raises StoreCorrupt."""
    ref = grown.entries[0].generation.artifacts.get(INHERITED) if grown.entries else None
    where = None if rollout is None else ("rollout_id", (rollout,))
    return [] if ref is None else tables.rows(grown.store.artifact(ref), "answers.parquet", tables.ANSWER, where=where)
