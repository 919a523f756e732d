"""The tracking store's address, and links to MLflow's pages. Imports no MLflow.

A tracking URI may contain a user name and password. Links are made without them, and every message that may quote the
address passes `redact`. Left out: whether it answers (`reach.py`), connections to it
(`connection.py`), and starting a server (`server.py`).
"""

import os
import re
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from bootstrap.errors import RecipeError
from bootstrap.store.names import ARTIFACTS_FOLDER, DATABASE

HTML_PATH = "lineage/lineage.html"
"""Path of the lineage page among the artifacts of the lineage's run."""
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_MODE = "?workflowType=machine_learning"
# Matches everything before the last "@" of an address's host part. After a name and a colon that begins no port, a
# password may contain slashes too, as database addresses allow. An IPv6 address in brackets is a host, not a name.
_USER = re.compile(
    r"(?<=://)(?!\[[0-9A-Fa-f:.]+\](?::\d+)?(?:[/?#\s]|$))"
    r"(?:[^\s/?#]*@|[^\s/?#:@]*:(?!\d+(?:[/?#\s]|$))[^\s@]*@)"
)
_SECRET = re.compile(r"((?:password|passwd|pwd|token|secret)(?:=|%3D))[^&;\s'\"]+?(?=%3B|[&;\s'\"]|$)", re.I)


def resolve_tracking_uri(uri: str | None, store: Path) -> str:
    """Return the absolute tracking URI of a recipe's `tracking.uri`.

    None takes the environment's `MLFLOW_TRACKING_URI`, else a SQLite database in `store`, the folder above the
    lineages. A relative SQLite path starts at the current folder. Raises RecipeError for another kind of address, or if
    host and port cannot be read.
    """
    place = "tracking.uri" if uri or not os.environ.get("MLFLOW_TRACKING_URI") else "MLFLOW_TRACKING_URI"
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or database_uri(Path(store) / DATABASE)
    parts = check_address(uri, place=place)
    scheme, separator, rest = uri.partition("://")
    if separator and (is_remote(uri) or scheme.partition("+")[0] in _DATABASES):
        # The driver that `sqlite` means, and so the same database.
        scheme = "sqlite" if scheme == "sqlite+pysqlite" else scheme
        if scheme.partition("+")[0] == "sqlite":
            if not rest.startswith("//"):
                path, mark, options = rest.removeprefix("/").partition("?")
                rest = f"{database_uri(Path(unquote(path))).partition('://')[2]}{mark}{options}"
            return f"{scheme}://{rest}"
        if is_remote(uri) and not parts.hostname:
            raise RecipeError(f"{place} {public(uri)!r} names no host; write http://HOST:PORT")
        return uri
    shown = redact(uri) if separator else uri.rpartition("@")[2]
    raise RecipeError(
        f"{place} {shown!r} names no MLflow store this program can use: give a server (http://HOST:PORT) or a "
        "database (sqlite:///PATH/mlflow.db), or leave it out for a database inside the store"
    )


def is_remote(uri: str) -> bool:
    """Whether the tracking store is an HTTP server."""
    return uri.startswith(("http://", "https://"))


def artifact_location(tracking_uri: str, store: Path) -> str | None:
    """Return the folder for artifacts as a file URI: beside a SQLite database, else in `store`; None for a server."""
    if is_remote(tracking_uri):
        return None
    database = database_path(tracking_uri)
    folder = Path(store).absolute() if database is None else database.parent
    return (folder / ARTIFACTS_FOLDER).as_uri()


def database_uri(path: Path) -> str:
    """Return the address of a SQLite database, with characters that have a meaning in addresses percent-encoded."""
    text = re.sub("%(?=[0-9A-Fa-f]{2})", "%25", str(path.absolute()))
    return f"sqlite:///{text.replace('?', '%3F')}"


def database_path(uri: str) -> Path | None:
    """Return the path of an address's SQLite database; None for an address of another kind."""
    scheme, slashes, place = uri.partition(":///")
    if not slashes or scheme.partition("+")[0] != "sqlite":
        return None
    return Path(unquote(place.partition("?")[0]))


def experiment_name(lineage: str, experiment: str | None) -> str:
    """Return the experiment's name: the recipe's, else `bootstrap/<lineage>`."""
    return experiment or f"bootstrap/{lineage}"


def public(uri: str) -> str:
    """Return an address without user name and password."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return redact(uri)
    return redact(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if parts.netloc else uri)


def redact(text: str) -> str:
    """Return `text` without user names, and with passwords and tokens masked, in all addresses in it."""
    return _SECRET.sub(r"\1***", _USER.sub("", text))


def check_address(uri: str, *, place: str) -> SplitResult:
    """Return an address's parts. Raises RecipeError naming the setting `place` if host or port cannot be read."""
    try:
        parts = urlsplit(uri)
        _ = parts.port  # Raises for an invalid port.
    except ValueError:
        # Without the error's own text, which quotes a password with a slash in it as the port.
        raise RecipeError(
            f"{place} {public(uri)!r} has no host and port that can be read; write http://HOST:PORT, with special "
            "characters of a user name or password percent-encoded"
        ) from None
    return parts


def _root(base: str) -> str:
    """Return the prefix of links; an empty `base` makes them relative."""
    return public(base).rstrip("/")


def experiment_url(base: str, experiment_id: str, lineage_run_id: str | None = None) -> str:
    """Return the page that lists runs, opened in MLflow's model-training mode.

    `lineage_run_id`: the lineage's run, to open the saved view of its generations (`views.py`).
    """
    view = "" if lineage_run_id is None else f"&viewStateShareKey={view_id(lineage_run_id)}"
    return f"{_root(base)}/#/experiments/{experiment_id}/runs{_MODE}{view}"


def view_id(lineage_run_id: str) -> str:
    """Return the id of the saved view of a lineage's generations."""
    return f"bootstrap-{lineage_run_id}"


def run_url(base: str, experiment_id: str, run_id: str) -> str:
    """Return a run's page."""
    return f"{_root(base)}/#/experiments/{experiment_id}/runs/{run_id}{_MODE}"


def lineage_url(base: str, experiment_id: str, run_id: str) -> str:
    """Return the page that shows `lineage.html` among the artifacts of the lineage's run."""
    return artifact_url(base, experiment_id, run_id, HTML_PATH)


def artifact_url(base: str, experiment_id: str, run_id: str, path: str) -> str:
    """Return the page that shows one artifact of a run."""
    return f"{_root(base)}/#/experiments/{experiment_id}/runs/{run_id}/artifacts/{path}{_MODE}"


def traces_url(base: str, experiment_id: str, run_id: str) -> str:
    """Return the page of a run's traces, which are its sampled rollouts."""
    return f"{_root(base)}/#/experiments/{experiment_id}/runs/{run_id}/traces{_MODE}"


def model_url(base: str, experiment_id: str, model_id: str) -> str:
    """Return the page of a generation's LoggedModel."""
    return f"{_root(base)}/#/experiments/{experiment_id}/models/{model_id}{_MODE}"


def version_url(base: str, name: str, version: str) -> str:
    """Return the page of a registered model's version."""
    return f"{_root(base)}/#/models/{quote(name, safe='')}/versions/{version}{_MODE}"
