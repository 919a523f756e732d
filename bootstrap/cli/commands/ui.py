"""`bootstrap ui`."""

from typing import Annotated

import typer

from bootstrap.cli.commands import options


def ui(
    store: options.Store = options.DEFAULT_STORE,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, metavar="N", help="Port on 127.0.0.1; 0 takes a free one.")
    ] = 5000,
    tracking_uri: Annotated[
        str | None,
        typer.Option("--tracking-uri", metavar="URI", help="By default that of your last run of each lineage."),
    ] = None,
) -> None:
    """Serve the lineages' pages and MLflow until Ctrl-C.

    Both servers listen on this machine alone (127.0.0.1); the pages take the port after MLflow's, if it is free. For
    lineages published to a tracking server no MLflow is started: their pages link to that server.

    \b
    Examples:
      bootstrap ui
      bootstrap ui --store /shared/runs --port 5001
    """
    from bootstrap.cli.ui import serve_until_stopped

    serve_until_stopped(store, port=port, tracking_uri=tracking_uri)
