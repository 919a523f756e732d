"""One training step as a chain of durable parts, whatever its type.

    rounds 0..k-1 -> state, part 0 -> rounds k..2k-1 -> state, part 1 -> ... -> the step's artifact

A part is `checkpoint_every` rounds. It is written to the store's scratch area complete or not at all: tables and
counts, and before them the weights and the optimizer's state. A killed run goes on from the last complete part. A
round's draws are derived from its number, so the result does not depend on where the kills fell.

Left out: what a round trains on (`supervised.py`, `reinforcement.py`, `self_play.py`, `plugin.py`).
"""

import json
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bootstrap.canonical import json_file
from bootstrap.config.base import identity_of
from bootstrap.config.step import StepSettings
from bootstrap.errors import UpdateFault
from bootstrap.ids import RolloutId, StepRole, is_rollout
from bootstrap.learner_records import UpdateMetrics
from bootstrap.ledger_records import Accounting
from bootstrap.records import Batch, Checkpoint, Use
from bootstrap.selection.accounting import reconcile
from bootstrap.selection.epochs import digest
from bootstrap.stages.compared import compare_samplers
from bootstrap.stages.context import Context, Meter, Plan
from bootstrap.stages.once import METER_FILE, add_measured, keep_measured
from bootstrap.stages.tables import ShownRow, Tables, UpdateRow, UsageRow
from bootstrap.stages.trainer import Round, Trainer
from bootstrap.store.artifacts import Artifact
from bootstrap.store.on_disk import FolderFiles, renamed
from bootstrap.training.bounds import UpdateWatch
from bootstrap.training.schedule import schedule_factor

UPDATES_IN_FLIGHT = 3
"""Updates that the workers have been handed at most, so that the driver prepares batches while they compute."""
MODEL_FOLDER = "model/"
WATCHED = "watched.json"
"""The numbers of a part's updates that later ones are compared with."""


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """A finished step."""

    checkpoint: Checkpoint
    artifact: Artifact
    weights: Artifact
    accounting: Accounting
    sources: frozenset[int]
    """Earlier generations whose answers it was trained on."""


def in_folder(files: Mapping[str, bytes]) -> FolderFiles:
    """Return a model's files as they are kept beside others, in a folder of their own."""
    return renamed(files, lambda name: f"{MODEL_FOLDER}{name}")


def out_of_folder(artifact: Artifact) -> FolderFiles:
    """Return the files that `in_folder` was given, and the artifact keeps."""
    found = artifact.contents(lambda name: name.startswith(MODEL_FOLDER))
    return renamed(found, lambda name: name.removeprefix(MODEL_FOLDER))


def by_role(results: Sequence[StepResult]) -> dict[str, Artifact]:
    """Return the artifacts of a generation's steps by role."""
    return {str(StepRole(index)): result.artifact for index, result in enumerate(results)}


def planned_inputs(context: Context, plan: Plan, step: StepSettings, *, index: int) -> dict[str, Any]:
    """Return all that a step's result depends on but the weights that it starts from, which the plan does not know."""
    # Only where it acts, so that finished work of earlier versions is found again.
    visits = {"visits": digest(plan.visits)} if step.draws_epochs else {}
    return {
        **context.identity(),
        **visits,
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


def run_step(trainer: Trainer[Any], *, start: Checkpoint, meter: Meter) -> StepResult:
    """Return the finished step of a trainer, from the store if it is there."""
    context, plan = trainer.context, trainer.plan
    inputs = {**planned_inputs(context, plan, trainer.step, index=trainer.index), "start": start.fingerprint}
    artifact = context.store.find("step", inputs)
    if artifact is None:
        begun = context.store.find_work("prepared", context.in_progress(inputs)) is not None
        trainer, (tables, counts, checkpoint) = _run_believed(trainer, inputs, start=start)
        meter.add(counts.to_json(measured=True))
        weights = context.store.put("weights", {"fingerprint": checkpoint.fingerprint}, checkpoint.files)
        keep_measured(context, inputs, counts)
        tables.usage = _combine_usage(tables)
        tables.shown = sorted(set(tables.shown), key=lambda row: row.source)
        result: dict[str, Any] = {
            "fingerprint": checkpoint.fingerprint,
            "counts": counts.to_json(measured=False),
            **({"ended": trainer.ended} if trainer.ended else {}),
        }
        files = {**tables.files(), "result.json": json_file(result)}
        artifact = context.store.put("step", inputs, files)
        if not begun:
            context.made.add(artifact.id)
    else:
        tables, result = Tables.read(artifact), artifact.json("result.json")
        meter.add(result["counts"])
        add_measured(context, inputs, meter)
        found = context.store.find("weights", {"fingerprint": result["fingerprint"]})
        assert found is not None, "a step's weights are stored before the step"
        weights = found
        checkpoint = weights.checkpoint(result["fingerprint"])
    accounting = reconcile(tables.rollouts, tables.verdicts, tables.selections, num_prompts=trainer.drawn(tables))
    if ended := result.get("ended", ""):
        accounting = accounting.model_copy(update={"ended": {str(StepRole(trainer.index)): ended}})
    return StepResult(
        checkpoint=checkpoint,
        artifact=artifact,
        weights=weights,
        accounting=accounting,
        sources=frozenset(_generations(tables.usage)) - {plan.number},
    )


def _run_believed(
    trainer: Trainer[Any], inputs: dict[str, Any], *, start: Checkpoint
) -> tuple[Trainer[Any], tuple[Tables, Meter, Checkpoint]]:
    """Return the trainer that ran the step, and what `_run_parts` does.

    A part with numbers beyond belief is undone and run once more, as after a kill. Raises UpdateFault when that gives
    such numbers too.
    """
    context, undone = trainer.context, set[int]()
    while True:
        try:
            tables, counts, checkpoint = _run_parts(trainer, inputs, start=start)
        except UpdateFault as fault:
            part = _num_done(trainer, inputs)
            if part in undone:
                raise UpdateFault(
                    f"{fault}, and so it was when the updates since the last checkpoint were done once more. Run the "
                    "same command again: after a fault of memory it goes on rightly from that checkpoint. If it ends "
                    "here again, the numbers are the model's own: raise the bound that is named, which changes no "
                    "result, or lower the step's learning rate and start a new lineage with --lineage NAME"
                ) from fault
            undone.add(part)
            told = f"{fault}; the updates since the last checkpoint are done once more"
            context.observe(trainer.plan.event("train", 0, trainer.step.num_rounds, warning=told))
            context.learners.abandon()
            context.samplers.abandon()
            trainer = type(trainer)(context, trainer.plan, trainer.step, index=trainer.index)
        else:
            if undone:
                counts.note("num_redone", len(undone))
            return trainer, (tables, counts, checkpoint)


def _num_done(trainer: Trainer[Any], inputs: dict[str, Any]) -> int:
    """Return how many parts of a step are in the store."""
    store, done = trainer.context.store, 0
    while store.find_work("part", _key(trainer, inputs, done)) is not None:
        done += 1
    return done


def _run_parts(trainer: Trainer[Any], inputs: dict[str, Any], *, start: Checkpoint) -> tuple[Tables, Meter, Checkpoint]:
    """Return the step's tables, its work and its last weights. Raises UpdateFault."""
    context, step, store = trainer.context, trainer.step, trainer.context.store
    tables, counts = _prepare(trainer, inputs, start=start)
    watch = UpdateWatch(context.training.bounds)
    parts, first, state = range(-(-step.num_rounds // step.checkpoint_every)), 0, None
    for part in parts:
        if (done := store.find_work("part", _key(trainer, inputs, part))) is None:
            break
        first = part + 1
        tables.extend(Tables.read(done))
        counts.add(done.json(METER_FILE))
        watch.resume(done.json(WATCHED))
    if first:
        state = store.find_work("state", _key(trainer, inputs, first - 1))
        assert state is not None, "a part's state is stored before the part"
    trainer.resume(tables)
    faults = {""}
    checkpoint = _restore(trainer, start, state)
    for part in parts[first:]:
        if trainer.ended:
            break
        rounds = range(part * step.checkpoint_every, min((part + 1) * step.checkpoint_every, step.num_rounds))
        rows, spent = Tables(), context.meter()
        _run_rounds(trainer, rounds, rows, spent, faults=faults, watch=watch)
        for name, value in watch.peaks.items():
            spent.note(name, value)
        with spent.clock("other"):
            checkpoint, own = context.learners.training_state()
            key = _key(trainer, inputs, part)
            new = store.put_work("state", key, in_folder(checkpoint.files) | own)
            store.put_work("part", key, {**_files(rows, spent), WATCHED: json.dumps(watch.added()).encode()})
            if state is not None:
                store.remove_work(state)
            state = new
        tables.extend(rows)
        counts.add(spent.to_json(measured=True))
    if trainer.ended:
        total = step.num_rounds * trainer.updates_per_round
        context.observe(trainer.plan.event("train", total, total, message=trainer.ended))
    return tables, counts, checkpoint


def _key(trainer: Trainer[Any], inputs: dict[str, Any], part: int) -> dict[str, Any]:
    """Return the key of a part."""
    return trainer.context.in_progress({**inputs, "every": trainer.step.checkpoint_every, "part": part})


def _files(tables: Tables, meter: Meter) -> dict[str, bytes]:
    """Return the files of unfinished work."""
    return {**tables.files(), METER_FILE: json.dumps(meter.to_json(measured=True)).encode()}


def _prepare(trainer: Trainer[Any], inputs: dict[str, Any], *, start: Checkpoint) -> tuple[Tables, Meter]:
    """Return the trainer's draws before its first round, from the store if a killed run left them there."""
    context, tables, meter = trainer.context, Tables(), trainer.context.meter()
    key = context.in_progress(inputs)
    found = context.store.find_work("prepared", key)
    if found is not None:
        tables = Tables.read(found)
        meter.add(found.json(METER_FILE))
    else:
        if trainer.step.rejections():
            context.samplers.hold(start)
        trainer.prepare(tables, meter)
        context.store.put_work("prepared", key, _files(tables, meter))
    return tables, meter


def _restore(trainer: Trainer[Any], start: Checkpoint, state: Artifact | None) -> Checkpoint:
    """Return the weights after the last complete part; the workers hold them, with the optimizer's `state`."""
    learners, step = trainer.context.learners, trainer.step
    if state is None:
        learners.hold(start)
        learners.begin(step.optimizer, step.critic)
        return start
    files, own = out_of_folder(state), state.contents(lambda name: not name.startswith(MODEL_FOLDER), large=0)
    fingerprint = learners.restore(files, own, step.optimizer, step.critic, stored=str(state.path))
    return Checkpoint(fingerprint=fingerprint, files=files)


def _run_rounds(
    trainer: Trainer[Any], rounds: range, tables: Tables, meter: Meter, *, faults: set[str], watch: UpdateWatch
) -> None:
    """Run some rounds; the workers compute while the next batches are prepared.

    `faults`: the common faults told so far, to which these rounds' are added. Raises UpdateFault, by `watch` or a
    worker.
    """
    context, step, plan = trainer.context, trainer.step, trainer.plan
    total = step.num_rounds * trainer.updates_per_round
    # Forward and backward read the weights; the step reads and writes weights, gradient and momentum.
    moved = 8 * plan.shape.num_parameters * plan.shape.bytes_per_parameter * context.learners.size
    shown: set[str] = set()
    in_flight: deque[tuple[int, float, Round, Any]] = deque()
    began = time.perf_counter()

    def collect(down_to: int) -> None:
        while len(in_flight) > down_to:
            update, factor, drawn, handle = in_flight.popleft()
            with meter.clock("train"):
                metrics = context.learners.metrics(handle)
            first = trainer.samples and update % trainer.updates_per_round == 0
            watch.check(update, metrics, difference=metrics.logprob_difference if first else None)
            meter.count("train", flops=metrics.flops, tokens=metrics.num_tokens, bytes_moved=moved)
            tables.updates.append(_row(update, factor, drawn, metrics))
            speed = sum(meter.tokens.values()) / (time.perf_counter() - began)
            told = {"tokens_per_second": speed, "loss": metrics.loss}
            told |= {"reward": drawn.reward} if drawn.reward is not None else {}
            told |= {"logprob_difference": metrics.logprob_difference} if first else {}
            told |= {"informative": drawn.informative_groups} if drawn.informative_groups is not None else {}
            warning = "" if drawn.common_fault in faults else drawn.common_fault
            faults.add(warning)
            context.observe(plan.event("train", update + 1, total, warning=warning, metrics=told))

    for number in rounds:
        if trainer.ended:
            break
        if trainer.samples:
            collect(0)
            with meter.clock("train"):
                context.samplers.take(context.learners.publish())
        before = len(tables.rollouts)
        drawn = trainer.round(number, tables, meter)
        if trainer.samples:
            compare_samplers(trainer, number, tables.rollouts[before:], drawn, meter, watch=watch)
        for inner, batch in enumerate(drawn.batches):
            update = number * trainer.updates_per_round + inner
            factor = schedule_factor(step.schedule, update=update, total=total)
            with meter.clock("train"):
                handle = context.learners.update(batch, lr_factor=factor, grad_clip=step.grad_clip)
            tables.usage += _usage(batch)
            for row in _references(batch):
                if row.source not in shown:
                    shown.add(row.source)
                    tables.shown.append(row)
            in_flight.append((update, factor, drawn, handle))
            collect(UPDATES_IN_FLIGHT - 1)
    collect(0)


def _row(update: int, factor: float, drawn: Round, metrics: UpdateMetrics) -> UpdateRow:
    return UpdateRow(
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
    """Yield the references among the examples: no rollouts, given as text."""
    for example in batch.examples:
        if not is_rollout(example.source) and example.prompt_text is not None:
            yield ShownRow(source=example.source, prompt=example.prompt_text)


def _generations(usage: Sequence[UsageRow]) -> Iterator[int]:
    """Yield the generation of this lineage behind each source that is a rollout."""
    for row in usage:
        if is_rollout(row.source):
            yield RolloutId.parse(row.source).contributor


def _combine_usage(tables: Tables) -> list[UsageRow]:
    counts: Counter[tuple[str, str]] = Counter()
    for row in tables.usage:
        counts[row.source, row.stream] += row.count
    return [UsageRow(source=s, stream=k, count=n) for (s, k), n in sorted(counts.items())]
