"""Where the pages are: the tracking store's address, and the links into its pages. Imports no MLflow.

Leaves out talking to the store (`publisher.py`) and starting a server for it (`server.py`).
"""

import os
import socket
import urllib.request
from pathlib import Path
from urllib.parse import quote, urlsplit

from bootstrap.errors import RecipeError, TrackingError

REACH_SECONDS = 3.0
"""Longest wait for a tracking server to accept a connection."""
HTML_PATH = "lineage/lineage.html"
"""Where the lineage page lies among the artifacts of the lineage's run."""
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_MODE = "?workflowType=machine_learning"


def resolve_tracking_uri(uri: str | None, store: Path) -> str:
    """Return the absolute tracking URI of a recipe's `tracking.uri`.

    None takes the environment's `MLFLOW_TRACKING_URI`, else a SQLite database in `store`, the folder above the
    lineages. A relative SQLite path starts at the current folder. Raises RecipeError for any other kind of address.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path(store).absolute() / 'mlflow.db'}"
    scheme, separator, rest = uri.partition("://")
    if separator and (is_remote(uri) or scheme.partition("+")[0] in _DATABASES):
        if scheme == "sqlite" and not rest.startswith("//"):
            return f"sqlite:///{Path(rest.removeprefix('/')).absolute()}"
        return uri
    raise RecipeError(
        f"tracking.uri {uri!r} names no MLflow store this program can use: give a server (http://HOST:PORT) or a "
        "database (sqlite:///PATH/mlflow.db), or leave it out for a database inside the store"
    )


def is_remote(uri: str) -> bool:
    """Whether the tracking store is a server reached by HTTP."""
    return uri.startswith(("http://", "https://"))


def artifact_location(tracking_uri: str, store: Path) -> str | None:
    """Return where artifacts go, as a file URI: beside a SQLite database, else in `store`; None: the server decides."""
    if is_remote(tracking_uri):
        return None
    is_sqlite = tracking_uri.startswith("sqlite:///")
    folder = Path(tracking_uri.removeprefix("sqlite:///")).parent if is_sqlite else Path(store).absolute()
    return (folder / "mlflow-artifacts").as_uri()


def experiment_name(lineage: str, experiment: str | None) -> str:
    """Return the experiment's name: the recipe's, else `bootstrap/<lineage>`."""
    return experiment or f"bootstrap/{lineage}"


def check_reachable(tracking_uri: str) -> None:
    """Raise TrackingError within `REACH_SECONDS` if the tracking server accepts no connection; databases pass."""
    parts = urlsplit(tracking_uri)
    if not is_remote(tracking_uri):
        return
    host = parts.hostname or ""
    if parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((host, port), timeout=REACH_SECONDS).close()
    except OSError as error:
        raise TrackingError(f"MLflow at {host}:{port} cannot be reached ({error.strerror or error})") from error


def experiment_url(base: str, experiment_id: str) -> str:
    """Return the page that lists the generations' runs, opened in MLflow's model-training mode."""
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs{_MODE}"


def run_url(base: str, experiment_id: str, run_id: str) -> str:
    """Return a run's page."""
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}{_MODE}"


def lineage_url(base: str, experiment_id: str, run_id: str) -> str:
    """Return the page that shows `lineage.html` among the artifacts of the lineage's run."""
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}/artifacts/{HTML_PATH}{_MODE}"


def model_url(base: str, experiment_id: str, model_id: str) -> str:
    """Return the page of a generation's LoggedModel."""
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}/models/{model_id}{_MODE}"


def version_url(base: str, name: str, version: str) -> str:
    """Return the page of a registered model's version."""
    return f"{base.rstrip('/')}/#/models/{quote(name, safe='')}/versions/{version}{_MODE}"
