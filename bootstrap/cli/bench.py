"""`bootstrap bench`: measurements that compare within one run, as a table or JSON."""

import os
import sys
from dataclasses import asdict

from rich.table import Table

from bootstrap.bench.workers import WorkersRow, compare_workers
from bootstrap.cli import render
from bootstrap.errors import RecipeError
from bootstrap.pool import Pool


def compare(counts: list[int], *, rounds: int, as_json: bool) -> None:
    """Print what each number of workers reaches, and its ratio to the first; progress goes to stderr."""
    from bootstrap.cluster.pool import RayPool

    def make_pool(size: int) -> Pool:
        # All pools are up at once and work in turn, so none of them claims a core for itself.
        return RayPool(size, batch_rows=512, cpus_per_worker=0)

    rows = compare_workers(make_pool, counts=counts, rounds=rounds, say=lambda line: print(line, file=sys.stderr))
    if as_json:
        render.print_json([asdict(row) for row in rows])
        return
    table = Table("workers", "updates/s", "ratio", "samples/s", "ratio", "share of matmul rate", box=None)
    for row in rows:
        table.add_row(*_cells(row, rows[0]))
    render.console().print(table)


def measure_sandbox(executions: int, *, processes: int | None, level: str | None, as_json: bool) -> None:
    """Print how many sealed executions a second there are, what a bare interpreter makes of it, and what is left.

    Raises RecipeError for a level that does not exist, SandboxUnavailable for one that does not hold here.
    """
    from bootstrap.bench.sandbox import LEVELS, bench_sandbox

    if level is not None and level not in LEVELS:
        raise RecipeError(f"--level {level} does not exist; there is {', '.join(LEVELS)}")
    count = processes or len(os.sched_getaffinity(0))
    row = bench_sandbox(executions=executions, processes=count, level=level)
    if as_json:
        render.print_json(asdict(row))
        return
    table = Table("", "", box=None, show_header=False)
    for name, value in (
        ("level", row.level),
        ("executions", f"{row.executions}, {row.processes} at once"),
        ("sealed executions per second", f"{row.sealed_per_second:.0f}"),
        ("bare `python -I -c pass` per second", f"{row.bare_per_second:.0f}"),
        ("ratio", f"{row.sealed_per_second / row.bare_per_second:.1f}"),
        ("left behind", f"{row.processes_left} processes, {row.descriptors_left} descriptors, {row.files_left} files"),
        ("memory grown", f"{row.megabytes_grown:.1f} MB"),
    ):
        table.add_row(name, value)
    render.console().print(table)


def _cells(row: WorkersRow, first: WorkersRow) -> tuple[str, ...]:
    return (
        str(row.workers),
        f"{row.updates_per_second:.2f}",
        f"{row.updates_per_second / first.updates_per_second:.2f}",
        f"{row.samples_per_second:.1f}",
        f"{row.samples_per_second / first.samples_per_second:.2f}",
        f"{row.bound_train:.0%}",
    )
