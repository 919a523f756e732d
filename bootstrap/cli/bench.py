"""`bootstrap bench`: measurements that compare within one run, as a table or JSON."""

import sys
from dataclasses import asdict

from rich.table import Table

from bootstrap.bench import WorkersRow, compare_workers
from bootstrap.cli import render
from bootstrap.pool import Pool


def bench_workers(counts: list[int], *, rounds: int, as_json: bool) -> None:
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


def _cells(row: WorkersRow, first: WorkersRow) -> tuple[str, ...]:
    return (
        str(row.workers),
        f"{row.updates_per_second:.2f}",
        f"{row.updates_per_second / first.updates_per_second:.2f}",
        f"{row.samples_per_second:.1f}",
        f"{row.samples_per_second / first.samples_per_second:.2f}",
        f"{row.bound_train:.0%}",
    )
