"""How answers look: tables on a terminal, JSON for programs. Nothing is computed here beyond layout."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bootstrap.cli.command import command
from bootstrap.levels import level_range
from bootstrap.lineage import queries, text
from bootstrap.store.finals import final_of
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.verify import VerifyReport

WHOLE_TABLE_WIDTH = 150
"""Columns from which the outcome table fits on one line a generation, its reasons included."""
NARROW_WITHOUT = {"stage", "from", "target", "gain", "reason", "tokens"}
PLAIN_WIDTH = 200
"""Columns where the output is no terminal: wide enough that tables need no folding."""


def console() -> Console:
    """Return a console on standard output."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def say(line: str) -> None:
    """Print one line as it is, never folded."""
    console().print(line, markup=False, soft_wrap=True)


def warn(line: str) -> None:
    """Print one line on standard error, where it stays out of JSON and tables that programs read."""
    print(line, file=sys.stderr)


def print_json(value: Any) -> None:
    """Print `value` as indented JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_lineage(store: LineageStore, *, with_final: bool = True) -> None:
    """Print a lineage's outcome table: one row per generation, the champion marked; last, what the final set says."""
    name, entries = store.root.name, store.ledger.read()
    if not entries:
        say(f"lineage {name}: no generation is committed yet")
        return
    rows = queries.table(entries)
    if console().width >= WHOLE_TABLE_WIDTH:
        print_rows(f"lineage {name}", rows)
    else:
        # A narrow terminal would break every cell: what the accuracy and the reason repeat goes, reasons follow below.
        print_rows(f"lineage {name}", [{k: v for k, v in row.items() if k not in NARROW_WITHOUT} for row in rows])
        for row in rows:
            say(f"{row['generation']} {row['gate']}: {row['reason'].removeprefix('rejected: ')}")
    champion = entries[entries[-1].generation.champion].generation
    export = command("export", "champion", "DIR", "--store", store.root.parent, "--lineage", name)
    say(f"champion: {champion.name}, frontier level {champion.report.frontier}; export it with: {export}")
    if with_final and (final := final_of(store, entries)) is not None:
        say(queries.final_line(final, entries))


def print_jobs(jobs: Sequence[Mapping[str, Any]], *, others: int, address: str) -> None:
    """Print a cluster's jobs, as `JobServer.listed` returns them: one row a job, then how many are others'."""
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


def print_generation(shown: Mapping[str, Any]) -> None:
    """Print what `queries.show` tells of one generation."""
    crown = ", the champion" if shown["is_champion"] else ""
    parent = shown["origin"] or "the recipe's base model"
    inside = [f"gen-{number}" for number in shown["teachers"]]
    teachers = ", ".join([*inside, *shown["outside_teachers"]]) or "none"
    target = level_range(shown["target_levels"])
    facts = {
        shown["name"]: f"{shown['status']}{crown}, of lineage {shown['lineage']}",
        "reason": shown["reason"],
        "parent": f"{parent}; teachers: {teachers}; children: {', '.join(shown['children']) or 'none'}",
        "base": _pretrained(shown["pretrained"]),
        "fingerprint": shown["fingerprint"],
        "record": f"{shown['hash']} after {shown['previous_hash']}",
        "frontier": (
            f"level {shown['frontier']}, generalization margin {shown['generalization_margin']}; target {target}"
        ),
        "recipe": f"{shown['recipe_digest']}, seed {shown['seed']}, {shown['workers']} workers",
        "code": shown["code_version"],
        "precision": shown["measured"]["environment"].get("precision", ""),
        "verifiers": ", ".join(f"{name} {version}" for name, version in shown["verifiers"].items()),
        "tokens": _counts(shown["tokens"]),
        "FLOPs": _counts(shown["flops"]),
        "seconds": ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in shown["seconds"].items()),
        "bound": ", ".join(f"{phase} {text.percent(share)}" for phase, share in shown["bound_fraction"].items()),
        "accounting": ", ".join(f"{name} {value}" for name, value in shown["accounting"].items() if name != "dropped"),
        "dropped": ", ".join(f"{reason}: {count}" for reason, count in shown["accounting"]["dropped"].items()),
        "measured": f"{shown['measured']['started']} to {shown['measured']['finished']} on {shown['measured']['host']}",
    }
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        if value:
            say(f"{name:<{width}}  {value}")
    print_rows("levels", [_level_row(row) for row in shown["levels"]])
    for kind in ("parts", "panel"):
        of_tasks = [{"task": task, **_level_row(row)} for task, rows in shown[kind].items() for row in rows]
        print_rows(kind, of_tasks)
    print_rows("slices", [_slice_row(name, row) for name, rows in shown["slices"].items() for row in rows])
    print_rows("gate", [_test_row(row) for row in shown["gate_tests"]])
    print_rows(
        "diagnostics",
        [
            {"metric": metric, "value": f"{value:.4g}", "guard": _guard(shown["findings"], metric)}
            for metric, value in shown["diagnostics"].items()
            if value is not None
        ],
    )
    print_rows(
        "edges",
        [{"role": edge["role"], "from": edge["source"], "fingerprint": edge["fingerprint"]} for edge in shown["edges"]],
    )
    print_rows(
        "artifacts",
        [{"role": role, "folder": ref["path"], "digest": ref["digest"]} for role, ref in shown["artifacts"].items()],
    )


def _pretrained(found: Mapping[str, Any] | None) -> str:
    return "" if found is None else f"{found['source']}, licence {found['licence'] or 'not named'}"


def print_verification(name: str, report: VerifyReport) -> None:
    """Print what was checked and every problem."""
    verdict = "every hash agrees" if report.is_clean else f"{len(report.problems)} problems"
    say(
        f"lineage {name}: {report.num_records} records, {report.num_artifacts} artifacts, {report.num_files} files, "
        f"{text.si(report.num_bytes, unit='B')}: {verdict}"
    )
    for problem in report.problems:
        say(f"  {problem.path}: {problem.message}")
    for line in report.unproven:
        say(f"  note: {line}")
    if report.unreferenced:
        say(f"  {len(report.unreferenced)} artifacts that no committed generation names yet")


def _level_row(row: Mapping[str, Any]) -> dict[str, str]:
    sampled = row["pass_at_1"] is not None
    return {
        "level": str(row["level"]),
        "accuracy": text.percent(row["accuracy"]),
        "interval": f"{100 * row['interval']['low']:.1f}-{100 * row['interval']['high']:.1f}",
        "prompts": str(row["num_prompts"]),
        "length": f"{row['mean_length']:.1f}",
        "truncated": text.percent(row["truncated"]),
        "pass@1": text.percent(row["pass_at_1"]) if sampled else "",
        "pass@k": f"{text.percent(row['pass_at_k'])} (k {row['k']})" if sampled else "",
        "majority": text.percent(row["majority_at_k"]) if sampled else "",
        "entropy": f"{row['entropy']:.3f}" if sampled else "",
        "distinct": f"{row['distinct_answers']:.2f}" if sampled else "",
    }


def _slice_row(name: str, row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "slice": name,
        "level": str(row["level"]),
        "accuracy": text.percent(row["accuracy"]),
        "interval": f"{100 * row['interval']['low']:.1f}-{100 * row['interval']['high']:.1f}",
        "prompts": str(row["num_prompts"]),
    }


def _test_row(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "test": row["test"],
        "on": level_range(row["levels"]),
        "compared with": ", ".join(f"gen-{number}" for number in row["reference"]),
        "before": text.percent(row["champion"]),
        "candidate": text.percent(row["candidate"]),
        "gained": str(row["gained"]),
        "lost": str(row["lost"]),
        "p": "" if row["p_value"] is None else f"{row['p_value']:.2g}",
        "alpha": "" if row["alpha"] is None else f"{row['alpha']:.2g}",
        "lower bound": text.points(row["difference_low"]),
        "margin": "" if row["margin"] is None else text.points(-row["margin"]),
        "passed": "yes" if row["passed"] else "no",
    }


def _guard(findings: Sequence[Mapping[str, Any]], metric: str) -> str:
    """Return the bounds of a metric that are broken."""
    return "; ".join(
        f"{row['side']} {row['bound']:g} broken: {row['action'].replace('_', ' ')}"
        for row in findings
        if row["metric"] == metric
    )


def _counts(counts: Mapping[str, float]) -> str:
    return ", ".join(f"{phase} {text.si(count)}" for phase, count in counts.items())


def print_rows(title: str, rows: Sequence[Mapping[str, str]]) -> None:
    """Print a table; columns that are empty in every row are left out, and so is a table without rows."""
    if not rows:
        return
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(_plain(row[name]) for name in names))
    console().print(table)


def _plain(cell: str) -> str:
    """Keep square brackets of foreign text from being read as markup."""
    return cell.replace("[", r"\[")
