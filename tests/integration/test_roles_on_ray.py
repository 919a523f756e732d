"""Learners and samplers as Ray processes apart: weights go from one to the other, and each is named by its role."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import tiny
from test_ray_pool import BATCH_ROWS, CHARACTERS, MODEL, SAMPLING, _batch, _requests

from bootstrap.cli.workers import make_roles
from bootstrap.cluster.pool import RayPool
from bootstrap.config.optimizers import AdamW
from bootstrap.config.resources import Resources
from bootstrap.errors import WorkerError
from bootstrap.pool import LocalPool
from bootstrap.roles import Roles, apart

pytestmark = [pytest.mark.ray, pytest.mark.torch, pytest.mark.training, pytest.mark.usefixtures("ray_cluster")]


@pytest.fixture
def roles(tmp_path: Path, ray_cluster: None) -> Iterator[Roles]:
    resources = Resources.model_validate({"samplers": {"processes": 1}, "batch_rows": BATCH_ROWS, "wait_seconds": 120})
    recipe = tiny.recipe().model_copy(update={"resources": resources})
    with make_roles(recipe, 2, local=False, root=tmp_path / "tiny") as found:
        yield found


def test_samplers_on_ray_answer_with_the_weights_that_learners_on_ray_have_trained(roles: Roles) -> None:
    answers = []
    for one in (roles, apart(LocalPool(2, batch_rows=BATCH_ROWS), LocalPool(1, batch_rows=BATCH_ROWS))):
        learners, samplers = one.learners, one.samplers
        learners.build(MODEL, CHARACTERS, seed=7)
        learners.begin(AdamW(lr=0.01), None)
        for _ in range(2):
            samplers.take(version := learners.publish())
            rollouts = samplers.generate(_requests(), SAMPLING)
            assert {rollout.policy for rollout in rollouts} == {version.fingerprint}
            learners.metrics(learners.update(_batch(rollouts), lr_factor=1.0, grad_clip=1.0))
        answers.append((rollouts, learners.export().fingerprint))
    assert answers[0] == answers[1]
    # Then one of them dies.
    samplers = roles.samplers
    assert isinstance(samplers, RayPool)
    process, _ = samplers.places[0]
    calls = [samplers.start(0, "benchmark", 600.0)]
    os.kill(process, signal.SIGKILL)
    with pytest.raises(WorkerError, match=rf"sampler 0 \(process {process} .* died during benchmark"):
        samplers.wait(calls, what="benchmark")
