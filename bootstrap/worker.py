"""The model of one process: it samples and learns with one copy of the weights, on one torch thread.

Parallelism comes from several workers (`pool.py`). This module imports torch, so only a process that holds a model
imports it. It knows no algorithm, task or verifier.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch

from bootstrap import machine
from bootstrap.compute import ModelShape
from bootstrap.config.algorithms import ValueHead
from bootstrap.config.base_model import ScratchModel
from bootstrap.config.optimizers import Optimizer
from bootstrap.errors import FingerprintMismatch
from bootstrap.learner_records import Divergence, TokenScores, UpdateMetrics
from bootstrap.memory import ALLOCATION_ERRORS
from bootstrap.model_process import ModelProcess
from bootstrap.records import Batch, Checkpoint, Example, Request, Rollout, Sampling
from bootstrap.rollouts.engine import TransformersEngine
from bootstrap.room import ModelRoom, enough_memory, work_of
from bootstrap.store.fingerprint import base_fingerprint, fingerprint_model
from bootstrap.store.on_disk import size_of
from bootstrap.training import chat, lora, packable, precision, speed
from bootstrap.training import model as models
from bootstrap.training.data_text import prompt_encoder
from bootstrap.training.drift import divergence_from
from bootstrap.training.group import Group, Meeting, Steps
from bootstrap.training.late_ends import LateEnds
from bootstrap.training.learner import Gradient, Learner
from bootstrap.training.merge import merge
from bootstrap.training.teachers import check_teacher

LARGE = 2**25
"""Parameters from which a model's tensors are so large that asking the machine for each costs little."""
BLOCK = 2**18
"""Bytes of a tensor from which its memory goes back at once, in a worker with a large model."""
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class _Base:
    """Frozen weights under adapters, which all share its tensors."""

    fingerprint: str
    model: Any
    tokenizer: Any
    passed_on: Mapping[str, bytes]
    tensors: Sequence[torch.Tensor]
    """Its weights."""
    checksum: int
    """Of them, when they were loaded."""


class Worker(ModelProcess):
    """The model of one process, in both roles."""

    def __init__(self, *, batch_rows: int, device: str | None = None, rank: int = 0, num_ranks: int = 1) -> None:
        """`batch_rows`: most sequences of a forward pass; `device`: None takes a GPU where there is one.

        `rank`: this worker's place among the `num_ranks` that train together.
        """
        super().__init__(batch_rows=batch_rows, device=device)
        self.group = Group(rank, num_ranks)
        self.teachers: dict[str, Any] = {}
        self.frozen_samplers: dict[str, TransformersEngine] = {}
        self.bases: dict[str, _Base] = {}
        self.learner: Learner | None = None
        self.model: Any = None

    def meet(self, host: str) -> Meeting:
        """Open the meeting of all ranks, as the first; `host`: its address for ranks on other machines, if any are."""
        return self.group.meet(host)

    def join(self, meeting: Meeting, seconds: float, address: str) -> None:
        """Meet the other ranks within `seconds`; `address`: this machine's. Raises PeerFailed, WorkerError."""
        self.group.join(meeting, seconds, address)

    @enough_memory("the base under adapters")
    def provide(self, files: Mapping[str, bytes], fingerprint: str) -> None:
        """Hold a model folder as a base of adapters. Raises FingerprintMismatch when its weights are others."""
        self._check_weights(files, fingerprint, what="the base's")
        model, tokenizer = self._open(files)
        model.requires_grad_(False)
        if self.training.precision == "bf16":
            precision.lower_frozen(model)
        tensors = [parameter.detach() for parameter in model.parameters()]
        self.bases[fingerprint] = _Base(
            fingerprint=fingerprint,
            model=model,
            tokenizer=tokenizer,
            passed_on=models.passed_on(files),
            tensors=tensors,
            checksum=models.checksum(tensors),
        )
        self._count_held()

    @enough_memory("a fresh adapter")
    def adapt(self, base: str, seed: int) -> str:
        """Take a provided base with a fresh adapter, and return the fingerprint of both together."""
        assert self.training.adapter is not None, "only recipes with an adapter ask for one"
        held = self.bases[base]
        model = lora.fresh(held.model, self.training.adapter, seed=seed)
        return self._install(self._on_device(model), held.tokenizer, held.passed_on, base=base)

    @enough_memory("the model from scratch")
    def build(self, settings: ScratchModel, characters: Sequence[str], seed: int) -> str:
        """Make fresh weights, the same in every worker for the same seed, and return their fingerprint."""
        model, tokenizer = models.build_scratch(settings, characters, seed=seed)
        return self._install(self._prepared(model), tokenizer, {})

    @enough_memory("the model's weights")
    def load(self, files: Mapping[str, bytes], expected: str | None) -> str:
        """Take the weights of a model folder and return their fingerprint.

        An adapter needs its base, by `provide`. Raises FingerprintMismatch when they are not the `expected` ones.
        """
        # The optimizer's state of the weights that are given up is not held beside the new ones.
        self.learner = None
        model, tokenizer = self._open(files)
        found = self._install(model, tokenizer, models.passed_on(files), base=base_fingerprint(files))
        if expected is not None and found != expected:
            raise FingerprintMismatch(f"a worker holds weights {found[:16]}, the plan names {expected[:16]}")
        return found

    @enough_memory("the model's weights")
    def renew(self, published: Checkpoint, fingerprint: str) -> None:
        """Take the weights that a learner has published, in the place of those held where they are of one model.

        Raises FingerprintMismatch when they are not those of the fingerprint.
        """
        self.received["weights"] += size_of(published.files)
        if self._is_alike(published.files) and models.replace_weights(self.model, published.files):
            if self.inference_copy is not None:
                self.inference_copy.refresh()
            self._fingerprint = None
            if (found := self.fingerprint()) != fingerprint:
                raise FingerprintMismatch(f"a sampler holds weights {found[:16]}, the learners {fingerprint[:16]}")
        else:
            self.load(published.files, fingerprint)

    def _is_alike(self, files: Mapping[str, bytes]) -> bool:
        """Whether a whole model is held that reads and puts texts as this folder says."""
        return self.model is not None and self.base is None and self.passed_on == models.passed_on(files)

    def _open(self, files: Mapping[str, bytes]) -> tuple[Any, Any]:
        """Return a folder's model, on the device, and its tokenizer."""
        base = base_fingerprint(files)
        if base is None:
            model, tokenizer = models.load(files)
            return self._prepared(model), tokenizer
        assert base in self.bases, f"provide() comes before an adapter of {base[:16]}"
        return self._on_device(lora.load(self.bases[base].model, files)), self.bases[base].tokenizer

    def _prepared(self, model: Any) -> Any:
        if self.training.precision == "bf16" and self.device.type == "cpu":
            precision.use_float_attention(model)
        return self._on_device(model)

    def _on_device(self, model: torch.nn.Module) -> Any:
        return model.to(self.device)

    def _install(self, model: Any, tokenizer: Any, passed_on: Mapping[str, bytes], *, base: str | None = None) -> str:
        self.model, self.tokenizer, self.passed_on, self.base = model, tokenizer, dict(passed_on), base
        self.shape = models.model_shape(model)
        if self.shape.num_parameters >= LARGE:
            machine.give_back_blocks(BLOCK)
        self.learner = None
        self.room = self._room(model)
        self.bounds.state = self.room.state
        self._count_held()
        # Matrices in training are sampled from a rounded copy; those of an adapter's base are in bf16 already.
        lowered = self.training.precision == "bf16" and base is None
        self.inference_copy = precision.InferenceCopy(model) if lowered else None
        self.engine = self._engine(self.inference_copy.model if self.inference_copy else model, tokenizer, passed_on)
        self._fingerprint: str | None = None
        return self.fingerprint()

    def _engine(self, model: Any, tokenizer: Any, files: Mapping[str, bytes]) -> TransformersEngine:
        framing = chat.framing_of(files)
        return TransformersEngine(
            model,
            tokenizer,
            batch_rows=self.batch_rows,
            encode=prompt_encoder(framing, tokenizer),
            opening=framing.opening,
            stop=framing.choices.stop,
            min_new_tokens=framing.choices.min_new_tokens,
            compute=self._compute,
            room=self._room(model),
        )

    def _room(self, model: Any) -> ModelRoom:
        device = "cuda" if self.device.type == "cuda" else "cpu"
        return ModelRoom(self.bounds, work_of(model, self.training, device=device))

    def _compute(self) -> AbstractContextManager[Any]:
        return precision.compute(self.device, self.training.precision)

    def fingerprint(self) -> str:
        """Return the fingerprint of the weights, computed once after they were loaded or trained."""
        if self._fingerprint is None:
            whole = self.base is None
            self._fingerprint = models.fingerprint(self.model) if whole else self.export().fingerprint
        return self._fingerprint

    def changed(self, fingerprint: str) -> str:
        """Hash the weights as they are now, and return in words how they differ from those of a fingerprint, if at all.

        The bf16 copy that answers and the base under an adapter count too.
        """
        self._fingerprint = None
        if (found := self.fingerprint()) != fingerprint:
            return f"holds {found[:16]}"
        if self.inference_copy is not None and not self.inference_copy.is_current():
            return "answers with a bf16 copy of other weights"
        if self.base is not None and models.checksum(self.bases[self.base].tensors) != self.bases[self.base].checksum:
            return "holds another base under its adapter"
        return ""

    def shape_of_model(self) -> Any:
        """Return the shape of the weights held."""
        return self.shape

    def generate(self, requests: Sequence[Request], sampling: Sampling, by: str | None = None) -> list[Rollout]:
        """Sample completions, each stamped with its weights' fingerprint.

        `by`: fingerprint of a frozen sampler that answers instead of the weights in training, with its own tokenizer.
        """
        if by is None:
            with lora.sampling(self.model):
                return self.engine.generate(requests, sampling, policy=self.fingerprint())
        assert by in self.frozen_samplers, f"load_frozen_sampler() comes before generate() by {by[:16]}"
        with lora.sampling(self.frozen_samplers[by].model):
            return self.frozen_samplers[by].generate(requests, sampling, policy=by)

    @enough_memory("a frozen sampler beside the weights in training")
    def load_frozen_sampler(self, files: Mapping[str, bytes], fingerprint: str) -> ModelShape:
        """Hold a frozen sampler beside the weights in training, and return its shape.

        Raises FingerprintMismatch when its weights are others.
        """
        self._check_weights(files, fingerprint, what="a frozen sampler's")
        frozen_sampler, tokenizer = self._frozen(files)
        self.frozen_samplers[fingerprint] = self._engine(frozen_sampler, tokenizer, files)
        self._count_held()
        return models.model_shape(frozen_sampler)

    def drop_frozen_sampler(self, fingerprint: str) -> None:
        """Drop a frozen sampler, if it is held."""
        self.frozen_samplers.pop(fingerprint, None)
        self._count_held()

    def _count_held(self) -> None:
        """Count the bytes of the models held beside the one in training; tensors that models share count once."""
        others = [
            *self.teachers.values(),
            *(engine.model for engine in self.frozen_samplers.values()),
            *(base.model for base in self.bases.values()),
        ]
        mine = {p.data_ptr() for p in self.model.parameters()} if self.model is not None else set[int]()
        sizes = {p.data_ptr(): p.nbytes for model in others for p in model.parameters()}
        self.bounds.held = sum(size for place, size in sizes.items() if place not in mine)
        self.bounds.has_teachers = bool(self.teachers)

    @enough_memory("a teacher beside the weights in training")
    def load_teacher(self, files: Mapping[str, bytes], fingerprint: str) -> None:
        """Hold a frozen teacher for the `kl` stream; its output matrix may be padded to another width.

        Raises FingerprintMismatch when its weights are others; RecipeError when its vocabulary is not the student's,
        when it lacks outputs for some tokens, or when it cannot keep packed sequences apart.
        """
        self._check_weights(files, fingerprint, what="the teacher's")
        teacher, tokenizer = self._frozen(files)
        check_teacher(teacher, tokenizer, student=self.model, student_tokenizer=self.tokenizer)
        if self.training.packing:
            packable.check(teacher, self._compute)
        self.teachers[fingerprint] = teacher
        self._count_held()

    def drop_teachers(self) -> None:
        """Drop all teachers."""
        self.teachers.clear()
        self._count_held()

    def divergence(self, examples: Sequence[Example], fingerprint: str) -> Divergence:
        """Return the divergence of the weights held from a teacher's on these completions."""
        return self._within_memory(
            lambda: divergence_from(
                self.teachers[fingerprint],
                examples,
                model=self.model,
                max_rows=self.batch_rows,
                compute=self._compute,
                room=self.room,
            )
        )

    def _within_memory(self, work: Callable[[], _Result]) -> _Result:
        """Return the result of passes over examples, again in smaller ones when memory runs out the first time.

        Raises WorkerError when it runs out again.
        """
        while True:
            try:
                return work()
            except ALLOCATION_ERRORS as error:
                # Raises it again unless memory ran out, and smaller passes may do.
                self.room.ran_out(error)
            self.room.clear()

    def _check_weights(self, files: Mapping[str, bytes], fingerprint: str, *, what: str) -> None:
        found = fingerprint_model(files)
        if found != fingerprint:
            raise FingerprintMismatch(f"{what} weights are {found[:16]}, the plan names {fingerprint[:16]}")

    def _frozen(self, files: Mapping[str, bytes]) -> tuple[Any, Any]:
        """Return a model that only answers, and its tokenizer."""
        model, tokenizer = self._open(files)
        model.eval().requires_grad_(False)
        if self.training.precision == "bf16" and base_fingerprint(files) is None:
            precision.lower_frozen(model)
        return model, tokenizer

    @enough_memory("a critic beside the weights in training")
    def begin(self, optimizer: Optimizer, critic: ValueHead | None = None) -> None:
        """Start a training step with a fresh optimizer and, if given, a fresh critic."""
        self.learner = Learner(
            self.model,
            optimizer,
            shape=self.shape,
            max_rows=self.batch_rows,
            teachers=self.teachers,
            compute=self._compute,
            recompute=self.training.gradient_checkpointing,
            critic=critic,
            packed=self.training.packing,
            late_ends=LateEnds(self.engine.eos.tolist(), self.engine.answers.min_new_tokens),
            room=self.room,
            rank=self.group.rank,
            num_ranks=self.group.size,
        )

    def gradient(self, batch: Batch) -> Gradient:
        """Return the gradient of this worker's shard of a batch."""
        assert self.learner is not None, "begin() comes before gradient()"
        learner = self.learner
        return self._within_memory(lambda: learner.gradient(batch))

    def recompute_logprobs(self, examples: Sequence[Example], temperature: float) -> list[TokenScores]:
        """Return token scores of each example's completion by the weights as they are now."""
        assert self.learner is not None, "begin() comes before recompute_logprobs()"
        learner = self.learner
        return self._within_memory(lambda: learner.recompute_logprobs(examples, temperature=temperature))

    def apply(self, gradient: Gradient, lr_factor: float, grad_clip: float) -> Steps[UpdateMetrics]:
        """Take the optimizer step of the whole batch, of which `gradient` is this worker's; all workers take it."""
        assert self.learner is not None, "begin() comes before apply()"
        self._fingerprint = None
        with enough_memory("the optimizer's step"):
            metrics = yield from self.learner.updater.apply(gradient, lr_factor=lr_factor, grad_clip=grad_clip)
        if self.inference_copy is not None:
            self.inference_copy.refresh()
        return metrics

    def step(self, batch: Batch, lr_factor: float, grad_clip: float) -> UpdateMetrics:
        """Take one update with the other ranks, of which `batch` is this worker's shard."""

        def steps() -> Steps[UpdateMetrics]:
            # Inside, so that an error here is told to the ranks that wait.
            return (yield from self.apply(self.gradient(batch), lr_factor, grad_clip))

        before = self.group.received
        try:
            return self.group.run(steps())
        finally:
            self.received["updates"] += self.group.received - before

    @enough_memory("the models that are merged")
    def merge(
        self,
        method: Literal["linear", "ties"],
        weights: Sequence[float],
        density: float,
        has_onto: bool,
        *models: Mapping[str, bytes],
    ) -> Checkpoint:
        """Return the merged model, beside the weights held; with `has_onto` the last model is the base of `ties`.

        Raises RecipeError for models that do not fit together.
        """
        *merged, onto = models if has_onto else (*models, None)
        return merge(merged, method=method, weights=weights, density=density, onto=onto)

    @enough_memory("the weights as files")
    def export(self) -> Checkpoint:
        """Return the weights as the files of a Hugging Face folder, or for an adapter of a peft folder."""
        if self.base is not None:
            exported = lora.export(self.model, base=self.base, passed_on=self.passed_on)
        else:
            exported = models.export(self.model, self.tokenizer, passed_on=self.passed_on)
        self._fingerprint = exported.fingerprint
        return exported

    @enough_memory("the optimizer's state as a file")
    def optimizer_state(self) -> bytes:
        """Return the optimizer's state as safetensors."""
        assert self.learner is not None, "begin() comes before optimizer_state()"
        return self.learner.updater.state()

    @enough_memory("the optimizer's state")
    def restore(self, state: bytes) -> None:
        """Continue a training step from `optimizer_state`."""
        assert self.learner is not None, "begin() comes before restore()"
        self.learner.updater.restore(state)

    def benchmark(self, seconds: float) -> dict[str, float]:
        """Return measured matmul FLOP/s, in the recipe's precision, and bytes moved per second."""
        return speed.measure(self.device, precision=self.training.precision, seconds=seconds)
