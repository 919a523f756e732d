"""Whether a tracking store answers, asked before MLflow takes its seconds to load. Every refusal says what it did.

    server      accepts a connection within `REACH_SECONDS`, and answers one question within `call_seconds()`
    database    a SQLite file can be locked for writing within `call_seconds()`

Left out: what the answers hold, which MLflow's own client reads with its own credentials (`connection.py`). Imports no
MLflow.
"""

import asyncio
import http.client
import os
import sqlite3
import ssl
import urllib.request
from contextlib import closing
from urllib.parse import SplitResult

from bootstrap import lookups
from bootstrap.errors import TrackingError, system_reason
from bootstrap.lineage import places, tracking

REACH_SECONDS = 3.0
"""Longest wait for a tracking server to accept a connection, including the look-up of its name."""
CALL_SECONDS = 10
"""Longest wait for the answer to one call, unless MLFLOW_HTTP_REQUEST_TIMEOUT says another."""
_QUESTION = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"


def call_seconds() -> float:
    """Return the longest wait for the answer to one call, which MLflow's client goes by too."""
    try:
        return float(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"])
    except (KeyError, ValueError):
        return CALL_SECONDS


def check_reachable(tracking_uri: str) -> None:
    """Raise TrackingError, in bounded time, if a server does not answer or a SQLite database is locked.

    Servers behind a proxy and other databases pass. Raises RecipeError if the address's host and port cannot be read.
    """
    if not tracking.is_remote(tracking_uri):
        _check_database(tracking_uri)
        return
    parts = tracking.check_address(tracking_uri, place="tracking.uri")
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
        return
    shown = f"MLflow at {f'[{host}]' if ':' in host else host}:{port}"
    try:
        lookups.reach(host, port, seconds=REACH_SECONDS)
    except (OSError, UnicodeError) as error:
        raise TrackingError(f"{shown} cannot be reached ({system_reason(error)})") from error
    seconds = call_seconds()
    try:
        said = lookups.run(_first_line(parts, host, port, seconds=seconds))
    except ssl.SSLError:
        # MLflow's client has settings of its own for certificates.
        return
    except TimeoutError:
        raise TrackingError(
            f"{shown} accepts connections and has not answered a call within {seconds:g} s (a slow server needs a "
            "larger MLFLOW_HTTP_REQUEST_TIMEOUT)"
        ) from None
    except (OSError, ValueError) as error:
        raise TrackingError(f"{shown} accepts connections and breaks them off ({system_reason(error)})") from error
    if fault := _fault(said):
        raise TrackingError(f"{shown} {fault}")


async def _first_line(parts: SplitResult, host: str, port: int, *, seconds: float) -> bytes:
    """Return the first line of a server's answer, empty if it gives none. Raises OSError, ValueError."""
    asked = (
        f"GET {parts.path.rstrip('/')}{_QUESTION} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\n"
        "Accept: application/json\r\nConnection: close\r\n\r\n"
    )
    async with asyncio.timeout(seconds):
        tls = True if parts.scheme == "https" else None
        reader, writer = await asyncio.open_connection(host, port, ssl=tls, happy_eyeballs_delay=0.25)
        try:
            writer.write(asked.encode())
            return await reader.readline()
        finally:
            writer.close()


def _fault(said: bytes) -> str:
    """Return what is wrong with the first line of an answer; empty where nothing is."""
    match said.split(maxsplit=2):
        case []:
            return "accepts connections and ends them without an answer"
        case [version, code, *_] if version.startswith(b"HTTP/") and code.isdigit():
            number = int(code)
        case _:
            return "answers something that is no HTTP; check the address"
    if number < http.HTTPStatus.INTERNAL_SERVER_ERROR:
        return ""
    return f"answers with error {number} ({http.client.responses.get(number, 'unknown')}); its own log says why"


def _check_database(tracking_uri: str) -> None:
    path = tracking.database_path(tracking_uri)
    if path is None:
        return
    places.check_files(path)
    if not path.exists():
        return
    seconds = call_seconds()
    try:
        with closing(places.opened(path, seconds=seconds)) as database:
            places.check_schema(database, path)
            database.execute("begin immediate")
            database.execute("rollback")
    except sqlite3.OperationalError as error:
        # What else is wrong with it, MLflow tells when it uses it; a reader may do with less.
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise TrackingError(
                f"the MLflow database {path} is locked by another program and was not free within {seconds:g} s; end "
                "that program"
            ) from error
