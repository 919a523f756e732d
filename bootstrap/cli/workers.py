"""The processes of a run, as its recipe says: workers that do both, or learners with samplers beside them."""

from contextlib import ExitStack
from pathlib import Path

from bootstrap.config.recipe import Recipe
from bootstrap.roles import Roles, apart, colocated


def make_roles(recipe: Recipe, workers: int, *, local: bool, root: Path) -> Roles:
    """Start a run's processes: Ray actors, or with `local` objects in this process.

    `workers`: how many learn; `root`: the lineage's folder. Raises ClusterError, WaitTimeout, LineageLocked.
    """
    resources = recipe.resources
    samplers = resources.samplers
    if local:
        from bootstrap.pool import LocalPool

        learners = LocalPool(workers, batch_rows=resources.batch_rows)
        if samplers is None:
            return colocated(learners)
        return apart(learners, LocalPool(samplers.processes, batch_rows=resources.batch_rows, samplers=samplers))
    from bootstrap.cluster.pool import RayPool

    with ExitStack() as undo:
        pool = RayPool(
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
