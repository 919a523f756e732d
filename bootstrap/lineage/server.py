"""An MLflow server for one store, on this machine only: for `bootstrap ui` and for tests of the pages.

    this process --start--> mlflow server (own process group) <--poll /health-- this process, bounded
                 --stop---> SIGTERM to the group, then SIGKILL

Left out: servers for several people, which need a reverse proxy with authentication.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import IO

from bootstrap.errors import TrackingError, WaitTimeout
from bootstrap.lineage import first_visit, places, tracking

START_SECONDS = 90.0
STOP_SECONDS = 10.0
HOST = "127.0.0.1"
_ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}


@dataclass(frozen=True, kw_only=True)
class Server(AbstractContextManager["Server"]):
    """A running server; leaving it as a context manager stops it."""

    url: str
    process: subprocess.Popen[bytes]
    log: IO[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait(self) -> None:
        """Block until the server ends."""
        self.process.wait()

    def stop(self) -> None:
        """End the server and its workers; a second call does nothing."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                os.killpg(self.process.pid, number)
                try:
                    self.process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
        self.log.close()

    def __exit__(self, *_: object) -> None:
        self.stop()


def serve(tracking_uri: str, *, port: int = 0, store: Path = Path("runs")) -> Server:
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
    url = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", tracking_uri]
    # Named here, because the environment's would be taken otherwise: nothing is kept outside the store.
    command += ["--registry-store-uri", tracking_uri]
    for option in ("--default-artifact-root", "--artifacts-destination"):
        command += [option, str(tracking.artifact_location(tracking_uri, store))]
    command += ["--host", HOST, "--port", str(port), "--workers", "1", *_without_panels()]
    log = tempfile.TemporaryFile()  # noqa: SIM115 -- the server keeps it; `stop` closes it
    # MLFLOW_TRACKING_URI is for clients; the server's store is named above.
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"} | _ENVIRONMENT
    process = subprocess.Popen(
        command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
    )
    server = Server(url=url, process=process, log=log)
    try:
        _await_health(server)
    except BaseException:
        server.stop()
        raise
    return server


def _without_panels() -> list[str]:
    """Return the options for pages without first-visit panels, where this package is installed with its entry point."""
    known = entry_points(group=first_visit.GROUP, name=first_visit.APP_NAME)
    return ["--app-name", first_visit.APP_NAME] if known else []


def _await_health(server: Server) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise TrackingError(
                f"the MLflow server ended while starting (exit {server.process.returncode}): {_tail(server)}"
            )
        try:
            with opener.open(f"{server.url}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.2)
    raise WaitTimeout(
        f"the MLflow server {server.url} (process {server.pid}) has not answered for {START_SECONDS:.0f} s: "
        f"{_tail(server)}"
    )


def _tail(server: Server) -> str:
    server.log.seek(0)
    # The log may quote the database's address with its password. Redacted before cutting: half a secret is a secret.
    return tracking.redact(" ".join(server.log.read().decode(errors="replace").split()))[-600:]


def free_port(port: int) -> int:
    """Return `port`, or for 0 one that is free at the moment. Raises TrackingError if it is taken."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise TrackingError(
                f"port {port} on {HOST} is taken: choose another with --port, or 0 for a free one"
            ) from error
        return listener.getsockname()[1]
