"""The tables of a report: for a terminal, and in Markdown."""

import math
from collections.abc import Mapping, Sequence

from bootstrap.cli import render
from bootstrap.cli.report_curves import Reported, first_target, goals
from bootstrap.evaluation.scaling import MIN_POINTS
from bootstrap.ledger_records import Generation, GenerationOutcome, LevelReport
from bootstrap.levels import level_range
from bootstrap.lineage import queries, text
from bootstrap.lineage.curves import Curve, competitors, ungated
from bootstrap.store.ancestry import ancestry, own_flops, total
from bootstrap.store.ledger import Entry


def print_report(reported: Sequence[Reported]) -> None:
    """Print what each curve reached and cost, the FLOPs to fixed levels, and the sigmoids."""
    quality = reported[0].curve.quality
    curves = [(one, found) for one in reported for found in (one.curve, *one.arms)]
    rows = [_summary(one, found) for one, found in curves]
    render.print_rows("quality and compute", rows, spare=("by category", "generation 0"))
    if values := goals(reported):
        rows = []
        for _, found in curves:
            reached = [found.flops_to(value) for value in values]
            rows.append(
                (found.name, *("-" if flops is None else text.si(flops) if flops else "start" for flops in reached))
            )
        render.print_table(("FLOPs to reach", *(f"{value:g}" for value in values)), rows)
    for one in reported:
        render.say(f"{one.curve.lineage}: {_law(one)}")
    if unmeasured := sorted({level for _, found in curves for level in found.unmeasured}):
        render.say(
            f"{level_range(unmeasured)}: "
            + (
                "not sampled of every generation, which leaves gaps (evaluation.sampled looks at target levels alone)"
                if quality.is_sampled
                else "counted as 0 for generations that were not evaluated so far beyond their target "
                "(evaluation.lookahead)"
            )
        )


def _summary(one: Reported, found: Curve) -> dict[str, str]:
    first, last = found.start or found.points[0], found.points[-1]
    best = one.best(found).number if found.stage is not None else last.generation
    end = next(point for point in found.points if point.generation == best)
    return {
        "lineage": found.name,
        "generations": _counts(found),
        found.quality.label: f"{_value(first.value, found)} -> {_value(end.value, found)}",
        "FLOPs": text.si(last.total),
        "generation 0": text.si(found.base_flops),
        "by category": _categories(last.flops),
    }


def _law(one: Reported) -> str:
    """Return the sigmoid's parameters with their standard errors, or why there is none."""
    if one.fit is None:
        points = one.curve.points
        if points[0].value is None:
            return "no sigmoid: generation 0 was not sampled on these levels"
        paid = sum(point.total > points[0].total and point.value is not None for point in points)
        if paid < MIN_POINTS:
            return f"no sigmoid: {paid} generations are fewer than the {MIN_POINTS} that three parameters need"
        return "no sigmoid: nothing was gained over generation 0"
    fit = one.fit
    parameters = (
        f"A {fit.ceiling.value:.3g} +- {fit.ceiling.error:.2g}, C_mid {text.si(fit.midpoint.value)} +- "
        f"{text.si(fit.midpoint.error) if math.isfinite(fit.midpoint.error) else 'any'}, "
        f"B {fit.steepness.value:.3g} +- {fit.steepness.error:.2g}"
    )
    unsure = f"; not identified by these points: {', '.join(fit.unidentified)}" if fit.unidentified else ""
    return f"sigmoid R_0 {fit.start:.3g}, {parameters} (residual {fit.residual:.2g}, {fit.num_points} points){unsure}"


def _counts(found: Curve) -> str:
    outcomes = [point.outcome for point in found.points]
    if found.stage is not None:
        return f"{len(outcomes)} ungated"
    return f"{outcomes.count(GenerationOutcome.PROMOTED)}/{len(outcomes) - 1} promoted"


def _value(value: float | None, found: Curve) -> str:
    if value is None:
        return "not sampled"
    return text.percent(value) if found.quality.is_share else f"{value:g}"


def _categories(flops: Mapping[str, float]) -> str:
    return ", ".join(
        f"{text.plain(category)} {text.si(compute_cost)}" for category, compute_cost in sorted(flops.items())
    )


def markdown(reported: Sequence[Reported]) -> str:
    """Return the table that a README can show: one row per lineage and per arm.

    A lineage's row counts the generations that competed and their ancestors, generation 0 included; a fork's row names
    the cost of its origin apart. An arm's row counts the generations of its stage, from the one that it starts from to
    the best of its last siblings.
    """
    rows = [
        "| lineage, or arm from its own start | generations | frontier, start -> end | accuracy at the first target "
        "(arms: at the champion's last if asked there, else at their own highest), start -> end | wall time | "
        "FLOPs by category | generate + train after generation 0 |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in reported:
        entries, generations = one.entries, one.generations
        champion = generations[generations[-1].champion]
        numbers = [generation.number for generation in competitors(generations)]
        counted = ancestry(entries, numbers, siblings=one.siblings)
        own = [generations[number] for number in sorted(counted)]
        inherited = next((edge for edge in generations[0].edges if edge.compute_cost is not None), None)
        categories = _categories(own_flops(own))
        if inherited is not None and inherited.compute_cost is not None:
            before = total([inherited.compute_cost.start, inherited.compute_cost.since])
            categories += f"; before the fork, {text.plain(inherited.external or '')}: {_categories(before)}"
        target = first_target(entries)
        rows.append(
            _row(one.curve, entries, own, start=generations[0], end=champion, level=target, categories=categories)
        )
        for arm, (_, kept) in zip(one.arms, ungated(entries).items(), strict=True):
            end, parent = one.best(arm), kept[0].parent
            common = max(champion.target_levels)
            rows.append(
                _row(
                    arm,
                    entries,
                    kept,
                    start=None if parent is None else generations[parent],
                    end=end,
                    level=common if end.report.level(common) is not None else max(end.target_levels),
                    categories=_categories(own_flops(kept)),
                )
            )
    return "\n".join(rows)


def _row(
    found: Curve,
    entries: Sequence[Entry],
    own: Sequence[Generation],
    *,
    start: Generation | None,
    end: Generation,
    level: int,
    categories: str,
) -> str:
    """Return one row. `own`: the generations that it counts; `start`: None for fresh weights or a merge."""
    seconds = sum(sum(entries[generation.number].annotations.seconds.values()) for generation in own)
    compute_cost = own_flops(generation for generation in own if generation.number)
    if start is not None:
        frontier, accuracy = str(start.report.frontier), _interval(start.report.level(level))
    else:
        frontier = accuracy = text.plain(queries.origin(own[0]))
    cells = (
        text.plain(found.name),
        _counts(found),
        f"{frontier} -> {end.report.frontier}",
        f"level {level}: {accuracy} -> {_interval(end.report.level(level))}",
        text.duration(seconds),
        categories,
        text.si(compute_cost.get("generate", 0.0) + compute_cost.get("train", 0.0)),
    )
    return f"| {' | '.join(cells)} |"


def _interval(row: LevelReport | None) -> str:
    if row is None:
        return "not evaluated"
    return f"{text.percent(row.accuracy)} ({100 * row.interval.low:.1f}-{100 * row.interval.high:.1f})"
