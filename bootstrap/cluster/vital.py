"""Whether the processes of Ray that a driver lives by are alive.

    raylet    this machine's; keeps the objects of shared memory, and its workers die with it
    GCS       the head's; known where this driver has started it, that is for a private Ray

Ray ends a driver that touches shared memory once its raylet is dead: at once, with Ray's own log and exit code 1. So a
pool asks here before each such call, and the run ends with its own error instead. A raylet that dies during the call
itself, within milliseconds of the question, still ends the driver so.
"""

import select
import socket
from contextlib import suppress
from typing import Any, cast

from ray._private import worker

from bootstrap.errors import ClusterError

_GONE = select.POLLHUP | select.POLLERR | select.POLLRDHUP


class Vital:
    """Watches the Ray that this process is a driver of."""

    def __init__(self) -> None:
        node = worker._global_node
        assert node is not None, "ray.init() comes before"
        self._node = node
        # The kernel closes it with the raylet, however that ends. Nothing is ever sent.
        self._raylet = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Where nobody listens any more, a poll of this socket says so.
        with suppress(OSError):
            self._raylet.connect(node.raylet_socket_name)
        self._poll = select.poll()
        self._poll.register(self._raylet, _GONE)

    def dead(self) -> str:
        """Return the name of a dead process; empty while all live."""
        if self._poll.poll(0):
            return "the raylet"
        dead = cast(list[tuple[str, Any]], self._node.dead_processes())
        return "the GCS server" if any(kind == "gcs_server" for kind, _ in dead) else ""

    def require(self, what: str, *, remedy: str) -> None:
        """Raise ClusterError if one of them is dead; `what`: what this driver is doing."""
        if name := self.dead():
            raise ClusterError(
                f"{name}, a process of Ray's that this run lives by, died during {what}, and the workers with it: the "
                "kernel may have ended it because memory is short (lower resources.workers, resources.rollout_rows or "
                f"resources.train_tokens); its log lies in {self._node.get_logs_dir_path()}. {remedy}"
            )

    def close(self) -> None:
        """Stop watching. May be repeated."""
        self._raylet.close()
