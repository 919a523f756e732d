"""One rank's part of a learner whose model is spread over several processes (`sharded.py`).

All ranks call the same methods in the same order, each with its own shard of the examples; shards may be empty. The
losses are those of `Learner`. Every rank makes equally many passes, and in each the same calls of frozen models:
collectives run inside them, so a rank without work passes nothing along.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from bootstrap.compute import MAX_LOGITS
from bootstrap.config.algorithms import ValueHead
from bootstrap.config.optimizers import Optimizer
from bootstrap.errors import StoreError, UpdateFault
from bootstrap.learner_records import Divergence, TokenScores, UpdateMetrics
from bootstrap.memory import Room
from bootstrap.records import Batch, Example
from bootstrap.training import sharded, sharded_state
from bootstrap.training.batch import MicroBatch, micro_batches, nothing
from bootstrap.training.critic import build_optimizer
from bootstrap.training.drift import divergence_over
from bootstrap.training.learner import Learner, rows_by_kl_target, rows_by_teacher
from bootstrap.training.muon import Muon
from bootstrap.training.optimizer import Optimizers
from bootstrap.training.ranks import Ranks
from bootstrap.training.rows import own_rows
from bootstrap.training.sharded_load import ShardedModel
from bootstrap.training.sharded_muon import ShardedMuon
from bootstrap.training.sums import Sums, metrics_of
from bootstrap.training.trainables import Trainables

RowsOf = Callable[[list[Example]], dict[str, list[int]]]
_Pass = tuple[list[Example], MicroBatch]
WEIGHTS, VALUE = "weights", "value"
"""Kind and key of a parameter itself in a checkpoint, beside the keys of its optimizer's state."""
_CALLS: tuple[RowsOf, ...] = (rows_by_kl_target, rows_by_teacher)
"""The two ways in which a pass calls frozen models."""


class ShardedLearner(Learner):
    """This rank's part of model, critic, optimizers and frozen models (`teachers`), sharded over the same ranks.

    `step` stands in place of `gradient` and `apply`, and `save` in place of `state`. Each method raises PeerFailed
    where another rank is gone, or does not come in time.
    """

    def __init__(
        self,
        held: ShardedModel,
        optimizer: Optimizer,
        *,
        ranks: Ranks,
        critic: ValueHead | None = None,
        **settings: Any,
    ) -> None:
        """`settings`: those of `Learner`, from `shape` on."""
        self.agreed: dict[RowsOf, list[str]] = {}
        super().__init__(held.model, optimizer, critic=critic, **settings)
        self.held = held
        self.ranks = ranks
        optimizers = {
            name: ShardedMuon(one, ranks) if isinstance(one, Muon) else one
            for name, one in self.trainables.optimizers.items()
        }
        critic_optimizers: Optimizers = {}
        if critic is not None and self.critic is not None:
            sharded.shard_critic(self.critic, ranks)
            critic_optimizers = {"critic": build_optimizer(self.critic, critic)}
        self.trainables = Trainables(held.model, optimizers, critic=self.critic, critic_optimizers=critic_optimizers)
        self.names = {id(parameter): name for name, parameter in self.trainables.named.items()}

    def step(self, batch: Batch, *, lr_factor: float, grad_clip: float) -> UpdateMetrics:
        """Take one optimizer step with all ranks' examples, of which this rank has `batch.examples`.

        The normalizers are the whole batch's. Returns the whole update's metrics, the same on each rank. Raises
        UpdateFault, without a step and on every rank, for a gradient that is not finite.
        """
        with self.ranks.together("the gradient of an update"):
            shards = self._everyones(self.accumulate(batch))
            norm, critic_norm = self._norms(self.trainables.policy, self.trainables.critic)
        if not np.isfinite(norm) or not np.isfinite(critic_norm):
            raise UpdateFault("the gradient is not finite")
        with self.ranks.together("an optimizer's step"):
            for parameters, optimizers, length in (
                (self.trainables.policy, self.trainables.optimizers, norm),
                (self.trainables.critic, self.trainables.critic_optimizers, critic_norm),
            ):
                if length > grad_clip:
                    for gradient in _gradients(parameters):
                        gradient *= grad_clip / length
                if length > 0:
                    self.trainables.step(optimizers, lr_factor)
                for parameter in parameters:
                    parameter.grad = None
        return metrics_of(shards, grad_norm=norm, critic_grad_norm=critic_norm)

    def _everyones(self, sums: Sums) -> list[Sums]:
        """Return the sums of all ranks, in the order of ranks."""
        return [Sums.of(row) for row in self.ranks.gather(list(asdict(sums).values()))]

    def _norms(self, *groups: Sequence[torch.nn.Parameter]) -> list[float]:
        """Return the norm of the gradients of each group over the ranks that hold one copy, added in their order."""
        norms = [[torch.linalg.vector_norm(g, dtype=torch.float64) for g in _gradients(group)] for group in groups]
        squares = [float(torch.stack(found).square().sum()) if found else 0.0 for found in norms]
        found = self.ranks.gather(squares)[: self.ranks.num_shards]
        return [sum(column) ** 0.5 for column in zip(*found, strict=True)]

    def recompute_logprobs(self, examples: Sequence[Example], *, temperature: float) -> list[TokenScores]:
        """Return the current weights' token scores of this rank's examples, in no particular order."""
        with self.ranks.together("the log-probabilities"):
            return super().recompute_logprobs(examples, temperature=temperature)

    def _passes(self, examples: Sequence[Example]) -> Iterator[tuple[list[Example], MicroBatch]]:
        mine = _equally_many(list(self._micro_batches(examples)), ranks=self.ranks, pad=self.pad, packed=self.packed)
        names = sorted(self.teachers)
        calls = [[[name in rows_of(part) for name in names] for rows_of in _CALLS] for part, _ in mine]
        agreed = self.ranks.greatest(torch.tensor(calls, dtype=torch.long)) if mine and names else None
        for place, (part, micro) in enumerate(mine):
            if agreed is not None:
                self.agreed = {
                    rows_of: [name for name, called in zip(names, row, strict=True) if called]
                    for rows_of, row in zip(_CALLS, agreed[place].tolist(), strict=True)
                }
            self.room.passing(micro.tokens_BT.numel(), sequences=len(micro.lengths))
            yield part, micro

    def _turns(self, rows_of: RowsOf, examples: list[Example]) -> Iterable[tuple[str, list[int]]]:
        rows = rows_of(examples)
        return [(name, rows.get(name, [])) for name in self.agreed.get(rows_of, [])]

    def save(self, folder: Path) -> None:
        """Write what an update changes beside the model's weights, a file for each rank: optimizers' state, critic.

        `folder` is complete or absent, on a disk that all ranks see. Raises StoreError if it is there already.
        """
        with self.ranks.together("saving"):
            sharded_state.save(self._tensors(), folder, self.ranks)

    def restore(self, folder: Path) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Continue from a `save` of the same weights and optimizer settings, by any number of ranks.

        Raises StoreError for one that cannot be read, or is of another model.
        """
        optimizers, named = self.trainables.all_optimizers, self.trainables.named
        saved = [path.split("|") for path in sharded_state.saved(folder)]
        unknown = {name for _, name, _ in saved} - {self.names[id(one)] for one in self.trainables.all}
        missing = {self.names[id(one)] for one in self.trainables.critic} - {name for _, name, _ in saved}
        if different := sorted(unknown | missing):
            raise StoreError(f"{folder} is of another model or adapter, by {different[0]}; restore its own learner")
        for kind, name, key in saved:
            if kind in optimizers:
                like = named[name]
                empty = torch.zeros_like(like) if key != "step" else torch.zeros(())
                optimizers[kind].state[like][key] = empty
        with self.ranks.together("loading"):
            sharded_state.load(self._tensors(), folder)

    def _tensors(self) -> dict[str, Tensor]:
        """Return all that an update changes beside the model's weights, by `kind|parameter|key`."""
        names = self.names
        states = {
            f"{kind}|{names[id(parameter)]}|{key}": value
            for kind, optimizer in self.trainables.all_optimizers.items()
            for parameter, state in optimizer.state.items()
            for key, value in state.items()
            if torch.is_tensor(value)
        }
        weights = {f"{WEIGHTS}|{names[id(one)]}|{VALUE}": one.detach() for one in self.trainables.critic}
        return weights | states

    def fingerprint(self) -> str:
        """Return the version 2 fingerprint of the weights (`store/fingerprint.py`), the same on each rank."""
        with self.ranks.together("the fingerprint"):
            return sharded_state.fingerprint(self.held, self.ranks)

    def export(self, path: Path) -> str:
        """Write the whole model, or the adapter, as a Hugging Face folder, tensor by tensor.

        Rank 0 writes. Returns the version 1 fingerprint, the same on each rank. Raises StoreError on rank 0 if the
        folder is there already.
        """
        with self.ranks.together("the export"):
            return sharded_state.export(self.held, path, self.ranks)

    def close(self) -> None:
        """Leave the other ranks; nothing else may follow."""
        self.ranks.leave()


def divergence(
    examples: Sequence[Example],
    other: PreTrainedModel,
    *,
    model: PreTrainedModel,
    ranks: Ranks,
    max_rows: int,
    compute: Callable[[], AbstractContextManager[Any]] = nullcontext,
    room: Room | None = None,
) -> Divergence:
    """Return what `drift.divergence_from` does of this rank's examples; both models are sharded over the ranks.

    Raises PeerFailed.
    """
    room, pad = room or Room(), model.config.pad_token_id or 0
    max_targets = max(MAX_LOGITS[ranks.device.type] // model.config.vocab_size, 1)
    mine = micro_batches(examples, pad=pad, max_rows=max_rows, max_targets=max_targets, max_tokens=room.tokens())
    with ranks.together("the divergence"):
        passes = _equally_many(list(mine), ranks=ranks, pad=pad, packed=False)
        return divergence_over(_told(passes, room), other, model=model, compute=compute)


def _told(passes: Iterable[_Pass], room: Room) -> Iterator[_Pass]:
    for part, micro in passes:
        room.passing(micro.tokens_BT.numel(), sequences=len(micro.lengths))
        yield part, micro


def _equally_many(mine: list[_Pass], *, ranks: Ranks, pad: int, packed: bool) -> list[_Pass]:
    """Return this rank's passes, and then empty ones up to the greatest number of any rank."""
    number = int(ranks.greatest(torch.tensor(len(mine))))
    return [*mine, *[([], nothing(pad=pad, packed=packed))] * (number - len(mine))]


def _gradients(parameters: Iterable[torch.nn.Parameter]) -> list[Tensor]:
    return [own_rows(parameter.grad) for parameter in parameters if parameter.grad is not None]
