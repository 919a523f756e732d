"""`bootstrap ui`: MLflow over one store, with links that open in model-training mode, until Ctrl-C."""

import signal
from pathlib import Path

from bootstrap.cli.stores import lineages
from bootstrap.cli.sync import lineage_page
from bootstrap.errors import StoreError
from bootstrap.lineage import tracking
from bootstrap.lineage.server import serve
from bootstrap.store.lineage_store import LineageStore


def serve_until_stopped(store: Path, *, port: int) -> None:
    """Serve the store's MLflow database on 127.0.0.1 and print where each lineage is.

    Raises StoreError when there is no store, TrackingError when the server cannot start or ends by itself.
    """
    names = lineages(store)
    if not names:
        raise StoreError(f"the store {store} holds no lineage yet; start one with `bootstrap run RECIPE`")
    uri = tracking.resolve_tracking_uri(None, store.absolute())
    print("starting MLflow ...", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with serve(uri, port=port, store=store.absolute()) as server:
            for name in names:
                page = lineage_page(LineageStore(store / name), base=server.url, tracking_uri=uri, experiment=None)
                later = f"not published yet: bootstrap lineage --sync --store {store} --lineage {name}"
                print(f"{name}: {page or later}", flush=True)
            print(f"MLflow: {server.url}/?workflowType=machine_learning   (Ctrl-C stops it)", flush=True)
            server.wait()
    except KeyboardInterrupt:
        print("MLflow stopped")
        return
    raise StoreError("the MLflow server ended by itself; start it again with `bootstrap ui`")
