"""The generation cycle and its commit points: this program's table of contents.

    prepare -> steps (generate, score, select, train) -> evaluate -> gate, guards -> probe -> commit -> publish; final

Every call is resumable: a stage that is in the store is not run again, a step goes on from its last part, and the
ledger says which generations exist. The stages stand in `stages/`; workers are reached through their roles alone.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from bootstrap import __version__
from bootstrap.config.recipe import Recipe
from bootstrap.evaluation.guards import apply_guards
from bootstrap.ledger_records import Generation
from bootstrap.prompts.build import build_task
from bootstrap.records import Observer
from bootstrap.roles import Roles
from bootstrap.scoring.verifier import Tools
from bootstrap.selection.accounting import combine
from bootstrap.selection.curriculum import last_evaluated
from bootstrap.stages.context import Context, Meter
from bootstrap.stages.diagnostics import diagnose
from bootstrap.stages.edges import edges
from bootstrap.stages.evaluate import evaluate
from bootstrap.stages.final import compare_finally
from bootstrap.stages.fitting import text_models
from bootstrap.stages.gate import gate, outcome_of
from bootstrap.stages.limits import recorded, settle
from bootstrap.stages.models import LineageModels
from bootstrap.stages.origin import inherited
from bootstrap.stages.prepare import prepare, training_of
from bootstrap.stages.probe import probe_again
from bootstrap.stages.readable import as_events
from bootstrap.stages.step import by_role
from bootstrap.stages.steps import run_steps
from bootstrap.stages.verifiers import bind_models, open_verifiers
from bootstrap.stages.visits import drawing
from bootstrap.stages.weights import base_artifacts
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

BENCHMARK_SECONDS = 1.0


def run(
    recipe: Recipe,
    *,
    lineage: str,
    store: LineageStore,
    roles: Roles,
    publish: Callable[[], None],
    observe: Observer,
    environment: Mapping[str, str],
    past_guards: bool = False,
    until: int | None = None,
) -> list[Entry]:
    """Grow the lineage to the recipe's length, or to where a guard stops it, and return its ledger.

    Committed generations stay as they are. `publish` is called after each commit and must not raise. `environment` is
    recorded with each generation, beside the workers' precision and limits of memory. `past_guards` goes on where a
    guard stopped the last run; `until` ends after this generation, without a final comparison.
    """
    task, entries = build_task(recipe.task), store.ledger.read()
    training = roles.configure(training_of(recipe, entries))
    told = as_events(observe, generation=len(entries))
    observe = settle(recipe, store, roles, generation=len(entries), observe=observe)
    models, learners, host = LineageModels(roles.samplers), roles.learners, roles.samplers.host
    tools = Tools(processes=learners.size, cache=store.cache_folder, models=models, host=host, progress=told)
    with open_verifiers(recipe, task, tools, models=text_models(recipe, store)) as (verifiers, eval_verifier, panel):
        context = Context(
            recipe=recipe,
            training=training,
            task=task,
            verifiers=verifiers,
            verifier=verifiers[("verifier",)],
            eval_verifier=eval_verifier,
            panel=panel,
            models=models,
            store=store,
            roles=roles,
            observe=observe,
        )
        stopped = bool(entries) and entries[-1].generation.stops and not past_guards
        last = len(entries) - 1 if stopped else recipe.generations.count if until is None else until
        bound = learners.benchmark(BENCHMARK_SECONDS) if last >= len(entries) else {}
        for number in range(len(entries), last + 1):
            started, meter = datetime.now(UTC), context.meter()
            generation = grow(context.at(number), entries, number, lineage=lineage, meter=meter)
            found = {**environment, "precision": training.precision, **recorded(learners.limits)}
            entries.append(store.ledger.append(generation, meter.annotations(started, bound, found)))
            store.clear_work()
            publish()
            if generation.stops:
                break
        if until is None and (not entries[-1].generation.stops or past_guards):
            compare_finally(context, entries)
    return entries


def grow(context: Context, entries: Sequence[Entry], number: int, *, lineage: str, meter: Meter) -> Generation:
    """Return one generation, ready to commit."""
    with meter.clock("other"):
        plan = prepare(context, entries, number)
        bind_models(context, plan, meter)
    results = run_steps(context, plan, meter=meter)
    checkpoint = results[-1].checkpoint if results else plan.start
    weights = context.store.put("weights", {"fingerprint": checkpoint.fingerprint}, checkpoint.files)
    last = last_evaluated(
        plan.target_levels, lookahead=context.recipe.evaluation.lookahead, highest=context.task.highest_level
    )
    evaluation = evaluate(
        context,
        checkpoint,
        levels=range(1, max(last, plan.protected.highest_level) + 1),
        sampled_levels=plan.target_levels,
        trained_level=max(plan.target_levels),
        number=number,
        meter=meter,
    )
    decision, further = gate(context, entries, plan, evaluation, meter=meter)
    diagnostics, diagnosed = diagnose(context, entries, plan, results, checkpoint, evaluation, meter=meter)
    earlier, ungated = [entry.generation for entry in entries], context.recipe.gate_of(number) == "never"
    decision, champion = apply_guards(decision, diagnostics, earlier=earlier, ungated=ungated)
    refs = by_role(results) | {"weights": weights, "evaluation": evaluation.artifact, "diagnostics": diagnosed}
    refs |= {**base_artifacts(context, checkpoint), **inherited(context, number), **further}
    probe_again(context, plan, [*by_role(results).values(), evaluation.artifact], meter=meter)
    return Generation(
        number=number,
        stage=context.recipe.stage_name(number),
        lineage=lineage,
        outcome=outcome_of(context.recipe, number, decision),
        edges=edges(context, plan, sources={n for result in results for n in result.sources}),
        target_levels=plan.target_levels,
        fingerprint=checkpoint.fingerprint,
        recipe_digest=context.recipe.digest(),
        code_version=__version__,
        seed=context.recipe.seed,
        num_workers=context.learners.size,
        batch_rows=context.recipe.resources.batch_rows,
        verifiers=context.verifier_versions(),
        artifacts={role: artifact.ref(context.store.root) for role, artifact in refs.items()},
        report=evaluation.report,
        decision=decision,
        compute=meter.compute(),
        accounting=combine(result.accounting for result in results),
        champion=champion,
        diagnostics=diagnostics,
        drawing=drawing(context, plan, results),
    )
