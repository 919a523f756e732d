"""`bootstrap run`: recipe -> store and lock -> workers -> loop -> table; progress is shown, MLflow kept up to date."""

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from bootstrap.cli import render
from bootstrap.cli.progress import progress
from bootstrap.cli.publish import Publisher, sync_command
from bootstrap.cli.stores import check_name, committed
from bootstrap.cli.sync import where_to_look
from bootstrap.config.load import load_recipe
from bootstrap.config.recipe import Recipe
from bootstrap.lineage.tracking import resolve_tracking_uri
from bootstrap.plan import LineagePlan, make_plan
from bootstrap.pool import Pool
from bootstrap.provenance import git_commit, source_digest
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.lock import lineage_lock

MAX_AUTO_WORKERS = 8


def planned(
    path: Path, overrides: Sequence[str], *, store: Path, lineage: str | None, workers: int | None
) -> tuple[Recipe, LineagePlan]:
    """Return the recipe and its plan, what the store has committed of it included. Touches nothing.

    Raises RecipeError, StoreError.
    """
    recipe = load_recipe(path, overrides)
    name = check_name(recipe.name if lineage is None else lineage)
    entries = committed(LineageStore(store / name))
    return recipe, make_plan(recipe, lineage=name, workers=num_workers(recipe, workers), entries=entries)


def num_workers(recipe: Recipe, asked: int | None) -> int:
    """Return how many workers to start: as asked, as the recipe says, or one per CPU core of this process."""
    if asked is not None:
        return asked
    if recipe.resources.workers != "auto":
        return recipe.resources.workers
    return min(len(os.sched_getaffinity(0)), MAX_AUTO_WORKERS)


def run_recipe(
    path: Path, overrides: Sequence[str], *, store: Path, lineage: str | None, workers: int | None, local: bool
) -> None:
    """Grow the lineage to the recipe's length and print its table. Raises every error of the tree but TrackingError."""
    signal.signal(signal.SIGTERM, _stop)
    recipe, plan = planned(path, overrides, store=store, lineage=lineage, workers=workers)
    folder = LineageStore(store.absolute() / plan.lineage)
    console = render.console()
    for note in plan.notes:
        render.say(f"note: {note}")
    with lineage_lock(folder.root):
        folder.open(plan.lineage, identity=recipe.identity())
        tracking_uri = resolve_tracking_uri(recipe.tracking.uri, store.absolute())
        command = sync_command(
            folder.root,
            experiment=recipe.tracking.experiment,
            sample_rollouts=recipe.tracking.sample_rollouts,
        )
        expected = {generation.number: generation.seconds for generation in plan.planned}
        with (
            progress(console, last=recipe.generations.count, expected=expected) as display,
            Publisher(
                command,
                warn=lambda text: display.say(f"warning: {text}; {_later(folder.root)}"),
                environment={"MLFLOW_TRACKING_URI": tracking_uri},
            ) as publisher,
        ):

            def publish() -> None:
                newest = folder.ledger.read()[-1].generation
                reason = newest.decision.reason.removeprefix("rejected: ")
                display.say(f"{newest.name} {newest.outcome}: {reason}")
                publisher()

            if plan.planned:
                from bootstrap import loop

                with make_pool(recipe, plan.workers, local=local, root=folder.root) as pool:
                    loop.run(
                        recipe,
                        lineage=plan.lineage,
                        store=folder,
                        pool=pool,
                        publish=publish,
                        observe=display,
                        environment=environment(),
                    )
            else:
                publisher()
            display.say("bringing MLflow up to date")
            publisher.finish()
    render.print_lineage(folder)
    where = where_to_look(folder, tracking_uri=tracking_uri, experiment=recipe.tracking.experiment)
    render.say(f"see it in MLflow: {where}")


def make_pool(recipe: Recipe, workers: int, *, local: bool, root: Path) -> Pool:
    """Return the workers: Ray's, or with `local` those of this process."""
    resources = recipe.resources
    if local:
        from bootstrap.pool import LocalPool

        return LocalPool(workers, batch_rows=resources.batch_rows)
    from bootstrap.cluster.pool import RayPool

    return RayPool(
        workers,
        batch_rows=resources.batch_rows,
        cpus_per_worker=resources.cpus_per_worker,
        gpus_per_worker=resources.gpus_per_worker,
        wait_seconds=resources.wait_seconds,
        lineage=str(root),
    )


def environment() -> dict[str, str]:
    """Return where this run comes from, as far as it is known: Ray job, git commit, digest of this program's source."""
    found = {"source_sha256": source_digest()}
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    if submission := job.get("metadata", {}).get("job_submission_id"):
        found["ray_submission_id"] = submission
    if commit := git_commit():
        found["git_commit"] = commit
    return found


def _later(root: Path) -> str:
    return f"publish later with: bootstrap lineage --sync --store {root.parent} --lineage {root.name}"


def _stop(number: int, frame: FrameType | None) -> None:
    """Let a polite stop (Ray's, a container's) end the run as Ctrl-C does: workers and locks are let go."""
    raise KeyboardInterrupt
