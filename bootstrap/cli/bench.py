"""`bootstrap bench`: measurements that compare within one run."""

import os
from dataclasses import asdict

from bootstrap.bench.workers import WorkersRow, compare_workers
from bootstrap.cli import render
from bootstrap.errors import RecipeError
from bootstrap.pool import Pool


def compare(counts: list[int], *, rounds: int, as_json: bool) -> None:
    """Print the rates of each number of workers and their ratios to the first; progress goes to stderr."""
    from bootstrap.cluster.pool import RayPool

    def make_pool(size: int) -> Pool:
        # All pools are up at once and work in turn, so none of them claims a core for itself.
        return RayPool(size, batch_rows=512, cpus_per_worker=0)

    rows = compare_workers(make_pool, counts=counts, rounds=rounds, say=render.warn)
    if as_json:
        render.print_json([asdict(row) for row in rows])
        return
    names = ("workers", "updates/s", "ratio", "samples/s", "ratio", "share of matmul rate")
    render.print_table(names, [_cells(row, rows[0]) for row in rows])


def measure_sandbox(executions: int, *, processes: int | None, level: str | None, as_json: bool) -> None:
    """Print the rates of sealed executions and of bare interpreters, and what the executions leave behind.

    Raises RecipeError for an unknown level, SandboxUnavailable for one that does not hold on this machine.
    """
    from bootstrap.bench.sandbox import LEVELS, bench_sandbox

    if level is not None and level not in LEVELS:
        raise RecipeError(f"--level {level} does not exist; there is {', '.join(LEVELS)}")
    count = processes or len(os.sched_getaffinity(0))
    row = bench_sandbox(executions=executions, processes=count, level=level)
    if as_json:
        render.print_json(asdict(row))
        return
    facts = (
        ("level", row.level),
        ("executions", f"{row.executions}, {row.processes} at once"),
        ("sealed executions per second", f"{row.sealed_per_second:.0f}"),
        ("bare `python -I -c pass` per second", f"{row.bare_per_second:.0f}"),
        ("ratio", f"{row.sealed_per_second / row.bare_per_second:.1f}"),
        ("left behind", f"{row.processes_left} processes, {row.descriptors_left} descriptors, {row.files_left} files"),
        ("memory grown", f"{row.megabytes_grown:.1f} MB"),
    )
    render.print_table(("", ""), facts)


def _cells(row: WorkersRow, first: WorkersRow) -> tuple[str, ...]:
    return (
        str(row.workers),
        f"{row.updates_per_second:.2f}",
        f"{row.updates_per_second / first.updates_per_second:.2f}",
        f"{row.samples_per_second:.1f}",
        f"{row.samples_per_second / first.samples_per_second:.2f}",
        f"{row.bound_train:.0%}",
    )
