"""A bound on waiting is one on progress: a slow worker is waited for, and one that hangs is named; shortages travel."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import pytest
import ray
from ray import cloudpickle
from test_ray_pool import CHARACTERS, MODEL, SAMPLING, _batch, _requests

from bootstrap import machine
from bootstrap.cluster import actors
from bootstrap.cluster import pool as pools
from bootstrap.cluster.pool import RayPool
from bootstrap.config.optimizers import AdamW
from bootstrap.errors import WaitTimeout, WorkerError
from bootstrap.memory import MemoryLimits, Shortage

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
                self._worker.bounds.shortages.extend(args)
                return super().call("fingerprint")
            case "slow":
                return self._slow_down(*args)
            case "killed":
                self._kill(*args)
        return super().call(method, *args)

    def _slow_down(self, seconds: float) -> None:
        """Let each pass through the model's blocks take so long."""
        learner = self._worker.learner
        assert learner is not None
        for one in (self._worker.engine, learner):
            one.compute = partial(_slowed, one.compute, seconds)

    def _kill(self, tried: Shortage) -> None:
        """End this process as the kernel does, during a pass."""
        with self._progress.call():
            self._worker.bounds.begin(Shortage(tried.kind, 2, tried.length))
            self._worker.bounds.begin(tried)
            # The thread tells of a larger pass at once.
            time.sleep(2)
            os.kill(os.getpid(), signal.SIGKILL)

    def _slowly(self, seconds: float, beats: bool, *_: Any) -> str:
        with self._progress.call():
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(0.2)
                self._worker.bounds.beats += beats
                self._worker.bounds.answered = 7
        return "done"


@contextmanager
def _slowed(compute: Callable[[], AbstractContextManager[Any]], seconds: float) -> Iterator[None]:
    time.sleep(seconds)
    with compute():
        yield


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
    with pytest.raises(WaitTimeout) as caught:
        bounded.wait([hung, busy], what="update")
    assert not ray.wait([hung.ref], timeout=0)[0], "it was waited for"
    message = str(caught.value)
    assert message.startswith("waited 8 s for update without a sign of progress: worker 0 (process ")
    assert "has not answered `work`, asked at 20" in message and "worker 1" not in message
    assert "resources.wait_seconds" in message and "\n" not in message
    bounded.wait_seconds = 120
    bounded.wait([hung, busy], what="update")


@pytest.mark.parametrize("method", ["generate", "step"])
def test_sampling_and_training_may_take_longer_than_the_bound(
    slow: RayPool, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    slow.build(MODEL, CHARACTERS, seed=7)
    rollouts = slow.generate(_requests(), SAMPLING)
    slow.broadcast("begin", AdamW())
    # Some 9 or more passes on each worker: a token of a batch, or a sequence in training.
    slow.limit(MemoryLimits(rollout_rows=4, train_tokens=1))
    slow.broadcast("slow", BOUND / 4)
    monkeypatch.setattr(slow, "wait_seconds", BOUND)
    monkeypatch.setattr(slow, "_slice", BOUND / 8)
    began = time.monotonic()
    if method == "generate":
        slow.generate(_requests(), SAMPLING)
    else:
        slow.metrics(slow.update(_batch(rollouts), lr_factor=1.0, grad_clip=1.0))
    assert time.monotonic() - began > 1.5 * BOUND
    slow.limit(MemoryLimits())


def test_a_shortage_in_one_worker_lowers_the_limit_of_all(slow: RayPool, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(slow, "on_shortage", lambda worker, shortage: told.append(shortage.told(worker)))
    slow.limit(MemoryLimits(memory=2**30))
    slow.build(MODEL, CHARACTERS, seed=7)
    slow.wait([slow.start(1, "short", Shortage("rollout_rows", 64))], what="fingerprint")
    assert told == [Shortage("rollout_rows", 64).told(1)]
    assert slow.limits == MemoryLimits(memory=2**30, halved={"rollout_rows": 32})
    slow.limit(MemoryLimits())


def test_memory_of_workers_on_one_machine_is_shared(slow: RayPool) -> None:
    each = [size for _, size in slow.broadcast("free_memory")]
    assert slow.memory() <= min(each) // 2


@pytest.mark.parametrize("kernels", [True, False])
def test_the_next_run_has_half_of_what_a_worker_was_killed_at(
    ray_cluster: None, monkeypatch: pytest.MonkeyPatch, kernels: bool
) -> None:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr("bootstrap.cluster.pool.WorkerActor", SlowActor)
    monkeypatch.setitem(pools._KINDS, "killed", "rollout_rows")
    kept: list[tuple[int, Shortage]] = []
    tried = Shortage("rollout_rows", 64, 300)
    with RayPool(1, batch_rows=64, wait_seconds=120) as pool:
        monkeypatch.setattr(pool, "on_shortage", lambda worker, shortage: kept.append((worker, shortage)))
        # The kernel counts what it ends for lack of memory.
        monkeypatch.setattr(machine, "num_killed", lambda: pool._num_killed + kernels)
        with pytest.raises(WorkerError, match="died during rollouts") as caught:
            pool.wait([pool.start(0, "killed", tried)], what="rollouts")
        assert ("all workers go on with at most 32 of up to 300 tokens" in str(caught.value).lower()) == kernels
        assert kept == ([(0, tried)] if kernels else [])
        assert pool.limits.halved == ({"rollout_rows": 32} if kernels else {})
