"""Several workers that act as one model, in both roles; the process that drives them never imports torch.

    driver --- generate(shard) ---> worker 0..N-1 ---> rollouts ---> driver        (driver waits for all)
    driver --- step(shard) -------> worker 0..N-1 <--> each other: gradients, new weights (driver waits for all)

`Pool` holds the sharding, so that `LocalPool` (in-process, for tests and debugging) and the Ray pool differ only in how
a call reaches a worker. What a worker does with a call is `worker.py`'s; placement of processes is `cluster`'s.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, TypeVar

from bootstrap.compute import ModelShape
from bootstrap.config import verifiers
from bootstrap.config.algorithms import ValueHead
from bootstrap.config.base_model import ScratchModel
from bootstrap.config.optimizers import Optimizer
from bootstrap.config.resources import SamplerProcesses
from bootstrap.config.training import Training
from bootstrap.errors import FingerprintMismatch, MissingRollout, RecipeError
from bootstrap.learner_records import Divergence, TokenScores, UpdateMetrics, Version
from bootstrap.memory import Device, MemoryLimits, Shortage
from bootstrap.records import Batch, Checkpoint, Example, Request, Rollout, Sampling
from bootstrap.scoring.verifier import Verifier, build_verifier
from bootstrap.store.model_folder import of_store
from bootstrap.store.shards import joined
from bootstrap.telemetry import Telemetry

OPTIMIZER_STATE = "optimizer.safetensors"
"""File of `training_state` where each learner holds the whole model."""
_Found = TypeVar("_Found")
STAGE: ContextVar[str] = ContextVar("stage", default="")
"""What the driver's calls are for, set by the clock of that stage; a label for whoever watches, never an input."""


class Pool(ABC):
    """N workers that act as one model; subclasses say how a call reaches a worker."""

    size: int
    shard: int = 1
    """Workers that hold one copy of the model together."""
    shares_disk: bool = False
    """Whether the workers see the driver's files under the same paths."""
    asked: int = 0
    """Answers that the call of `generate` at work asks for; 0 between calls."""
    holding: str | None = None
    """Fingerprint of the weights that all workers hold; None while they are being trained."""
    provided: str | None = None
    """Fingerprint of the base under adapters, once all workers hold it."""
    source: "Pool | None" = None
    """The learners whose weights these workers take; None for workers that train them themselves."""
    role = "worker"
    """What one of them is called."""
    telemetry: Telemetry = Telemetry()
    """Where the run's figures go."""
    limits: MemoryLimits = MemoryLimits()
    """Limits of memory that all workers have."""

    def __init__(self) -> None:
        self.on_shortage: Callable[[int, Shortage], None] = lambda worker, shortage: None
        """Called when memory runs out in a worker; whoever runs the lineage replaces it."""
        self.on_answers: Callable[[int, int], None] = lambda done, total: None
        """Called with how many of a long call's answers are finished, about, and how many it asks for."""

    @abstractmethod
    def start(self, worker: int, method: str, *args: Any) -> Any:
        """Begin a call on one worker and return its handle; arguments may be handles, and what `share` returned."""

    @abstractmethod
    def wait(self, handles: Sequence[Any], *, what: str) -> list[Any]:
        """Return the results of calls; raises WaitTimeout naming `what`, WorkerError when a worker died."""

    @abstractmethod
    def share(self, value: Any) -> Any:
        """Put a value where every worker can read it, and return its handle."""

    def release(self) -> None:
        """Let the workers and their memory go; `telemetry` works until `close`. May be repeated."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Let the workers go; the pool is of no use afterwards."""

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def broadcast(self, method: str, *args: Any) -> list[Any]:
        """Call a method on every worker with the same arguments and return all results."""
        shared = [self.share(a) if isinstance(a, Mapping | bytes) else a for a in args]
        return self.wait([self.start(w, method, *shared) for w in range(self.size)], what=method)

    def sent(self, files: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Return a model's files as they travel to the workers: as bytes, unless these find them on their own disk."""
        return files if self.shares_disk else dict(files)

    def configure(self, training: Training) -> Training:
        """Configure every worker, before any weights, and return the settings with `auto` resolved.

        Precision `auto` is bf16 where all workers have instructions for it, else fp32: they act as one model.
        """
        if training.precision == "auto":
            precision = "bf16" if all(self.broadcast("has_bf16")) else "fp32"
            training = training.model_copy(update={"precision": precision})
        self.broadcast("configure", training)
        return training

    def free_memory(self) -> list[tuple[str, int]]:
        """Return each worker's device, and bytes that may be taken of it."""
        return self.broadcast("free_memory")

    def memory(self, beside: Sequence[tuple[str, int]] = ()) -> int:
        """Return bytes that each worker may take: of each device the same share for all processes on it.

        `beside`: `free_memory` of others that share the devices.
        """
        found = self.free_memory()
        sharing = Counter(device for device, _ in (*found, *beside))
        return min(size // sharing[device] for device, size in found)

    def device(self) -> Device:
        """Return the kinds of devices that hold the workers' models, and the least memory of one."""
        found = self.broadcast("device_memory")
        kinds = sorted({device.kind for device in found})
        return Device(kind=", ".join(kinds), memory=min(device.memory for device in found))

    def limit(self, limits: MemoryLimits) -> None:
        """Give every worker these limits."""
        self.limits = limits
        self.broadcast("limit", limits)

    def _heard(self, worker: int, shortages: Iterable[Shortage]) -> None:
        """Give all workers the limits that a worker has lowered, before their next call."""
        for shortage in shortages:
            self.limits = self.limits.halve(shortage)
            for other in range(self.size):
                self.start(other, "lower", self.limits)
            self.on_shortage(worker, shortage)

    def provide(self, base: Checkpoint) -> None:
        """Load a whole model into every worker as the base of adapters, which then travel without it.

        Raises FingerprintMismatch when its weights are not those of its fingerprint.
        """
        if self.provided != base.fingerprint:
            with of_store(base.stored):
                self.broadcast("provide", self.sent(base.files), base.fingerprint)
            self.provided = base.fingerprint

    def adapt(self, *, seed: int) -> str:
        """Put the same fresh adapter over the base in every worker; return the fingerprint of both together."""
        assert self.provided is not None, "provide() comes before adapt()"
        self.holding = self._one(self.broadcast("adapt", self.provided, seed))
        return self.holding

    def shape(self) -> ModelShape:
        """Return the shape of the weights that the workers hold."""
        return self.wait([self.start(0, "shape_of_model")], what="the model's shape")[0]

    def build(self, settings: ScratchModel, characters: Sequence[str], *, seed: int) -> str:
        """Make the same fresh weights in every worker and return their fingerprint."""
        self.holding = self._one(self.broadcast("build", settings, characters, seed))
        return self.holding

    def hold(self, checkpoint: Checkpoint) -> None:
        """Load these weights into every worker that lacks them; raises FingerprintMismatch for wrong ones."""
        if self.holding != checkpoint.fingerprint:
            self.holding = None
            with of_store(checkpoint.stored):
                self.broadcast("load", self.sent(checkpoint.files), checkpoint.fingerprint)
            self.holding = checkpoint.fingerprint

    def load_unverified(self, files: Mapping[str, bytes], *, stored: str = "") -> str:
        """Load a model folder without a recorded fingerprint into every worker, and return its fingerprint.

        `stored`: as in a `Checkpoint`.
        """
        with of_store(stored):
            self.holding = self._one(self.broadcast("load", self.sent(files), None))
        return self.holding

    def _one(self, fingerprints: list[str]) -> str:
        if len(set(fingerprints)) != 1:
            raise FingerprintMismatch(
                f"workers hold different weights ({', '.join(f[:16] for f in fingerprints)}); "
                "they must run the same torch build on the same kind of processor"
            )
        return fingerprints[0]

    def load_frozen_sampler(self, checkpoint: Checkpoint) -> ModelShape:
        """Load a frozen sampler into every worker, for `generate`, and return its shape.

        Raises FingerprintMismatch when its weights are not those of its fingerprint.
        """
        with of_store(checkpoint.stored):
            return self.broadcast("load_frozen_sampler", self.sent(checkpoint.files), checkpoint.fingerprint)[0]

    def drop_frozen_sampler(self, fingerprint: str) -> None:
        """Drop a frozen sampler from every worker."""
        self.broadcast("drop_frozen_sampler", fingerprint)

    def host(self, settings: verifiers.Verifier) -> Verifier:
        """Return a verifier that holds a model, here in this process. Raises VerifierError without the model."""
        return build_verifier(settings)

    def generate(self, requests: Sequence[Request], sampling: Sampling, *, by: str | None = None) -> list[Rollout]:
        """Return one rollout per request, in order; all must come from the same weights.

        `by`: fingerprint of a frozen sampler that answers instead of the weights in training. A group stays on one
        worker, so that its prompt is run once; workers get about as many requests each. Raises MissingRollout.
        """
        shards = _split_groups(requests, self.size)
        handles = [self.start(w, "generate", shard, sampling, by) for w, shard in enumerate(shards) if shard]
        self.asked = len(requests)
        try:
            rollouts = [r for part in self.wait(handles, what="rollouts") for r in part]
        finally:
            self.asked = 0
        found = self._one(list({r.policy for r in rollouts}) or [""])
        if rollouts and by is None and self.holding is not None and found != self.holding:
            raise FingerprintMismatch(
                f"{self.role}s answered with weights {found[:16]}, the plan names {self.holding[:16]}"
            )
        return _in_order([request.id for request in requests], {r.id: r for r in rollouts}, what="rollouts")

    def recompute_logprobs(self, examples: Sequence[Example], *, temperature: float) -> list[TokenScores]:
        """Return token scores of each example's completion by the weights in training, in the examples' order.

        Raises MissingRollout.
        """
        handles = [self.start(w, "recompute_logprobs", shard, temperature) for w, shard in self._dealt(examples)]
        token_scores = {r.source: r for part in self.wait(handles, what="token scores") for r in part}
        return _in_order([example.source for example in examples], token_scores, what="token scores")

    def _dealt(self, examples: Sequence[Example]) -> list[tuple[int, list[Example]]]:
        """Return the workers that get some of the examples, each with its shard."""
        return [(w, shard) for w, shard in enumerate(split_examples(examples, self.size)) if shard]

    def divergence(self, examples: Sequence[Example], *, to: Checkpoint) -> Divergence:
        """Return the divergence of the weights held from others of the same vocabulary on these completions.

        The workers' teachers are dropped. Raises FingerprintMismatch when the others do not have their fingerprint.
        """
        self.teach_by([to])
        handles = [self.start(w, "divergence", shard, to.fingerprint) for w, shard in self._dealt(examples)]
        parts = self.wait(handles, what="divergence")
        self.teach_by([])
        return Divergence(
            nats=sum(part.nats for part in parts),
            num_tokens=sum(part.num_tokens for part in parts),
            flops=sum(part.flops for part in parts),
        )

    def teach_by(self, teachers: Sequence[Checkpoint]) -> None:
        """Load these frozen models for the `kl` stream and KL terms into every worker, and drop all others.

        Raises FingerprintMismatch when weights are not those of their fingerprint, and what `Worker.load_teacher` does.
        """
        self.broadcast("drop_teachers")
        for checkpoint in teachers:
            with of_store(checkpoint.stored):
                self.broadcast("load_teacher", self.sent(checkpoint.files), checkpoint.fingerprint)

    def begin(self, optimizer: Optimizer, critic: ValueHead | None = None) -> None:
        """Start a training step with a fresh optimizer and, if given, a fresh critic."""
        self.broadcast("begin", optimizer, critic)

    def restore(
        self,
        files: Mapping[str, bytes],
        state: Mapping[str, bytes],
        optimizer: Optimizer,
        critic: ValueHead | None,
        *,
        stored: str = "",
    ) -> str:
        """Go on with a training step from its weights and `training_state`; return the weights' fingerprint.

        `stored`: as in a `Checkpoint`. Raises RecipeError for the state of learners that shared the model otherwise.
        """
        self._require_own(state, stored)
        fingerprint = self.load_unverified(files, stored=stored)
        self.begin(optimizer, critic)
        self._restore(state)
        return fingerprint

    def _require_own(self, state: Mapping[str, bytes], stored: str) -> None:
        if OPTIMIZER_STATE not in state:
            raise RecipeError(
                f"{stored or 'the state'} is of learners that shared one model; set resources.shard above 1 to go on "
                "from it, or remove that folder to begin the training step anew"
            )

    def _restore(self, state: Mapping[str, bytes]) -> None:
        self.broadcast("restore", state[OPTIMIZER_STATE])

    def abandon(self) -> None:
        """Forget the weights held, which are of updates that are undone."""
        self.holding = None

    def publish(self) -> Version:
        """Return the weights as they are, once all workers hold the same. Raises FingerprintMismatch."""
        if self.holding is None:
            self.holding = self._one(self.broadcast("fingerprint"))
        return Version(self.holding)

    def published(self) -> Any:
        """Return a handle of the current weights for samplers, once it is sure that they come; or the weights."""
        published = self.start(0, "export")
        # Calls of one process run in order: this waits for the export where its failure is known, without its bytes.
        self.wait([self.start(0, "fingerprint")], what="weights for the samplers")
        return published

    def take(self, version: Version) -> None:
        """Answer with these weights from here on. Raises FingerprintMismatch when others arrive.

        They come from the first learner, past the driver; workers in both roles hold them already.
        """
        if self.holding == version.fingerprint:
            return
        assert self.source is not None, "workers in both roles hold the weights in training"
        self.holding = None
        published = self.source.published()
        self.wait([self.start(w, "renew", published, version.fingerprint) for w in range(self.size)], what="weights")
        self.holding = version.fingerprint

    def update(self, batch: Batch, *, lr_factor: float, grad_clip: float) -> Any:
        """Begin one optimizer update over the whole batch and return a handle for `metrics`.

        Calls to one worker run in order, so the driver may prepare the next batch meanwhile.
        """
        self.holding = None
        shards = [replace(batch, examples=shard) for shard in split_examples(batch.examples, self.size)]
        return self.step(shards, lr_factor=lr_factor, grad_clip=grad_clip)

    @abstractmethod
    def step(self, shards: Sequence[Batch], *, lr_factor: float, grad_clip: float) -> list[Any]:
        """Begin one update of all workers, each with its shard, and return the handles."""

    def metrics(self, update: Any) -> UpdateMetrics:
        """Wait for an update and return its metrics."""
        return self.wait(update, what="update")[0]

    def merge(
        self,
        models: Sequence[Checkpoint],
        *,
        method: str,
        weights: Sequence[float],
        density: float,
        onto: Checkpoint | None,
    ) -> Checkpoint:
        """Return the merged model (`training/merge.py`), made by the first worker beside the weights it holds."""
        files = [
            self.share(self.sent(checkpoint.files)) for checkpoint in (*models, *([onto] if onto is not None else []))
        ]
        handle = self.start(0, "merge", method, tuple(weights), density, onto is not None, *files)
        return self.wait([handle], what="merged weights")[0]

    def export(self) -> Checkpoint:
        """Return the current weights, from the first worker."""
        return self.wait([self.start(0, "export")], what="export")[0]

    def training_state(self) -> tuple[Checkpoint, Mapping[str, bytes]]:
        """Return the weights, once all workers hold the same, and the files of the optimizer's state."""
        # The other workers vouch for what the first one exports, so it hashes its own weights only where it is alone.
        vouching = [self.start(w, "fingerprint") for w in range(min(1, self.size - 1), self.size)]
        owned = [self.start(worker, "optimizer_state") for worker in range(self.size)]
        found = self.wait([*vouching, self.start(0, "export"), *owned], what="checkpoint")
        fingerprints, checkpoint, states = found[: -self.size - 1], found[-self.size - 1], found[-self.size :]
        self.holding = self._one([*fingerprints, checkpoint.fingerprint])
        state = joined([(f"worker {worker}", state) for worker, state in enumerate(states)])
        return checkpoint, {OPTIMIZER_STATE: state}

    def prove(self, fingerprint: str) -> None:
        """Hash the weights of every worker anew. Raises FingerprintMismatch, naming each that holds others."""
        found = enumerate(self.broadcast("changed", fingerprint))
        if others := [f"{self.role} {number} {told}" for number, told in found if told]:
            self.holding = None
            raise FingerprintMismatch(
                f"weights have changed in memory since they were loaded as {fingerprint[:16]}: {', '.join(others)}. "
                "What they answered is not kept. Run the same command again, which loads the stored weights and goes "
                "on rightly; if it comes back, test that machine's memory"
            )

    def benchmark(self, seconds: float) -> dict[str, float]:
        """Return the workers' rates (`Worker.benchmark`) summed, measured while all work."""
        results = self.broadcast("benchmark", seconds)
        return {name: sum(r[name] for r in results) for name in results[0]}


def make_worker(
    rank: int,
    *,
    size: int,
    batch_rows: int,
    samplers: SamplerProcesses | None = None,
    wait_seconds: float = 600,
    shard: int = 1,
) -> Any:
    """Return the model of one of `size` processes, or with `shard` above 1 its part of it.

    `samplers`: the settings of processes that only answer.
    """
    # Here and not at the top, so that drivers of workers in other processes stay free of torch.
    if samplers is not None and samplers.engine == "vllm":
        from bootstrap.vllm_worker import VllmWorker

        return VllmWorker(batch_rows=batch_rows, cache_gib=samplers.cache_gib, wait_seconds=wait_seconds)
    if shard > 1:
        from bootstrap.sharded_worker import ShardedWorker

        return ShardedWorker(batch_rows=batch_rows, rank=rank, num_ranks=size, shard=shard, wait_seconds=wait_seconds)
    from bootstrap.worker import Worker

    return Worker(batch_rows=batch_rows, rank=rank, num_ranks=size)


class LocalPool(Pool):
    """Workers in this process, called one after the other: slower than processes, and easy to debug.

    `samplers`: the settings of workers that only answer.
    """

    def __init__(self, size: int, *, batch_rows: int, samplers: SamplerProcesses | None = None) -> None:
        super().__init__()
        self.size = size
        self.workers = [make_worker(w, size=size, batch_rows=batch_rows, samplers=samplers) for w in range(size)]

    def start(self, worker: int, method: str, *args: Any) -> Any:
        return getattr(self.workers[worker], method)(*args)

    def wait(self, handles: Sequence[Any], *, what: str) -> list[Any]:
        for index, worker in enumerate(self.workers):
            if worker.bounds.shortages:
                self._heard(index, worker.take_shortages())
        return list(handles)

    def step(self, shards: Sequence[Batch], *, lr_factor: float, grad_clip: float) -> list[Any]:
        from bootstrap.training.group import together

        gradients = [self.start(worker, "gradient", shard) for worker, shard in enumerate(shards)]
        steps = [self.start(w, "apply", gradient, lr_factor, grad_clip) for w, gradient in enumerate(gradients)]
        return together(steps)

    def share(self, value: Any) -> Any:
        return value

    def close(self) -> None:
        self.workers.clear()


def _in_order(names: Sequence[str], found: Mapping[str, _Found], *, what: str) -> list[_Found]:
    """Return what was found for each name. Raises MissingRollout for names that nothing was found for."""
    if lost := [name for name in names if name not in found]:
        raise MissingRollout(
            f"the workers returned no {what} for {len(lost)} of {len(names)} sequences, as {lost[0]}; run the same "
            "command again: it continues from the last checkpoint"
        )
    return [found[name] for name in names]


def _split_groups(requests: Sequence[Request], count: int) -> list[list[Request]]:
    """Deal whole groups (requests of one prompt) to `count` shards, longest prompt first, to the smallest shard."""
    groups: dict[str, list[Request]] = {}
    for request in requests:
        groups.setdefault(request.prompt.id, []).append(request)
    shards: list[list[Request]] = [[] for _ in range(count)]
    for group in sorted(groups.values(), key=lambda g: -len(g[0].prompt.text)):
        min(shards, key=len).extend(group)
    return shards


def split_examples(examples: Sequence[Example], count: int) -> list[list[Example]]:
    """Deal examples to `count` shards of nearly equal length in total: longest first, snake order."""
    if count == 1:
        return [list(examples)]
    shards: list[list[Example]] = [[] for _ in range(count)]
    order = sorted(range(len(examples)), key=lambda i: -len(examples[i].tokens))
    for place, index in enumerate(order):
        lap, seat = divmod(place, count)
        shards[seat if lap % 2 == 0 else count - 1 - seat].append(examples[index])
    return shards
