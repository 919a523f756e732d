"""`bootstrap report`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from bootstrap.cli.commands import options


def report(
    lineages: Annotated[
        list[str] | None,
        typer.Argument(metavar="LINEAGE", help="Names in the store, or folders; by default all of the store."),
    ] = None,
    store: options.Store = options.DEFAULT_STORE,
    metric: Annotated[
        Literal["frontier", "accuracy", "pass-at-1", "pass-at-k"],
        typer.Option("--metric", help="The measure of quality."),
    ] = "frontier",
    levels: Annotated[
        str | None,
        typer.Option(
            "--levels",
            metavar="LEVELS",
            help="Levels of accuracy and pass@k metrics, as 5, 5-8 or 1,3,5-8; by default the first target.",
        ),
    ] = None,
    evaluation: Annotated[
        bool, typer.Option("--evaluation/--without-evaluation", help="Count the FLOPs of evaluation too.")
    ] = True,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="PNG", help="The picture; by default in the store's folder .reports."),
    ] = None,
    table: Annotated[bool, typer.Option("--table", help="Print a Markdown table of start, end and cost.")] = False,
    publish: Annotated[bool, typer.Option("--publish/--no-publish", help="Show the picture in MLflow.")] = True,
    as_json: options.AsJson = False,
) -> None:
    """Compare compute with quality: a curve per lineage and ungated arm, sigmoids, FLOPs to reach 50-95 % accuracy.

    \b
    Examples:
      bootstrap report
      bootstrap report quickstart no-verifier --metric accuracy --levels 5-8
      bootstrap report quickstart --without-evaluation --out curve.png
    """
    from bootstrap.cli.report import report_lineages

    report_lineages(
        lineages or (),
        store=store,
        metric=metric,
        levels=levels,
        count_evaluation=evaluation,
        out=out,
        as_json=as_json,
        as_markdown=table,
        publish=publish,
    )
