"""Stands here so that this folder is on the import path, tests of every folder find `support`, and none finds a server.

What a person's environment says about an MLflow server or a Ray cluster of theirs is hidden from all tests.
"""

import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

SERVERS = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "RAY_ADDRESS",
    "RAY_API_SERVER_ADDRESS",
    "RAY_JOB_CONFIG_JSON_ENV_VAR",
)

# No test may fail because the machine is busy.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

# Before anything imports torch, which would otherwise take all cores in each of these processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def no_servers_of_the_user() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in SERVERS:
            patch.delenv(name, raising=False)
        yield


@pytest.fixture
def stuck_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Let names be resolved when the test is over: whether the resolver was asked, and whether it has come back."""
    told: list[str] = []
    over = threading.Event()

    def resolve(*_: Any, **__: Any) -> Any:
        told.append("asked")
        # Far longer than any deadline under test, so that a caller who waits for it fails and does not hang.
        over.wait(60)
        told.append("came back")
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setenv("NO_PROXY", "*")
    yield told
    over.set()
