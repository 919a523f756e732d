"""Ray for the tests that need a real one: one private cluster for actors, one head with a job server for submissions.

And an empty MLflow database. All are made on first use, so that tests without them pay nothing. Nothing here stops a
Ray that it did not start.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh MLflow database: making one takes seconds, copying it does not."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session")
def ray_environment() -> Iterator[None]:
    """Switch off what would outlive the tests: Ray's token file in the home folder, and its usage reports."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        yield


@pytest.fixture(scope="session")
def ray_cluster(ray_environment: None) -> Iterator[None]:
    """Make this process the driver of a private cluster of four (nominal) cores."""
    import ray

    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=200 * 2**20,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def ray_head(ray_environment: None) -> Iterator[str]:
    """Run a head node with a job server; returns the job server's address."""
    with _head(*_free_ports(4)) as address:
        yield address


@pytest.fixture
def agentless_head(ray_environment: None) -> Iterator[tuple[str, int]]:
    """Run a head node whose job agent finds its port taken; returns the job server's address and that port."""
    with socket.socket() as taken:
        *ports, port = _free_ports(4)
        taken.bind(("", port))
        taken.listen()
        with _head(*ports, port) as address:
            yield address, port


@contextmanager
def _head(port: int, dashboard_port: int, client_port: int, agent_port: int) -> Iterator[str]:
    # Socket paths inside the folder must stay below 108 characters, so pytest's own temporary folders are too deep.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        log_path = Path(folder) / "head.log"
        with log_path.open("w") as log:
            head = subprocess.Popen(
                [
                    Path(sys.executable).with_name("ray"),
                    *("start", "--head", "--block", "--num-cpus=2", "--disable-usage-stats"),
                    *(f"--port={port}", f"--dashboard-port={dashboard_port}", "--dashboard-host=127.0.0.1"),
                    # With the agent's usual port taken by another Ray, a head starts and takes no jobs.
                    *(f"--ray-client-server-port={client_port}", f"--dashboard-agent-listen-port={agent_port}"),
                    f"--temp-dir={folder}",
                    f"--object-store-memory={200 * 2**20}",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    # A job's `python` is the first one on the head's path: the one that has the dependencies.
                    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
                    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "1",
                },
            )
        try:
            _await_listener(dashboard_port, head=head, log_path=log_path)
            yield f"http://127.0.0.1:{dashboard_port}"
        finally:
            head.terminate()
            try:
                # The head drains its node before it ends, 5 to 20 s on busy machines.
                head.wait(timeout=45)
            except subprocess.TimeoutExpired:
                head.kill()
                head.wait()


def _free_ports(count: int) -> list[int]:
    """Return free ports outside those that Ray gives its workers (10002 to 19999)."""
    found: list[int] = []
    for port in range(20000 + os.getpid() % 10000, 32000):
        with socket.socket() as benchmark:
            if benchmark.connect_ex(("127.0.0.1", port)):
                found.append(port)
        if len(found) == count:
            break
    return found


def _await_listener(port: int, *, head: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        assert head.poll() is None, f"the Ray head ended:\n{log_path.read_text()}"
        with socket.socket() as benchmark:
            if benchmark.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.5)
    pytest.fail(f"the Ray head's job server did not come up in 600 s:\n{log_path.read_text()}")
