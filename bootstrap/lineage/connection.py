"""Talking to MLflow: bounded, quiet, and with one kind of error.

Importing this module imports MLflow, which takes seconds: import it where it is used.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
import requests
import sqlalchemy.exc
from mlflow.exceptions import MlflowException

from bootstrap.errors import BootstrapError, TrackingError
from bootstrap.lineage import tracking

_BOUNDS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
"""An unreachable server costs seconds; whoever sets these variables knows better."""


@contextmanager
def connected(tracking_uri: str) -> Iterator[None]:
    """Let the block talk to MLflow at `tracking_uri`.

    Raises TrackingError where MLflow refuses or cannot be reached; errors of this program's own pass as they are.
    """
    try:
        with _bounded_requests(), _quiet(), _tracking_uri(tracking_uri):
            yield
    except BootstrapError:
        raise
    except (MlflowException, requests.RequestException, sqlalchemy.exc.SQLAlchemyError, ImportError, OSError) as error:
        # MLflow's message may quote the address, password included. Cut last: half a secret is one too.
        reason = tracking.redact(" ".join(str(error).split()))[:300]
        raise TrackingError(f"MLflow refused or could not be reached ({type(error).__name__}: {reason})") from error


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
    """Make `uri` MLflow's global address inside the block: registering a LoggedModel's version looks it up there."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)
