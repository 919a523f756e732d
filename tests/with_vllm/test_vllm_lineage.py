"""A whole lineage whose answers come from vLLM, and its death in the middle. Run by `make test-vllm`."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import tiny

from bootstrap.cli.workers import make_roles
from bootstrap.config.recipe import Recipe
from bootstrap.errors import WorkerError
from bootstrap.pool import LocalPool
from bootstrap.roles import Roles
from bootstrap.vllm_worker import VllmWorker

pytestmark = pytest.mark.vllm

MODEL = {**tiny.MODEL, "hidden_size": 64, "num_heads": 2}
RESOURCES = {"batch_rows": 64, "samplers": {"engine": "vllm"}, "wait_seconds": 300}


def recipe(**changes: Any) -> Recipe:
    base = tiny.recipe().base.model_dump(mode="json")
    return tiny.recipe(**{"base": {**base, "model": MODEL}, "count": 1, "resources": RESOURCES, **changes})


@pytest.fixture(scope="module")
def roles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    with make_roles(recipe(), 1, local=True, root=tmp_path_factory.mktemp("vllm")) as found:
        yield found


def test_a_generation_is_grown_by_answers_of_vllm_that_the_learner_believes(roles: Roles, tmp_path: Path) -> None:
    base, first = (entry.generation for entry in tiny.grow(recipe(), tmp_path / "tiny", roles=roles))
    here = [entry.generation for entry in tiny.grow(recipe(resources={"batch_rows": 64}), tmp_path / "here")]
    # Trained alike, and greedy answers are the same in any engine.
    assert base.fingerprint == here[0].fingerprint
    assert [level.num_correct for level in base.report.levels] == [level.num_correct for level in here[0].report.levels]
    assert first.fingerprint != here[1].fingerprint, "another engine draws other tokens from the same seed"
    assert first.accounting.trained > 0


def test_a_sampler_that_dies_ends_the_run_and_the_same_command_goes_on(roles: Roles, tmp_path: Path) -> None:
    samplers = roles.samplers
    assert isinstance(samplers, LocalPool)
    worker = samplers.workers[0]
    assert isinstance(worker, VllmWorker)

    def kill(event: Any) -> None:
        process = worker.sampler.process
        if event.stage == "train" and event.generation == 1 and process is not None:
            os.kill(process.process.pid, signal.SIGKILL)

    with pytest.raises(WorkerError, match="vLLM"):
        tiny.grow(recipe(), tmp_path / "tiny", roles=roles, observe=kill)
    with make_roles(recipe(), 1, local=True, root=tmp_path) as fresh:
        entries = tiny.grow(recipe(), tmp_path / "tiny", roles=fresh)
    assert [entry.generation.number for entry in entries] == [0, 1]
