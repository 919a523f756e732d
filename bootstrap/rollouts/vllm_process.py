"""vLLM in a process of its own, seen from the one that asks it: start, messages, bounded waits, end.

The process belongs to this one: it ends with `close`, and by itself when this one dies. Left out: what the messages
mean (`vllm_server.py`), and texts (`vllm_engine.py`).
"""

import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from math import ceil
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import bootstrap
from bootstrap.errors import FingerprintMismatch, WaitTimeout, WorkerError

PROGRAM = "bootstrap.rollouts.vllm_server"
_TAIL = 1500
"""Characters of the log in a message."""
_STOP_SECONDS = 10.0
"""Longest wait for a process that was killed."""


class VllmProcess:
    """A process that holds vLLM. Every wait raises WaitTimeout after `wait_seconds` without a sign of progress.

    `python`: the interpreter that has vLLM, by default this one's; `threads`: CPU threads; `cache_gib`: memory of the
    key-value cache where vLLM computes on a CPU (on a GPU vLLM takes nine tenths of its memory).
    """

    def __init__(
        self,
        *,
        python: str | None = None,
        threads: int = 1,
        cache_gib: int = 1,
        wait_seconds: float = 600,
        program: str = PROGRAM,
    ) -> None:
        self.wait_seconds = wait_seconds
        self.python = python or sys.executable
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 -- `close` closes it
        ours, theirs = socket.socketpair()
        # Without a bound, a message would wait for ever for a process that has stopped reading.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", ceil(wait_seconds), 0))
        with theirs:
            try:
                self.process = subprocess.Popen(
                    [self.python, "-m", program, str(theirs.fileno())],
                    env={**os.environ, **_environment(threads=threads, cache_gib=cache_gib)},
                    stdin=subprocess.DEVNULL,
                    stdout=self.log,
                    stderr=self.log,
                    pass_fds=[theirs.fileno()],
                )
            except OSError as error:
                ours.close()
                self.log.close()
                raise WorkerError(
                    f"the interpreter with vLLM, {self.python}, cannot be started: {error.strerror}; name one that can "
                    "in BOOTSTRAP_VLLM_PYTHON"
                ) from error
        self._connection = Connection(ours.detach())
        self._doing = "start"
        """The method called last."""

    @property
    def is_alive(self) -> bool:
        """Whether the process can be asked."""
        return not self.log.closed and self.process.poll() is None

    def call(self, do: str, files: Mapping[str, bytes] | None = None, **settings: Any) -> Any:
        """Return a method's result. Raises WorkerError when the process dies, FingerprintMismatch by its word."""
        self.send(do, files, **settings)
        return self.result(self.receive())

    def send(self, do: str, files: Mapping[str, bytes] | None = None, **settings: Any) -> None:
        """Begin a call; `files`: name -> bytes."""
        self._doing, contents = do, dict(files or {})
        self._send([_json({"do": do, "files": list(contents), **settings}), *contents.values()])

    def reply(self, message: Any) -> None:
        """Answer what was received in the middle of a call."""
        self._send([_json(message)])

    def receive(self) -> Mapping[str, Any]:
        """Return the next message. Raises WorkerError, WaitTimeout."""
        try:
            if not self._connection.poll(self.wait_seconds):
                raise self._waited()
            return json.loads(self._connection.recv_bytes())
        except (EOFError, ConnectionError) as error:
            raise self._died() from error

    def result(self, message: Mapping[str, Any]) -> Any:
        """Return what a call's last message brings. Raises FingerprintMismatch."""
        if "mismatch" in message:
            raise FingerprintMismatch(message["mismatch"])
        return message["done"]

    def close(self) -> None:
        """End the process. May be repeated."""
        if self.log.closed:
            return
        self._connection.close()
        self.process.kill()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_STOP_SECONDS)
        self.log.close()

    def _send(self, parts: Iterable[bytes]) -> None:
        try:
            for part in parts:
                self._connection.send_bytes(part)
        except BlockingIOError:
            raise self._waited() from None
        except OSError as error:
            raise self._died() from error

    def _waited(self) -> WaitTimeout:
        """End the process, and return the error of one that makes no progress."""
        # What it says later would answer another question.
        self.close()
        return WaitTimeout(
            f"waited {self.wait_seconds:g} s for vLLM to {self._doing} (process {self.process.pid}); raise "
            "resources.wait_seconds if the machine is that slow"
        )

    def _died(self) -> WorkerError:
        """Return the error of a process that is gone, with the end of its log."""
        if self.log.closed:
            return WorkerError(f"vLLM was asked to {self._doing} after it was closed")
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_STOP_SECONDS)
        self.log.seek(0)
        told = " ".join(self.log.read().decode(errors="replace").split())
        if "No module named 'vllm'" in told:
            return WorkerError(
                f"vLLM is not installed for {self.python}; install it (pip install 'bootstrap-lm[vllm]'), "
                "or leave samplers.engine at transformers"
            )
        return WorkerError(
            f"the process of vLLM ended (exit code {self.process.returncode}) when asked to {self._doing}: "
            f"{told[-_TAIL:]}"
        )


def _json(message: Any) -> bytes:
    return json.dumps(message).encode()


def _environment(*, threads: int, cache_gib: int) -> Mapping[str, str]:
    """Return what vLLM reads from the environment: no process of its own, no network, no bound threads."""
    package = str(Path(bootstrap.__file__).parents[1])
    return {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": str(cache_gib),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(threads),
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH")))),
    }
