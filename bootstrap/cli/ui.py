"""`bootstrap ui`: serve one store's lineages until Ctrl-C: their own pages, and MLflow in model-training mode.

pages     of every lineage, wherever it is published
MLflow    for the databases of the lineages; a tracking server is up already, and its pages are printed
"""

import threading
from collections.abc import Mapping
from pathlib import Path

from bootstrap.cli.command import command
from bootstrap.cli.render import say, warn
from bootstrap.cli.signals import end_as_on_ctrl_c
from bootstrap.cli.stores import lineages, no_lineage
from bootstrap.cli.sync import lineage_page, sync_later
from bootstrap.cli.target import chosen, own_database, unchosen, without_credentials
from bootstrap.errors import TrackingError
from bootstrap.lineage import tracking
from bootstrap.lineage.outbox import Outbox
from bootstrap.lineage.page_server import Page, free_port_near, serve_pages
from bootstrap.lineage.server import free_port, serve
from bootstrap.store.lineage_store import LineageStore


def serve_until_stopped(store: Path, *, port: int, tracking_uri: str | None = None) -> None:
    """Serve the lineages' pages and their MLflow database on 127.0.0.1 and print the address of each lineage.

    `tracking_uri`: None takes what is chosen for each lineage (`target.py`). Raises StoreError when there is no store,
    RecipeError for an address without a store, TrackingError when a server cannot start or MLflow's ends by itself.
    """
    names = lineages(store)
    if not names:
        raise no_lineage(store)
    found = [LineageStore(store.absolute() / name) for name in names]
    for line in (line for lineage in found for line in unchosen(lineage, tracking_uri)):
        warn(line)
    targets = {lineage: chosen(lineage, tracking_uri).uri for lineage in found}
    databases = {lineage: uri for lineage, uri in targets.items() if not tracking.is_remote(uri)}
    # A taken port is told before anything else is done.
    port = free_port(port) if databases else port
    pages = {lineage.root.name: _served(lineage, uri) for lineage, uri in targets.items()}
    end_as_on_ctrl_c()
    try:
        with serve_pages(pages, port=free_port_near(port)) as shown:
            for name in pages:
                say(f"{name}: {shown.address(name)}")
            for lineage, uri in targets.items():
                if lineage not in databases:
                    base = without_credentials(uri)
                    _tell(lineage, _page(lineage, uri, base=base) or _not_yet(lineage, base, uri))
            if databases:
                _serve_mlflow(databases, pages, store.absolute(), port=port)
            else:
                say("Ctrl-C stops it")
                wait_for_ctrl_c()
    except KeyboardInterrupt:
        say("stopped")


def wait_for_ctrl_c() -> None:
    """Block until a signal raises KeyboardInterrupt: the pages are served by a thread of their own."""
    threading.Event().wait()


def _serve_mlflow(databases: Mapping[LineageStore, str], pages: Mapping[str, Page], store: Path, *, port: int) -> None:
    """Serve the store's own database, or the first lineage's if none is in it; print the command for others."""
    own = own_database(store)
    served = own if own in databases.values() else next(iter(databases.values()))
    say("starting MLflow ...")
    with serve(served, port=port, store=store) as server:
        for lineage, uri in databases.items():
            if uri == served:
                pages[lineage.root.name].mlflow = server.url
                _tell(lineage, _page(lineage, uri, base=server.url) or _not_yet(lineage, "there", uri))
            else:
                other = command("ui", "--store", store, "--tracking-uri", without_credentials(uri))
                _tell(lineage, f"in another database: {other}")
        say(f"MLflow: {server.url}/?workflowType=machine_learning   (Ctrl-C stops it)")
        server.wait()
    raise TrackingError(f"the MLflow server ended by itself; start it again with `{command('ui', '--store', store)}`")


def _tell(lineage: LineageStore, where: str) -> None:
    say(f"{lineage.root.name} in MLflow: {where}")


def _served(lineage: LineageStore, uri: str) -> Page:
    """Return a lineage's own page. Its links lead to a tracking server; to one started here, once that is up."""
    experiment = tracking.experiment_name(lineage.root.name, chosen(lineage, uri).experiment)
    outbox = Outbox(lineage.root, tracking_uri=uri, experiment=experiment)
    server = without_credentials(uri) if tracking.is_remote(uri) else ""
    return Page(store=lineage, outbox=outbox, mlflow=server)


def _page(lineage: LineageStore, uri: str, *, base: str) -> str | None:
    experiment = chosen(lineage, uri).experiment
    return lineage_page(lineage, base=base, tracking_uri=uri, experiment=experiment)


def _not_yet(lineage: LineageStore, where: str, uri: str) -> str:
    return f"not published {where} yet: {sync_later(lineage, tracking_uri=uri)}"
