"""What the tests of the services know: the running services, and the lineage that grew among them."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import requests
from mlflow import MlflowClient
from support import native

from bootstrap.lineage.outbox import Outbox, Receipt
from bootstrap.store.lineage_store import LineageStore

INFRA = Path(__file__).parents[2] / "infra"
LINEAGE = "services"


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The running services."""

    services: Mapping[str, native.Running]
    variables: Mapping[str, str]

    @property
    def ground(self) -> native.Ground:
        return self.services["head"].ground

    @property
    def mlflow(self) -> str:
        return self.ground.url("mlflow", 5000)

    @property
    def ray(self) -> str:
        return self.ground.url("head", 8265)

    @property
    def prometheus(self) -> str:
        return self.ground.url("prometheus", 9090)

    @property
    def store(self) -> Path:
        """The folder that `/store/runs` is in the containers."""
        return self.ground.folder(self.services["head"].service, "/store") / "runs"

    def bootstrap(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "bootstrap", *words]

    def run(self, *words: str, store: Path | None = None, **environment: str) -> str:
        """Run `bootstrap` on the lineage and return what it prints; fails the test when it fails.

        `store`: another folder above the lineage than the services'. `environment`: more variables.
        """
        done = subprocess.run(
            self.bootstrap(*words, "--store", str(store or self.store), "--lineage", LINEAGE),
            env=self.client_environment() | environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def sync(self) -> str:
        """Publish what MLflow lacks. The job ran elsewhere, so its address is named once more."""
        return self.run("lineage", "--sync", "--tracking-uri", self.mlflow)

    def client_environment(self) -> dict[str, str]:
        """Return the variables of someone who submits: the cluster's token, and nothing of MLflow."""
        return {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.variables["RAY_AUTH_TOKEN"]}


@dataclass(frozen=True, kw_only=True)
class Grown:
    """A lineage that grew while MLflow and PostgreSQL were away for a time."""

    store: LineageStore
    code: int
    log: str
    began: float
    ended: float
    published_while_away: frozenset[int]
    """Generations that had a receipt of MLflow when the second one was committed and nothing answered."""

    def receipts(self, stack: Stack) -> dict[int, Receipt]:
        return receipts(self.store, stack)


def model_file(server: str, receipt: Receipt, name: str) -> bytes:
    """Return a file of a generation's model, as an MLflow server hands it out."""
    location = MlflowClient(server).get_logged_model(receipt.model_id).artifact_location
    assert location.startswith("mlflow-artifacts:/"), "clients would need keys of the bucket"
    path = f"{location.removeprefix('mlflow-artifacts:/').rstrip('/')}/model/{name}"
    # Not by MLflow's own way to a model's files, which asks the server of the environment rather than this one.
    answer = requests.get(f"{server}/api/2.0/mlflow-artifacts/artifacts/{path}", timeout=60)
    answer.raise_for_status()
    return answer.content


def receipts(store: LineageStore, stack: Stack) -> dict[int, Receipt]:
    """Return what MLflow calls the generations that it has."""
    outbox = Outbox(store.root, tracking_uri=stack.mlflow, experiment=f"bootstrap/{LINEAGE}")
    return outbox.receipts(store.ledger.read())
