"""Layout of what commands print: tables on a terminal, JSON for programs. Nothing else is computed here.

All that a command prints for people passes here (or `progress.py`), and here control characters are escaped: names,
reasons, answers and errors may hold text of a model or of somebody else's store, on which a terminal would act.
"""

import json
import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from bootstrap.cli import long_tables, sizes
from bootstrap.cli.command import command
from bootstrap.lineage import queries, text
from bootstrap.store import gc, index
from bootstrap.store.finals import final_of
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.verify import VerifyReport

WHOLE_TABLE_WIDTH = 150
"""Columns that the outcome table needs for one line per generation, reasons included."""
SPARE = ("tokens", "weights", "stage", "from", "target", "gain", "FLOPs", "seconds", "frontier")
"""Columns of the outcome table that a narrow terminal does without, the first of them first."""
FOLDED_WIDTH = 16
"""Least width of a column whose cells are folded."""
LONG = 100
"""Rows from which on a table is laid out in a plainer and quicker way."""
PLAIN_WIDTH = 200
"""Columns where the output is no terminal and nothing says its width, so that no table folds."""
UNBOUNDED = 100_000
"""Columns in which every table has room."""


def console() -> Console:
    """Return a console on standard output, as wide as the terminal, or as the environment's COLUMNS says."""
    found = Console(highlight=False, emoji=False)
    is_known = found.is_terminal or os.environ.get("COLUMNS", "").isdigit()
    return found if is_known else Console(highlight=False, emoji=False, width=PLAIN_WIDTH)


def say(line: str) -> None:
    """Print one line, never folded."""
    console().print(text.visible(line, keep=""), markup=False, soft_wrap=True)


def tell(lines: str) -> None:
    """Print several lines of this program's own, in which foreign text is one line each (`one_line`, `plain`)."""
    for line in lines.split("\n"):
        say(line)


def warn(line: str) -> None:
    """Print one line on standard error, apart from JSON and tables that programs read."""
    print(text.visible(line, keep=""), file=sys.stderr)


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print `value` as JSON at once; `indent` None puts it on one line.

    A terminal gets every character that is no plain letter as an escape: it would act on some of a model's.
    """
    print_document(json.dumps(value, indent=indent, ensure_ascii=sys.stdout.isatty()))


def print_document(document: str) -> None:
    """Print JSON, in which a terminal could act on one ASCII character more than JSON escapes."""
    print(document.replace("\x7f", "\\u007f"), flush=True)


def print_lineages(stores: Sequence[LineageStore], *, as_json: bool) -> None:
    """Print the generations of each lineage."""
    if not as_json:
        for store in stores:
            print_lineage(store)
        return
    read = [(store, index.read(store)) for store in stores]
    print_json(
        {
            store.root.name: sizes.with_sizes(
                queries.generations(entries, final_of(store, entries)), gc.sizes(store, entries)
            )
            for store, entries in read
        }
    )


def print_lineage(store: LineageStore, *, with_final: bool = True) -> None:
    """Print a lineage's outcome table, one row per generation; then the champion and the result on the final set."""
    name, entries = store.root.name, index.read(store)
    if not entries:
        say(f"lineage {name}: no generation is committed yet")
        return
    weights = gc.sizes(store, entries)
    rows = sizes.with_cells(queries.table(entries), weights)
    is_wide = console().width >= WHOLE_TABLE_WIDTH
    if is_wide:
        print_rows(f"lineage {name}", rows)
    else:
        # The reasons would fold into columns of a few letters, so they follow below.
        print_rows(f"lineage {name}", [row | {"reason": ""} for row in rows], spare=SPARE)
        for row in rows:
            say(f"{row['generation']} {row['gate']}: {row['reason'].removeprefix('rejected: ')}")
    say(sizes.line(weights))
    champion = entries[entries[-1].generation.champion].generation
    export = command("export", "champion", "DIR", "--store", store.root.parent, "--lineage", name)
    say(f"champion: {champion.name}, frontier level {champion.report.frontier}; export it with: {export}")
    if with_final and (final := final_of(store, entries)) is not None:
        say(queries.final_line(final, entries))


def print_jobs(jobs: Sequence[Mapping[str, Any]], *, others: int, address: str) -> None:
    """Print a cluster's jobs as `JobServer.listed` returns them, then the number of other programs' jobs."""
    if not jobs:
        say(f"there is no job of this program on {address}")
    print_rows(f"jobs on {address}", [_job_row(job) for job in jobs], spare=("recipe", "store", "took"))
    if others:
        say(f"{text.count(others, 'other job')} there: not this program's")


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
        verdict = "every hash agrees" if report.is_clean else text.count(len(report.problems), "problem")
        say(
            f"lineage {name}: {text.count(report.num_records, 'record')}, "
            f"{text.count(report.num_artifacts, 'artifact')}, {text.count(report.num_files, 'file')}, "
            f"{text.si(report.num_bytes, unit='B')}: {verdict}"
        )
        for problem in report.problems:
            say(f"  {problem.path}: {problem.message}")
        for line in report.unproven:
            say(f"  note: {line}")
        if report.freed:
            say(f"  weights freed by `bootstrap gc`: {len(report.freed)}; their records are sound")
        if report.unreferenced:
            say(f"  {text.count(len(report.unreferenced), 'artifact')} that no committed generation names yet")


def print_rows(title: str, rows: Sequence[Mapping[str, str]], *, spare: Sequence[str] = (), keep: str = "") -> None:
    """Print a table with a title, without columns that are empty in every row; nothing where there are no rows.

    `spare`: columns that a narrow terminal does without, the first of them first; a line names them, and JSON has them.
    `keep`: control characters that cells may have, as the line feeds of an answer.
    """
    if not rows:
        return
    title = text.visible(title, keep="")
    rows = [{text.visible(name, keep=""): text.visible(cell, keep=keep) for name, cell in row.items()} for row in rows]
    names, shown = [name for name in rows[0] if any(row[name] for row in rows)], console()
    is_long = len(rows) > LONG
    longest = {name: max((row[name] for row in rows), key=cell_len) for name in names}
    left_out = list[str]()
    for name in spare:
        if _width(title, names, [[longest[kept] for kept in names]], is_tight=not is_long) <= shown.width:
            break
        if name in names:
            left_out.append(name)
            names = [kept for kept in names if kept != name]
    cells = [[row[name] for name in names] for row in rows]
    if is_long:
        long_tables.print_rows(shown, title, names, cells)
    else:
        _print_fitting(title, names, cells)
    if left_out:
        shown.print(Text(f"  left out for want of width: {', '.join(left_out)}; --json has all"))
        shown.print()


def print_table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table without title and lines; without a header where all `names` are empty."""
    _print_fitting(None, names, [[text.visible(cell, keep="") for cell in row] for row in rows])


def _print_fitting(title: str | None, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; on a narrow terminal with less space between columns, then with folded cells, else as lists."""
    shown = console()
    lengths = [max((cell_len(row[at]) for row in rows), default=0) for at in range(len(names))]
    # One long column folds as far as need be; several share the room.
    widest, long = lengths.index(max(lengths)), [at for at, length in enumerate(lengths) if length > FOLDED_WIDTH]
    excess = _width(title, names, rows, is_tight=True) - shown.width
    if _width(title, names, rows) <= shown.width:
        shown.print(_table(title, names, rows))
    elif excess <= 0 or lengths[widest] - excess >= FOLDED_WIDTH:
        shown.print(_table(title, names, rows, is_tight=True, folded=(widest,)))
    elif sum(lengths[at] - FOLDED_WIDTH for at in long) >= excess:
        shown.print(_table(title, names, rows, is_tight=True, folded=long))
    else:
        if title is not None:
            shown.print(Text(title, style="bold"))
        label = max(map(len, names)) + 2
        for row in rows:
            pairs = [(name, cell) for name, cell in zip(names, row, strict=True) if cell]
            shown.print(_table(None, ("", ""), [(f"  {name:{label}}", cell) for name, cell in pairs], folded=(1,)))
            shown.print()


def _table(
    title: str | None,
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    is_tight: bool = False,
    folded: Collection[int] = (),
) -> Table:
    """Return a table, with lines where it has a title. `folded`: the columns whose cells may take several lines."""
    lines = None if title is None else box.SIMPLE_HEAD
    padding = (0, 1, 0, 0) if is_tight else (0, 1)
    table = Table(
        title=title, title_justify="left", box=lines, title_style="bold", show_header=any(names), padding=padding
    )
    for at, name in enumerate(names):
        table.add_column(name, overflow="fold", no_wrap=at not in folded)
    for row in rows:
        # Cells hold foreign text, whose square brackets are no markup.
        table.add_row(*map(Text, row))
    return table


def _width(title: str | None, names: Sequence[str], rows: Sequence[Sequence[str]], *, is_tight: bool = False) -> int:
    """Return the columns that a table takes without folding: as many as one row of each column's longest cell."""
    longest = [max((row[at] for row in rows), key=cell_len, default="") for at in range(len(names))]
    wide = Console(width=UNBOUNDED)
    return Measurement.get(wide, wide.options, _table(title, names, [longest], is_tight=is_tight)).maximum
