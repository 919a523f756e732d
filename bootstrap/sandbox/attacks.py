"""The eight probe attacks that every zygote must withstand before it may run a job.

Each is a script that tries one forbidden act, with evidence outside the script: a planted target is reached or is not.
A level holds because it withstands them, not because the kernel claims to offer it.

Left out: the attack suite of the tests, which is far larger and takes seconds.
"""

import os
import secrets
import socket
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from bootstrap.sandbox.job import Ending, Limits

BREACHED = "breached"
"""An attack prints it after the call that should have failed."""
PROBE_CPU_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack, and the evidence that it was withstood."""

    name: str
    code: str
    expected: frozenset[Ending]
    """How the script may end; it must never have printed `BREACHED` or the planted secret."""
    is_withstood: Callable[[], bool]
    """Whether the planted targets are untouched."""


class Targets:
    """The attacks' targets: planted in the constructor, removed by `close`."""

    def __init__(self) -> None:
        """Plant a secret file, a folder to write into and a listener on the loopback."""
        self.secret = secrets.token_hex(16)
        with ExitStack() as stack:
            self._folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bootstrap-probe-"))
            self._file = stack.enter_context(tempfile.NamedTemporaryFile(dir=self._folder))
            self._file.write(self.secret.encode("ascii"))
            self._file.flush()
            # Only the sandbox must keep a program from reading and writing here.
            os.chmod(self._folder, 0o777)
            os.chmod(self._file.name, 0o666)
            self._listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            self._listener.setblocking(False)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Remove the targets; a second call does nothing."""
        self._stack.close()

    def _nothing_written(self) -> bool:
        return [entry.path for entry in os.scandir(self._folder)] == [self._file.name]

    def _nobody_called(self) -> bool:
        try:
            self._listener.accept()[0].close()
        except BlockingIOError:
            return True
        return False

    def attacks(self, limits: Limits, *, pool_pid: int) -> list[Attack]:
        """Return the attacks on these targets from a job with these limits."""
        refused = frozenset({Ending.ERROR})
        port = self._listener.getsockname()[1]
        done = f"print({BREACHED!r})"
        say = f"import os\nos.write(1, {BREACHED.encode()!r})"
        unseen = lambda: True  # noqa: E731 - the script's output is the only evidence
        # Scripts use `io` and `posix` directly, so that only the kernel can refuse.
        return [
            Attack("read a file", f"import io\nprint(io.FileIO({self._file.name!r}).read())\n{done}", refused, unseen),
            Attack(
                "write a file",
                f"import posix\nposix.open({self._folder + '/planted'!r}, {os.O_CREAT | os.O_WRONLY})\n{done}",
                refused,
                self._nothing_written,
            ),
            Attack(
                "connect to a listener",
                f"import _socket\n_socket.socket().connect(('127.0.0.1', {port}))\n{done}",
                refused,
                self._nobody_called,
            ),
            Attack("fork", f"import posix\nposix.fork()\n{say}", refused, unseen),
            Attack(
                "signal the zygote and the pool",
                f"import posix, signal\nfailed = 0\nfor pid in (posix.getppid(), {pool_pid}):\n    try:\n"
                f"        posix.kill(pid, signal.SIGUSR1 if pid == posix.getppid() else 0)\n        {done}\n"
                "    except OSError:\n        failed += 1\nassert failed < 2",
                refused,
                unseen,
            ),
            Attack(
                "read an environment",
                "import io, posix\nfailed = 0\n"
                f"for pid in ('self', posix.getppid(), {pool_pid}):\n    try:\n"
                f"        io.FileIO(f'/proc/{{pid}}/environ').read()\n        {done}\n"
                "    except OSError:\n        failed += 1\nassert failed < 3",
                refused,
                unseen,
            ),
            Attack(
                "exceed the memory",
                f"kept = bytearray({limits.address_space})\n{done}",
                frozenset({Ending.MEMORY}),
                unseen,
            ),
            Attack(
                "exceed the output",
                f"import os\nfor _ in range({limits.output_bytes // 4096 + 2}):\n    os.write(1, b'x' * 4096)\n",
                frozenset({Ending.OUTPUT_LIMIT}),
                unseen,
            ),
        ]
