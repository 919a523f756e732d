"""`bootstrap report`: compute against quality of one or more lineages, as a table, a picture, JSON, and in MLflow."""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bootstrap.cli import render
from bootstrap.cli.report_curves import Reported, goals, read_reported
from bootstrap.cli.report_tables import markdown, print_report
from bootstrap.cli.sync import DEFAULT_PORT, newest_receipt, sync_later
from bootstrap.cli.target import chosen, unchosen, without_credentials
from bootstrap.errors import TrackingError
from bootstrap.lineage import tracking
from bootstrap.lineage.curves import Curve, ungated
from bootstrap.lineage.reach import check_reachable
from bootstrap.store import durable
from bootstrap.store.ancestry import own_flops

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = ".reports"
"""The store's folder for pictures; a lineage's name cannot begin with a dot."""


def report_lineages(
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
    reported = read_reported(names, store=store, metric=metric, levels=levels, count_evaluation=count_evaluation)
    quality = reported[0].curve.quality
    # matplotlib takes a second to load.
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
    data = {"metric": quality.label, "evaluation_counted": count_evaluation, "lineages": [to_json(r) for r in reported]}
    path = out or store / FOLDER / f"{_file_name([r.curve.lineage for r in reported])}.png"
    with durable.store_errors(path, doing="write"):
        durable.make_folder(path.absolute().parent)
        durable.write_file(path.absolute(), picture.to_png(figure))
    if as_json:
        render.print_json({**data, "picture": str(path)})
    elif as_markdown:
        render.tell(markdown(reported))
    else:
        print_report(reported)
    if publish:
        numbers = json.dumps(data, indent=1, sort_keys=True)
        _publish(reported, figure, numbers, store=store, quiet=as_json or as_markdown)
    if not (as_json or as_markdown):
        render.say(f"picture: {path}")


def to_json(one: Reported) -> dict[str, Any]:
    """Return one lineage of the report as JSON data."""
    found, fit = one.curve, one.fit
    return {
        "lineage": found.lineage,
        "generation_0_flops": found.base_flops,
        "levels_not_measured": list(found.unmeasured),
        "points": _points(found, "champion"),
        "flops_to": {f"{goal:g}": found.flops_to(goal) for goal in goals([one])},
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
    """Return the points of a curve; `value`: the key of their heights."""
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
    """Return a number that JSON can hold; None for an infinite one."""
    return value if math.isfinite(value) else None


def _file_name(names: Sequence[str]) -> str:
    joined = "-vs-".join(names)
    found = joined if len(joined) <= 100 else f"{names[0]}-and-{len(names) - 1}-more"
    # A record may name its lineage otherwise than its folder does.
    return re.sub(r"[^\w.-]", "-", found)[:150]


def _publish(reported: Sequence[Reported], figure: "Figure", numbers: str, *, store: Path, quiet: bool) -> None:
    """Show the picture in MLflow beside the lineages; a TrackingError becomes a warning."""
    for line in unchosen(reported[0].store):
        render.warn(line)
    uri = chosen(reported[0].store).uri
    try:
        check_reachable(uri)
        from bootstrap.lineage import comparison

        if len(reported) == 1:
            one = reported[0]
            asked = chosen(one.store).experiment
            receipt = newest_receipt(one.store, one.entries, tracking_uri=uri, experiment=asked)
            if receipt is None:
                told = f"{one.curve.lineage} is not in MLflow yet; publish it with:"
                render.warn(f"{told} {sync_later(one.store, tracking_uri=uri)}")
                return
            experiment, run = receipt.experiment_id, receipt.lineage_run_id
            comparison.show_in_lineage(run, figure, numbers, tracking_uri=uri, store=store)
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
