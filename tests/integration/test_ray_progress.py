"""A bound on waiting is one on progress: a slow worker is waited for, and one that hangs is named; shortages travel."""

import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ray import cloudpickle
from test_ray_pool import CHARACTERS, MODEL, SAMPLING, _batch, _requests

from bootstrap.cluster import actors
from bootstrap.cluster.pool import RayPool
from bootstrap.config.optimizers import AdamW
from bootstrap.errors import WaitTimeout
from bootstrap.memory import Limits, Shortage

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

BOUND = 8.0


class SlowActor(actors.WorkerActor):
    """A worker with calls that take their time."""

    def call(self, method: str, *args: Any) -> Any:
        match method:
            case "work":
                return self._slowly(*args)
            case "short":
                self._worker.bounds.limits = self._worker.bounds.limits.halve(*args)
                self._worker.bounds.shortages.append(Shortage(*args))
                return super().call("fingerprint")
        return super().call(method, *args)

    def _slowly(self, seconds: float, beats: bool, *_: Any) -> str:
        with self._progress.call():
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(0.2)
                self._worker.bounds.beats += beats
                self._worker.bounds.answered = 7
        return "done"


@pytest.fixture(scope="module")
def slow(ray_cluster: None) -> Iterator[RayPool]:
    # Workers cannot import the tests.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bootstrap.cluster.pool.WorkerActor", SlowActor)
        patch.setattr("bootstrap.cluster.pool.BEAT_SECONDS", 0.5)
        with RayPool(2, batch_rows=64, wait_seconds=120) as pool:
            yield pool


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch, slow: RayPool) -> RayPool:
    monkeypatch.setattr(slow, "wait_seconds", BOUND)
    monkeypatch.setattr(slow, "_slice", BOUND / 4)
    return slow


def test_a_call_that_makes_progress_may_take_longer_than_the_bound_and_its_answers_are_counted(
    bounded: RayPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[tuple[int, int]] = []
    monkeypatch.setattr(bounded, "on_answers", lambda done, total: counted.append((done, total)))
    monkeypatch.setattr(bounded, "asked", 40)
    began = time.monotonic()
    assert bounded.wait([bounded.start(1, "work", 2 * BOUND, True)], what="work") == ["done"]
    assert time.monotonic() - began >= 2 * BOUND
    assert counted and counted[-1] == (7, 40)


def test_a_call_that_hangs_is_named_although_another_worker_makes_progress(bounded: RayPool) -> None:
    hung, busy = bounded.start(0, "work", 3 * BOUND, False), bounded.start(1, "work", 3 * BOUND, True)
    # Worker 1's next call waits for worker 0's result, as an update waits for gradients.
    behind = bounded.start(1, "work", 0.1, False, hung)
    began = time.monotonic()
    with pytest.raises(WaitTimeout) as caught:
        bounded.wait([hung, busy, behind], what="update")
    assert time.monotonic() - began < 3 * BOUND
    message = str(caught.value)
    assert message.startswith("waited 8 s for update without a sign of progress: worker 0 (process ")
    assert "has not answered `work`, asked at 20" in message and "worker 1" not in message
    assert "resources.wait_seconds" in message and "\n" not in message
    bounded.wait_seconds = 120
    bounded.wait([hung, busy, behind], what="update")


def test_sampling_and_training_tell_their_progress(slow: RayPool) -> None:
    slow.build(MODEL, CHARACTERS, seed=7)
    slow._pulses.moved([0, 1])
    deadline = time.monotonic() + 60
    seen = set[int]()
    slow.broadcast("begin", AdamW())
    while seen != {0, 1} and time.monotonic() < deadline:
        rollouts = slow.generate(_requests(), SAMPLING)
        slow.metrics(slow.update(_batch(rollouts), lr_factor=1.0, grad_clip=1.0))
        seen |= slow._pulses.moved([0, 1])
    assert seen == {0, 1}


def test_a_shortage_in_one_worker_lowers_the_limit_of_all(slow: RayPool, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(slow, "on_shortage", lambda worker, shortage: told.append(shortage.told(worker)))
    slow.limit(Limits(memory=2**30))
    slow.build(MODEL, CHARACTERS, seed=7)
    slow.wait([slow.start(1, "short", "rollout_rows", 64)], what="fingerprint")
    assert told == [Shortage("rollout_rows", 64).told(1)]
    assert slow.limits == Limits(memory=2**30, halved={"rollout_rows": 32})
    slow.limit(Limits())


def test_memory_of_workers_on_one_machine_is_shared(slow: RayPool) -> None:
    each = [size for _, size in slow.broadcast("free_memory")]
    assert slow.memory() <= min(each) // 2
