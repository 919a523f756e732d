"""The processes of a run, as its recipe says: workers that do both, or learners with samplers beside them."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bootstrap.config.recipe import Recipe
from bootstrap.errors import RecipeError
from bootstrap.roles import Roles, apart, colocated
from bootstrap.store.lineage_store import LineageStore


def make_roles(recipe: Recipe, workers: int, *, local: bool, root: Path) -> Roles:
    """Start a run's processes: Ray actors, or with `local` objects in this process.

    `workers`: how many learn; `root`: the lineage's folder. Raises ClusterError, WaitTimeout, LineageLocked, and
    RecipeError for workers that cannot share a model.
    """
    resources = recipe.resources
    samplers = resources.samplers
    if local:
        if resources.shard > 1:
            raise RecipeError(
                f"workers that share a model (resources.shard: {resources.shard}) are processes of their own; leave "
                "--local out, or set resources.shard to 1"
            )
        from bootstrap.pool import LocalPool

        learners = LocalPool(workers, batch_rows=resources.batch_rows)
        if samplers is None:
            return colocated(learners)
        return apart(learners, LocalPool(samplers.processes, batch_rows=resources.batch_rows, samplers=samplers))
    from bootstrap.cluster.pool import RayPool
    from bootstrap.cluster.sharded_pool import ShardedRayPool

    learning: Callable[..., RayPool] = RayPool
    if resources.shard > 1:
        learning = partial(ShardedRayPool, shard=resources.shard, scratch=LineageStore(root).work_folder)
    with ExitStack() as undo:
        pool = learning(
            workers,
            batch_rows=resources.batch_rows,
            cpus_per_worker=resources.cpus_per_worker,
            gpus_per_worker=resources.gpus_per_worker,
            wait_seconds=resources.wait_seconds,
            lineage=str(root),
            more_cpus=0 if samplers is None else samplers.processes * samplers.cpus,
        )
        undo.callback(pool.close)
        if samplers is None:
            roles = colocated(pool)
        else:
            beside = RayPool(
                samplers.processes,
                batch_rows=resources.batch_rows,
                cpus_per_worker=samplers.cpus,
                gpus_per_worker=samplers.gpus,
                wait_seconds=resources.wait_seconds,
                lineage=str(root),
                samplers=samplers,
                beside=pool,
            )
            roles = apart(pool, beside)
        undo.pop_all()
    return roles
