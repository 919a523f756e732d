"""One training step as a chain of durable parts, whatever its type.

A step's rounds are cut into parts of `checkpoint_every`. Each part is written to the store's scratch area complete or
not at all: its tables, its counts, and before it the weights and the optimizer's state. A killed run finds the last
complete part and goes on from there; everything a round draws is derived from its number, so the result does not depend
on where the kills fell. When all parts are there, their tables become the step's artifact.

What a round consists of is the trainer's (`supervised.py`, `reinforcement.py`, `self_play.py`).
"""

import json
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bootstrap.canonical import json_file
from bootstrap.config.base import identity_of
from bootstrap.config.steps import Step
from bootstrap.ids import RolloutId, StepRole, is_rollout
from bootstrap.learner_records import UpdateMetrics
from bootstrap.ledger_records import Accounting
from bootstrap.records import Batch, Checkpoint, Use
from bootstrap.selection.accounting import reconcile
from bootstrap.stages.context import Context, Meter, Plan
from bootstrap.stages.tables import ShownRow, Tables, UpdateRow, UsageRow
from bootstrap.store.artifacts import Artifact
from bootstrap.training.schedule import schedule_factor

UPDATES_IN_FLIGHT = 3
"""Updates handed to the workers before the driver waits for the oldest: it prepares batches while they compute."""
OPTIMIZER_STATE = "optimizer.safetensors"
MODEL_FOLDER = "model/"


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one round gives to the learner, and what is worth telling about it."""

    batches: Sequence[Batch]
    reward: float | None = None
    informative_groups: float | None = None
    entropy: float | None = None
    length: float | None = None
    mismatch: float | None = None
    common_fault: str = ""
    """In words, where all answers failed for one reason that is more than being wrong."""


class Trainer(Protocol):
    """One step type: where its rounds' batches come from."""

    updates_per_round: int
    samples: bool
    """Whether a round samples from the weights that the round before has trained."""

    def drawn(self, tables: Tables) -> int:
        """Return the prompts that the whole step drew, by its settings and what it found; the accounting must agree."""

    def prepare(self, tables: Tables, meter: Meter) -> None:
        """Draw what all rounds share, into `tables`; called once, before the first round."""

    def resume(self, tables: Tables) -> None:
        """Take up what `prepare` and the rounds done so far left in `tables`; called once, before the next round."""

    def round(self, number: int, tables: Tables, meter: Meter) -> Round:
        """Return round `number`; what it draws depends on its number, the weights and earlier rounds."""


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """A finished step."""

    checkpoint: Checkpoint
    artifact: Artifact
    weights: Artifact
    accounting: Accounting
    sources: frozenset[int]
    """Earlier generations whose answers it was trained on."""


def by_role(results: Sequence[StepResult]) -> dict[str, Artifact]:
    """Return the artifacts of a generation's steps by role."""
    return {str(StepRole(index)): result.artifact for index, result in enumerate(results)}


def step_inputs(context: Context, plan: Plan, step: Step, *, index: int, start: Checkpoint) -> dict[str, Any]:
    """Return what the step's result depends on: the id of its artifact is the hash of this."""
    return {**planned_inputs(context, plan, step, index=index), "start": start.fingerprint}


def planned_inputs(context: Context, plan: Plan, step: Step, *, index: int) -> dict[str, Any]:
    """Return the inputs of a step that its generation's plan knows: all but the weights that it starts from."""
    return {
        **context.identity(),
        "generation": plan.number,
        "step": index,
        "settings": identity_of(step),
        "target_levels": list(plan.target_levels),
        "replay_levels": list(plan.replay_levels),
        "replay_pool": plan.pool.digest(),
        "teachers": [checkpoint.fingerprint for _, checkpoint in plan.teachers.values()],
        "samplers": [checkpoint.fingerprint for _, checkpoint in plan.samplers.values()],
        "references": [checkpoint.fingerprint for _, checkpoint in plan.references.values()],
        "rates": plan.rates.digest(),
        "asked": [checkpoint.fingerprint for _, checkpoint in plan.asked.values()],
    }


def run_step(
    context: Context, plan: Plan, step: Step, trainer: Trainer, *, index: int, start: Checkpoint, meter: Meter
) -> StepResult:
    """Return the finished step; what is already in the store is not computed again."""
    inputs = step_inputs(context, plan, step, index=index, start=start)
    artifact = context.store.find("step", inputs)
    if artifact is None:
        tables, counts, checkpoint = _run_parts(context, plan, step, trainer, inputs=inputs, start=start, meter=meter)
        weights = context.store.put("weights", {"fingerprint": checkpoint.fingerprint}, checkpoint.files)
        # Before the artifact, so that a run killed in between still knows how long it took.
        context.store.put_work("measured", inputs, {"measured.json": json.dumps(counts.measured()).encode()})
        tables.usage = _combine_usage(tables)
        tables.shown = sorted(set(tables.shown), key=lambda row: row.source)
        result = {"fingerprint": checkpoint.fingerprint, "counts": counts.to_json(measured=False)}
        files = {**tables.files(), "result.json": json_file(result)}
        artifact = context.store.put("step", inputs, files)
    else:
        tables, result = Tables.read(artifact), json.loads(artifact.read("result.json"))
        meter.add(result["counts"])
        if (measured := context.store.find_work("measured", inputs)) is not None:
            meter.add(json.loads(measured.read("measured.json")))
        found = context.store.find("weights", {"fingerprint": result["fingerprint"]})
        assert found is not None, "a step's weights are stored before the step"
        weights = found
        checkpoint = Checkpoint(fingerprint=result["fingerprint"], files=weights.read_all())
    accounting = reconcile(tables.rollouts, tables.verdicts, tables.selections, num_prompts=trainer.drawn(tables))
    return StepResult(
        checkpoint=checkpoint,
        artifact=artifact,
        weights=weights,
        accounting=accounting,
        sources=frozenset(_generations(tables.usage)) - {plan.number},
    )


def _run_parts(
    context: Context,
    plan: Plan,
    step: Step,
    trainer: Trainer,
    *,
    inputs: dict[str, Any],
    start: Checkpoint,
    meter: Meter,
) -> tuple[Tables, Meter, Checkpoint]:
    store = context.store
    prepared, counts = _prepare(context, trainer, inputs, start=start)
    tables, parts = Tables(), range(-(-step.num_rounds // step.checkpoint_every))
    tables.extend(prepared)
    first, state = 0, None
    for part in parts:
        if (done := store.find_work("part", _key(context, inputs, step, part))) is None:
            break
        first = part + 1
        tables.extend(Tables.read(done))
        counts.add(json.loads(done.read("meter.json")))
    if first:
        state = store.find_work("state", _key(context, inputs, step, first - 1))
        assert state is not None, "a part's state is stored before the part"
    trainer.resume(tables)
    faults = {""}
    checkpoint = _restore(context, step, start, state)
    for part in parts[first:]:
        rounds = range(part * step.checkpoint_every, min((part + 1) * step.checkpoint_every, step.num_rounds))
        rows, spent = Tables(), context.meter()
        _run_rounds(context, plan, step, trainer, rounds, rows, spent, faults=faults)
        with spent.clock("other"):
            checkpoint, optimizer = context.pool.training_state()
            key = _key(context, inputs, step, part)
            contents = {f"{MODEL_FOLDER}{name}": data for name, data in checkpoint.files.items()}
            new = store.put_work("state", key, {**contents, OPTIMIZER_STATE: optimizer})
            files = {**rows.files(), "meter.json": json.dumps(spent.to_json(measured=True)).encode()}
            store.put_work("part", key, files)
            if state is not None:
                store.remove_work(state)
            state = new
        tables.extend(rows)
        counts.add(spent.to_json(measured=True))
    meter.add(counts.to_json(measured=True))
    return tables, counts, checkpoint


def _key(context: Context, inputs: dict[str, Any], step: Step, part: int) -> dict[str, Any]:
    """Return what a part of a step is known by."""
    return context.in_progress({**inputs, "every": step.checkpoint_every, "part": part})


def _prepare(context: Context, trainer: Trainer, inputs: dict[str, Any], *, start: Checkpoint) -> tuple[Tables, Meter]:
    """Return what the trainer drew before its first round, from the store if a killed run left it there."""
    tables, meter = Tables(), context.meter()
    key = context.in_progress(inputs)
    found = context.store.find_work("prepared", key)
    if found is not None:
        tables = Tables.read(found)
        meter.add(json.loads(found.read("meter.json")))
    else:
        context.pool.hold(start)
        trainer.prepare(tables, meter)
        files = {**tables.files(), "meter.json": json.dumps(meter.to_json(measured=True)).encode()}
        context.store.put_work("prepared", key, files)
    return tables, meter


def _restore(context: Context, step: Step, start: Checkpoint, state: Artifact | None) -> Checkpoint:
    """Put the workers where the last complete part left them and return those weights."""
    pool = context.pool
    if state is None:
        pool.hold(start)
        pool.broadcast("begin", step.optimizer, step.critic)
        return start
    contents = state.read_all()
    optimizer = contents.pop(OPTIMIZER_STATE)
    files = {name.removeprefix(MODEL_FOLDER): data for name, data in contents.items()}
    pool.load_unverified(files)
    pool.broadcast("begin", step.optimizer, step.critic)
    pool.broadcast("restore", optimizer)
    assert pool.holding is not None
    return Checkpoint(fingerprint=pool.holding, files=files)


def _run_rounds(
    context: Context,
    plan: Plan,
    step: Step,
    trainer: Trainer,
    rounds: range,
    tables: Tables,
    meter: Meter,
    *,
    faults: set[str],
) -> None:
    """Run some rounds, keeping the workers busy while the next batches are prepared.

    `faults`: what rounds have been warned of; what these are warned of joins it.
    """
    pool, total = context.pool, step.num_rounds * trainer.updates_per_round
    shown: set[str] = set()
    in_flight: deque[tuple[int, float, Round, Any]] = deque()
    began = time.perf_counter()

    def collect(down_to: int) -> None:
        while len(in_flight) > down_to:
            update, factor, drawn, handle = in_flight.popleft()
            with meter.clock("train"):
                metrics = pool.metrics(handle)
            _record(update, factor, drawn, metrics, tables, meter, context=context, plan=plan)
            told = {"loss": metrics.loss}
            told |= {"reward": drawn.reward} if drawn.reward is not None else {}
            told |= {"informative": drawn.informative_groups} if drawn.informative_groups is not None else {}
            speed = sum(meter.tokens.values()) / (time.perf_counter() - began)
            warning = "" if drawn.common_fault in faults else drawn.common_fault
            faults.add(warning)
            context.observe(plan.event("train", update + 1, total, tokens_per_second=speed, warning=warning, **told))

    for number in rounds:
        if trainer.samples:
            collect(0)
        drawn = trainer.round(number, tables, meter)
        for inner, batch in enumerate(drawn.batches):
            update = number * trainer.updates_per_round + inner
            factor = schedule_factor(step.schedule, update=update, total=total)
            with meter.clock("train"):
                handle = pool.update(batch, lr_factor=factor, grad_clip=step.grad_clip)
            tables.usage += _usage(batch)
            for row in _references(batch):
                if row.source not in shown:
                    shown.add(row.source)
                    tables.shown.append(row)
            in_flight.append((update, factor, drawn, handle))
            collect(UPDATES_IN_FLIGHT - 1)
    collect(0)


def _record(
    update: int,
    factor: float,
    drawn: Round,
    metrics: UpdateMetrics,
    tables: Tables,
    meter: Meter,
    *,
    context: Context,
    plan: Plan,
) -> None:
    parameters = plan.shape.num_parameters * plan.shape.bytes_per_parameter
    # Forward and backward read the weights, the step reads and writes weights, gradient and momentum.
    meter.count("train", flops=metrics.flops, tokens=metrics.num_tokens, bytes_moved=8 * parameters * context.pool.size)
    tables.updates.append(
        UpdateRow(
            update=update,
            loss=metrics.loss,
            rl_loss=metrics.rl_loss,
            ce_loss=metrics.ce_loss,
            kl_loss=metrics.kl_loss,
            value_loss=metrics.value_loss,
            grad_norm=metrics.grad_norm,
            ratio_max=metrics.ratio_max,
            clip_fraction=metrics.clip_fraction,
            lr_factor=factor,
            reward=drawn.reward,
            informative_groups=drawn.informative_groups,
            entropy=drawn.entropy,
            length=drawn.length,
            mismatch=drawn.mismatch,
        )
    )


def _usage(batch: Batch) -> list[UsageRow]:
    return [
        UsageRow(source=example.source, stream=stream, count=1)
        for example in batch.examples
        for stream in (
            *((Use.RL,) if example.advantages else ()),
            *((Use.CE,) if example.ce_weight else ()),
            *(("kl",) if example.kl_weight else ()),
        )
    ]


def _references(batch: Batch) -> Iterator[ShownRow]:
    """Yield the references among the examples, which are not rollouts and were given as text."""
    for example in batch.examples:
        if not is_rollout(example.source) and example.prompt_text is not None:
            yield ShownRow(source=example.source, prompt=example.prompt_text)


def _generations(usage: Sequence[UsageRow]) -> Iterator[int]:
    """Yield the generation of this lineage that gave each source which is a rollout."""
    for row in usage:
        if is_rollout(row.source):
            yield RolloutId.parse(row.source).contributor


def _combine_usage(tables: Tables) -> list[UsageRow]:
    counts: Counter[tuple[str, str]] = Counter()
    for row in tables.usage:
        counts[row.source, row.stream] += row.count
    return [UsageRow(source=s, stream=k, count=n) for (s, k), n in sorted(counts.items())]
