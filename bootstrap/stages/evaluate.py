"""Evaluation of weights on held-out prompts of the task and the panel, as a stage that is never run twice."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from bootstrap.config.base import identity_of
from bootstrap.config.evaluation import Sampled
from bootstrap.evaluation.report import Judged, OutcomeRow, build_report, outcomes
from bootstrap.ids import Asking, HeldoutId
from bootstrap.ledger_records import Report
from bootstrap.prompts.splits import suite_digest
from bootstrap.records import Checkpoint, Event, Prompt, Rollout, Verdict
from bootstrap.scoring.given import given_answer
from bootstrap.stages.compared import compare_held
from bootstrap.stages.context import Context, Meter, Watched
from bootstrap.stages.generate import generate, judge, requests, sampling
from bootstrap.stages.heldout import PANEL_FILE, known_answers, panel_rows
from bootstrap.stages.once import once
from bootstrap.stages.weights import weights_of
from bootstrap.store.artifacts import Artifact
from bootstrap.store.ledger import Entry
from bootstrap.store.tables import from_parquet, to_parquet

SEED = 0
"""Held-out prompts are sampled alike whatever the recipe's seed: the suite is frozen."""
GREEDY_SHOWN = 4
"""Greedy answers of each level that are kept for people to read."""


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

    `trained_level`: the level from which the generalization margin is counted.
    """
    settings = context.recipe.evaluation
    inputs = {
        **context.identity(),
        "fingerprint": checkpoint.fingerprint,
        "settings": identity_of(settings.model_copy(update={"lookahead": 0})),
        "min_prompts": context.recipe.gate.min_prompts,
        "levels": list(levels),
        # This version of the program may read other rows of a file.
        "suite": suite_digest([prompt for level in levels for prompt in context.heldout(level)]),
        "sampled_levels": list(sampled_levels),
        "trained_level": trained_level,
        "panel": {name: watched.verifier.version for name, watched in context.panel.items()} if with_panel else {},
    }
    measure = partial(
        _measure,
        context,
        checkpoint,
        levels=levels,
        sampled_levels=sampled_levels,
        trained_level=trained_level,
        number=number,
        panel=context.panel if with_panel else {},
    )
    artifact = once(context, "evaluate", inputs, measure, meter=meter)
    return Evaluation(
        report=Report.model_validate(artifact.json("report.json")),
        rows=from_parquet(artifact.read("outcomes.parquet"), OutcomeRow),
        panel=panel_rows(artifact),
        artifact=artifact,
    )


def outcomes_of(
    context: Context, entries: Sequence[Entry], number: int, *, levels: Collection[int], meter: Meter
) -> tuple[list[OutcomeRow], Artifact | None]:
    """Return a committed generation's outcomes on the held-out prompts of these levels, and the evaluation made for it.

    Each prompt stands at the lowest of its levels. Levels that the generation's own evaluation does not cover are
    evaluated now; None where it covers all.
    """
    known = known_answers(context, entries, number).rows
    answered = {row.prompt_id for row in known}
    suites = {level: [prompt.id for prompt in context.heldout(level)] for level in levels}
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
    below = {prompt.id for level in lower for prompt in context.heldout(level)}
    return [*rows, *(row for row in further.rows if row.prompt_id not in below)], further.artifact


def _measure(
    context: Context,
    checkpoint: Checkpoint,
    counts: Meter,
    *,
    levels: Sequence[int],
    sampled_levels: Sequence[int],
    trained_level: int,
    number: int,
    panel: Mapping[str, Watched],
) -> dict[str, bytes]:
    """Answer the held-out prompts and return the artifact's files."""
    settings = context.recipe.evaluation
    context.samplers.hold(checkpoint)
    compare_held(context, checkpoint, levels[0], counts)
    shape = context.samplers.shape()
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
        """Return answers and verdicts: greedy without `how`, on the run's task or a panel task called `of`."""
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
        prompts = context.heldout(level)
        # A prompt of a lower level too has been answered there by the same weights.
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
    # Before anything of it is kept: a worker takes the hash of its weights for granted while it answers.
    context.samplers.prove(checkpoint.fingerprint)
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
    }
    if panel:
        watched_rows = [
            row
            for name, by_level in others.items()
            for judged in by_level.values()
            for row in outcomes(*judged, task=name)
        ]
        files[PANEL_FILE] = to_parquet(watched_rows, OutcomeRow)
    return files
