"""The generation cycle and its commit points: the table of contents of this program.

    resolve -> steps (generate -> score -> select -> train) -> evaluate -> gate -> commit -> publish

Every call is resumable: a stage that is in the store is not computed again, a step goes on from its last part, and the
ledger says which generations exist. What a stage does stands in `stages/`; workers are reached through the pool alone.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from bootstrap import __version__
from bootstrap.config.recipe import Recipe
from bootstrap.config.steps import RlStep
from bootstrap.evaluation.gate import decide
from bootstrap.pool import Pool
from bootstrap.prompts.build import build_task
from bootstrap.records import Decision, Generation, Observer, Outcome
from bootstrap.scoring.verifier import Tools
from bootstrap.selection.books import combine
from bootstrap.stages.context import Context, Meter, Plan
from bootstrap.stages.evaluate import Evaluation, evaluate, outcomes_of
from bootstrap.stages.models import LineageModels
from bootstrap.stages.reinforcement import RlTrainer
from bootstrap.stages.resolve import base_artifacts, edges, resolve, steps_of
from bootstrap.stages.step import StepResult, run_step
from bootstrap.stages.supervised import SupervisedTrainer
from bootstrap.stages.verifiers import bind_models, open_verifiers
from bootstrap.store.artifacts import Artifact
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

PROBE_SECONDS = 1.0


def run(
    recipe: Recipe,
    *,
    lineage: str,
    store: LineageStore,
    pool: Pool,
    publish: Callable[[], None],
    observe: Observer,
    environment: Mapping[str, str],
) -> list[Entry]:
    """Grow the lineage to the recipe's length and return its ledger; what is committed already stays as it is.

    `publish` is called after each commit and must not raise; `environment` is recorded with each generation.
    """
    task, entries = build_task(recipe.task), store.ledger.read()
    pool.configure(recipe.training)
    models = LineageModels(pool)
    tools = Tools(processes=pool.size, cache=store.cache_folder, models=models, host=pool.host)
    with open_verifiers(recipe, task, tools) as (verifier, examiner):
        context = Context(
            recipe=recipe,
            task=task,
            verifier=verifier,
            examiner=examiner,
            models=models,
            store=store,
            pool=pool,
            observe=observe,
        )
        bound = pool.probe(PROBE_SECONDS) if len(entries) <= recipe.generations.count else {}
        for number in range(len(entries), recipe.generations.count + 1):
            started, meter = datetime.now(UTC), Meter()
            generation = grow(context, entries, number, lineage=lineage, meter=meter)
            entries.append(store.ledger.append(generation, meter.annotations(started, bound, environment)))
            store.clear_work()
            publish()
    return entries


def grow(context: Context, entries: Sequence[Entry], number: int, *, lineage: str, meter: Meter) -> Generation:
    """Return one generation, ready to commit."""
    with meter.clock("other"):
        plan = resolve(context, entries, number)
        bind_models(context, plan)
    checkpoint, results = plan.start, list[StepResult]()
    for index, step in enumerate(steps_of(context.recipe, number)):
        trainer = (RlTrainer if isinstance(step, RlStep) else SupervisedTrainer)(context, plan, step, index=index)
        results.append(run_step(context, plan, step, trainer, index=index, start=checkpoint, meter=meter))
        checkpoint = results[-1].checkpoint
    weights = context.store.put("weights", {"fingerprint": checkpoint.fingerprint}, checkpoint.files)
    reach = max(plan.target_levels)
    evaluation = evaluate(
        context,
        checkpoint,
        levels=range(1, max(reach + context.recipe.evaluation.lookahead, *plan.retained_levels, 0) + 1),
        sampled_levels=plan.target_levels,
        trained_level=reach,
        shape=plan.shape,
        number=number,
        meter=meter,
    )
    decision, further = gate(context, entries, plan, evaluation, meter=meter)
    outcome = Outcome.BASE if number == 0 else Outcome.PROMOTED if decision.promoted else Outcome.REJECTED
    refs = {f"step-{index}": result.artifact for index, result in enumerate(results)}
    refs |= {"weights": weights, "evaluation": evaluation.artifact, **base_artifacts(context, checkpoint)}
    refs |= {"champion-evaluation": further} if further else {}
    return Generation(
        number=number,
        lineage=lineage,
        outcome=outcome,
        edges=edges(context.recipe, plan, sources={n for result in results for n in result.sources}),
        target_levels=plan.target_levels,
        fingerprint=checkpoint.fingerprint,
        recipe_digest=context.recipe.digest(),
        code_version=__version__,
        seed=context.recipe.seed,
        num_workers=context.pool.size,
        batch_rows=context.recipe.resources.batch_rows,
        verifiers=context.verifier_versions(),
        artifacts={role: artifact.ref(context.store.root) for role, artifact in refs.items()},
        report=evaluation.report,
        decision=decision,
        compute=meter.compute(),
        books=combine(result.books for result in results),
        champion=number if decision.promoted else entries[-1].generation.champion,
    )


def gate(
    context: Context, entries: Sequence[Entry], plan: Plan, candidate: Evaluation, *, meter: Meter
) -> tuple[Decision, Artifact | None]:
    """Compare the candidate with the champion on the same prompts; also return what was evaluated for that alone."""
    if not entries:
        # Generation 0 has nobody to compare with.
        reason = f"generation 0: frontier {candidate.report.frontier}"
        return Decision(promoted=True, reason=reason, champion=None), None
    champion = entries[-1].generation.champion
    levels = {*plan.retained_levels, *plan.target_levels}
    theirs, further = outcomes_of(context, entries, champion, levels=levels, shape=plan.shape, meter=meter)
    decision = decide(
        candidate=[row for row in candidate.rows if row.level in levels],
        champion=theirs,
        target_levels=plan.target_levels,
        mastered_levels=plan.retained_levels,
        settings=context.recipe.gate,
        champion_number=champion,
    )
    return decision, further
