"""`bootstrap report`: compute against quality of one or more lineages, as a table, a picture, JSON, and in MLflow."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from bootstrap.cli import render
from bootstrap.cli.stores import choose, committed, lineages
from bootstrap.cli.sync import DEFAULT_PORT
from bootstrap.cli.target import recall, uri_to_show, without_credentials
from bootstrap.errors import RecipeError, StoreError, TrackingError
from bootstrap.evaluation.scaling import MIN_POINTS, Sigmoid, fit_sigmoid
from bootstrap.ledger_records import Generation, GenerationOutcome, LevelReport
from bootstrap.levels import level_range
from bootstrap.lineage import queries, text, tracking
from bootstrap.lineage.curves import Curve, CurvePoint, Quality, arms, competitors, curve, ungated
from bootstrap.lineage.outbox import Outbox
from bootstrap.stages.siblings import best_of
from bootstrap.store import durable
from bootstrap.store.ancestry import Siblings, ancestry, own_flops, total
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

FOLDER = ".reports"
"""In the store, for pictures: no lineage's own, since none has a name that begins with a dot."""
SHARES = (0.5, 0.75, 0.9, 0.95)
"""Shares of right answers to which the FLOPs are told."""


@dataclass(frozen=True, kw_only=True)
class Reported:
    """One lineage with its curve, where it can be had its law, and its arms."""

    store: LineageStore
    entries: Sequence[Entry]
    curve: Curve
    fit: Sigmoid | None
    """Over the FLOPs since the curve's own start, which for a fork are those after the origin."""
    arms: tuple[Curve, ...]
    siblings: Siblings

    def best(self, arm: Curve) -> Generation:
        """Return who stands for the last siblings of an arm; without branches, its last generation."""
        last = arm.points[-1].generation
        return self.generations[best_of(self.generations, [one for one in self.siblings(last) if one <= last])]

    @property
    def generations(self) -> list[Generation]:
        return [entry.generation for entry in self.entries]


def report(
    names: Sequence[str],
    *,
    store: Path,
    metric: str,
    levels: str | None,
    count_evaluation: bool,
    out: Path | None,
    as_json: bool,
    as_markdown: bool,
    publish: bool,
) -> None:
    """Print the report and write its picture. Raises RecipeError for a metric that cannot be had, StoreError."""
    stores = [_lineage(store, name) for name in names] if names else [choose(store, n) for n in lineages(store)]
    if not stores:
        raise StoreError(f"the store {store} holds no lineage yet; run a recipe first")
    if len({found.root.absolute() for found in stores}) < len(stores):
        raise RecipeError("a lineage is named twice; name each once")
    grown = [(found, committed(found)) for found in stores]
    if empty := [found.root.name for found, entries in grown if not entries]:
        if names or len(empty) == len(grown):
            raise RecipeError(f"lineage {empty[0]} has no generation yet; run its recipe first, or leave it out")
        grown = [(found, entries) for found, entries in grown if entries]
    quality = _quality(metric, levels, [entries for _, entries in grown])
    highest = 1.0 if quality.is_share else math.inf
    reported = []
    for found, entries in grown:
        siblings = found.header().siblings
        one = curve(entries, quality=quality, count_evaluation=count_evaluation, siblings=siblings)
        beside = arms(entries, quality=quality, count_evaluation=count_evaluation, siblings=siblings)
        fit = _fit(one, highest=highest)
        reported.append(Reported(store=found, entries=entries, curve=one, fit=fit, arms=beside, siblings=siblings))
    # matplotlib takes a second to load, which only this command needs.
    from bootstrap.lineage import picture

    laws = [
        picture.Fitted(value_at=r.fit.at, label=f"sigmoid, A {r.fit.ceiling.value:.3g}")
        if r.fit is not None and "A" not in r.fit.unidentified
        else None
        for r in reported
    ]
    beside = [arm for r in reported for arm in r.arms]
    figure = picture.draw(
        [*(r.curve for r in reported), *beside],
        [*laws, *(None for _ in beside)],
        counted="all categories" if count_evaluation else "without evaluation",
    )
    data = {"metric": quality.label, "evaluation_counted": count_evaluation, "lineages": [_json(r) for r in reported]}
    path = out or store / FOLDER / f"{_file_name([r.curve.lineage for r in reported])}.png"
    with durable.store_errors(path, doing="write"):
        durable.make_folder(path.absolute().parent)
        durable.write_file(path.absolute(), picture.to_png(figure))
    if as_json:
        render.print_json({**data, "picture": str(path)})
    elif as_markdown:
        render.say(_markdown(reported))
    else:
        _print(reported)
    if publish:
        numbers = json.dumps(data, indent=1, sort_keys=True)
        _publish(reported, figure, numbers, store=store, quiet=as_json or as_markdown)
    if not (as_json or as_markdown):
        render.say(f"picture: {path}")


def _fit(one: Curve, *, highest: float) -> Sigmoid | None:
    """Return the law of the generations that could move the champion; None where their start is not known."""
    start = one.points[0]
    known = [(point.total - start.total, point.value) for point in one.points if point.value is not None]
    if start.value is None:
        return None
    return fit_sigmoid([x for x, _ in known], [y for _, y in known], start=start.value, highest=highest)


def _lineage(store: Path, name: str) -> LineageStore:
    """Return a lineage by its name in the store, or by the path of its folder."""
    folder = Path(name)
    if folder.name != name and LineageStore(folder).exists:
        return LineageStore(folder)
    return choose(store, name)


def _quality(metric: str, levels: str | None, grown: Sequence[Sequence[Entry]]) -> Quality:
    if metric == "frontier":
        if levels is not None:
            raise RecipeError("the frontier is of all levels; remove --levels, or use --metric accuracy")
        return Quality()
    if levels is None:
        # What all lineages aim at first: the first level beyond generation 0's.
        aims = {_first_target(entries) for entries in grown if len(entries) > 1}
        if not aims:
            raise RecipeError(
                "nothing is grown beyond generation 0 yet, so no level has been aimed at; name those to report, as "
                "--levels 5-8"
            )
        if len(aims) != 1:
            raise RecipeError("these lineages first aim at different levels; name those to compare, as --levels 5-8")
        chosen: tuple[int, ...] = (aims.pop(),)
    else:
        chosen = _levels(levels)
    return Quality(kind=metric.replace("-", "_"), levels=chosen)  # type: ignore[arg-type]


def _levels(text_of: str) -> tuple[int, ...]:
    """Return the levels of `5`, `5-8` or `1,3,5-8`. Raises RecipeError for anything else."""
    found: list[int] = []
    for part in text_of.split(","):
        numbers = re.fullmatch("([0-9]{1,5})(?:-([0-9]{1,5}))?", part)
        first, last = (int(numbers[1]), int(numbers[2] or numbers[1])) if numbers else (0, 0)
        if not 1 <= first <= last <= 10_000:
            raise RecipeError(f"{text_of!r} names no levels; write 5, 5-8 or 1,3,5-8")
        found += range(first, last + 1)
    return tuple(sorted(set(found)))


def _first_target(entries: Sequence[Entry]) -> int:
    """Return what the first generation after generation 0 that competed aims at first, or, if none did, any one; of
    generation 0 alone its hardest."""
    generations = [entry.generation for entry in entries]
    later = [*competitors(generations)[1:], *generations[1:]]
    return later[0].target_levels[0] if later else max(generations[0].target_levels)


def _json(one: Reported) -> dict[str, Any]:
    found, fit = one.curve, one.fit
    return {
        "lineage": found.lineage,
        "generation_0_flops": found.base_flops,
        "levels_not_measured": list(found.unmeasured),
        "points": _points(found, "champion"),
        "flops_to": {f"{goal:g}": found.flops_to(goal) for goal in _goals([one])},
        "sigmoid": None
        if fit is None
        else {
            "R_0": fit.start,
            "C_0": found.points[0].total,
            **{
                name: {"value": _finite(estimate.value), "standard_error": _finite(estimate.error)}
                for name, estimate in (("A", fit.ceiling), ("C_mid", fit.midpoint), ("B", fit.steepness))
            },
            "residual": fit.residual,
            "points": fit.num_points,
            "unidentified": list(fit.unidentified),
        },
        "arms": [
            {
                "stage": arm.stage,
                "starts_from": None if arm.start is None else arm.start.generation,
                "generation_0_flops": arm.base_flops,
                "levels_not_measured": list(arm.unmeasured),
                "own_flops": own_flops(ungated(one.entries)[arm.stage or ""]),
                "best": one.best(arm).number,
                "points": _points(arm, "value"),
            }
            for arm in one.arms
        ],
    }


def _points(found: Curve, value: str) -> list[dict[str, Any]]:
    """Return the points of a curve, whose heights are called `value`."""
    return [
        {
            "generation": point.generation,
            "outcome": point.outcome.value,
            "flops": dict(point.flops),
            "total": point.total,
            value: point.value,
            "low": point.low,
            "high": point.high,
            "own": point.own,
        }
        for point in found.points
    ]


def _finite(value: float) -> float | None:
    """Return a number that JSON can hold; None where it is beyond all bounds."""
    return value if math.isfinite(value) else None


def _goals(reported: Sequence[Reported]) -> list[float]:
    """Return the values to which FLOPs are told: those that some lineage reaches after its start."""
    if reported[0].curve.quality.is_share:
        goals: Sequence[float] = SHARES
    else:
        start = min(r.curve.points[0].value or 0.0 for r in reported)
        end = max(point.value or 0.0 for r in reported for point in r.curve.points)
        goals = [float(level) for level in range(int(start) + 1, int(end) + 1)]
    return [goal for goal in goals if any(r.curve.flops_to(goal) for r in reported)]


def _print(reported: Sequence[Reported]) -> None:
    quality = reported[0].curve.quality
    table = Table("lineage", "generations", quality.label, "FLOPs", "generation 0", "by category", box=None)
    for one in reported:
        for found in (one.curve, *one.arms):
            first, last = found.start or found.points[0], found.points[-1]
            end = last if found.stage is None else _point_of(found, one.best(found))
            table.add_row(
                found.name,
                _counts(found),
                f"{_value(first.value, found)} -> {_value(end.value, found)}",
                text.si(last.total),
                text.si(found.base_flops),
                _categories(last.flops),
            )
    render.console().print(table)
    goals = _goals(reported)
    if goals:
        table = Table("FLOPs to reach", *(f"{goal:g}" for goal in goals), box=None)
        for one in reported:
            for found in (one.curve, *one.arms):
                reached = [found.flops_to(goal) for goal in goals]
                table.add_row(
                    found.name, *("-" if flops is None else text.si(flops) if flops else "start" for flops in reached)
                )
        render.console().print(table)
    for one in reported:
        render.say(f"{one.curve.lineage}: {_law(one)}")
    curves = [found for one in reported for found in (one.curve, *one.arms)]
    if unmeasured := sorted({level for found in curves for level in found.unmeasured}):
        render.say(
            f"{level_range(unmeasured)}: "
            + (
                "not sampled of every generation, which leaves gaps (evaluation.sampled looks at target levels alone)"
                if quality.is_sampled
                else "counted as 0 for generations that were not evaluated so far beyond their target "
                "(evaluation.lookahead)"
            )
        )


def _law(one: Reported) -> str:
    """Return the fit in words."""
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


def _point_of(found: Curve, generation: Generation) -> CurvePoint:
    return next(point for point in found.points if point.generation == generation.number)


def _categories(flops: Mapping[str, float]) -> str:
    return ", ".join(f"{category} {text.si(compute_cost)}" for category, compute_cost in sorted(flops.items()))


def _markdown(reported: Sequence[Reported]) -> str:
    """Return the table that a README can show: a row for each lineage and one for each of its arms.

    A lineage's row: the generations that competed and those that they descend from, generation 0 included; what a
    fork's origin cost stands beside. An arm's: the generations of its stage alone, from the one that it starts from to
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
            categories += f"; before the fork, {inherited.external}: {_categories(before)}"
        target = _first_target(entries)
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
    """Return a row of the Markdown table; `own`: the generations that it counts; `start`: None where they start from
    fresh weights or a merge."""
    seconds = sum(sum(entries[generation.number].annotations.seconds.values()) for generation in own)
    compute_cost = own_flops(generation for generation in own if generation.number)
    if start is not None:
        frontier, accuracy = str(start.report.frontier), _interval(start.report.level(level))
    else:
        frontier = accuracy = queries.origin(own[0])
    cells = (
        found.name,
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


def _file_name(names: Sequence[str]) -> str:
    joined = "-vs-".join(names)
    return joined if len(joined) <= 100 else f"{names[0]}-and-{len(names) - 1}-more"


def _publish(reported: Sequence[Reported], figure: Any, numbers: str, *, store: Path, quiet: bool) -> None:
    """Show the picture in MLflow where the lineages are; trouble there costs a message and nothing else."""
    uri = uri_to_show(reported[0].store, None)
    try:
        tracking.check_reachable(uri)
        from bootstrap.lineage import comparison

        if len(reported) == 1:
            experiment, run = _published_run(reported[0], uri)
            if not run:
                name = reported[0].curve.lineage
                render.warn(f"{name} is not in MLflow yet; `bootstrap lineage --sync` publishes it")
                return
            comparison.show_in_lineage(run, figure, numbers, tracking_uri=uri)
        else:
            names = [r.curve.lineage for r in reported]
            experiment, run = comparison.show_together(names, figure, numbers, tracking_uri=uri, store=store)
    except TrackingError as error:
        render.warn(f"warning: the report is not in MLflow: {error}")
        return
    if not quiet:
        shown = without_credentials(uri)
        base = shown if tracking.is_remote(uri) else f"http://127.0.0.1:{DEFAULT_PORT}"
        place = f"{comparison.FOLDER}/{comparison.PICTURE}"
        render.say(f"in MLflow: {tracking.run_url(base, experiment, run)} (its artifact {place})")


def _published_run(one: Reported, uri: str) -> tuple[str, str]:
    """Return the ids of a lineage's experiment and run; empty while it is not published."""
    target = recall(one.store)
    name = tracking.experiment_name(one.store.root.name, target.experiment if target else None)
    receipts = Outbox(one.store.root, tracking_uri=uri, experiment=name).receipts(one.entries)
    if not receipts:
        return "", ""
    newest = receipts[max(receipts)]
    return newest.experiment_id, newest.lineage_run_id
