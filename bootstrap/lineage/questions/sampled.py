"""Answers of one generation: the best, the worst, or those dropped for a reason.

Best and worst are by reward; equal rewards are ordered by the hash of the id, so that the same lineage always shows the
same. Answers that could not be judged have no reward and are neither. Left out: answers that a page shows
(`lineage/samples.py`).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from bootstrap.canonical import sha256
from bootstrap.errors import RecipeError
from bootstrap.ledger_records import Generation
from bootstrap.lineage import queries
from bootstrap.lineage.questions import tables
from bootstrap.lineage.questions.grown import Grown
from bootstrap.lineage.questions.locate import EVALUATION, ROLLOUTS, SAMPLES
from bootstrap.lineage.questions.records import Records, check_choice
from bootstrap.lineage.questions.words import Order, Origin
from bootstrap.store.artifacts import Artifact


@dataclass(frozen=True, kw_only=True, slots=True)
class SampledAnswer:
    """One answer, with what became of it."""

    id: str
    """`trace` takes it."""
    task: str
    level: int
    prompt: str
    answer: str
    status: str
    """PASS, FAIL, UNVERIFIABLE; empty for an answer that nothing judged."""
    reward: float | None
    reason: str
    """The verifier's."""
    breakdown: str
    """Reward by component: `exact 1, length 0.5`."""
    use: str
    """rl (policy gradient), ce (imitation), none; empty for a held-out answer."""
    replay: bool
    """Whether it joined the replay pool."""
    dropped: str
    """Why it gives no gradient; empty for one that does."""
    model: str
    """The model that gave it."""
    policy: str
    """That model's fingerprint; of a server its model's name."""
    finish: str
    """stop, or length where it was cut."""
    verifier: str
    version: str


def samples(
    grown: Grown,
    name: str = "champion",
    *,
    order: Order = "best",
    dropped: str | None = None,
    origin: Origin | None = None,
    count: int = 10,
) -> Records[SampledAnswer]:
    """Return `count` answers of a generation.

    `dropped`: only those that give no gradient for a reason that contains this text, whatever the case; empty takes
    every reason. `origin`: answers of its training steps, or to held-out prompts; by default the first that it has.
    Raises RecipeError for an unknown generation, a reason that no answer was dropped for, a generation without such
    answers, and for other words and counts than these; StoreCorrupt.
    """
    check_choice(order, "order", get_args(Order))
    if origin is not None:
        check_choice(origin, "origin", get_args(Origin))
    if not isinstance(count, int) or count < 1:
        raise RecipeError(f"count {count!r} asks for no samples; ask for 1 or more")
    if dropped is not None and not isinstance(dropped, str):
        raise RecipeError(f"dropped {dropped!r} is no text; give a part of a reason, or '' for every reason")
    if dropped is not None and origin == "heldout":
        raise RecipeError("held-out answers train nothing, so none is dropped; ask for dropped answers without heldout")
    node = grown.find(name)
    if origin is None:
        origin = "training" if dropped is not None or node.accounting.rollouts else "heldout"
    found = list(_of(grown, node, origin))
    if not found:
        drew_none = "its steps drew none; ask for its held-out answers"
        where = drew_none if origin == "training" else "its evaluation kept none"
        raise RecipeError(f"{node.name} of lineage {grown.name} has no {origin} answers: {where}")
    if dropped is not None:
        found = _dropped(node, found, dropped)
    sign = -1 if order == "best" else 1
    judged = [one for one in found if one.reward is not None]
    judged.sort(key=lambda one: (sign * (one.reward or 0.0), sha256(one.id.encode())))
    unjudged = [one for one in found if one.reward is None] if dropped is not None else []
    return Records([*judged, *unjudged][:count], kind=SampledAnswer)


def _dropped(node: Generation, found: list[SampledAnswer], wanted: str) -> list[SampledAnswer]:
    kept = [one for one in found if one.dropped and wanted.casefold() in one.dropped.casefold()]
    if not kept:
        reasons = Counter(node.accounting.dropped).most_common()
        known = "; ".join(f"{reason} ({count})" for reason, count in reasons) or "none was dropped"
        raise RecipeError(f"{node.name} dropped no answer for {wanted!r}; its reasons: {known}")
    return kept


def _of(grown: Grown, node: Generation, origin: Origin) -> Iterator[SampledAnswer]:
    if origin == "training":
        for ref in node.steps.values():
            yield from of_artifact(grown, node, grown.store.artifact(ref), ROLLOUTS)
    elif EVALUATION in node.artifacts:
        yield from of_artifact(grown, node, grown.store.artifact(node.artifacts[EVALUATION]), SAMPLES)


def of_artifact(
    grown: Grown, node: Generation, artifact: Artifact, file: str, *, only: tuple[str, ...] | None = None
) -> Iterator[SampledAnswer]:
    """Yield the answers in a table of a generation; `only`: those with these ids. Raises StoreCorrupt."""
    ids = None if only is None else ("rollout_id", only)
    verdicts = {row["rollout_id"]: row for row in tables.rows(artifact, "verdicts.parquet", tables.VERDICT, where=ids)}
    selections = {
        row["rollout_id"]: row for row in tables.rows(artifact, "selections.parquet", tables.SELECTION, where=ids)
    }
    rollouts = tables.rows(artifact, file, tables.ROLLOUT, where=None if only is None else ("id", only))
    model_of = {
        policy: next(iter(queries.producers(grown.entries, node, [policy])))
        for policy in {row["policy"] for row in rollouts}
    }
    for row in rollouts:
        verdict = verdicts.get(row["id"], tables.VERDICT)
        chosen = selections.get(row["id"], tables.SELECTION)
        yield _sample(row, verdict, chosen, model=model_of[row["policy"]])


def _sample(
    row: Mapping[str, Any], verdict: Mapping[str, Any], chosen: Mapping[str, Any], *, model: str
) -> SampledAnswer:
    return SampledAnswer(
        id=row["id"],
        task=row["task"],
        level=row["level"],
        prompt=row["prompt_text"],
        answer=row["text"],
        status=verdict["status"],
        reward=verdict["reward"],
        reason=verdict["reason"],
        breakdown=", ".join(f"{part} {reward:g}" for part, reward in verdict["breakdown"]),
        use=chosen["use"],
        replay=chosen["replay"],
        dropped=chosen["reason"] if chosen["use"] == "none" else "",
        model=model,
        policy=row["policy"],
        finish=row["finish"],
        verifier=verdict["verifier"],
        version=verdict["version"],
    )
