"""A server that this program starts on this machine alone, and ends.

    this process --start--> the server (own process group) <--poll /health-- this process, bounded
                 --stop---> SIGTERM to the group, then SIGKILL to what is left of it

Left out: which program serves what (`lineage/server.py`, `cli/serve.py`), and servers for several people, which need a
reverse proxy with authentication.
"""

import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bootstrap.errors import BootstrapError, WaitTimeout

HOST = "127.0.0.1"
STOP_SECONDS = 10.0
"""Longest wait for a server that was told to end, before it is killed; and then for the system to end it."""
_TAIL = 600
"""Characters of the log in a message."""


@dataclass(frozen=True, kw_only=True)
class LocalServer(AbstractContextManager["LocalServer"]):
    """A running server, the leader of its own process group; leaving it as a context manager stops it."""

    url: str
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    """What it writes; closed once it is stopped."""
    redact: Callable[[str], str] = str
    """Removes secrets from a text of the log."""

    def wait(self) -> None:
        """Block until the server ends."""
        self.process.wait()

    def stop(self) -> None:
        """End the server and all processes of its group, also where it has ended by itself; again does nothing."""
        if self.log.closed:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            # The group outlives its leader as long as a process is left in it.
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        self.log.close()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def tail(self) -> str:
        """Return the end of what the server has written, as one line."""
        self.log.seek(0)
        # Redacted before it is cut: half a secret is a secret.
        return self.redact(" ".join(self.log.read().decode(errors="replace").split()))[-_TAIL:]


def start(
    command: Sequence[str],
    *,
    port: int,
    name: str,
    error: type[BootstrapError],
    environment: Mapping[str, str],
    seconds: float,
    folder: Path | None = None,
    remedy: str = "",
    redact: Callable[[str], str] = str,
) -> LocalServer:
    """Start a server that listens on `port` of 127.0.0.1, and return it once its /health answers.

    `name`: in messages. `folder`: its current folder. `remedy`: what to do where it takes longer than `seconds`. Raises
    `error` if it ends while starting, WaitTimeout.
    """
    log = tempfile.TemporaryFile()  # noqa: SIM115 -- the server keeps it; `stop` closes it
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    server = LocalServer(url=f"http://{HOST}:{port}", process=process, log=log, redact=redact)
    try:
        _await_health(server, name=name, error=error, seconds=seconds, remedy=remedy)
    except BaseException:
        server.stop()
        raise
    return server


def free_port(port: int, *, error: type[BootstrapError]) -> int:
    """Return `port`, or for 0 one that is free at the moment. Raises `error` if it is taken."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as fault:
            raise error(f"port {port} on {HOST} is taken: choose another with --port, or 0 for a free one") from fault
        return listener.getsockname()[1]


def _await_health(server: LocalServer, *, name: str, error: type[BootstrapError], seconds: float, remedy: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (code := server.process.poll()) is not None:
            raise error(f"the {name} ended while starting (exit {code}): {server.tail()}")
        try:
            with opener.open(f"{server.url}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.2)
    what = f"the {name} {server.url} (process {server.process.pid}) has not answered for {seconds:.0f} s"
    raise WaitTimeout(f"{what}{f'; {remedy}' if remedy else ''}: {server.tail()}")
