"""The pages behind a generation's bar of links, Markdown artifacts of its run: gate, results, data, verifiers, cost.

Pure functions; every text of people or models passes `text.plain`. Left out: samples, which are traces (`traces.py`).
Imports no MLflow.
"""

from collections.abc import Collection, Mapping, Sequence

from bootstrap.ledger_records import Generation, LevelReport, LevelTest
from bootstrap.levels import level_range
from bootstrap.lineage import outcome, queries, text
from bootstrap.lineage.datasets import Data
from bootstrap.lineage.judges import NamedVerifier
from bootstrap.lineage.samples import Scores
from bootstrap.store.ledger import Entry

GATE, RESULTS, DATA, VERIFIERS, COST = (
    f"generation/{name}.md" for name in ("gate", "results", "data-sets", "verifiers", "cost")
)
_BINS = 10
_BAR = 24
"""Characters of the longest bar of a histogram."""


def gate(node: Generation, *, sentence: str, bar: str) -> str:
    """Return the gate's decision with the table of its tests."""
    decision = node.decision
    parts = [f"# Gate decision of {node.name}", bar, f"{sentence}.", f"Reason: {text.plain(decision.reason)}."]
    tests = queries.gate_tests(decision)
    if not tests:
        parts.append("No test: there was no champion to compare with, or the recipe compares none.")
        return "\n\n".join(parts)
    # MLflow gives all columns the same width and cuts heads.
    head = ("test", "levels", "against", "before", "after", "95 % CI", "bound", "prompts", "passed")
    parts.append(text.table(head, [_test(name, one, node) for name, one in tests]))
    parts.append(
        "Before and after are shares of right answers to the same held-out prompts, with the interval of their "
        "difference. Bound: what the test was decided by. Prompts: gained and lost, of all that both were judged on."
    )
    if findings := node.diagnostics.findings:
        parts.append(text.table(("guard", "action"), [(str(one), one.action.value) for one in findings]))
    return "\n\n".join(parts)


def results(node: Generation, *, bar: str) -> str:
    """Return the held-out results by level and task, the diagnostics and the guards."""
    report, targets = node.report, node.target_levels
    parts = [f"# Results of {node.name}", bar, f"Frontier: level {report.frontier}."]
    head = ("level", "accuracy", "95 % interval", "prompts", "pass@1", "pass@k")
    parts.append(text.table(head, [_level(row, targets) for row in report.levels]))
    for kind, tasks in {"part": report.parts, "panel task": report.panel}.items():
        rows = [(text.plain(task), *_level(row)) for task, rows in tasks.items() for row in rows]
        if rows:
            parts.append(text.table((kind, *head), rows))
    parts += [f"{text.plain(step)} {text.plain(why)}." for step, why in node.accounting.ended.items()]
    if node.drawing is not None:
        parts.append(f"Drawn: {queries.drawing_line(node.drawing)}.")
    if diagnostics := queries.diagnostics(node):
        parts.append(text.table(("diagnostic", "value", "broken guards"), diagnostics))
    return "\n\n".join(parts)


def data(node: Generation, found: Sequence[Data], *, bar: str) -> str:
    """Return the data sets of a generation with digest, number of rows, schema and a few rows."""
    parts = [f"# Data sets of {node.name}", bar]
    facts = [
        (
            text.plain(one.name),
            one.context,
            "not recorded" if one.num_rows is None else str(one.num_rows),
            f"`{text.plain(one.digest[:32])}`",
        )
        for one in found
    ]
    parts.append(text.table(("data set", "used for", "rows", "digest"), facts))
    for one in found:
        parts.append(f"## {text.plain(one.name)}")
        if producer := one.tags.get("bootstrap.producer"):
            parts.append(f"Answers of {text.plain(producer)}.")
        parts.append("Columns: " + ", ".join(f"{text.plain(name)} {kind}" for name, kind in one.columns) + ".")
        if one.sample:
            head = list(one.sample[0])
            rows = [[text.plain(str(row[name]), limit=200) or " " for name in head] for row in one.sample]
            parts.append(text.table(head, rows))
    return "\n\n".join(parts)


def verifiers(node: Generation, judges: Sequence[NamedVerifier], scores: Scores, *, bar: str) -> str:
    """Return the verifiers of a generation by name and settings, and histograms of their scores."""
    parts = [f"# Verifiers of {node.name}", bar]
    rows = [(text.plain(one.name), one.judged, one.settings, f"`{text.plain(one.version)}`") for one in judges]
    parts.append(text.table(("verifier", "judges", "settings", "version"), rows))
    if scores.statuses:
        total = sum(scores.statuses.values())
        counted = ", ".join(f"{count} {status}" for status, count in scores.statuses.items())
        parts.append(f"{total} answers judged ({scores.drawn}): {counted}.")
    for name, counts in scores.values.items():
        parts.append(f"## Scores of {text.plain(name)}")
        parts.append(text.table(("score", "answers", ""), histogram(counts)))
    return "\n\n".join(parts)


def cost(entry: Entry, *, bar: str) -> str:
    """Return what a generation cost, by phase and by stage."""
    node, measured = entry.generation, entry.annotations
    compute = node.compute
    phases = dict.fromkeys([*compute.flops, *compute.tokens])
    rows = [
        (
            text.plain(phase),
            text.si(compute.tokens.get(phase, 0)),
            text.si(compute.flops.get(phase, 0.0), unit="FLOP"),
        )
        for phase in phases
    ]
    rows.append(("total", text.si(compute.total_tokens), text.si(compute.total_flops, unit="FLOP")))
    stages = [
        (text.plain(stage), text.duration(seconds), text.duration(measured.cpu_seconds.get(stage, 0.0)))
        for stage, seconds in measured.seconds.items()
    ]
    stages.append(("total", text.duration(sum(measured.seconds.values())), ""))
    parts = [f"# Cost of {node.name}", bar, text.table(("phase", "tokens", "compute"), rows)]
    parts.append(text.table(("stage", "time", "of it in sandboxes"), stages))
    if (share := queries.useful_share(node)) is not None:
        parts.append(f"{text.percent(share)} of the generated tokens were trained on or kept for replay.")
    return "\n\n".join(parts)


def histogram(counts: Mapping[float, int]) -> list[tuple[str, str, str]]:
    """Return (score, answers, bar) of each value, or of ten equal bins where there are more values than that."""
    if len(counts) > _BINS:
        low, high = min(counts), max(counts)
        width = (high - low) / _BINS
        totals = [0] * _BINS
        for value, count in counts.items():
            totals[min(int((value - low) / width), _BINS - 1)] += count
        binned = [(f"{low + i * width:.3g} to {low + (i + 1) * width:.3g}", count) for i, count in enumerate(totals)]
    else:
        binned = [(f"{value:.3g}", counts[value]) for value in sorted(counts)]
    most = max(count for _, count in binned)
    return [(name, str(count), "█" * -(-_BAR * count // most)) for name, count in binned]


def _level(row: LevelReport, targets: Collection[int] = ()) -> tuple[str, ...]:
    return (
        str(row.level) + (" (target)" if row.level in targets else ""),
        text.percent(row.accuracy),
        f"{100 * row.interval.low:.1f} to {100 * row.interval.high:.1f} %",
        str(row.num_prompts),
        "" if row.pass_at_1 is None else text.percent(row.pass_at_1),
        "" if row.pass_at_k is None else f"{text.percent(row.pass_at_k)} (k = {row.k or row.num_samples // 2})",
    )


def _test(name: str, one: LevelTest, node: Generation) -> tuple[str, ...]:
    reference = one.reference or ((node.decision.champion,) if node.decision.champion is not None else ())
    bounds = outcome.interval(one)
    decided = [
        *([f"p {one.p_value:.2g}"] if one.p_value is not None else []),
        *([f"lower bound {text.points(one.difference_low)}"] if one.p_value is None and one.alpha else []),
        *([f"margin {text.points(-one.margin)}"] if one.margin is not None else []),
        *([f"alpha {one.alpha:.3g}"] if one.alpha is not None else []),
    ]
    return (
        text.plain(name, limit=80),
        level_range(one.levels).removeprefix("levels ").removeprefix("level "),
        ", ".join(f"gen-{number}" for number in reference),
        text.percent(one.champion),
        text.percent(one.candidate),
        f"{text.points(bounds.low)} to {text.points(bounds.high)}",
        ", ".join(decided),
        f"+{one.gained} -{one.lost} of {one.num_prompts}",
        "yes" if one.passed else "**no**",
    )
