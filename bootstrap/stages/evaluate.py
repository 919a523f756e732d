"""Evaluation of weights on held-out prompts of the task and of the panel, as a stage that is never run twice."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from bootstrap.canonical import json_file
from bootstrap.config.base import identity_of
from bootstrap.config.evaluation import Sampled
from bootstrap.evaluation.report import Judged, OutcomeRow, build_report, outcomes
from bootstrap.ids import Asking, HeldoutId
from bootstrap.ledger_records import Report
from bootstrap.prompts.task import suite_digest
from bootstrap.records import Checkpoint, Event, Prompt, Rollout, Verdict
from bootstrap.scoring.given import given_answer
from bootstrap.stages.context import Context, Meter, Watched
from bootstrap.stages.generate import generate, judge, requests, sampling
from bootstrap.stages.heldout import PANEL_FILE, known_answers, panel_rows
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
    panel: Sequence[OutcomeRow]
    artifact: Artifact


def evaluate(
    context: Context,
    checkpoint: Checkpoint,
    *,
    levels: Sequence[int],
    sampled_levels: Sequence[int],
    trained_level: int,
    number: int,
    meter: Meter,
    with_panel: bool = True,
) -> Evaluation:
    """Return greedy results on `levels` and the panel, and sampled ones on `sampled_levels`.

    `trained_level`: the one from which the generalization margin is counted.
    """
    settings = context.recipe.evaluation
    inputs = {
        **context.identity(),
        "fingerprint": checkpoint.fingerprint,
        "settings": identity_of(settings.model_copy(update={"lookahead": 0})),
        "min_prompts": context.recipe.gate.min_prompts,
        "levels": list(levels),
        # Which rows of a file are asked also follows from how this version of the program reads them.
        "suite": suite_digest([p for level in levels for p in context.task.heldout(level, settings.prompts_per_level)]),
        "sampled_levels": list(sampled_levels),
        "trained_level": trained_level,
        "panel": {name: watched.verifier.version for name, watched in context.panel.items()} if with_panel else {},
    }
    artifact = context.store.find("evaluate", inputs)
    if artifact is None:
        files, counts = _measure(
            context,
            checkpoint,
            levels=levels,
            sampled_levels=sampled_levels,
            trained_level=trained_level,
            number=number,
            panel=context.panel if with_panel else {},
        )
        # Before the artifact, so that a run killed in between still knows how long it took.
        context.store.put_work("measured", inputs, {"measured.json": json.dumps(counts.measured()).encode()})
        artifact = context.store.put("evaluate", inputs, files)
    meter.add(json.loads(artifact.read("meter.json")))
    if (measured := context.store.find_work("measured", inputs)) is not None:
        meter.add(json.loads(measured.read("measured.json")))
    return Evaluation(
        report=Report.model_validate_json(artifact.read("report.json")),
        rows=from_parquet(artifact.read("outcomes.parquet"), OutcomeRow),
        panel=panel_rows(artifact),
        artifact=artifact,
    )


def outcomes_of(
    context: Context, entries: Sequence[Entry], number: int, *, levels: Collection[int], meter: Meter
) -> tuple[list[OutcomeRow], Artifact | None]:
    """Return a committed generation's outcomes on the held-out prompts of these levels, and what was evaluated for it.

    Each prompt stands at the lowest of its levels. The generation's own evaluation answers for the levels whose prompts
    it covers; any other level is evaluated now.
    """
    known, count = known_answers(context, entries, number).rows, context.recipe.evaluation.prompts_per_level
    answered = {row.prompt_id for row in known}
    suites = {level: [prompt.id for prompt in context.task.heldout(level, count)] for level in levels}
    missing = sorted(level for level, suite in suites.items() if not answered.issuperset(suite))
    asked = {prompt for suite in suites.values() for prompt in suite}
    rows = [row for row in known if row.level in levels and row.level not in missing and row.prompt_id in asked]
    if not missing:
        return rows, None
    further = evaluate(
        context,
        weights_of(context, entries, number),
        levels=missing,
        sampled_levels=(),
        trained_level=max(entries[number].generation.target_levels),
        number=len(entries),
        meter=meter,
        with_panel=False,
    )
    lower = (level for level in range(1, max(missing)) if level not in missing)
    below = {prompt.id for level in lower for prompt in context.task.heldout(level, count)}
    return [*rows, *(row for row in further.rows if row.prompt_id not in below)], further.artifact


def _measure(
    context: Context,
    checkpoint: Checkpoint,
    *,
    levels: Sequence[int],
    sampled_levels: Sequence[int],
    trained_level: int,
    number: int,
    panel: Mapping[str, Watched],
) -> tuple[dict[str, bytes], Meter]:
    """Answer the held-out prompts; return the artifact's files and what it took."""
    settings, counts = context.recipe.evaluation, context.meter()
    context.pool.hold(checkpoint)
    shape = context.pool.shape()
    suite: list[Prompt] = []
    greedy: dict[int, Judged] = {}
    own: dict[int, Judged] = {}
    """Greedy answers to the prompts that no lower level holds."""
    sampled: dict[int, Judged] = {}
    kept: list[Rollout] = []
    kept_verdicts: list[Verdict] = []

    def ask(
        prompts: Sequence[Prompt], level: int, how: Sampled | None, *, of: str = "", watched: Watched | None = None
    ) -> Judged:
        """Answer greedily, or sample as the recipe says; prompts of the run's task, or of a panel task called `of`."""
        task, verifier = (watched.task, watched.verifier) if watched else (context.task, context.eval_verifier)
        asking, samples = (Asking.GREEDY, 1) if how is None else (Asking.SAMPLED, how.samples)
        prefix = HeldoutId(asking=asking, level=level, task=of)
        asked = requests(prompts, prefix=prefix, samples=samples, seed=SEED)
        drawn = (
            sampling(context, levels=[level], temperature=0.0, task=task)
            if how is None
            else sampling(context, levels=[level], temperature=how.temperature, top_k=how.top_k, top_p=how.top_p)
        )
        rollouts = generate(
            context, asked, drawn, shape=shape, meter=counts, phase="evaluate", policy=checkpoint.fingerprint
        )
        return rollouts, judge(context, rollouts, prompts, meter=counts, verifier=verifier, task=task)

    total = len(levels) + sum(len(watched.settings.asked) for watched in panel.values())
    answered: dict[str, tuple[Rollout, Verdict]] = {}
    for done, level in enumerate(levels):
        context.observe(Event(generation=number, stage="evaluate", done=done, total=total))
        prompts = context.task.heldout(level, settings.prompts_per_level)
        # The same weights answer a prompt that a lower level holds too as they did there.
        fresh = [prompt for prompt in prompts if prompt.id not in answered]
        if fresh:
            rollouts, verdicts = ask(fresh, level, None)
            pairs = zip(rollouts, verdicts, strict=True)
            answered |= {prompt.id: pair for prompt, pair in zip(fresh, pairs, strict=True)}
            own[level] = rollouts, verdicts
        suite += fresh
        greedy[level] = [answered[prompt.id][0] for prompt in prompts], [answered[prompt.id][1] for prompt in prompts]
        if settings.sampled is not None and level in sampled_levels:
            sampled[level] = ask(prompts[: settings.sampled.prompts], level, settings.sampled)
            kept += sampled[level][0]
            kept_verdicts += sampled[level][1]
        if level in own:
            kept += own[level][0][:GREEDY_SHOWN]
            kept_verdicts += own[level][1][:GREEDY_SHOWN]
    others: dict[str, dict[int, Judged]] = {name: {} for name in panel}
    done = len(levels)
    for name, watched in panel.items():
        for level in watched.settings.asked:
            context.observe(Event(generation=number, stage="evaluate", done=done, total=total))
            prompts = watched.task.heldout(level, watched.settings.prompts_per_level)
            others[name][level] = answers = ask(prompts, level, None, of=name, watched=watched)
            kept += answers[0][:GREEDY_SHOWN]
            kept_verdicts += answers[1][:GREEDY_SHOWN]
            done += 1
    context.observe(Event(generation=number, stage="evaluate", done=total, total=total))
    rows = [row for judged in own.values() for row in outcomes(*judged)]
    report = build_report(
        fingerprint=checkpoint.fingerprint,
        suite=suite_digest(suite),
        greedy=greedy,
        sampled=sampled,
        answer_of=partial(given_answer, settings=context.recipe.eval_verifier),
        k=settings.sampled.k if settings.sampled is not None else 0,
        mastered=settings.mastered,
        min_prompts=context.recipe.gate.min_prompts,
        trained_level=trained_level,
        panel=others,
        rows=rows,
        slices={prompt.id: prompt.slice for prompt in suite if prompt.slice},
    )
    files = {
        "report.json": report.model_dump_json().encode(),
        "outcomes.parquet": to_parquet(rows, OutcomeRow),
        "samples.parquet": to_parquet(kept, Rollout),
        "verdicts.parquet": to_parquet(kept_verdicts, Verdict),
        "meter.json": json_file(counts.to_json(measured=False)),
    }
    if panel:
        answered = [(name, judged) for name, by_level in others.items() for judged in by_level.values()]
        rows = [row for name, judged in answered for row in outcomes(*judged, task=name)]
        files[PANEL_FILE] = to_parquet(rows, OutcomeRow)
    return files, counts
