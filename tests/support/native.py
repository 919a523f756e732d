"""The services of a compose file as processes of this machine, on loopback.

    compose.Service --translate--> argv, environment, folders --start--> process (own session, log file)
                                                               --wait--> its own health check, natively
                                                               --stop--> its stop_signal and grace period, SIGKILL

What a container gives and a process has not is translated by `Ground` alone: service names become 127.0.0.1, ports free
ones, mounts temporary folders, programs those of this machine. Two services need more before they start, which the
functions `_prepare_*` do. Left out: images, limits, capabilities, networks.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil
import yaml
from support.compose import Service

LOOPBACK = "127.0.0.1"
KEPT = ("LANG", "LC_ALL", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Variables of this machine that a container would not have, and without which programs may not work here."""
COMMAND_SECONDS = 120.0
_OWN_PORT = re.compile(r"(?:port=|(?:127\.0\.0\.1|localhost|0\.0\.0\.0):)(\d{4,5})\b")
"""A port in a service's settings; behind another service's name it is that one's."""
_GRPC = 10_000
"""SeaweedFS takes the port as far above each of its own for gRPC."""


class NativeError(AssertionError):
    """A service that did not start, did not become healthy, or ended."""


@dataclass
class Ground:
    """Where on this machine lies what the compose file names.

    `home`: the folder of the compose file. `root`: a new folder with a short path, because sockets lie in it.
    """

    services: Iterable[Service]
    home: Path
    root: Path
    ports: dict[tuple[str, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._free = _free_ports()
        for service in self.services:
            self.admit(service)

    def admit(self, service: Service) -> None:
        """Give every port that the service opens one of this machine."""
        texts = (*service.argv, *service.environment.values(), *(service.health.argv if service.health else ()))
        for port in {int(found) for text in texts for found in _OWN_PORT.findall(text)}:
            if (key := (service.name, port)) not in self.ports:
                self.ports[key] = next(self._free)

    def port(self, service: str, port: int) -> int:
        """Return where `port` of `service` is on this machine."""
        return self.ports[service, port]

    def url(self, service: str, port: int) -> str:
        return f"http://{LOOPBACK}:{self.port(service, port)}"

    def folder(self, service: Service, target: str) -> Path:
        """Return the file or folder that stands for `target` in the container; a folder is made on first use."""
        mount = next(mount for mount in service.mounts if mount.target == target)
        if mount.source and mount.source.startswith("."):
            return (self.home / mount.source).resolve()
        # A named volume is one folder for all; a tmpfs is each container's own.
        name = mount.source or f"{service.name}{target.replace('/', '-')}"
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        return folder

    def translate(self, service: Service, text: str) -> str:
        """Return a text of the service's settings with the names, ports and paths of this machine."""
        for (owner, port), free in self.ports.items():
            text = re.sub(rf"\b{owner}:{port}\b", f"{LOOPBACK}:{free}", text)
            if owner == service.name:
                text = re.sub(rf"(?:{re.escape(LOOPBACK)}|localhost|0\.0\.0\.0):{port}\b", f"{LOOPBACK}:{free}", text)
                text = re.sub(rf"port={port}\b", f"port={free}", text)
        text = re.sub(r"\b0\.0\.0\.0\b|(?<=listen_addresses=)\*", LOOPBACK, text)
        # In one pass, because the folders of this machine may contain the names of others.
        targets = sorted((mount.target for mount in service.mounts), key=len, reverse=True)
        if targets:
            pattern = rf"(?<![\w./-])(?:{'|'.join(map(re.escape, targets))})(?=/|$)"
            text = re.sub(pattern, lambda match: str(self.folder(service, match[0])), text)
        return text

    def argv(self, service: Service, words: Iterable[str]) -> list[str]:
        program, *rest = words
        return [_program(program), *(self.translate(service, word) for word in rest)]

    def environment(self, service: Service) -> dict[str, str]:
        """Return what the process finds in its environment: nothing of the caller's but what `KEPT` names."""
        assert service.settings["read_only"], f"{service.name} may write to its home folder"
        return {
            **{name: os.environ[name] for name in KEPT if name in os.environ},
            "PATH": os.pathsep.join(map(str, _search_path())),
            # Nothing can be written there, not even by root.
            "HOME": "/dev/null/home",
            **{name: self.translate(service, value) for name, value in service.environment.items()},
        }


@dataclass
class Running:
    """A started service. `stop` and `start` may be repeated; the data stay."""

    service: Service
    ground: Ground
    log: Path
    user: str | None = None
    argv: list[str] = field(init=False)
    added: dict[str, str] = field(default_factory=dict)
    """Variables beside those of the compose file."""
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.argv = self.ground.argv(self.service, self.service.argv)

    def start(self) -> None:
        """Start the process and return when it is healthy. Raises NativeError."""
        with self.log.open("ab") as log:
            self.process = _popen(self, self.argv, log)
        self._await_health()

    def stop(self) -> None:
        """End the process as an engine ends a container; whatever it leaves behind is killed.

        That goes for what an earlier end of its own has left too.
        """
        if self.process is None:
            return
        family = _family(self.process.pid)
        if self.process.poll() is None:
            self.process.send_signal(self.service.stop_signal)
            try:
                self.process.wait(self.service.stop_seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        for member in family:
            # It tells a pid that now belongs to another process apart by the time of birth.
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family, timeout=10)
        self.process = None

    def execute(self, words: Iterable[str], *, stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None) -> None:
        """Run a command as `docker compose exec -T` does. Raises NativeError when it fails or takes minutes."""
        argv = self.ground.argv(self.service, words)
        with self.log.open("ab") as log:
            process = _popen(self, argv, log, stdin=stdin, stdout=stdout)
            try:
                code = process.wait(COMMAND_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
        if code:
            raise NativeError(f"{' '.join(argv)[:200]} ended with {code}: {self.tail()}")

    def healthy(self) -> bool:
        """Ask the health check once."""
        health = self.service.health
        assert health
        try:
            with self.log.open("ab") as log:
                check = _popen(self, self.ground.argv(self.service, health.argv), log)
            return check.wait(health.timeout_seconds) == 0
        except subprocess.TimeoutExpired:
            check.kill()
            check.wait()
            return False

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def _await_health(self) -> None:
        assert self.process and self.service.health, f"{self.service.name} has no health check"
        deadline = time.monotonic() + self.service.health.patience_seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise NativeError(f"{self.service.name} ended with {self.process.returncode}: {self.tail()}")
            if self.healthy():
                return
            time.sleep(0.5)
        raise NativeError(
            f"{self.service.name} is not healthy after {self.service.health.patience_seconds:g} s: {self.tail()}"
        )


@contextmanager
def running(services: list[Service], *, home: Path, without: Iterable[str] = ()) -> Iterator[dict[str, Running]]:
    """Start the services in their order, each when those it depends on are ready; end them in reverse order.

    `home`: the folder of the compose file. `without`: services that no program of this machine can stand for.
    """
    with ExitStack() as undo:
        root = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="svc", ignore_cleanup_errors=True)))
        # PostgreSQL runs as another user.
        root.chmod(0o755)
        ground = Ground(services=services, home=home, root=root)
        started: dict[str, Running] = {}
        for service in services:
            if service.name in without:
                continue
            one = Running(service=service, ground=ground, log=root / f"{service.name}.log")
            undo.callback(one.stop)
            if prepare := _PREPARATIONS.get(service.name):
                prepare(one)
            one.start()
            started[service.name] = one
        yield started


def leftovers(root: Path) -> list[str]:
    """Return the processes that work in the folder `root`, where all services start: none once they have ended."""
    found = []
    for process in psutil.process_iter(["pid", "cwd", "name"]):
        if (process.info["cwd"] or "").startswith(str(root)):
            found.append(f"{process.info['pid']} {process.info['name']}")
    return found


def _prepare_postgres(one: Running) -> None:
    """Do what the image's entrypoint does: make the data folder, the role, its password and its database.

    PostgreSQL refuses to run as root, so the server gets the user that Debian's package made for it.
    """
    one.user = "postgres" if os.geteuid() == 0 else None
    environment = one.service.environment
    data = one.ground.folder(one.service, "/var/lib/postgresql/data")
    sockets = one.ground.folder(one.service, "/var/run/postgresql")
    password = one.ground.folder(one.service, "/tmp") / "password"
    password.touch(mode=0o600)
    password.write_text(environment["POSTGRES_PASSWORD"])
    if one.user:
        for path in (data, sockets, password):
            shutil.chown(path, one.user)
    settings = environment["POSTGRES_INITDB_ARGS"].split()
    folder = "--pgdata=/var/lib/postgresql/data"
    one.execute(["initdb", f"--username={environment['POSTGRES_USER']}", "--pwfile=/tmp/password", folder, *settings])
    password.unlink()
    # The image names the data folder, and its clients look for the server, by themselves.
    one.added |= {"PGDATA": str(data), "PGHOST": str(sockets), "PGPORT": str(one.ground.port("postgres", 5432))}
    # The image lets every host in that knows the password.
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all all scram-sha-256\n")
    one.start()
    one.execute(["createdb", f"--username={environment['POSTGRES_USER']}", environment["POSTGRES_DB"]])
    one.stop()


def _prepare_prometheus(one: Running) -> None:
    """Write the configuration anew: its service names are 127.0.0.1, and no DNS has one address for each worker."""
    source = one.ground.folder(one.service, "/etc/prometheus/prometheus.yml")
    settings = yaml.safe_load(source.read_text())
    known = {name for name, _ in one.ground.ports}
    for job in settings["scrape_configs"]:
        for found in job.pop("dns_sd_configs", ()):
            targets = [f"{name}:{found['port']}" for name in found["names"] if name in known]
            job.setdefault("static_configs", []).append({"targets": targets})
        for group in job["static_configs"]:
            group["targets"] = [one.ground.translate(one.service, target) for target in group["targets"]]
    written = one.ground.root / "prometheus.yml"
    written.write_text(yaml.safe_dump(settings))
    one.argv = [word.replace(str(source), str(written)) for word in one.argv]


_PREPARATIONS: Mapping[str, Callable[[Running], None]] = {
    "postgres": _prepare_postgres,
    "prometheus": _prepare_prometheus,
}


def _popen(
    one: Running, argv: list[str], log: IO[bytes], *, stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    rights: dict[str, Any] = {"user": one.user, "group": one.user, "extra_groups": ()} if one.user else {}
    return subprocess.Popen(
        argv,
        stdin=stdin or subprocess.DEVNULL,
        stdout=stdout or log,
        stderr=log,
        cwd=one.ground.root,
        env=one.ground.environment(one.service) | one.added,
        start_new_session=True,
        **rights,
    )


def _family(pid: int) -> list[psutil.Process]:
    """Return what descends from a service's process, or is in its session, without itself."""
    found = {member.pid: member for member in psutil.process_iter() if _session(member.pid) == pid}
    with contextlib.suppress(psutil.NoSuchProcess):
        found |= {member.pid: member for member in psutil.Process(pid).children(recursive=True)}
    return [member for member in found.values() if member.pid != pid]


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _search_path() -> list[Path]:
    """Return where programs are looked for: this interpreter's own first, then where Debian hides PostgreSQL's."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    system = [Path(folder) for folder in os.environ.get("PATH", os.defpath).split(os.pathsep)]
    return [Path(sys.executable).parent, *reversed(versions), *system]


def _program(name: str) -> str:
    """Return the program of this machine for one of an image, by its base name."""
    found = shutil.which(Path(name).name, path=os.pathsep.join(map(str, _search_path())))
    if found is None:
        raise NativeError(f"{Path(name).name} is not installed; `make test-services` installs it")
    return found


def _free_ports() -> Iterator[int]:
    """Yield free ports outside those that Ray gives its workers (10002 to 19999), gRPC's beside them free as well."""
    for port in range(20000 + os.getpid() % 8000, 32000):
        if all(_is_free(number) for number in (port, port + _GRPC)):
            yield port
    raise NativeError("no free ports are left")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
