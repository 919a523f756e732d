"""`bootstrap watch`."""

from typing import Annotated

import typer

from bootstrap.cli.commands import options


def watch(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="An MLflow run of the lineage: its id, or the address of its page.")
    ],
    tracking_uri: Annotated[
        str | None,
        typer.Option("--tracking-uri", metavar="URI", envvar="MLFLOW_TRACKING_URI", help="Where an id is looked for."),
    ] = None,
    store: options.Store = options.DEFAULT_STORE,
    every: Annotated[float, typer.Option("--every", min=1, max=60, metavar="S", help="Seconds between looks.")] = 3,
) -> None:
    """Follow a lineage that grows on another machine, by one of its MLflow runs alone.

    Prints stages, rates, rewards and decisions until the run ends. Ctrl-C ends the watching, not the run. Without
    --tracking-uri, an id is looked for in the database of --store.

    \b
    Examples:
      bootstrap watch http://mlflow:5000/#/experiments/1/runs/0a1b2c3d4e5f60718293a4b5c6d7e8f9
      bootstrap watch 0a1b2c3d4e5f60718293a4b5c6d7e8f9 --tracking-uri http://mlflow:5000
    """
    from bootstrap.cli.follow import follow

    follow(run, tracking_uri=tracking_uri, store=store, every=every)
