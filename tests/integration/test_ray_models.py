"""Models that verifiers ask, on Ray: a hosted reward model and frozen samplers give what they give in this process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import classifiers

from bootstrap.cluster.pool import RayPool
from bootstrap.config.base_model import FolderModel, ScratchModel
from bootstrap.config.models import RewardModelVerifier
from bootstrap.errors import VerifierError, WaitTimeout, WorkerError
from bootstrap.pool import LocalPool, Pool
from bootstrap.scoring.verifier import Answer, Tools, build_verifier
from bootstrap.stages.models import LineageModels

MODEL = ScratchModel(hidden_size=16, intermediate_size=16, num_layers=1, num_heads=1, max_length=32)
ANSWERS = [Answer(prompt="Really?", text=text, reference="") for text in ("yes", "no", "perhaps", "")]

pytestmark = [pytest.mark.torch, pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


@pytest.fixture(scope="module")
def pool(ray_cluster: None) -> Iterator[RayPool]:
    with RayPool(2, batch_rows=8, wait_seconds=120) as found:
        yield found


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> RewardModelVerifier:
    folder = classifiers.save(tmp_path_factory.mktemp("model"), classifiers.llama(), classifiers.tokenizer())
    return RewardModelVerifier(model=FolderModel(path=str(folder)), max_length=256)


def test_a_hosted_reward_model_judges_as_one_in_this_process_does(pool: RayPool, settings: RewardModelVerifier) -> None:
    local = build_verifier(settings, tools=Tools(host=LocalPool(1, batch_rows=8).host))
    hosted = build_verifier(settings, tools=Tools(host=pool.host))
    assert type(hosted) is not type(local)
    assert (hosted.name, hosted.version, hosted.judges) == (local.name, local.version, local.judges)
    found, expected = hosted.judge(ANSWERS), local.judge(ANSWERS)
    assert [judgement.reward for judgement in found] == [judgement.reward for judgement in expected]
    assert [judgement.status for judgement in found] == [judgement.status for judgement in expected]
    assert all(judgement.cpu_seconds > 0 for judgement in found)
    hosted.close()
    hosted.close()


def test_what_a_hosted_verifier_raises_reaches_the_driver_as_itself(pool: RayPool, tmp_path: Path) -> None:
    with pytest.raises(VerifierError, match="holds no reward model"):
        pool.host(RewardModelVerifier(model=FolderModel(path=str(tmp_path / "nothing"))))
    assert not pool._hosts, "what never judged is not left behind"


def test_a_hosted_verifier_that_dies_is_named(pool: RayPool, settings: RewardModelVerifier) -> None:
    import ray

    hosted = pool.host(settings)
    ray.kill(hosted._actor)
    with pytest.raises(WorkerError, match="died during verifier reward_model"):
        hosted.judge(ANSWERS)
    hosted.close()


def test_a_hosted_verifier_that_finds_no_place_is_not_waited_for_without_end(settings: RewardModelVerifier) -> None:
    with RayPool(1, batch_rows=8, wait_seconds=120) as small:
        small._each["GPU"] = 1
        small.wait_seconds = 1
        with pytest.raises(WaitTimeout, match="1 s for the start of verifier reward_model, asked at"):
            small.host(settings)


def test_hosted_verifiers_end_with_the_pool_and_the_driver_stays_free_of_torch(settings: RewardModelVerifier) -> None:
    import ray

    program = f"""
import sys, time
import psutil
from bootstrap.cluster.pool import RayPool
from bootstrap.config.base_model import FolderModel
from bootstrap.config.models import RewardModelVerifier
from bootstrap.scoring.verifier import Answer, Tools, build_verifier
def actors():
    return sum("VerifierActor" in " ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"]))
before = actors()
with RayPool(1, batch_rows=8, wait_seconds=120) as pool:
    settings = RewardModelVerifier(model=FolderModel(path={settings.model.path!r}), max_length=256)
    hosted = build_verifier(settings, tools=Tools(host=pool.host))
    [found] = hosted.judge([Answer(prompt="Really?", text="yes", reference="")])
    print(found.reward)
    print(actors() - before)
deadline = time.monotonic() + 300
while actors() > before and time.monotonic() < deadline:
    time.sleep(0.1)
print(actors() - before)
print("torch" in sys.modules)
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, "RAY_ADDRESS": ray.get_runtime_context().gcs_address, "RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    [expected] = build_verifier(settings).judge(ANSWERS[:1])
    assert result.stdout.splitlines() == [str(expected.reward), "1", "0", "False"], result.stderr


def completions(pool: Pool) -> list[list[str]]:
    pool.build(MODEL, "0123456789", seed=3)
    frozen_sampler = pool.export()
    student = pool.build(MODEL, "0123456789", seed=4)
    models = LineageModels(pool)
    models.bind({"base": (0, frozen_sampler)})
    found = models.complete(["12", "345", "6"], model="base", samples=3, temperature=1.0, max_new_tokens=12, seed=0)
    assert pool.broadcast("fingerprint") == [student] * pool.size
    models.bind({})
    return found


def test_frozen_samplers_on_ray_complete_as_those_in_this_process_do(pool: RayPool) -> None:
    found = completions(pool)
    assert any(text for row in found for text in row)
    assert found == completions(LocalPool(2, batch_rows=8))
