"""The learner of one process, which holds one model together with others (`training/sharded_learner.py`).

The pool asks all of them the same, in the same order (`sharded_pool.py`), since each call is work that they do
together. Weights come from files, of which each process reads its own rows, and go to files; none of them answers.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

from bootstrap import machine
from bootstrap.compute import ModelShape
from bootstrap.config.algorithms import ValueHead
from bootstrap.config.base_model import ScratchModel
from bootstrap.config.optimizers import Optimizer
from bootstrap.errors import FingerprintMismatch
from bootstrap.learner_records import Divergence, TokenScores, UpdateMetrics
from bootstrap.model_process import ModelProcess
from bootstrap.records import Batch, Checkpoint, Example
from bootstrap.rollouts.answers import ends_of
from bootstrap.room import ModelRoom, enough_memory, work_of
from bootstrap.store.fingerprint import base_fingerprint, fingerprint_model
from bootstrap.store.on_disk import opened
from bootstrap.training import chat, packable, precision, ranks, sharded_load, sharded_state, speed
from bootstrap.training import model as models
from bootstrap.training.group import Group, Meeting
from bootstrap.training.late_ends import LateEnds
from bootstrap.training.merge import merge
from bootstrap.training.rows import own_rows
from bootstrap.training.sharded_learner import ShardedLearner, divergence
from bootstrap.training.sharded_load import ShardedModel
from bootstrap.training.teachers import check_teacher

BLOCK = 2**18
"""Bytes of a tensor from which its memory goes back at once: what was gathered would stay in the allocator."""
PASS = "a training pass (lower resources.train_tokens, or share the model among more workers: resources.shard)"


class ShardedWorker(ModelProcess):
    """One rank of learners that hold a model together."""

    def __init__(
        self,
        *,
        batch_rows: int,
        rank: int,
        num_ranks: int,
        shard: int,
        wait_seconds: float,
        device: str | None = None,
    ) -> None:
        """`batch_rows`: most sequences of a forward pass; `shard`: ranks that hold one copy of the model together.

        `wait_seconds`: longest wait for the others in an exchange; `device`: None takes a GPU where there is one.
        """
        super().__init__(batch_rows=batch_rows, device=device)
        machine.give_back_blocks(BLOCK)
        self.shard, self.wait_seconds = shard, wait_seconds
        self.group = Group(rank, num_ranks)
        self.bases: dict[str, Mapping[str, bytes]] = {}
        self.teachers: dict[str, Any] = {}
        self.learner: ShardedLearner | None = None
        self._ranks: ranks.Ranks | None = None
        self._held: ShardedModel | None = None
        self._frozen_sum = 0
        self._fingerprint: str | None = None

    @property
    def ranks(self) -> ranks.Ranks:
        """This process's place among the others."""
        assert self._ranks is not None, "join() comes before any weights"
        return self._ranks

    @property
    def held(self) -> ShardedModel:
        """This rank's part of the model in training."""
        assert self._held is not None, "weights come before any work with them"
        return self._held

    def meet(self, host: str) -> Meeting:
        """Open the meeting of all ranks, as the first; `host`: its address for ranks on other machines, if any are."""
        return self.group.meet(host)

    def join(self, meeting: Meeting, seconds: float, address: str) -> None:
        """Meet the other ranks within `seconds`; `address`: this machine's. Raises WorkerError."""
        with self.group.met(meeting, seconds, address) as store:
            self._ranks = ranks.join(
                store,
                rank=self.group.rank,
                size=self.group.size,
                shard=self.shard,
                device=self.device,
                seconds=self.wait_seconds,
            )

    def provide(self, files: Mapping[str, bytes], fingerprint: str) -> None:
        """Take a model folder as a base of adapters, each of which reads it anew.

        Raises FingerprintMismatch when its weights are others.
        """
        self._check_files(files, fingerprint, whose="the base's")
        self.bases[fingerprint] = files

    def _check_files(self, files: Mapping[str, bytes], fingerprint: str, *, whose: str) -> None:
        """Raise FingerprintMismatch, on every rank, when a folder's weights are others; rank 0 reads them."""
        with self.ranks.together(f"{whose} fingerprint"):
            found = sharded_state.by_first(self.ranks, lambda: fingerprint_model(files))
        _require(whose, found, fingerprint)

    def adapt(self, base: str, seed: int) -> str:
        """Take a provided base with a fresh adapter, and return the fingerprint of both together."""
        assert self.training.adapter is not None, "only recipes with an adapter ask for one"
        self._forget()
        with enough_memory("a fresh adapter"), opened(self.bases[base]) as files:
            self._held = sharded_load.load_adapted(
                files, self.ranks, fingerprint=base, adapter=self.training.adapter, seed=seed, bf16=self._is_bf16
            )
        return self._installed()

    def build(self, settings: ScratchModel, characters: Sequence[str], seed: int) -> str:
        """Make fresh weights, the same for the same seed, and return their fingerprint.

        Every process makes the whole model for a moment.
        """
        with enough_memory("the model from scratch"):
            files = models.export(*models.build_scratch(settings, characters, seed=seed), passed_on={}).files
        return self.load(files, None)

    def load(self, files: Mapping[str, bytes], expected: str | None) -> str:
        """Take the weights of a model folder and return their fingerprint.

        An adapter needs its base, by `provide`. Raises FingerprintMismatch when they are not the `expected` ones.
        """
        self._forget()
        with enough_memory("this rank's part of the model"):
            self._held = self._open(files)
        found = self._installed()
        if expected is not None:
            _require("a worker's", found, expected)
        return found

    def _forget(self) -> None:
        """Let the old weights go before new ones come."""
        self.learner = self._held = None

    def _open(self, files: Mapping[str, bytes], *, frozen: bool = False) -> ShardedModel:
        """Return this rank's part of a folder's model."""
        base = base_fingerprint(files)
        with opened(files) as own:
            if base is None:
                return sharded_load.load(own, self.ranks, bf16=self._is_bf16, frozen=frozen)
            assert base in self.bases, f"provide() comes before an adapter of {base[:16]}"
            with opened(self.bases[base]) as below:
                held = sharded_load.load_adapted(below, self.ranks, fingerprint=base, adapter=own, bf16=self._is_bf16)
            if frozen:
                held.model.requires_grad_(False)
            return held

    @property
    def _is_bf16(self) -> bool:
        return self.training.precision == "bf16"

    def _compute(self) -> AbstractContextManager[Any]:
        return precision.compute(self.device, self.training.precision)

    def _installed(self) -> str:
        """Take the weights that have just been opened, and return their fingerprint."""
        self.shape = models.model_shape(self.held.model)
        device = "cuda" if self.device.type == "cuda" else "cpu"
        self.room = ModelRoom(
            self.bounds, work_of(self.held.model, self.training, device=device, shard=self.ranks.num_shards)
        )
        self.bounds.state = self.room.state
        self._frozen_sum = self._checksum()
        self._fingerprint = None
        return self.fingerprint()

    def _checksum(self) -> int:
        """Return the checksum of this rank's part of what no update changes: the base under an adapter."""
        return models.checksum([own_rows(p).detach() for p in self.held.model.parameters() if not p.requires_grad])

    def fingerprint(self) -> str:
        """Return the fingerprint of the weights, computed once after they were loaded or trained."""
        if self._fingerprint is None:
            with self.ranks.together("the fingerprint"):
                self._fingerprint = sharded_state.first_fingerprint(self.held, self.ranks)
        return self._fingerprint

    def changed(self, fingerprint: str) -> str:
        """Hash the weights as they are now, and return in words how they differ from those of a fingerprint, if at all.

        The base under an adapter counts too.
        """
        self._fingerprint = None
        if (found := self.fingerprint()) != fingerprint:
            return f"holds a part of {found[:16]}"
        return "" if self._checksum() == self._frozen_sum else "holds another base under its adapter"

    def shape_of_model(self) -> ModelShape:
        """Return the shape of the weights held."""
        return self.shape

    def load_teacher(self, files: Mapping[str, bytes], fingerprint: str) -> None:
        """Hold this rank's part of a frozen teacher. Raises what `Worker.load_teacher` does."""
        # What is held may be rounded to bf16, so what the file holds is hashed.
        self._check_files(files, fingerprint, whose="the teacher's")
        with enough_memory("a teacher beside the weights in training"):
            teacher = self._open(files, frozen=True)
        check_teacher(teacher.model, teacher.tokenizer, student=self.held.model, student_tokenizer=self.held.tokenizer)
        if self.training.packing:
            packable.check(teacher.model, self._compute)
        self.teachers[fingerprint] = teacher.model
        self._count_teachers()

    def drop_teachers(self) -> None:
        """Drop all teachers."""
        self.teachers.clear()
        self._count_teachers()

    def _count_teachers(self) -> None:
        held = [own_rows(p).nbytes for model in self.teachers.values() for p in model.parameters()]
        self.bounds.held, self.bounds.has_teachers = sum(held), bool(held)

    def begin(self, optimizer: Optimizer, critic: ValueHead | None = None) -> None:
        """Start a training step with a fresh optimizer and, if given, a fresh critic."""
        model, rows = self.held.model, len(models.embedding(self.held.model))
        ends = ends_of(model.generation_config, self.held.tokenizer, rows=rows)
        with enough_memory("the optimizer's state"):
            self.learner = ShardedLearner(
                self.held,
                optimizer,
                ranks=self.ranks,
                critic=critic,
                shape=self.shape,
                max_rows=self.batch_rows,
                teachers=self.teachers,
                compute=self._compute,
                recompute=self.training.gradient_checkpointing,
                packed=self.training.packing,
                late_ends=LateEnds(ends, chat.framing_of(self.held.passed_on).choices.min_new_tokens),
                room=self.room,
            )

    def _learning(self) -> ShardedLearner:
        assert self.learner is not None, "begin() comes before any update"
        return self.learner

    def step(self, batch: Batch, lr_factor: float, grad_clip: float) -> UpdateMetrics:
        """Take one update with the other ranks, of which `batch` is this worker's shard."""
        self._fingerprint = None
        with enough_memory(PASS):
            return self._learning().step(batch, lr_factor=lr_factor, grad_clip=grad_clip)

    def recompute_logprobs(self, examples: Sequence[Example], temperature: float) -> list[TokenScores]:
        """Return token scores of each of this rank's examples by the weights as they are now."""
        with enough_memory(PASS):
            return self._learning().recompute_logprobs(examples, temperature=temperature)

    def divergence(self, examples: Sequence[Example], fingerprint: str) -> Divergence:
        """Return the divergence of the weights held from a teacher's on this rank's examples."""
        with enough_memory(PASS):
            return divergence(
                examples,
                self.teachers[fingerprint],
                model=self.held.model,
                ranks=self.ranks,
                max_rows=self.batch_rows,
                compute=self._compute,
                room=self.room,
            )

    @enough_memory("the models that are merged")
    def merge(
        self,
        method: Literal["linear", "ties"],
        weights: Sequence[float],
        density: float,
        has_onto: bool,
        *models: Mapping[str, bytes],
    ) -> Checkpoint:
        """Return the merged model as `Worker.merge` does: alone, so this process holds the models whole."""
        *merged, onto = models if has_onto else (*models, None)
        return merge(merged, method=method, weights=weights, density=density, onto=onto)

    def write(self, folder: Path) -> str:
        """Write the weights with the other ranks as `Worker.export` would return them, and return their fingerprint."""
        with self.ranks.together("the export"):
            self._fingerprint = sharded_state.export(self.held, folder, self.ranks)
        return self._fingerprint

    def save(self, folder: Path) -> None:
        """Write what a training step goes on from, beside the weights, with the other ranks."""
        self._learning().save(folder)

    def restore(self, folder: Path) -> None:
        """Go on with a training step from a `save`, by any number of ranks. Raises StoreError."""
        with enough_memory("the optimizer's state"):
            self._learning().restore(folder)

    def benchmark(self, seconds: float) -> dict[str, float]:
        """Return measured matmul FLOP/s, in the recipe's precision, and bytes moved per second."""
        return speed.measure(self.device, precision=self.training.precision, seconds=seconds)


def _require(whose: str, found: str, expected: str) -> None:
    if found != expected:
        raise FingerprintMismatch(f"{whose} weights are {found[:16]}, the plan names {expected[:16]}")
