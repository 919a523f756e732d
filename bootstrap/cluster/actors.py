"""The actors of a run: what each Ray process does with a call, and its names in Ray's dashboard.

    actor    `LINEAGE worker N`
    call     `STAGE: METHOD`, for example `train: step`; also the title of the worker's process during the call

Ray reads an actor's `repr` once, when it makes the actor, so the stage cannot be part of it. A worker's own errors
travel as values (`Failure`), because Ray replaces the exception of a call in every call that depends on it. Left out:
placement and waiting (`pool.py`), a worker's computations (`worker.py`). The driver imports this module without torch.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray

from bootstrap.cluster.progress import BEAT_SECONDS, Progress
from bootstrap.cluster.telemetry import WorkerTelemetry
from bootstrap.config import verifiers
from bootstrap.config.resources import SamplerProcesses
from bootstrap.errors import BootstrapError
from bootstrap.memory import Shortage
from bootstrap.pool import STAGE, make_worker
from bootstrap.scoring.verifier import Answer, Judgement, build_verifier


@dataclass(frozen=True, slots=True)
class Failure:
    """A worker's own error on its way to the driver; calls that depend on it return it too."""

    error: BootstrapError


@dataclass(frozen=True, slots=True)
class Told:
    """A worker's result, with the shortages of memory that it has had since it last told of some."""

    result: Any
    shortages: Sequence[Shortage]


def checked(result: Any) -> Any:
    """Return a call's result. Raises the error of a `Failure`."""
    match result:
        case Failure(error):
            raise error
        case Told(found):
            return found
    return result


class Named:
    """An actor with a name for Ray's dashboard and error reports."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


class WorkerActor(Named):
    """A `Worker` in a process of its own."""

    def place(self) -> tuple[int, str]:
        """Return process id and node address. An answer proves that the actor has its resources."""
        return os.getpid(), ray.util.get_node_ip_address()

    def prepare(
        self,
        batch_rows: int,
        store: str,
        lineage: str,
        index: int,
        size: int,
        samplers: SamplerProcesses | None,
        wait_seconds: float,
        shard: int = 1,
        pulse: str = "",
        every: float = BEAT_SECONDS,
    ) -> None:
        """Make the worker, apart from the constructor: it takes seconds that are no part of the placement.

        `index`: its number among so many as `size`; `samplers`, `shard`: as of `make_worker`; `pulse`: name under which
        it tells its progress, at most once in `every` seconds; empty for nothing.
        """
        self._worker = make_worker(
            index, size=size, batch_rows=batch_rows, samplers=samplers, wait_seconds=wait_seconds, shard=shard
        )
        self._progress = Progress(self._worker.bounds, name=pulse, every=every)
        role = "worker" if samplers is None else "sampler"
        self._telemetry = WorkerTelemetry(store=store, lineage=lineage, role=role, worker=index)

    def call(self, method: str, *args: Any) -> Any:
        """Return the result of the worker's method, or a `Failure`: its own, or that of a call it depends on."""
        try:
            plain = [checked(argument) for argument in args]
            with self._telemetry.call(method), self._progress.call():
                result = getattr(self._worker, method)(*plain)
        except BootstrapError as error:
            return Failure(error)
        self._telemetry.received(self._worker.take_received())
        if not self._worker.bounds.shortages:
            return result
        return Told(result, self._worker.take_shortages())


class VerifierActor(Named):
    """A verifier that holds a model, in a process of its own."""

    def prepare(self, settings: verifiers.Verifier) -> tuple[str, str, str] | Failure:
        """Load the verifier; return its `name`, `version` and `judges`, or a `Failure`."""
        try:
            self._verifier = build_verifier(settings)
        except BootstrapError as error:
            return Failure(error)
        return self._verifier.name, self._verifier.version, self._verifier.judges

    def judge(self, answers: Sequence[Answer]) -> list[Judgement] | Failure:
        """Return one judgement per answer, each with an equal share of the CPU seconds, or a `Failure`."""
        start = time.process_time()
        try:
            judgements = self._verifier.judge(answers)
        except BootstrapError as error:
            return Failure(error)
        each = (time.process_time() - start) / max(len(judgements), 1)
        return [replace(judgement, cpu_seconds=each) for judgement in judgements]


class LockActor:
    """Its name is the lock; a refused driver asks it for the owner."""

    def __init__(self, owner: str) -> None:
        self._owner = owner

    def __repr__(self) -> str:
        return f"lock held by {self._owner}"

    def owner(self) -> str:
        return self._owner


def task_name(method: str) -> str:
    """Return the name in Ray's dashboard of a call that begins now: `train: step`."""
    stage = STAGE.get()
    return method if stage in ("", method) else f"{stage}: {method}"


def worker_environment() -> Mapping[str, str]:
    """Return a worker's environment variables: one thread, the driver's priority, its settings for the hub and vLLM.

    Ray's own niceness of workers, 15, would give the publisher beside the run precedence over training.
    """
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    passed = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "BOOTSTRAP_VLLM_PYTHON")
    kept = {name: os.environ[name] for name in passed if name in os.environ}
    return {**one_thread, "RAY_worker_niceness": "0", "TOKENIZERS_PARALLELISM": "false", **kept}
