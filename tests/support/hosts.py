"""Two hosts on one machine: network namespaces joined by a cable (veth), with a Ray node in each. Needs root.

    host a (head)   198.18.77.1 ---- cable ---- 198.18.77.2   host b
    folder `store`  seen by both, as a mount that machines share
    folder `local`  each host's own: Ray's sessions, sockets, temporary files

A host has a name that nothing resolves, as a container may. Ray asks for a token. All that a host runs ends with it.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SECONDS = 600.0
"""Longest wait for a command, a server or a condition."""
DASHBOARD_PORT = 8265
HEAD_PORT = 6379
STARTED = "Ray runtime started"
"""What `ray start` says."""
ENTER = 'hostname "$1"; mount -t tmpfs tmpfs "$2"; shift 2; exec "$@"'
LISTENING = "until (echo >/dev/tcp/{host}/{port}) 2>/dev/null; do sleep 0.2; done"


@dataclass
class Host:
    """One of the hosts; `num_cpus`: what its Ray node declares."""

    name: str
    address: str
    num_cpus: int
    root: Path
    token: str
    ray: subprocess.Popen[bytes] | None = None

    @property
    def namespace(self) -> str:
        return self.root.name + self.name

    @property
    def cable(self) -> str:
        """Name of this host's end. Names of interfaces have 15 characters at most."""
        return f"v{os.getpid()}{self.name}"

    def environment(self) -> Mapping[str, str]:
        """Return a command's environment, with the token and nothing of the user's own servers."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_", "GLOO_"))}
        return kept | {
            # A job's `python` is the first one on the head's path: the one that has the dependencies.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "TMPDIR": str(self.root / "local"),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_USAGE_STATS_ENABLED": "0",
            # Both hosts see the memory of all that this machine runs, and would end workers for it.
            "RAY_memory_monitor_refresh_ms": "0",
            "NO_PROXY": "*",
        }

    def command(self, *words: str) -> list[str]:
        """Return the command that runs `words` on this host, in its network."""
        return ["ip", "netns", "exec", self.namespace, *words]

    def told(self, *words: str) -> str:
        """Return what a command prints that runs on this host."""
        done = subprocess.run(
            self.command(*words),
            env=dict(self.environment()),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def pids(self) -> list[int]:
        """Return the processes of this host."""
        return [int(pid) for pid in _told("ip", "netns", "pids", self.namespace).split()]

    def start_ray(self, head: "Host") -> None:
        """Start this host's Ray node, in the cluster of `head`, and wait until it has come up.

        Ray gives its own processes 30 seconds, which a busy machine may take longer than: then it is started again.
        """
        local = str(self.root / "local")
        place = (
            ("--head", f"--port={HEAD_PORT}", f"--dashboard-host={self.address}", f"--temp-dir={local}")
            if head is self
            else (f"--address={head.address}:{HEAD_PORT}",)
        )
        inside = ("unshare", "--uts", "--mount", "sh", "-ec", ENTER, "sh", f"host-{self.name}", local)
        ray = ("ray", "start", "--block", f"--node-ip-address={self.address}", f"--num-cpus={self.num_cpus}")
        command = self.command(*inside, *ray, f"--object-store-memory={200 * 2**20}", *place)
        path = self.root / f"ray-{self.name}.log"
        deadline = time.monotonic() + SECONDS
        while self.ray is None or self.ray.poll() is not None:
            assert time.monotonic() < deadline, path.read_text()
            self.kill()
            with path.open("wb") as log:
                self.ray = subprocess.Popen(command, stdout=log, stderr=log, env=dict(self.environment()))
            while self.ray.poll() is None and STARTED not in path.read_text():
                time.sleep(0.1)
        if head is self:
            waiting = self.command("bash", "-c", LISTENING.format(host=self.address, port=DASHBOARD_PORT))
            subprocess.run(waiting, timeout=SECONDS, check=True)

    def kill(self) -> None:
        """End all that this host runs, at once."""
        deadline = time.monotonic() + SECONDS
        while pids := self.pids():
            assert time.monotonic() < deadline, pids
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if self.ray is not None:
                self.ray.poll()
            time.sleep(0.1)
        if self.ray is not None:
            self.ray.wait(SECONDS)

    def pull_cable(self) -> None:
        """Cut this host off."""
        _told("ip", "-n", self.namespace, "link", "set", self.cable, "down")

    def plug_cable(self) -> None:
        _told("ip", "-n", self.namespace, "link", "set", self.cable, "up")


@contextmanager
def two_hosts(*, cpus: tuple[int, int]) -> Iterator[tuple[Host, Host]]:
    """Run two hosts with Ray nodes of so many CPUs; the first is the head."""
    # Paths of Ray's sockets must stay below 108 characters.
    root = Path(tempfile.mkdtemp(prefix="hosts"))
    token = secrets.token_hex(32)
    pairs = zip("ab", ("198.18.77.1", "198.18.77.2"), cpus, strict=True)
    a, b = (Host(name, address, num_cpus, root, token) for name, address, num_cpus in pairs)
    try:
        for name in ("local", "store"):
            (root / name).mkdir()
        for host in (a, b):
            _told("ip", "netns", "add", host.namespace)
        _told("ip", "link", "add", a.cable, "netns", a.namespace, "type", "veth", "peer", b.cable, "netns", b.namespace)
        for host in (a, b):
            _told("ip", "-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", host.cable)
            _told("ip", "-n", host.namespace, "link", "set", "lo", "up")
            host.plug_cable()
        for host in (a, b):
            host.start_ray(a)
        yield a, b
    finally:
        for host in (b, a):
            with suppress(subprocess.CalledProcessError):
                host.kill()
                _told("ip", "netns", "delete", host.namespace)
        shutil.rmtree(root, ignore_errors=True)


def wait_for(condition: Callable[[], bool], *, what: Callable[[], str]) -> None:
    """Wait until a condition holds; `what` tells, in time, what is there instead."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)


def _told(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS).stdout
