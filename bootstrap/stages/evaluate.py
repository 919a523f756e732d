"""Evaluation of one set of weights on the task's held-out prompts, as a stage that is never run twice."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bootstrap.compute import ModelShape
from bootstrap.evaluation.report import Judged, OutcomeRow, build_report, outcomes
from bootstrap.prompts.task import suite_digest
from bootstrap.records import Checkpoint, Event, Prompt, Report, Rollout, Verdict
from bootstrap.stages.context import Context, Meter
from bootstrap.stages.generate import generate, judge, requests, sampling
from bootstrap.stages.resolve import weights_of
from bootstrap.store.artifacts import Artifact
from bootstrap.store.ledger import Entry
from bootstrap.store.tables import from_parquet, to_parquet

SEED = 0
"""Samples of held-out prompts are drawn alike for every recipe seed: the suite is frozen."""
GREEDY_SHOWN = 4
"""Greedy answers of each level that are kept for reading."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    report: Report
    rows: Sequence[OutcomeRow]
    artifact: Artifact


def evaluate(
    context: Context,
    checkpoint: Checkpoint,
    *,
    levels: Sequence[int],
    sampled_levels: Sequence[int],
    trained_level: int,
    shape: ModelShape,
    number: int,
    meter: Meter,
) -> Evaluation:
    """Return greedy results on `levels` and sampled ones on `sampled_levels`; `trained_level` counts the lead."""
    settings = context.recipe.evaluation
    identity = context.identity()
    del identity["seed"]
    inputs = {
        **identity,
        "fingerprint": checkpoint.fingerprint,
        "settings": settings.model_dump(mode="json", exclude={"lookahead"}),
        "levels": list(levels),
        "sampled_levels": list(sampled_levels),
        "trained_level": trained_level,
    }
    artifact = context.store.find("evaluate", inputs)
    if artifact is None:
        files = _measure(
            context,
            checkpoint,
            levels=levels,
            sampled_levels=sampled_levels,
            trained_level=trained_level,
            shape=shape,
            number=number,
            seconds=meter,
        )
        artifact = context.store.put("evaluate", inputs, files)
    meter.add(json.loads(artifact.read("meter.json")))
    return Evaluation(
        report=Report.model_validate_json(artifact.read("report.json")),
        rows=from_parquet(artifact.read("outcomes.parquet"), OutcomeRow),
        artifact=artifact,
    )


def outcomes_of(
    context: Context, entries: Sequence[Entry], number: int, *, levels: Collection[int], shape: ModelShape, meter: Meter
) -> list[OutcomeRow]:
    """Return a committed generation's outcomes on the held-out prompts of these levels.

    Its own evaluation answers for the levels it covers, since the same weights give the same answers to the frozen
    prompts; any other level is evaluated now.
    """
    generation = entries[number].generation
    stored = context.store.artifact(generation.artifacts["evaluation"])
    rows = [row for row in from_parquet(stored.read("outcomes.parquet"), OutcomeRow) if row.level in levels]
    if missing := sorted(set(levels) - {row.level for row in rows}):
        rows += evaluate(
            context,
            weights_of(context, entries, number),
            levels=missing,
            sampled_levels=(),
            trained_level=max(generation.target_levels),
            shape=shape,
            number=len(entries),
            meter=meter,
        ).rows
    return rows


def _measure(
    context: Context,
    checkpoint: Checkpoint,
    *,
    levels: Sequence[int],
    sampled_levels: Sequence[int],
    trained_level: int,
    shape: ModelShape,
    number: int,
    seconds: Meter,
) -> dict[str, bytes]:
    """Answer the held-out prompts and return the artifact's files; wall time goes to `seconds`."""
    settings, counts = context.recipe.evaluation, Meter()
    context.pool.hold(checkpoint)
    suite: list[Prompt] = []
    greedy: dict[int, Judged] = {}
    sampled: dict[int, Judged] = {}
    kept: list[Rollout] = []
    kept_verdicts: list[Verdict] = []

    def ask(prompts: Sequence[Prompt], level: int, *, name: str, samples: int, temperature: float) -> Judged:
        asked = requests(prompts, prefix=f"{name}.l{level}", samples=samples, seed=SEED)
        how = sampling(context, levels=[level], temperature=temperature)
        rollouts = generate(
            context, asked, how, shape=shape, meter=counts, phase="evaluate", policy=checkpoint.fingerprint
        )
        return rollouts, judge(context, rollouts, prompts, meter=counts)

    for done, level in enumerate(levels):
        context.observe(Event(generation=number, stage="evaluate", done=done, total=len(levels)))
        prompts = context.task.heldout(level, settings.prompts_per_level)
        suite += prompts
        greedy[level] = ask(prompts, level, name="greedy", samples=1, temperature=0.0)
        if settings.sampled is not None and level in sampled_levels:
            sampled[level] = ask(
                prompts[: settings.sampled.prompts],
                level,
                name="sampled",
                samples=settings.sampled.samples,
                temperature=settings.sampled.temperature,
            )
            kept += sampled[level][0]
            kept_verdicts += sampled[level][1]
        kept += greedy[level][0][:GREEDY_SHOWN]
        kept_verdicts += greedy[level][1][:GREEDY_SHOWN]
    context.observe(Event(generation=number, stage="evaluate", done=len(levels), total=len(levels)))
    report = build_report(
        fingerprint=checkpoint.fingerprint,
        suite=suite_digest(suite),
        greedy=greedy,
        sampled=sampled,
        k=settings.sampled.k if settings.sampled is not None else 0,
        mastered=settings.mastered,
        trained_level=trained_level,
    )
    rows = [row for level in levels for row in outcomes(*greedy[level])]
    for phase, spent in counts.seconds.items():
        seconds.seconds[phase] = seconds.seconds.get(phase, 0.0) + spent
    return {
        "report.json": report.model_dump_json().encode(),
        "outcomes.parquet": to_parquet(rows, OutcomeRow),
        "samples.parquet": to_parquet(kept, Rollout),
        "verdicts.parquet": to_parquet(kept_verdicts, Verdict),
        "meter.json": json.dumps(counts.to_json(measured=False), sort_keys=True).encode(),
    }
