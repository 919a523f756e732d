"""Pairs of a lineage's own right answers, preferred by one component of the recorded reward, or by brevity.

Of the right answers to one prompt the best and the worst by that component make a pair. A reward model trained on such
pairs judges where no rule does, as R1's preference rewards do in its last stage (arXiv:2501.12948).

Left out: people's preferences, which a file of pairs brings, and the training (`training/preference.py`).
"""

from collections.abc import Iterator

from bootstrap.errors import RecipeError
from bootstrap.ledger_records import Generation
from bootstrap.records import Rollout, Status, Verdict
from bootstrap.stages.tables import Tables
from bootstrap.store.lineage_store import LineageStore
from bootstrap.training.preference import Pair

BREVITY = "brevity"
"""Prefers the answer with fewer tokens; not a component of any reward."""


def pairs_of(store: LineageStore, generation: Generation, *, by: str) -> Iterator[Pair]:
    """Yield one pair for each group of a generation's right answers that differ in `by`.

    `by`: the component whose larger value is preferred, nested names dotted, or `BREVITY`. Raises RecipeError when no
    right answer has it, StoreCorrupt if an artifact is broken.
    """
    known: set[str] = set()
    for ref in generation.steps.values():
        tables = Tables.read(store.artifact(ref))
        groups: dict[str, list[tuple[float, Rollout]]] = {}
        for rollout, verdict in zip(tables.rollouts, tables.verdicts, strict=True):
            known |= verdict.breakdown.keys()
            if verdict.status is Status.PASS and (score := _score(rollout, verdict, by)) is not None:
                groups.setdefault(rollout.group, []).append((score, rollout))
        for members in groups.values():
            best, worst = max(members, key=lambda m: m[0]), min(members, key=lambda m: m[0])
            if best[0] > worst[0]:
                yield Pair(prompt=best[1].imitated_prompt, chosen=best[1].text, rejected=worst[1].text)
    if by != BREVITY and by not in known:
        raise RecipeError(
            f"no answer of {generation.name} has a reward called {by}; there is {', '.join(sorted({*known, BREVITY}))}"
        )


def _score(rollout: Rollout, verdict: Verdict, by: str) -> float | None:
    return -float(len(rollout.tokens)) if by == BREVITY else verdict.breakdown.get(by)
