"""Layout of what commands print: tables on a terminal, JSON for programs. Nothing else is computed here."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bootstrap.cli import long_tables
from bootstrap.cli.command import command
from bootstrap.lineage import queries, text
from bootstrap.store import index
from bootstrap.store.finals import final_of
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.verify import VerifyReport

WHOLE_TABLE_WIDTH = 150
"""Columns that the outcome table needs for one line per generation, reasons included."""
NARROW_WITHOUT = {"stage", "from", "target", "gain", "reason", "tokens"}
LONG = 100
"""Rows from which on a table is laid out in a plainer and quicker way."""
PLAIN_WIDTH = 200
"""Columns where the output is no terminal, so that no table folds."""


def console() -> Console:
    """Return a console on standard output."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def say(line: str) -> None:
    """Print one line, never folded."""
    console().print(line, markup=False, soft_wrap=True)


def warn(line: str) -> None:
    """Print one line on standard error, apart from JSON and tables that programs read."""
    print(line, file=sys.stderr)


def print_json(value: Any) -> None:
    """Print `value` as indented JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_lineages(stores: Sequence[LineageStore], *, as_json: bool) -> None:
    """Print the generations of each lineage."""
    if not as_json:
        for store in stores:
            print_lineage(store)
        return
    read = [(store, index.read(store)) for store in stores]
    print_json({store.root.name: queries.generations(entries, final_of(store, entries)) for store, entries in read})


def print_lineage(store: LineageStore, *, with_final: bool = True) -> None:
    """Print a lineage's outcome table, one row per generation; then the champion and the result on the final set."""
    name, entries = store.root.name, index.read(store)
    if not entries:
        say(f"lineage {name}: no generation is committed yet")
        return
    rows = queries.table(entries)
    if console().width >= WHOLE_TABLE_WIDTH:
        print_rows(f"lineage {name}", rows)
    else:
        # A narrow terminal would fold every cell: some columns are left out, and the reasons follow below.
        print_rows(f"lineage {name}", [{k: v for k, v in row.items() if k not in NARROW_WITHOUT} for row in rows])
        for row in rows:
            say(f"{row['generation']} {row['gate']}: {row['reason'].removeprefix('rejected: ')}")
    champion = entries[entries[-1].generation.champion].generation
    export = command("export", "champion", "DIR", "--store", store.root.parent, "--lineage", name)
    say(f"champion: {champion.name}, frontier level {champion.report.frontier}; export it with: {export}")
    if with_final and (final := final_of(store, entries)) is not None:
        say(queries.final_line(final, entries))


def print_jobs(jobs: Sequence[Mapping[str, Any]], *, others: int, address: str) -> None:
    """Print a cluster's jobs as `JobServer.listed` returns them, then the number of other programs' jobs."""
    if not jobs:
        say(f"there is no job of this program on {address}")
    print_rows(f"jobs on {address}", [_job_row(job) for job in jobs])
    if others:
        say(f"{others} other job{'' if others == 1 else 's'} there: not this program's")


def _job_row(job: Mapping[str, Any]) -> dict[str, str]:
    code = f" ({job['exit_code']})" if job["status"] == "failed" and job["exit_code"] is not None else ""
    return {
        "job": job["id"],
        "lineage": job["lineage"] or "",
        "recipe": job["recipe"] or "",
        "store": job["store"] or "",
        "status": f"{job['status']}{code}",
        "started": (job["started"] or "").replace("T", " ").replace("+00:00", " UTC"),
        "took": "" if job["seconds"] is None else text.duration(job["seconds"]),
        "why": job["message"],
    }


def print_verifications(reports: Mapping[str, VerifyReport], *, as_json: bool) -> None:
    """Print what was checked of each lineage, and every problem; `reports`: by lineage."""
    if as_json:
        print_json({name: report.model_dump(mode="json") for name, report in reports.items()})
        return
    for name, report in reports.items():
        verdict = "every hash agrees" if report.is_clean else f"{len(report.problems)} problems"
        say(
            f"lineage {name}: {report.num_records} records, {report.num_artifacts} artifacts, {report.num_files} "
            f"files, {text.si(report.num_bytes, unit='B')}: {verdict}"
        )
        for problem in report.problems:
            say(f"  {problem.path}: {problem.message}")
        for line in report.unproven:
            say(f"  note: {line}")
        if report.unreferenced:
            say(f"  {len(report.unreferenced)} artifacts that no committed generation names yet")


def print_rows(title: str, rows: Sequence[Mapping[str, str]]) -> None:
    """Print a table with a title, without columns that are empty in every row; nothing where there are no rows."""
    if not rows:
        return
    if len(rows) > LONG:
        long_tables.print_rows(console(), title, rows)
        return
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        # Cells hold foreign text, whose square brackets are no markup.
        table.add_row(*(Text(row[name]) for name in names))
    console().print(table)


def print_table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table without title and lines; without a header where all `names` are empty."""
    table = Table(*names, box=None, show_header=any(names))
    for row in rows:
        table.add_row(*map(Text, row))
    console().print(table)
