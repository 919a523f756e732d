"""A driver killed with SIGKILL, started again: the ledger ends like that of a run nobody disturbed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from support import tiny

from bootstrap.config.load import load_recipe
from bootstrap.store.verify import verify

pytestmark = pytest.mark.training

DEADLINE = 600.0


def command(recipe: Path, store: Path) -> list[str]:
    return [sys.executable, "-m", "bootstrap", "run", str(recipe), "--store", str(store), "--local", "--workers", "1"]


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    # Nothing listens there: the outbox waits, and publishing costs these runs next to nothing.
    return {**os.environ, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    settings = tiny.recipe(steps=({**tiny.RL, "rounds": 12, "checkpoint_every": 2}, tiny.REJECTION), count=1)
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(yaml.safe_dump(json.loads(settings.model_dump_json())))
    return path


@pytest.fixture(scope="module")
def undisturbed(recipe, tmp_path_factory) -> list[str]:
    return [entry.hash for entry in tiny.grow(load_recipe(recipe), tmp_path_factory.mktemp("undisturbed"))]


def wait_for(condition, process: subprocess.Popen) -> None:
    start = time.monotonic()
    while not condition():
        assert process.poll() is None, f"the driver ended too early: {process.stderr.read()}"
        assert time.monotonic() - start < DEADLINE
        time.sleep(0.01)


def test_a_driver_killed_in_the_middle_of_training_twice_resumes_to_the_same_ledger(
    recipe, undisturbed, environment, tmp_path
):
    root = tmp_path / "tiny"

    def parts() -> int:
        return sum(path.name.startswith("part-") for path in (root / "work").glob("*")) if root.exists() else 0

    def committed() -> int:
        return len(list((root / "ledger").glob("0*.json")))

    for reached in (lambda: parts() >= 1, lambda: committed() >= 1 and parts() >= 3):
        process = subprocess.Popen(
            command(recipe, tmp_path), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        wait_for(reached, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
    assert committed() < 2
    entries = tiny.grow(load_recipe(recipe), root)
    assert [entry.hash for entry in entries] == undisturbed
    assert not verify(root).problems
    leftovers = [p for p in root.rglob("*") if p.name.startswith(".tmp")]
    assert leftovers == []
