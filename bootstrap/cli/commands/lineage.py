"""`bootstrap lineage`."""

from typing import Annotated

import typer

from bootstrap.cli.commands import options


def lineage(
    store: options.Store = options.DEFAULT_STORE,
    lineage: options.AnyLineage = None,
    as_json: options.AsJson = False,
    sync: Annotated[bool, typer.Option("--sync", help="First publish to MLflow what is not there yet.")] = False,
    tracking_uri: Annotated[
        str | None, typer.Option("--tracking-uri", metavar="URI", help="For --sync: by default your last run's.")
    ] = None,
    experiment: Annotated[
        str | None, typer.Option("--experiment", metavar="NAME", help="For --sync: by default your last run's.")
    ] = None,
    sample_rollouts: Annotated[
        int | None,
        typer.Option(
            "--sample-rollouts",
            min=0,
            metavar="N",
            help="For --sync: readable rollouts per generation; by default your last run's number.",
        ),
    ] = None,
    growing: Annotated[
        bool,
        typer.Option(
            "--growing",
            help="For --sync: more generations come, so print nothing, and draw the lineage page only if it is due.",
        ),
    ] = False,
) -> None:
    """Show the generations of each lineage.

    \b
    Examples:
      bootstrap lineage
      bootstrap lineage --lineage quickstart --json
      bootstrap lineage --sync
    """
    from bootstrap.cli import render
    from bootstrap.cli.stores import several

    stores = several(store, lineage)
    if sync:
        from bootstrap.cli.sync import sync_lineage

        for found in stores:
            where = sync_lineage(
                found,
                tracking_uri=tracking_uri,
                experiment=experiment,
                sample_rollouts=sample_rollouts,
                is_growing=growing,
            )
            if not growing:
                render.warn(f"{found.root.name}: MLflow is up to date at {where}")
    if not growing:
        render.print_lineages(stores, as_json=as_json)
