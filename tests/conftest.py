"""Stands here so that this folder is on the import path, tests of every folder find `support`, and none finds a server.

What a person's environment says about an MLflow server or a Ray cluster of theirs is hidden from all tests.
"""

import os
from collections.abc import Iterator

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

# Before anything imports torch, which would otherwise take all cores in each of these processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def no_servers_of_the_user() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in SERVERS:
            patch.delenv(name, raising=False)
        yield
