"""`bootstrap run`: recipe -> store and lock -> workers -> loop -> table; shows progress and keeps MLflow up to date."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bootstrap import machine
from bootstrap.cli import BEGAN, render
from bootstrap.cli.command import command
from bootstrap.cli.live import Live
from bootstrap.cli.notify import Notifier
from bootstrap.cli.progress import Expected, RowsProgress, progress
from bootstrap.cli.publish import GROWING, Publisher, sync_command, wait_seconds
from bootstrap.cli.remembered import FILE_NAME, recall_recipe, remember_recipe
from bootstrap.cli.signals import end_as_on_ctrl_c
from bootstrap.cli.standing import TellingTheEnd, standing, why_ended
from bootstrap.cli.stores import committed
from bootstrap.cli.sync import sync_later, where_to_look
from bootstrap.cli.target import as_last_run, remember, unchosen, unheeded
from bootstrap.cli.watch import Watch
from bootstrap.cli.workers import make_roles
from bootstrap.config.base import named
from bootstrap.config.load import is_remembered, load_recipe, recipe_folder, require_own_addresses
from bootstrap.config.recipe import Recipe
from bootstrap.config.tasks import tasks_of
from bootstrap.errors import GuardStop, LineageMismatch, RecipeError, TrackingError
from bootstrap.evaluation.concerns import concerns
from bootstrap.ledger_records import SAMPLERS, SHARD, Generation, GuardAction
from bootstrap.lineage import queries, text
from bootstrap.lineage.outbox import Outbox
from bootstrap.lineage.tracking import experiment_name, is_remote, resolve_tracking_uri
from bootstrap.memory import FULLEST, Device
from bootstrap.planning.overhead import GENERATION
from bootstrap.planning.plan import LineagePlan, make_plan
from bootstrap.provenance import git_commit, source_digest
from bootstrap.scoring.verifier import Tools
from bootstrap.stages.fitting import text_models
from bootstrap.stages.limits import memory_of
from bootstrap.store import index, uses
from bootstrap.store.finals import final_of
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.lock import lineage_lock
from bootstrap.store.names import check_name

MAX_AUTO_WORKERS = 8
"""Upper bound of `auto` on one machine."""
JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets it in the environment of a job's driver."""
STAGES = ("generate", "score", "train", "evaluate", "diagnostics", "other")


def planned(
    path: Path,
    overrides: Sequence[str],
    *,
    store: Path,
    lineage: str | None,
    workers: int | None,
    local: bool = False,
) -> tuple[Recipe, LineagePlan]:
    """Return the recipe and its plan, committed generations included. Changes nothing.

    If the lineage grows from another recipe, the plan is that of a new lineage, and a note says so. Raises RecipeError,
    StoreError, and ClusterError when the cluster whose size decides the number of workers cannot be reached.
    """
    recipe = load_recipe(path, overrides)
    name = check_name(recipe.name if lineage is None else lineage, store)
    found = LineageStore(store / name)
    entries = committed(found)
    refusals: tuple[str, ...] = ()
    if found.exists:
        try:
            found.check(name, identity=recipe.identity())
        except LineageMismatch as error:
            entries = ()
            refusals = (f"this is the plan of a new lineage; `run` refuses: {error}{_split_remedy(found, recipe)}",)
    count = num_workers(recipe, workers, local=local)
    plan = make_plan(
        recipe,
        lineage=name,
        workers=count,
        memory=_memory(recipe, found, count, local=local),
        entries=entries,
        config=_origins_config(recipe, found, entries),
        models=text_models(recipe, found),
        tools=Tools(processes=len(os.sched_getaffinity(0)), progress=RowsProgress()),
        local=local,
    )
    stopped = _stopped(entries)
    ended = () if stopped is None else (f"{_ended(stopped)}; only --past-guards continues",)
    return recipe, plan.model_copy(update={"notes": (*refusals, *ended, *plan.notes)})


def _split_remedy(store: LineageStore, recipe: Recipe) -> str:
    """Return why a lineage split by prompts' texts refuses a recipe that splits by questions, and the remedy."""
    ours, theirs = recipe.identity(), store.header().identity
    if named(theirs, "split_by") or not named(ours, "split_by"):
        return ""
    own = command("run", store.root / FILE_NAME, "--store", store.root.parent)
    return (
        ". Its held-out questions were chosen by the texts of prompts, so training by questions (split_by: question) "
        f"would show some of what its gate asks; continue it by its own recipe ({own}) or with split_by: text in its "
        "tasks. It still opens, verifies, shows and exports"
    )


def _stopped(entries: Sequence[Entry]) -> Generation | None:
    """Return the last generation if a guard ended the run at it."""
    last = entries[-1].generation if entries else None
    return last if last is not None and last.stops else None


def _ended(stopped: Generation) -> str:
    told = "; ".join(str(finding) for finding in stopped.diagnostics.findings if finding.action is GuardAction.STOP)
    return f"a guard ended the run at {stopped.name}: {told}"


def _stop_error(folder: LineageStore, stopped: Generation) -> GuardStop:
    shown = command("show", stopped.name, "--store", folder.root.parent, "--lineage", folder.root.name)
    return GuardStop(
        f"{_ended(stopped)}. Look at it with {shown}; to continue all the same, give the same command with "
        "--past-guards, or start a new lineage with other settings under --lineage NAME"
    )


def _origins_config(recipe: Recipe, store: LineageStore, entries: Sequence[Entry]) -> dict[str, Any] | None:
    """Return a fork's model configuration: the origin's, checked, until generation 0 holds a copy.

    None for a lineage that is no fork. Raises RecipeError when the origin is missing or does not fit.
    """
    model = recipe.base.model.as_generation
    if model is None:
        return None
    # Most lineages are no forks and spare this import.
    from bootstrap.stages.origin import Origin, check_origin, find_origin

    if entries:
        return Origin(store=store, entries=entries[:1]).config()
    origin = find_origin(store.root.parent, model)
    check_origin(recipe, origin, lineage=store.root.name, recall=recall_recipe)
    return origin.config()


def _memory(recipe: Recipe, store: LineageStore, workers: int, *, local: bool) -> int | None:
    """Return bytes that each worker may take: a lineage's own, else this machine's; None for other machines."""
    is_elsewhere = not local and (os.environ.get("RAY_ADDRESS") or JOB_VARIABLE in os.environ)
    is_here = not (is_elsewhere or recipe.resources.gpus_per_worker)
    device = Device(kind="cpu", memory=machine.total_memory()) if is_here else None
    samplers = recipe.resources.samplers
    beside = None if samplers is None else samplers.processes
    if (kept := memory_of(store, workers=workers, samplers=beside, device=device)) is not None:
        return kept
    if not is_here:
        return None
    return machine.usable_memory(FULLEST["cpu"]) // (workers + (beside or 0))


def num_workers(recipe: Recipe, asked: int | None, *, local: bool) -> int:
    """Return the number of workers to start: `asked`, else the recipe's; for `auto`, as many as fit.

    That is as many as fit on the cluster that this process joins; without one, or with `local`, one per CPU core of
    this process; of those that share a model a multiple of `resources.shard`. Raises RecipeError where `asked` is none,
    ClusterError when the cluster cannot be reached.
    """
    resources = recipe.resources
    if asked is not None:
        if asked % resources.shard:
            raise RecipeError(
                f"--workers {asked} is no multiple of resources.shard {resources.shard}: so many workers hold one copy "
                f"of the model together; give --workers {-(-asked // resources.shard) * resources.shard}"
            )
        return asked
    if resources.workers != "auto":
        return resources.workers
    return max(_fitting(recipe, local=local) // resources.shard, 1) * resources.shard


def _fitting(recipe: Recipe, *, local: bool) -> int:
    """Return how many workers fit. Raises ClusterError."""
    resources = recipe.resources
    # Ray takes seconds to load, and outside a Ray job and without an address there is no cluster to ask.
    address = os.environ.get("RAY_ADDRESS")
    if not local and (address or JOB_VARIABLE in os.environ):
        from bootstrap.cluster.connection import available_workers

        room = available_workers(
            address=address,
            cpus_per_worker=resources.cpus_per_worker,
            gpus_per_worker=resources.gpus_per_worker,
            beside=resources.reserved_beside,
        )
        if room is not None:
            return room
    return min(len(os.sched_getaffinity(0)), MAX_AUTO_WORKERS)


def run_recipe(
    path: Path,
    overrides: Sequence[str],
    *,
    store: Path,
    lineage: str | None,
    workers: int | None,
    local: bool,
    past_guards: bool = False,
) -> None:
    """Grow the lineage to the recipe's length and print its table. Raises any BootstrapError but TrackingError.

    GuardStop when a guard ends the run, or ended the last one and `past_guards` is not set.
    """
    end_as_on_ctrl_c()
    recipe, plan = planned(path, overrides, store=store, lineage=lineage, workers=workers, local=local)
    require_own_addresses(recipe, overrides, path=path)
    folder = LineageStore(store.absolute() / plan.lineage)
    console = render.console()
    tracking = recipe.tracking
    foreign = None
    if is_remembered(path):
        # It has no tracking settings, so this user's last ones apply.
        foreign = unheeded(folder, tracking.uri)
        for line in unchosen(folder, tracking.uri):
            render.warn(line)
        tracking = as_last_run(folder, tracking)
    tracking_uri = resolve_tracking_uri(tracking.uri, store.absolute())
    with lineage_lock(folder.root):
        has_output = folder.has_output
        try:
            folder.open(plan.lineage, identity=recipe.identity())
        except LineageMismatch as error:
            raise LineageMismatch(f"{error}{_split_remedy(folder, recipe)}") from None
        committed_before = folder.ledger.read()
        if (stopped := _stopped(committed_before)) is not None and not past_guards:
            raise _stop_error(folder, stopped)
        for warning in plan.warnings:
            render.say(f"warning: {warning}")
        for note in plan.notes:
            render.say(f"note: {note}")
        # Others of the store keep the address that it names, which nobody has replaced by another.
        if foreign is None:
            remember(folder, tracking, tracking_uri=tracking_uri)
        remember_recipe(folder, recipe, folder=recipe_folder(path))
        sync = sync_command(folder.root, experiment=tracking.experiment, sample_rollouts=tracking.sample_rollouts)
        if told := standing(plan, committed_before, folder, recipe=recipe, path=path, has_output=has_output):
            render.say(told)
        experiment = experiment_name(plan.lineage, tracking.experiment)
        outbox = Outbox(folder.root, tracking_uri=tracking_uri, experiment=experiment)

        def warn(reason: str) -> None:
            display.say(f"warning: {reason}; publish later with: {sync_later(folder, tracking_uri=tracking_uri)}")
            watch.telemetry.failed(TrackingError(reason))

        def warn_beside(reason: str) -> None:
            display.say(f"warning: {reason}")

        unshown: list[str] = []
        last = recipe.generations.count
        mlflow = {"MLFLOW_TRACKING_URI": tracking_uri}
        notifier = Notifier(recipe.notify, lineage=plan.lineage, warn=warn_beside)
        live = (
            Live(
                folder.root,
                last=last,
                committed=len(committed_before),
                experiment=tracking.experiment,
                warn=unshown.append,
                environment=mlflow,
            )
            if plan.planned
            else None
        )
        with (
            progress(console, last=last, expected=expected(plan)) as display,
            Publisher(
                sync,
                warn=warn,
                growing=GROWING,
                is_whole=lambda: outbox.drawn() == len(folder.ledger.paths()),
                environment=mlflow,
                wait_seconds=wait_seconds(tracking_uri),
            ) as publisher,
            TellingTheEnd(
                live, notifier, why=lambda: _why_ended(folder, committed_before), is_away=lambda: publisher.warned
            ),
        ):
            watch = Watch(
                display,
                generations=len(committed_before),
                unpublished=outbox.length,
                listeners=(notifier,) if live is None else (live, notifier),
            )

            def publish() -> None:
                head = folder.ledger.head()
                assert head is not None, "a generation has just been committed"
                newest = head.generation
                watch.committed(newest)
                reason = newest.decision.reason.removeprefix("rejected: ")
                display.say(f"{newest.name} {newest.outcome}: {reason}")
                for finding in newest.diagnostics.findings:
                    display.say(f"guard of {newest.name}: {finding}")
                for concern in concerns(newest, recipe):
                    display.say(f"warning: {newest.name}: {concern}")
                publisher()
                # Questions asked later find this done.
                uses.remember(folder, index.recall(folder), newest=1)

            with ExitStack() as work:
                if plan.planned or _lacks_final(recipe, folder, committed_before):
                    from bootstrap import loop

                    roles = work.enter_context(make_roles(recipe, plan.workers, local=local, root=folder.root))
                    newest = committed_before[-1].generation if committed_before else None
                    work.enter_context(watch.telling(roles.learners.telemetry, newest))
                    start_up = time.monotonic() - BEGAN
                    loop.run(
                        recipe,
                        lineage=plan.lineage,
                        store=folder,
                        roles=roles,
                        publish=publish,
                        observe=watch,
                        environment=environment(recipe),
                        past_guards=past_guards,
                    )
                    # Frees the workers' places while MLflow is brought up to date.
                    roles.release()
                    if final_of(folder, folder.ledger.read()) != final_of(folder, committed_before):
                        # The final comparison is made after the last commit.
                        publisher()
                else:
                    start_up = time.monotonic() - BEGAN
                    publisher()
                display.say("bringing MLflow up to date")
                finished = time.monotonic()
                publisher.finish()
                publishing = time.monotonic() - finished
                # A server that is away is told of once, by the publisher.
                for reason in () if publisher.warned else unshown:
                    warn_beside(reason)
                watch.look()
    render.print_lineage(folder, with_final=False)
    # A database that has failed is not waited for again.
    if is_remote(tracking_uri) or not publisher.warned:
        where = where_to_look(folder, tracking_uri=tracking_uri, experiment=tracking.experiment)
        render.say(f"see it in MLflow: {where}")
    entries = folder.ledger.read()
    added = entries[len(committed_before) :]
    render.say(split(time.monotonic() - BEGAN, start_up=start_up, publishing=publishing, added=added))
    if (final := final_of(folder, entries)) is not None:
        render.say(queries.final_line(final, entries))
    if (stopped := _stopped(added)) is not None:
        raise _stop_error(folder, stopped)


def _why_ended(store: LineageStore, before: Sequence[Entry]) -> tuple[str, bool]:
    entries = store.ledger.read()
    return why_ended(entries, _stopped(entries[len(before) :]))


def expected(plan: LineagePlan) -> Expected:
    """Return what the plan says of the run's time."""
    return Expected(
        generations={generation.number: generation.seconds for generation in plan.planned},
        after_training=GENERATION if plan.planned else 0.0,
        after_last=plan.publishing_seconds,
        several_steps=frozenset(one.number for one in plan.planned if len(one.steps) > 1),
    )


def _lacks_final(recipe: Recipe, store: LineageStore, entries: Sequence[Entry]) -> bool:
    """Whether a lineage that has its full length still needs its final comparison."""
    if not any(task.final_fraction for task in tasks_of(recipe.task).values()):
        return False
    found = final_of(store, entries)
    return found is None or found.record != entries[-1].hash


def split(wall: float, *, start_up: float, publishing: float, added: Sequence[Entry]) -> str:
    """Return one line that says how a run spent its `wall` seconds.

    `start_up`: seconds until the workers were ready; `publishing`: seconds of waiting for MLflow after the last commit;
    `added`: the generations that this run committed, whose stages may include seconds of an earlier, stopped run.
    """
    stages = {name: sum(entry.annotations.seconds.get(name, 0.0) for entry in added) for name in STAGES}
    parts: Mapping[str, float] = {"start-up": start_up, **(stages if added else {}), "publishing": publishing}
    listed = ", ".join(f"{name} {text.duration(seconds)}" for name, seconds in parts.items())
    return f"took {text.duration(wall)} for {text.count(len(added), 'generation')}: {listed}"


def environment(recipe: Recipe) -> dict[str, str]:
    """Return the origin of this run: digest of this program's source; who answers where the workers do not, how many
    of them hold a model together, Ray job and git commit where known."""
    found = {"source_sha256": source_digest()}
    if (samplers := recipe.resources.samplers) is not None:
        found[SAMPLERS] = f"{samplers.processes} with {samplers.engine}"
    if recipe.resources.shard > 1:
        found[SHARD] = str(recipe.resources.shard)
    job = json.loads(os.environ.get(JOB_VARIABLE, "{}"))
    if submission := job.get("metadata", {}).get("job_submission_id"):
        found["ray_submission_id"] = submission
    if commit := git_commit():
        found["git_commit"] = commit
    return found
