"""The actors of a run: what each process of Ray's does with a call, and how Ray's dashboard names it.

Actors are named `LINEAGE worker N`, and each call after the stage it is for and the worker's method, `train: gradient`,
which is the title of the worker's process too while it runs. Ray takes an actor's `repr` once, when the actor is made,
so that the stage cannot stand there. A worker's own errors travel as values, since Ray cannot hand an exception on
through a call that depends on the failed one. Left out: placement and waiting (`pool.py`), what a worker computes
(`worker.py`). The driver imports this module, and stays free of torch.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray

from bootstrap.cluster.telemetry import WorkerTelemetry
from bootstrap.config import verifiers
from bootstrap.errors import BootstrapError
from bootstrap.pool import STAGE
from bootstrap.scoring.verifier import Answer, Judgement, build_verifier


@dataclass(frozen=True, slots=True)
class Failure:
    """A worker's own error on its way to the driver; calls that depend on it hand it on."""

    error: BootstrapError


class Named:
    """An actor that Ray's dashboard and error reports call by its name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


class WorkerActor(Named):
    """A `Worker` in a process of its own."""

    def place(self) -> tuple[int, str]:
        """Return process id and node address; the first answer proves that the actor has its resources."""
        return os.getpid(), ray.util.get_node_ip_address()

    def prepare(self, batch_rows: int, store: str, lineage: str, index: int) -> None:
        """Make the worker, which takes seconds; it is no part of the constructor, so that placement shows by itself."""
        # Here and not at the top: the driver imports this module to name the actor, and stays free of torch.
        from bootstrap.worker import Worker

        self._worker = Worker(batch_rows=batch_rows)
        self._telemetry = WorkerTelemetry(store=store, lineage=lineage, worker=index)

    def call(self, method: str, *args: Any) -> Any:
        """Return what the worker's method returns, or a `Failure`."""
        for argument in args:
            if isinstance(argument, Failure):
                return argument
        try:
            with self._telemetry.call(method):
                return getattr(self._worker, method)(*args)
        except BootstrapError as error:
            return Failure(error)


class VerifierActor(Named):
    """A verifier that holds a model, in a process of its own."""

    def prepare(self, settings: verifiers.Verifier) -> tuple[str, str, str] | Failure:
        """Load it and return its name, its version and what it judges, or a `Failure`."""
        try:
            self._verifier = build_verifier(settings)
        except BootstrapError as error:
            return Failure(error)
        return self._verifier.name, self._verifier.version, self._verifier.judges

    def judge(self, answers: Sequence[Answer]) -> list[Judgement] | Failure:
        """Return what the verifier says, with the CPU time it took spread over the answers, or a `Failure`."""
        start = time.process_time()
        try:
            judgements = self._verifier.judge(answers)
        except BootstrapError as error:
            return Failure(error)
        each = (time.process_time() - start) / max(len(judgements), 1)
        return [replace(judgement, cpu_seconds=each) for judgement in judgements]


class LockActor:
    """Its name is the lock; its note tells whoever is refused who holds it."""

    def __init__(self, owner: str) -> None:
        self._owner = owner

    def __repr__(self) -> str:
        return f"lock held by {self._owner}"

    def owner(self) -> str:
        return self._owner


def task_name(method: str) -> str:
    """Return what Ray's dashboard calls a call that begins now: `train: gradient`."""
    stage = STAGE.get()
    return method if stage in ("", method) else f"{stage}: {method}"


def worker_environment() -> Mapping[str, str]:
    """Return a worker's variables: one thread each, and the driver's choice about the model hub."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    kept = {name: os.environ[name] for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if name in os.environ}
    return {**one_thread, "TOKENIZERS_PARALLELISM": "false", **kept}
