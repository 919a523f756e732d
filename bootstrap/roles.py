"""What the stages may ask of a model at work: learners train its weights, samplers answer with them.

    learners   hold(start) -> begin -> update, update, ... -> publish -> Version
    samplers   take(Version) -> generate;  hold(stored weights) -> generate

A stage knows which weights it wants, never where they lie or how they travel. On one machine a pool holds both roles in
the same processes (`colocated`), and taking a version copies nothing. Left out: how work is dealt out (`pool.py`), and
what a process does with a call (`worker.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bootstrap.compute import ModelShape
from bootstrap.config import verifiers
from bootstrap.config.algorithms import ValueHead
from bootstrap.config.base_model import ScratchModel
from bootstrap.config.optimizers import Optimizer
from bootstrap.config.training import Training
from bootstrap.learner_records import Divergence, TokenScores, UpdateMetrics, Version
from bootstrap.memory import Device, MemoryLimits, Shortage
from bootstrap.pool import Pool
from bootstrap.records import Batch, Checkpoint, Example, Request, Rollout, Sampling
from bootstrap.scoring.verifier import Verifier
from bootstrap.telemetry import Telemetry


class Holders(Protocol):
    """Processes that hold the same weights, in either role."""

    size: int
    """How many processes they are."""
    limits: MemoryLimits
    """Limits of memory that all of them have."""
    telemetry: Telemetry
    """Where the run's figures go."""
    on_shortage: Callable[[int, Shortage], None]
    """Called with the process and its shortage when memory runs out in one."""

    def configure(self, training: Training) -> Training:
        """Take the recipe's settings, before any weights, and return them with `auto` resolved."""
        ...

    def free_memory(self) -> list[tuple[str, int]]:
        """Return each process's device, and bytes that may be taken of it."""
        ...

    def memory(self, beside: Sequence[tuple[str, int]] = ()) -> int:
        """Return bytes that each process may take; `beside`: `free_memory` of others on the same devices."""
        ...

    def device(self) -> Device:
        """Return the kinds of devices that hold the models, and the least memory of one."""
        ...

    def limit(self, limits: MemoryLimits) -> None:
        """Give every process these limits."""
        ...

    @property
    def provided(self) -> str | None:
        """Fingerprint of the base under adapters, once all hold it."""
        ...

    def provide(self, base: Checkpoint) -> None:
        """Hold a whole model as the base of adapters, which then travel without it. Raises FingerprintMismatch."""
        ...

    def hold(self, checkpoint: Checkpoint) -> None:
        """Hold these weights in every process. Raises FingerprintMismatch for wrong ones."""
        ...

    def abandon(self) -> None:
        """Forget which weights are held: of updates that are undone, or in doubt."""
        ...

    def shape(self) -> ModelShape:
        """Return the shape of the weights held."""
        ...

    def prove(self, fingerprint: str) -> None:
        """Hash the weights of every process anew. Raises FingerprintMismatch, naming each that holds others."""
        ...

    def release(self) -> None:
        """Let the processes and their memory go; `telemetry` works until `close`. May be repeated."""
        ...

    def close(self) -> None:
        """Let the processes go, for good. May be repeated."""
        ...

    def benchmark(self, seconds: float) -> dict[str, float]:
        """Return the processes' rates summed, measured while all work."""
        ...


class Learners(Holders, Protocol):
    """Processes that train one model together."""

    def build(self, settings: ScratchModel, characters: Sequence[str], *, seed: int) -> str:
        """Make fresh weights and return their fingerprint."""
        ...

    def adapt(self, *, seed: int) -> str:
        """Put a fresh adapter over the base provided; return the fingerprint of both together."""
        ...

    def load_unverified(self, files: Mapping[str, bytes], *, stored: str = "") -> str:
        """Hold a model folder without a recorded fingerprint, and return its fingerprint.

        `stored`: as in a `Checkpoint`.
        """
        ...

    def teach_by(self, teachers: Sequence[Checkpoint]) -> None:
        """Hold these frozen models for the `kl` stream and KL terms, and no others.

        Raises FingerprintMismatch; RecipeError when a vocabulary is not the student's.
        """
        ...

    def begin(self, optimizer: Optimizer, critic: ValueHead | None) -> None:
        """Start a training step with a fresh optimizer and, if given, a fresh critic."""
        ...

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
        ...

    def update(self, batch: Batch, *, lr_factor: float, grad_clip: float) -> Any:
        """Begin one optimizer update over the whole batch and return a handle for `metrics`."""
        ...

    def metrics(self, update: Any) -> UpdateMetrics:
        """Wait for an update and return its metrics."""
        ...

    def recompute_logprobs(self, examples: Sequence[Example], *, temperature: float) -> list[TokenScores]:
        """Return token scores of each example's completion, in order. Raises MissingRollout."""
        ...

    def divergence(self, examples: Sequence[Example], *, to: Checkpoint) -> Divergence:
        """Return the divergence of the weights held from others on these completions."""
        ...

    def merge(
        self,
        models: Sequence[Checkpoint],
        *,
        method: str,
        weights: Sequence[float],
        density: float,
        onto: Checkpoint | None,
    ) -> Checkpoint:
        """Return the merged model, beside the weights held."""
        ...

    def export(self) -> Checkpoint:
        """Return the current weights."""
        ...

    def training_state(self) -> tuple[Checkpoint, Mapping[str, bytes]]:
        """Return the weights, once all hold the same, and the files of the optimizer's state."""
        ...

    def publish(self) -> Version:
        """Return the weights after the updates so far, once all hold the same. Raises FingerprintMismatch."""
        ...


class Samplers(Holders, Protocol):
    """Processes that answer with one model."""

    on_answers: Callable[[int, int], None]
    """Called with how many of a long call's answers are finished, about, and how many it asks for."""

    def take(self, version: Version) -> None:
        """Answer with these weights of the learners from here on."""
        ...

    def generate(self, requests: Sequence[Request], sampling: Sampling, *, by: str | None = None) -> list[Rollout]:
        """Return one rollout per request, in order; `by`: fingerprint of a frozen sampler that answers instead.

        Raises MissingRollout, FingerprintMismatch.
        """
        ...

    def load_frozen_sampler(self, checkpoint: Checkpoint) -> ModelShape:
        """Hold a frozen sampler beside the weights held, and return its shape. Raises FingerprintMismatch."""
        ...

    def drop_frozen_sampler(self, fingerprint: str) -> None:
        """Drop a frozen sampler, if it is held."""
        ...

    def host(self, settings: verifiers.Verifier) -> Verifier:
        """Return a verifier that holds a model. Raises VerifierError without the model."""
        ...


@dataclass(frozen=True, slots=True)
class Roles:
    """Who trains and who answers."""

    learners: Learners
    samplers: Samplers

    def configure(self, training: Training) -> Training:
        """Give both the recipe's settings, before any weights, and return them with `auto` resolved."""
        training = self.learners.configure(training)
        return self.samplers.configure(training) if self.are_apart else training

    def provide(self, base: Checkpoint) -> None:
        """Give both the base of adapters."""
        self.learners.provide(base)
        self.samplers.provide(base)

    @property
    def are_apart(self) -> bool:
        """Whether other processes answer than learn."""
        return self.samplers is not self.learners

    def release(self) -> None:
        """Let all processes and their memory go; `telemetry` works until `close`. May be repeated."""
        self.samplers.release()
        self.learners.release()

    def close(self) -> None:
        """Let all processes go, for good. May be repeated."""
        # The samplers may share what the learners hold open.
        try:
            if self.are_apart:
                self.samplers.close()
        finally:
            self.learners.close()

    def __enter__(self) -> "Roles":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def colocated(pool: Pool) -> Roles:
    """Return both roles in the same processes, with one copy of the weights in each."""
    return Roles(pool, pool)


def apart(learners: Pool, samplers: Pool) -> Roles:
    """Return roles in processes of their own; `samplers` take the weights that `learners` publish."""
    samplers.source, samplers.role, samplers.shares_disk = learners, "sampler", learners.shares_disk
    return Roles(learners, samplers)
