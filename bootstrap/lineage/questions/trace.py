"""Where a sample comes from and where it went: model, prompt, seed, verdict, and every generation trained on it.

| id | the sample |
|---|---|
| `g3.s0.u17.p4.k2` | an answer, or a proposal of self-play, drawn in a training step |
| `g0.NAME.g3.s0.u17.p4.k2` | such an answer of lineage NAME, which a fork inherited |
| `greedy.l5.p0.k0` and the like | a held-out answer of one generation, which nothing is trained on |
| 16 hexadecimal digits | a prompt whose reference answer was shown |

Forks in the same store that inherited the sample are searched too. Left out: look-ups by id (`locate.py`).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bootstrap.errors import RecipeError, StoreCorrupt
from bootstrap.ids import HeldoutId, RolloutId, SampleId, StepRole
from bootstrap.ledger_records import Generation
from bootstrap.lineage import queries
from bootstrap.lineage.questions import tables
from bootstrap.lineage.questions.grown import Grown, forks_of
from bootstrap.lineage.questions.locate import Place, inherited_answers, locate
from bootstrap.lineage.questions.records import Records
from bootstrap.lineage.questions.sampled import SampledAnswer, of_artifact
from bootstrap.store.artifacts import Artifact
from bootstrap.store.uses import SourceUse, uses

PROMPT = re.compile(r"[0-9a-f]{16}")
_DETAILS: tables.Columns = {"id": "", "prompt_id": "", "seed": 0, "sample_index": 0, "prompt_tokens": (), "tokens": ()}


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleUse:
    """One stream of one step in which a generation was trained on the sample."""

    lineage: str
    generation: str
    outcome: str
    step: int
    stream: str
    """rl (policy gradient), ce (imitation), kl (divergence to a teacher)."""
    count: int
    """How many updates it was in."""
    replayed: bool
    """Whether it is the answer of an earlier generation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Groupmate:
    """Another answer to the same prompt, with which the sample was compared."""

    id: str
    answer: str
    status: str
    reward: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """The answer."""

    sample: str
    kind: str
    """answer, proposal, held-out answer, reference, inherited answer."""
    lineage: str
    """The lineage that made it."""
    generation: str
    """The generation in whose training or evaluation it was drawn."""
    step: int | None
    record: str
    """Hash of that generation's ledger record."""
    model: str
    """The model that gave it; `the task` for a reference."""
    policy: str
    """That model's fingerprint."""
    prompt_id: str
    seed: int | None
    """Of this sample alone."""
    num_tokens: int | None
    """Tokens of the answer, its end included."""
    made: SampledAnswer | None
    """Prompt, answer, verdict, use; None for a reference."""
    prompt: str
    answer: str | None
    """None for a reference, whose answer is the task's own."""
    group: Records[Groupmate]
    trained: Records[SampleUse]
    unread: tuple[str, ...]
    """Lineages of the store that could not be searched."""


def trace(grown: Grown, sample: str, *, generation: str | None = None) -> Trace:
    """Return where a sample of a lineage comes from and who was trained on it.

    `generation`: whose answer it is, for ids of held-out answers. Raises RecipeError for an unknown id, StoreCorrupt.
    """
    sample = sample.strip()
    if PROMPT.fullmatch(sample):
        return _reference(grown, sample)
    number = None if generation is None else grown.find(generation).number
    place = locate(grown.store, sample, entries=grown.entries, generation=number)
    if place is not None:
        return _made(grown, sample, place)
    found = _inherited(grown, sample)
    if found is None:
        raise _unknown(grown, sample)
    return found


def _made(grown: Grown, sample: str, place: Place) -> Trace:
    node = grown.entries[place.generation].generation
    artifact = grown.store.artifact(node.artifacts[place.role])
    [row] = tables.rows(artifact, place.file, _DETAILS, where=("id", (sample,)))
    [made] = of_artifact(grown, node, artifact, place.file, only=(sample,))
    step = StepRole.parse(place.role)
    trained, unread = _trained(grown, sample) if step is not None else ([], ())
    return Trace(
        sample=sample,
        kind="held-out answer" if step is None else "proposal" if RolloutId.parse(sample).is_proposal else "answer",
        lineage=grown.name,
        generation=node.name,
        step=None if step is None else step.index,
        record=grown.entries[place.generation].hash,
        model=made.model,
        policy=made.policy,
        prompt_id=row["prompt_id"],
        seed=row["seed"],
        num_tokens=len(row["tokens"]),
        made=made,
        prompt=made.prompt,
        answer=made.answer,
        group=Records(_group(artifact, place.file, sample), kind=Groupmate),
        trained=Records(trained, kind=SampleUse),
        unread=unread,
    )


def _group(artifact: Artifact, file: str, sample: str) -> Iterator[Groupmate]:
    """Yield the other answers of a sample's group."""
    group = SampleId.parse(sample).group
    mates = tables.rows(artifact, file, {"id": "", "text": "", "group": ""}, where=("group", (group,)))
    ids = tuple(row["id"] for row in mates)
    verdicts = tables.rows(artifact, "verdicts.parquet", tables.VERDICT, where=("rollout_id", ids))
    judged: Mapping[str, Mapping[str, Any]] = {row["rollout_id"]: row for row in verdicts}
    for row in mates:
        if row["id"] != sample:
            verdict = judged.get(row["id"], tables.VERDICT)
            yield Groupmate(id=row["id"], answer=row["text"], status=verdict["status"], reward=verdict["reward"])


def _trained(grown: Grown, sample: str) -> tuple[list[SampleUse], tuple[str, ...]]:
    """Return who was trained on a sample, in this lineage and in its forks, and the lineages that cannot be read."""
    found, unread = list[SampleUse](), list[str]()
    waiting = [(grown, sample)]
    while waiting:
        lineage, source = waiting.pop(0)
        for use in uses(lineage.store, lineage.entries, source):
            is_own = lineage is grown and RolloutId.parse(source).contributor == use.generation
            found.append(_use(lineage, use, replayed=not is_own))
        forks = forks_of(lineage)
        unread += forks.unread
        waiting += [(fork, lineage.inherited_id(source)) for fork, _ in forks.found]
    return found, tuple(sorted(set(unread)))


def _use(grown: Grown, use: SourceUse, *, replayed: bool) -> SampleUse:
    node = grown.entries[use.generation].generation
    return SampleUse(
        lineage=grown.name,
        generation=node.name,
        outcome=node.outcome.value,
        step=use.step,
        stream=use.stream,
        count=use.count,
        replayed=replayed,
    )


def _inherited(grown: Grown, sample: str) -> Trace | None:
    """Return the trace of an answer that a fork inherited; None where it inherited none of that id.

    It is the origin's where that lies in the same store, else what the fork itself keeps of it.
    """
    edge = grown.fork_edge
    if edge is None or not (kept := inherited_answers(grown, rollout=sample)):
        return None
    origin = grown.origin()
    if origin is not None:
        lineage, _ = origin
        own = sample.removeprefix(lineage.inherited_id(""))
        place = locate(lineage.store, own, entries=lineage.entries)
        return _made(lineage, own, place) if place is not None else _inherited(lineage, own)
    trained, unread = _trained(grown, sample)
    return Trace(
        sample=sample,
        kind="inherited answer",
        lineage=edge.external or "",
        generation=grown.entries[0].generation.name,
        step=None,
        record=edge.record or "",
        model=f"a generation of {queries.source(edge)} or before",
        policy="",
        prompt_id="",
        seed=None,
        num_tokens=None,
        made=None,
        prompt=kept[0]["prompt_text"],
        answer=kept[0]["completion_text"],
        group=Records(kind=Groupmate),
        trained=Records(trained, kind=SampleUse),
        unread=unread,
    )


def _reference(grown: Grown, prompt: str) -> Trace:
    """Return the trace of a prompt whose reference was shown. Raises RecipeError where none was."""
    shown = uses(grown.store, grown.entries, prompt)
    if not shown:
        raise _unknown(grown, prompt)
    first = grown.entries[shown[0].generation]
    ref = first.generation.steps[StepRole(shown[0].step)]
    table = tables.rows(grown.store.artifact(ref), "shown.parquet", tables.SHOWN, where=("source", (prompt,)))
    return Trace(
        sample=prompt,
        kind="reference",
        lineage=grown.name,
        generation=first.generation.name,
        step=shown[0].step,
        record=first.hash,
        model="the task",
        policy="",
        prompt_id=prompt,
        seed=None,
        num_tokens=None,
        made=None,
        prompt=table[0]["prompt"] if table else "",
        answer=None,
        group=Records(kind=Groupmate),
        trained=Records((_use(grown, use, replayed=False) for use in shown), kind=SampleUse),
        unread=(),
    )


def _unknown(grown: Grown, sample: str) -> RecipeError:
    """Return the error that a lineage holds no sample of that id, with what it does hold."""
    where = f"lineage {grown.name} holds no sample {sample!r}"
    if (heldout := HeldoutId.of_answer(sample)) is not None:
        kept = "an evaluation keeps a few answers of each level; `bootstrap samples GENERATION --heldout` lists them"
        return RecipeError(f"{where} ({heldout.asking} answers): {kept}")
    try:
        parsed = RolloutId.parse(sample)
    except StoreCorrupt:
        return RecipeError(
            f"{where}; ids look like g3.s0.u17.p4.k2 (generation 3, step 0, round 17, prompt 4, sample 2), or are the "
            "16 digits of a prompt whose reference was shown; `bootstrap samples GENERATION` lists some"
        )
    if parsed.lineage:
        return RecipeError(f"{where}: it is no fork that inherited it")
    if parsed.round.generation >= len(grown.entries):
        last = grown.entries[-1].generation.name if grown.entries else "none"
        return RecipeError(f"{where}: there is no gen-{parsed.round.generation}, the last is {last}")
    return RecipeError(f"{where}: {_drawn(grown.entries[parsed.round.generation].generation)}")


def _drawn(node: Generation) -> str:
    """Return in words which answers the steps of a generation drew."""
    found = node.accounting
    if not found.rollouts:
        return f"the steps of {node.name} drew no answers"
    return f"the steps of {node.name} drew {found.rollouts} answers to {found.prompts_drawn} prompts"
