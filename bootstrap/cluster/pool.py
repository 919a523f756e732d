"""Workers as Ray actors: placement, calls and bounded waits.

    who waits            for whom                     bound, and what happens when it is hit
    driver, at the start a place for every worker      wait_seconds -> WaitTimeout with resources asked and free
    driver, `wait`       the calls it names           wait_seconds without progress of a worker that holds the others
                                                      up (`progress.py`) -> WaitTimeout with worker, call, since when
    worker, `step`       the other workers' gradients the driver's wait: workers that train together make progress
                                                      together; `group.py`'s own bound stands far behind it
    driver, `host`       a place and a loaded model   wait_seconds -> WaitTimeout with resources asked and free
    driver, `judge`      a hosted verifier's answers  wait_seconds per round -> WaitTimeout
    all of these         Ray's own processes          `vital.py` asks every few seconds -> ClusterError

Actors belong to the driver and die with it, however it dies. None is detached and none restarts, because only a worker
holds its weights: the driver recovers from its last checkpoint. A worker's own errors travel as values (`actors.py`)
and are raised in the driver. The driver imports neither torch nor `bootstrap.worker`. Every pool has its own namespace,
so that actors' names are free for the next driver at once.

Left out: how work is split (`bootstrap/pool.py`), the lineage's lock on one machine (the store's), the order of work
(the loop's).
"""

import logging
import os
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

import ray
from ray.exceptions import (
    ActorAlreadyExistsError,
    GetTimeoutError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
)

from bootstrap import machine
from bootstrap.cluster.actors import (
    Failure,
    LockActor,
    Named,
    Told,
    VerifierActor,
    WorkerActor,
    checked,
    task_name,
    worker_environment,
)
from bootstrap.cluster.calls import WorkerCall, cause_of_death, clock, cut_off, first_error, late
from bootstrap.cluster.connection import connect, first_line, last_line, place_of
from bootstrap.cluster.progress import BEAT_SECONDS, Pulses
from bootstrap.cluster.telemetry import RayTelemetry
from bootstrap.cluster.vital import Vital
from bootstrap.config import verifiers
from bootstrap.config.answers import Judges
from bootstrap.config.resources import SamplerProcesses
from bootstrap.errors import BootstrapError, ClusterError, LineageLocked, PeerFailed, WaitTimeout, WorkerError
from bootstrap.memory import Kind
from bootstrap.pool import Pool
from bootstrap.records import Batch
from bootstrap.scoring.verifier import Answer, Judgement, Verifier
from bootstrap.telemetry import Telemetry

LOCK_NAMESPACE = "bootstrap"
REMEDY = "run the same command again: it continues from the last checkpoint"

_KINDS: dict[str, Kind] = {
    "generate": "rollout_rows",
    "step": "train_tokens",
    "recompute_logprobs": "train_tokens",
    "divergence": "train_tokens",
}
"""Limits that a worker's methods go by."""
_NOTICE_SECONDS = 30.0
_OWNER_SECONDS = 5.0

_log = logging.getLogger(__name__)


class _HostedVerifier:
    """The driver's end of a `VerifierActor`."""

    def __init__(self, pool: "RayPool", actor: Any, name: str, version: str, judges: Judges) -> None:
        self.name, self.version = name, version
        self.judges: Judges = judges
        self._pool, self._actor = pool, actor

    def judge(self, answers: Sequence[Answer]) -> list[Judgement]:
        """Return one judgement per answer. Raises WaitTimeout, WorkerError, and what the verifier raises."""
        assert self._actor is not None, "the verifier is closed"
        call = self._actor.judge.options(name=task_name("judge"))
        return self._pool._hosted(call.remote(list(answers)), what=f"verifier {self.name}")

    def close(self) -> None:
        """End the process. May be repeated."""
        if self._actor is not None:
            self._pool._dismiss(self._actor)
            self._actor = None


class RayPool(Pool):
    """Workers as driver-owned Ray actors, on this machine or on a cluster.

    `address`: a cluster's `host:port` or `auto`; None takes `RAY_ADDRESS`, and without it starts a private Ray on this
    machine, which ends with the pool. `lineage`: path of the lineage that this driver writes; a second driver of it on
    the same cluster gets LineageLocked. `samplers`: the settings of processes that only answer; `beside`: the learners
    whose Ray and lock those share; `more_cpus`: CPUs that a private Ray has for them. Raises ClusterError when Ray
    cannot be reached or started, WaitTimeout when the workers are not placed, or not ready, within `wait_seconds`.
    """

    def __init__(
        self,
        size: int,
        *,
        batch_rows: int,
        cpus_per_worker: float = 1,
        gpus_per_worker: float = 0,
        wait_seconds: float = 600,
        address: str | None = None,
        lineage: str | None = None,
        beside: "RayPool | None" = None,
        samplers: SamplerProcesses | None = None,
        more_cpus: float = 0,
    ) -> None:
        super().__init__()
        self.size = size
        self._beside = beside
        if beside is not None:
            self.role = "sampler"
        self.wait_seconds = wait_seconds
        self._each = {k: v for k, v in (("CPU", cpus_per_worker), ("GPU", gpus_per_worker)) if v}
        self._actors: list[Any] = []
        self._hosts: list[Any] = []
        self._lock: Any = None
        self._store, self._lineage = (str(PurePath(lineage).parent), PurePath(lineage).name) if lineage else ("", "")
        self._namespace = f"bootstrap {secrets.token_hex(8)}"
        self._num_hosted = 0
        self._num_killed = machine.num_killed()
        self._slice = min(BEAT_SECONDS, wait_seconds / 4)
        self._pulses = Pulses(self._namespace, size)
        self.places: list[tuple[int, str]] = []
        """Process id and node address of each worker."""
        self._initialised = False
        self._vital: Vital | None = None
        with ExitStack() as undo:
            undo.callback(self.close)
            if beside is not None:
                self._private, self._vital, self.telemetry = beside._private, beside._vital, beside.telemetry
            else:
                self._private, self._initialised = connect(address, cpus=size * cpus_per_worker + more_cpus)
                self._vital = Vital()
                if lineage is not None and not self._private:
                    self._take_lock(lineage)
                self.telemetry = RayTelemetry(store=self._store, lineage=self._lineage)
            if self._private:
                self._require_that_they_fit()
            self._each |= (place := place_of(self.role))
            self._actors = [
                self._actor(
                    WorkerActor, f"{self.role} {index}", cpus=cpus_per_worker, gpus=gpus_per_worker, place=place
                )
                for index in range(size)
            ]
            with self.telemetry.waiting("places for the workers"):
                self.places = self._await_placement()
            who, how = (self._store, self._lineage), (size, samplers, wait_seconds, self.shard)
            prepared = [
                WorkerCall(
                    ref=actor.prepare.remote(batch_rows, *who, index, *how, self._pulses.name(index), self._slice),
                    worker=index,
                    method="prepare",
                )
                for index, actor in enumerate(self._actors)
            ]
            self.wait(prepared, what="the start of the workers")
            if size > 1 and beside is None:
                self._introduce()
            undo.pop_all()

    def _actor(
        self, kind: type[Named], name: str, *, cpus: float, gpus: float, place: Mapping[str, float] | None = None
    ) -> Any:
        """Start an actor of this pool, named after the lineage; `place`: as of `place_of`."""
        name = f"{self._lineage} {name}" if self._lineage else name
        options = {
            "name": name,
            "namespace": self._namespace,
            "num_cpus": cpus,
            "num_gpus": gpus,
            "resources": dict(place or {}),
            "max_restarts": 0,
            "max_task_retries": 0,
            "runtime_env": {"env_vars": worker_environment()},
        }
        return ray.remote(kind).options(**options).remote(name)

    def _introduce(self) -> None:
        """Let the workers meet that train together: by a file on one machine, else at the first one's address."""
        addresses = {address for _, address in self.places}
        host = "" if len(addresses) == 1 else self.places[0][1]
        # The driver does not look at it, since that would import torch.
        meeting = self.start(0, "meet", host)
        joining = [
            self.start(worker, "join", meeting, self.wait_seconds, address)
            for worker, (_, address) in enumerate(self.places)
        ]
        self.wait(joining, what="the meeting of the workers")

    def start(self, worker: int, method: str, *args: Any) -> Any:
        self._require_ray(method)
        # Ray resolves references among top-level arguments from process to process, past the driver.
        plain = [argument.ref if isinstance(argument, WorkerCall) else argument for argument in args]
        call = self._actors[worker].call.options(name=task_name(method))
        return WorkerCall(ref=call.remote(method, *plain), worker=worker, method=method)

    def step(self, shards: Sequence[Batch], *, lr_factor: float, grad_clip: float) -> list[Any]:
        return [self.start(worker, "step", shard, lr_factor, grad_clip) for worker, shard in enumerate(shards)]

    def wait(self, handles: Sequence[Any], *, what: str) -> list[Any]:
        try:
            with self.telemetry.waiting(what):
                results = self._results(handles, what)
        except RayError as error:
            self._require_ray(what)
            raise self._translated(error, what, self._lowered(error, handles)) from error
        for call, result in zip(handles, results, strict=True):
            if isinstance(result, Told):
                self._heard(call.worker, result.shortages)
        if (failure := _cause(results)) is not None:
            raise failure
        return [checked(result) for result in results]

    def _results(self, calls: Sequence[WorkerCall], what: str) -> list[Any]:
        """Return the calls' results, once all are there.

        Raises WaitTimeout when a worker that others wait for makes no progress in `wait_seconds`.
        """
        moved = dict.fromkeys(range(self.size), time.monotonic())
        looked = set[int]()
        while True:
            left = min(moved.values()) + self.wait_seconds - time.monotonic()
            self._require_ray(what)
            try:
                return ray.get(
                    [call.ref for call in calls], timeout=max(min(self._slice, self.wait_seconds, left), 0.05)
                )
            except GetTimeoutError:
                # What follows asks the GCS, which Ray waits for longer than this pool does.
                self._require_ray(what)
            waiting, now = late(calls), time.monotonic()
            # Those that train together may wait for one that has failed.
            ended = [call.ref for call in calls if self._is_together(call) and call not in waiting]
            if (failure := _cause(ray.get(ended))) is not None:
                raise failure
            busy = {call.worker for call in waiting}
            # The first look at a worker says where its count stands, which may be old.
            alive = self._pulses.moved(sorted(busy)) & looked
            # Who trains waits for the others, without progress of its own.
            together = {call.worker for call in waiting if self._is_together(call)}
            moved |= dict.fromkeys(alive | together if alive & together else alive, now)
            moved |= dict.fromkeys(moved.keys() - busy, now)
            if self.asked and busy <= looked:
                self.on_answers(min(self._pulses.answered(), self.asked), self.asked)
            looked |= busy
            still = [call for call in waiting if now - moved[call.worker] >= self.wait_seconds]
            if still:
                raise WaitTimeout(self._overdue(still, what))

    def _is_together(self, call: WorkerCall) -> bool:
        """Whether the workers of such a call wait for each other."""
        return call.method == "step"

    def share(self, value: Any) -> Any:
        self._require_ray("sharing data with the workers")
        return ray.put(value)

    def host(self, settings: verifiers.Verifier) -> Verifier:
        """Return a verifier in its own process, with a worker's share of a GPU.

        It gets no CPU, because the workers wait while it judges. The folders it names must exist on its node. Raises
        VerifierError when its model cannot be loaded there, ClusterError when a private Ray can never place it,
        WaitTimeout when it is not placed and loaded within `wait_seconds`.
        """
        gpus = self._each.get("GPU", 0)
        if self._private and ray.available_resources().get("GPU", 0) < gpus:
            raise ClusterError(
                f"verifier {settings.type} needs {gpus:g} GPU beside the workers', and this machine has "
                f"{ray.available_resources().get('GPU', 0):g} left; lower resources.workers or "
                "resources.gpus_per_worker, or submit to a cluster that has more"
            )
        actor = self._actor(VerifierActor, f"verifier {self._num_hosted} {settings.type}", cpus=0, gpus=gpus)
        self._num_hosted += 1
        self._hosts.append(actor)
        with ExitStack() as undo:
            undo.callback(self._dismiss, actor)
            found = self._hosted(actor.prepare.remote(settings), what=f"the start of verifier {settings.type}")
            undo.pop_all()
        name, version, judges = found
        return _HostedVerifier(self, actor, name, version, judges)

    def _hosted(self, ref: Any, *, what: str) -> Any:
        """Return the result of a hosted verifier's call."""
        began = datetime.now(UTC)
        try:
            with self.telemetry.waiting(what):
                result = ray.get(ref, timeout=self.wait_seconds)
        except GetTimeoutError:
            raise WaitTimeout(
                f"waited {self.wait_seconds:g} s for {what}, asked at {clock(began)} ({self._supply()}; a hosted "
                "verifier asks for as much of a GPU as a worker). Free or add what is missing, lower "
                f"resources.workers, or raise resources.wait_seconds; then {REMEDY}"
            ) from None
        except RayError as error:
            raise self._translated(error, what) from error
        return checked(result)

    def _dismiss(self, actor: Any) -> None:
        """End a hosted verifier's process."""
        if actor in self._hosts:
            self._hosts.remove(actor)
            self._kill(actor)

    def release(self) -> None:
        for actor in (*self._actors, *self._hosts):
            self._kill(actor)
        self._actors, self._hosts = [], []

    def close(self) -> None:
        """End the workers; leave the cluster if this pool joined it, or end a private Ray. May be repeated."""
        self.release()
        if self._lock is not None:
            self._kill(self._lock)
            self._lock = None
        if self._beside is None:
            self.telemetry.close()
        self.telemetry = Telemetry()
        if (self._initialised or self._beside is not None) and self._vital is not None and not self._is_dead():
            self._pulses.forget()
        if self._initialised:
            self._initialised = False
            ray.shutdown()
        if self._vital is not None and self._beside is None:
            self._vital.close()
        self._vital = None

    def _kill(self, actor: Any) -> None:
        """End an actor, unless its Ray is dead, and it with that."""
        if not self._is_dead():
            ray.kill(actor)

    def _is_dead(self) -> bool:
        return self._vital is not None and bool(self._vital.dead())

    def _require_ray(self, what: str) -> None:
        """Raise ClusterError if a process of Ray's that this driver lives by is dead."""
        assert self._vital is not None, "the pool is closed"
        self._vital.require(what, remedy=REMEDY.capitalize())

    def _take_lock(self, lineage: str) -> None:
        """Hold the lineage on the whole cluster. Raises LineageLocked, naming the owner."""
        name = f"lineage {lineage}"
        owner = f"process {os.getpid()} on host {socket.gethostname()} since {clock(datetime.now(UTC))}"
        try:
            self._lock = ray.remote(LockActor).options(name=name, namespace=LOCK_NAMESPACE, num_cpus=0).remote(owner)
        except ActorAlreadyExistsError:
            try:
                holder = ray.get_actor(name, namespace=LOCK_NAMESPACE)
                owner = str(ray.get(holder.owner.remote(), timeout=_OWNER_SECONDS))
            except (ValueError, GetTimeoutError, RayActorError):
                owner = "a driver that is just starting or ending"
            raise LineageLocked(
                f"another driver on this cluster writes the lineage {lineage}: {owner}. Wait until it ends, or stop it "
                "(what it has finished is kept), or start a lineage of your own with --lineage NAME",
                owner=owner,
            ) from None

    def _require_that_they_fit(self) -> None:
        """Raise ClusterError for workers that a private Ray can never place, since no other machine joins it."""
        total = ray.cluster_resources()
        for name, each in self._each.items():
            if each * self.size > total.get(name, 0):
                raise ClusterError(
                    f"{self.size} worker(s) with {each:g} {name} each do not fit on this machine, which has "
                    f"{total.get(name, 0):g} {name}; lower resources.workers or resources.{name.lower()}s_per_worker, "
                    "or submit to a cluster that has them"
                )

    def _await_placement(self) -> list[tuple[int, str]]:
        """Return every worker's process id and node address; logs meanwhile what it waits for."""
        refs = [actor.place.remote() for actor in self._actors]
        start = time.monotonic()
        while True:
            left = start + self.wait_seconds - time.monotonic()
            ready, absent = ray.wait(refs, num_returns=len(refs), timeout=max(0.0, min(_NOTICE_SECONDS, left)))
            if not absent:
                break
            failed = first_error(ready)
            if failed is not None:
                raise self._translated(failed, "the start of the workers") from failed
            missing = ", ".join(str(index) for index, ref in enumerate(refs) if ref in absent)
            waited = time.monotonic() - start
            state = f"{self.role}(s) {missing} of {self.size} are not placed after {waited:.0f} s: {self._supply()}"
            if waited >= self.wait_seconds:
                raise WaitTimeout(
                    f"{state}; free or add what is missing, lower {self._setting}, or raise resources.wait_seconds"
                )
            _log.warning("%s; waiting up to %.0f s", state, self.wait_seconds)
        try:
            return ray.get(refs)
        except RayError as error:
            raise self._translated(error, "the start of the workers") from error

    @property
    def _setting(self) -> str:
        """The setting that says how many of these processes there are."""
        return "resources.workers" if self._beside is None else "resources.samplers.processes"

    def _supply(self) -> str:
        """Return in words what the workers ask for and what the cluster has."""
        total, free = ray.cluster_resources(), ray.available_resources()
        rows = [
            f"{each * self.size:g} {name} ({free.get(name, 0):g} free of {total.get(name, 0):g})"
            for name, each in self._each.items()
        ]
        return "they ask for " + (" and ".join(rows) or "nothing that Ray counts")

    def _overdue(self, calls: Sequence[WorkerCall], what: str) -> str:
        """Return in words which calls make no progress."""
        rows = "; ".join(
            f"{self._named(call.worker)} has not answered `{call.method}`, asked at {clock(call.began)}"
            for call in sorted(calls, key=lambda call: call.worker)
        )
        lost = cut_off(self.places[call.worker][1] for call in calls if call.worker < len(self.places))
        return (
            f"waited {self.wait_seconds:g} s for {what} without a sign of progress: {rows} ({self._supply()}){lost}. "
            f"If a single pass takes that long, raise resources.wait_seconds; then {REMEDY}"
        )

    def _lowered(self, error: RayError, calls: Sequence[WorkerCall]) -> str:
        """Halve the limit that a worker went by whose process was ended for lack of memory; return it in words.

        The next run begins with it. Empty where memory is not known to be the cause, or nothing can be halved.
        """
        is_known = isinstance(error, OutOfMemoryError) or "low on memory" in str(error)
        if not is_known and machine.num_killed() == self._num_killed:
            return ""
        kinds = {_KINDS[call.method] for call in calls if call.method in _KINDS}
        who = self._who(error)
        for worker in range(self.size) if who is None else (who,):
            for tried in self._pulses.largest(worker):
                if tried.kind in kinds and tried.used > 1:
                    self.limits = self.limits.halve(tried)
                    self.on_shortage(worker, tried)
                    return f". {tried.halved()[0].upper()}{tried.halved()[1:]}"
        return ""

    def _who(self, error: RayError) -> int | None:
        """Return the worker whose process has ended; None where the error does not tell."""
        found = getattr(error, "actor_id", None)
        return next((i for i, actor in enumerate(self._actors) if actor._actor_id.hex() == found), None)

    def _translated(self, error: RayError, what: str, lowered: str = "") -> BaseException:
        """Return the error of this program that stands for one of Ray's; `lowered`: what was done about it."""
        match error:
            case RayActorError():
                who = self._who(error)
                subject = "a worker" if who is None else self._named(who)
                told = f"{subject} died during {what}: {cause_of_death(error)}"
            case RayTaskError(cause=Exception() as cause):
                # A defect of this program, not a failure of a process: it keeps its type, as it does without Ray.
                return cause
            case OutOfMemoryError():
                told = f"a worker ran out of memory during {what}; lower resources.rollout_rows, "
                told += "resources.train_tokens or resources.workers"
            case ObjectLostError():
                told = f"a worker's result was lost during {what}: {first_line(error)}"
            case _:
                told = f"a worker failed during {what}: {last_line(error)}"
        return WorkerError(f"{told}{lowered}. {REMEDY.capitalize()}")

    def _named(self, worker: int) -> str:
        if worker >= len(self.places):
            return f"{self.role} {worker}"
        process, node = self.places[worker]
        return f"{self.role} {worker} (process {process} on node {node})"


def _cause(results: Sequence[Any]) -> BootstrapError | None:
    """Return the error among results to raise; None where no failure but of those that another's left waiting."""
    errors = [result.error for result in results if isinstance(result, Failure)]
    return next((error for error in errors if not isinstance(error, PeerFailed)), None)
