"""An MLflow server for one store, on this machine only: for `bootstrap ui` and for tests of the pages.

Left out: how it is started and stopped (`local_server.py`).
"""

import os
import sys
from importlib.metadata import entry_points
from pathlib import Path

from bootstrap import local_server
from bootstrap.errors import TrackingError
from bootstrap.lineage import first_visit, places, tracking
from bootstrap.local_server import HOST, LocalServer

START_SECONDS = 90.0
_ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}


def serve(tracking_uri: str, *, port: int = 0, store: Path = Path("runs")) -> LocalServer:
    """Start an MLflow server for the database `tracking_uri` on 127.0.0.1 and return it once it answers.

    `port`: 0 takes a free one. `store`: the folder above the lineages, for artifacts if the database is no file. The
    places in the database of a store that has moved follow it first. Raises
    TrackingError if `tracking_uri` is a server itself, the port is taken, or the server ends while starting;
    WaitTimeout if it does not answer within `START_SECONDS`.
    """
    if tracking.is_remote(tracking_uri):
        raise TrackingError(f"{tracking.public(tracking_uri)} is a server itself: open it in a browser")
    port = free_port(port)
    places.follow(tracking_uri)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", tracking_uri]
    # Named here, because the environment's would be taken otherwise: nothing is kept outside the store.
    command += ["--registry-store-uri", tracking_uri]
    for option in ("--default-artifact-root", "--artifacts-destination"):
        command += [option, str(tracking.artifact_location(tracking_uri, store))]
    command += ["--host", HOST, "--port", str(port), "--workers", "1", *_without_panels()]
    # MLFLOW_TRACKING_URI is for clients; the server's store is named above.
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"} | _ENVIRONMENT
    return local_server.start(
        command,
        port=port,
        name="MLflow server",
        error=TrackingError,
        environment=environment,
        seconds=START_SECONDS,
        # The log may quote the database's address with its password.
        redact=tracking.redact,
    )


def _without_panels() -> list[str]:
    """Return the options for pages without first-visit panels, where this package is installed with its entry point."""
    known = entry_points(group=first_visit.GROUP, name=first_visit.APP_NAME)
    return ["--app-name", first_visit.APP_NAME] if known else []


def free_port(port: int) -> int:
    """Return `port`, or for 0 one that is free at the moment. Raises TrackingError if it is taken."""
    return local_server.free_port(port, error=TrackingError)
