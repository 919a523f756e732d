"""Several workers that act as one model; the process that drives them never imports torch.

    driver --- generate(shard) ---> worker 0..N-1 ---> rollouts ---> driver        (driver waits for all)
    driver --- gradient(shard) ---> worker 0..N-1 --+
                                                    |  every worker receives every gradient
               apply(gradients) --> worker 0..N-1 <-+  and takes the same step     (driver waits for worker 0's metrics)

`Pool` holds the sharding, so that `LocalPool` (in-process, for tests and debugging) and the Ray pool differ only in how
a call reaches a worker. What a worker does with a call is `worker.py`'s; placement of processes is `cluster`'s.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from bootstrap.compute import ModelShape
from bootstrap.config import verifiers
from bootstrap.config.base_model import ScratchModel
from bootstrap.config.training import Training
from bootstrap.errors import FingerprintMismatch
from bootstrap.learner_records import Divergence, TokenScores, UpdateMetrics
from bootstrap.records import Batch, Checkpoint, Example, Request, Rollout, Sampling
from bootstrap.scoring.verifier import Verifier, build_verifier
from bootstrap.telemetry import Telemetry

STAGE: ContextVar[str] = ContextVar("stage", default="")
"""What the driver's calls are for, set by the clock of that stage; a label for whoever watches, never an input."""


class Pool(ABC):
    """N workers that act as one model. Subclasses say how a call reaches a worker; see the module's diagram."""

    size: int
    holding: str | None = None
    """Fingerprint of the weights that all workers hold; None while they are being trained."""
    provided: str | None = None
    """Fingerprint of the base that adapters rest upon, once all workers hold it."""
    telemetry: Telemetry = Telemetry()
    """Where the run's figures go."""

    @abstractmethod
    def start(self, worker: int, method: str, *args: Any) -> Any:
        """Begin a call on one worker and return a handle; arguments may be handles of earlier calls."""

    @abstractmethod
    def wait(self, handles: Sequence[Any], *, what: str) -> list[Any]:
        """Return the results of calls; raises WaitTimeout naming `what`, WorkerError when a worker died."""

    @abstractmethod
    def share(self, value: Any) -> Any:
        """Put a value where every worker can read it, and return a handle to pass as an argument."""

    def release(self) -> None:
        """Let the workers go, and what they hold; `telemetry` works on until `close`. May be repeated."""
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
        shared = [self.share(a) if isinstance(a, dict | bytes) else a for a in args]
        return self.wait([self.start(w, method, *shared) for w in range(self.size)], what=method)

    def configure(self, training: Training) -> Training:
        """Have every worker sample and learn as the recipe says, and return what that comes to; before any weights.

        Precision `auto` is bf16 where all of them have instructions for it, else fp32: one choice for all, since they
        act as one model.
        """
        if training.precision == "auto":
            precision = "bf16" if all(self.broadcast("has_bf16")) else "fp32"
            training = training.model_copy(update={"precision": precision})
        self.broadcast("configure", training)
        return training

    def provide(self, base: Checkpoint) -> None:
        """Have a whole model in every worker as the base of adapters, which travel without it from then on.

        Raises FingerprintMismatch when it is not what it claims to be.
        """
        if self.provided != base.fingerprint:
            self.broadcast("provide", dict(base.files), base.fingerprint)
            self.provided = base.fingerprint

    def adapt(self, *, seed: int) -> str:
        """Put the same fresh adapter over the provided base in every worker and return the fingerprint of both."""
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
        """Have these weights in every worker; raises FingerprintMismatch when they are not what they claim."""
        if self.holding != checkpoint.fingerprint:
            self.holding = None
            self.broadcast("load", dict(checkpoint.files), checkpoint.fingerprint)
            self.holding = checkpoint.fingerprint

    def load_unverified(self, files: Mapping[str, bytes]) -> str:
        """Load a model folder that has no recorded fingerprint yet, and return the one it has."""
        self.holding = self._one(self.broadcast("load", dict(files), None))
        return self.holding

    def _one(self, fingerprints: list[str]) -> str:
        if len(set(fingerprints)) != 1:
            raise FingerprintMismatch(
                f"workers hold different weights ({', '.join(f[:16] for f in fingerprints)}); "
                "they must run the same torch build on the same kind of processor"
            )
        return fingerprints[0]

    def load_frozen_sampler(self, checkpoint: Checkpoint) -> ModelShape:
        """Have these weights in every worker beside those in training, for `generate`; return their shape.

        Raises FingerprintMismatch when they are not what they claim.
        """
        return self.broadcast("load_frozen_sampler", dict(checkpoint.files), checkpoint.fingerprint)[0]

    def drop_frozen_sampler(self, fingerprint: str) -> None:
        """Forget a frozen sampler."""
        self.broadcast("drop_frozen_sampler", fingerprint)

    def host(self, settings: verifiers.Verifier) -> Verifier:
        """Return a verifier that holds a model; here it lives in this process.

        Raises VerifierError when the model cannot be had.
        """
        return build_verifier(settings)

    def generate(self, requests: Sequence[Request], sampling: Sampling, *, by: str | None = None) -> list[Rollout]:
        """Return one rollout per request, in order; all must come from the same weights.

        `by`: fingerprint of a frozen sampler that samples instead of the weights in training. Whole groups stay
        together, so that each prompt is run once. Shards are balanced by number of requests.
        """
        shards = _split_groups(requests, self.size)
        handles = [self.start(w, "generate", shard, sampling, by) for w, shard in enumerate(shards) if shard]
        rollouts = [r for part in self.wait(handles, what="rollouts") for r in part]
        self._one(list({r.policy for r in rollouts}) or [""])
        by_id = {r.id: r for r in rollouts}
        return [by_id[request.id] for request in requests]

    def recompute_logprobs(self, examples: Sequence[Example], *, temperature: float) -> list[TokenScores]:
        """Return what the weights under training say of each example's completion tokens, in order of the examples."""
        shards = _split_examples(examples, self.size)
        handles = [self.start(w, "recompute_logprobs", shard, temperature) for w, shard in enumerate(shards) if shard]
        token_scores = {r.source: r for part in self.wait(handles, what="token scores") for r in part}
        return [token_scores[example.source] for example in examples]

    def divergence(self, examples: Sequence[Example], *, to: Checkpoint) -> Divergence:
        """Return how far the weights held are from others of the same vocabulary on these completions.

        The teachers that workers held are gone afterwards. Raises FingerprintMismatch when the others are not what they
        claim.
        """
        self.broadcast("drop_teachers")
        self.broadcast("load_teacher", dict(to.files), to.fingerprint)
        shards = _split_examples(examples, self.size)
        handles = [self.start(w, "divergence", shard, to.fingerprint) for w, shard in enumerate(shards) if shard]
        parts = self.wait(handles, what="divergence")
        self.broadcast("drop_teachers")
        return Divergence(
            nats=sum(part.nats for part in parts),
            num_tokens=sum(part.num_tokens for part in parts),
            flops=sum(part.flops for part in parts),
        )

    def update(self, batch: Batch, *, lr_factor: float, grad_clip: float) -> Any:
        """Begin one optimizer update over the whole batch; `metrics` of the handle waits for it.

        Calls to one worker run in order, so the driver may prepare the next batch meanwhile.
        """
        self.holding = None
        gradients = [
            self.start(w, "gradient", replace(batch, examples=shard))
            for w, shard in enumerate(_split_examples(batch.examples, self.size))
        ]
        return [self.start(w, "apply", lr_factor, grad_clip, *gradients) for w in range(self.size)]

    def metrics(self, update: Any) -> UpdateMetrics:
        """Wait for an update and return what it reports."""
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
        """Return what models make together (`training/merge.py`), by the first worker; those it holds stay."""
        files = [self.share(dict(checkpoint.files)) for checkpoint in (*models, *([onto] if onto is not None else []))]
        handle = self.start(0, "merge", method, tuple(weights), density, onto is not None, *files)
        return self.wait([handle], what="merged weights")[0]

    def export(self) -> Checkpoint:
        """Return the current weights, from the first worker."""
        return self.wait([self.start(0, "export")], what="export")[0]

    def training_state(self) -> tuple[Checkpoint, bytes]:
        """Return weights and optimizer state, from the first worker, after proof that all are alike."""
        self.holding = self._one(self.broadcast("fingerprint"))
        checkpoint, state = self.wait([self.start(0, "export"), self.start(0, "optimizer_state")], what="checkpoint")
        return checkpoint, state

    def benchmark(self, seconds: float) -> dict[str, float]:
        """Return the bound of all workers together, measured while all of them work."""
        results = self.broadcast("benchmark", seconds)
        return {name: sum(r[name] for r in results) for name in results[0]}


class LocalPool(Pool):
    """Workers in this process, called one after the other: slower than processes, and easy to debug."""

    def __init__(self, size: int, *, batch_rows: int) -> None:
        # Here and not at the top, so that drivers of workers in other processes stay free of torch.
        from bootstrap.worker import Worker

        self.size = size
        self.workers = [Worker(batch_rows=batch_rows) for _ in range(size)]

    def start(self, worker: int, method: str, *args: Any) -> Any:
        return getattr(self.workers[worker], method)(*args)

    def wait(self, handles: Sequence[Any], *, what: str) -> list[Any]:
        return list(handles)

    def share(self, value: Any) -> Any:
        return value

    def close(self) -> None:
        self.workers.clear()


def _split_groups(requests: Sequence[Request], count: int) -> list[list[Request]]:
    """Deal whole groups (requests with one prompt) to `count` shards, the shard with the fewest requests first."""
    groups: dict[str, list[Request]] = {}
    for request in requests:
        groups.setdefault(request.prompt.id, []).append(request)
    shards: list[list[Request]] = [[] for _ in range(count)]
    for group in sorted(groups.values(), key=lambda g: -len(g[0].prompt.text)):
        min(shards, key=len).extend(group)
    return shards


def _split_examples(examples: Sequence[Example], count: int) -> list[list[Example]]:
    """Deal examples to `count` shards of nearly equal length in total: longest first, snake order."""
    if count == 1:
        return [list(examples)]
    shards: list[list[Example]] = [[] for _ in range(count)]
    order = sorted(range(len(examples)), key=lambda i: -len(examples[i].tokens))
    for place, index in enumerate(order):
        lap, seat = divmod(place, count)
        shards[seat if lap % 2 == 0 else count - 1 - seat].append(examples[index])
    return shards
