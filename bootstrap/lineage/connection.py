"""Connections to MLflow: bounded, quiet, with one kind of error.

Importing this module imports MLflow, which takes seconds: import it where it is used.
"""

import logging
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
import requests
import sqlalchemy.exc
from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException
from mlflow.tracking._tracking_service import utils

from bootstrap.errors import BootstrapError, TrackingError, system_reason
from bootstrap.lineage import places, tracking
from bootstrap.lineage.reach import CALL_SECONDS

_BOUNDS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(CALL_SECONDS), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
"""Defaults, so that an unreachable server costs seconds; values in the environment take precedence."""


@contextmanager
def connected(tracking_uri: str) -> Iterator[None]:
    """Let the block talk to MLflow at `tracking_uri`.

    The places in a database whose store has moved follow it first. Raises TrackingError if MLflow refuses or cannot be
    reached; this program's own errors pass unchanged.
    """
    places.follow(tracking_uri)
    try:
        with _bounded_requests(), _quiet(), _tracking_uri(tracking_uri):
            _forget_places()
            yield
    except BootstrapError:
        raise
    except (MlflowException, requests.RequestException, sqlalchemy.exc.SQLAlchemyError, ImportError, OSError) as error:
        if isinstance(error, OSError) and error.filename:
            raise TrackingError(
                f"MLflow's files cannot be written: {error.filename} ({system_reason(error)}); see to its permissions "
                "and space, then publish again"
            ) from error
        # MLflow's message may quote the address with its password. Redacted before cutting: half a secret is a secret.
        reason = tracking.redact(" ".join(str(error).split()))[:300]
        raise TrackingError(f"MLflow refused or could not be reached ({type(error).__name__}: {reason})") from error


def active_experiment(client: MlflowClient, name: str, *, otherwise: str = "") -> Experiment | None:
    """Return the experiment called `name`; None without one. Raises TrackingError if it is deleted.

    `otherwise`: the end of that error's remedy.
    """
    found = client.get_experiment_by_name(name)
    if found is not None and not found.experiment_id:
        raise TrackingError(
            f"MLflow at {tracking.public(client.tracking_uri)} answers with an empty object where an experiment is "
            "asked for: the address leads to something else, or the server is broken"
        )
    if found is not None and found.lifecycle_stage != "active":
        address = shlex.quote(tracking.public(client.tracking_uri))
        raise TrackingError(
            f"the MLflow experiment {name} is deleted; restore it with `MLFLOW_TRACKING_URI={address} "
            f"mlflow experiments restore -x {found.experiment_id}`{otherwise}"
        )
    return found


def _forget_places() -> None:
    """Let MLflow ask where files lie: it remembers that by a run's id alone, which a copied database has too."""
    getattr(utils, "_artifact_repos_cache", {}).clear()


@contextmanager
def _bounded_requests() -> Iterator[None]:
    """Keep MLflow's own retries short inside the block, unless the environment already sets them."""
    added = {key: value for key, value in _BOUNDS.items() if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            del os.environ[key]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow's notes about database tables and run links off the terminal inside the block."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _tracking_uri(uri: str) -> Iterator[None]:
    """Make `uri` MLflow's global address inside the block: registering a LoggedModel's version reads it there."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # pyright: ignore[reportArgumentType]  # None unsets it
