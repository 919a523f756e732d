"""From the gradients of all ranks to new weights.

    gradient  -- its pieces to their owners -->  sum in rank order, global norm, clip  -->  the owner's optimizer step
    weights   <-- new values to everyone --------------------------------------------------+

Every parameter has an owner among the ranks (`shares.py`), so that no rank repeats another's work and the optimizer's
state is held once. What a sum depends on is the number of ranks alone. Left out: the gradient of a shard
(`learner.py`), and how pieces travel (`group.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import hypot

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from bootstrap.errors import UpdateFault
from bootstrap.learner_records import UpdateMetrics
from bootstrap.training.group import Steps
from bootstrap.training.model import checksum
from bootstrap.training.muon import Muon
from bootstrap.training.shares import shares
from bootstrap.training.sums import Sums, metrics_of
from bootstrap.training.trainables import Trainables

WEIGHT = "weight"
"""Key of the parameter itself in the optimizer's state, for parameters outside the model."""
PORTION = 2**22
"""Entries of a gradient that are added up at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gradient(Sums):
    """A shard's gradient and its sums, divided by the global normalizers."""

    flat: np.ndarray
    """Gradients of all trainable parameters in order, the critic's last, float32 (P,)."""


class Updater:
    """The optimizers' step of a model and its critic, of which this rank steps those parameters that it owns."""

    def __init__(self, trainables: Trainables, *, rank: int, num_ranks: int) -> None:
        self.trainables, self.rank, self.num_ranks = trainables, rank, num_ranks
        self.shares = shares(self._costs(), [p.numel() for p in trainables.all], ranks=num_ranks)

    def _costs(self) -> list[float]:
        """Return what each parameter's step costs: Newton-Schulz multiplies a matrix by its shorter side."""
        by_muon = {
            id(parameter)
            for optimizer in self.trainables.optimizers.values()
            if isinstance(optimizer, Muon)
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        return [p.numel() * (min(p.shape) if id(p) in by_muon else 1.0) for p in self.trainables.all]

    def apply(self, gradient: Gradient, *, lr_factor: float, grad_clip: float) -> Steps[UpdateMetrics]:
        """Take one optimizer step with the sum of all workers' gradients, of which this is this worker's.

        A zero gradient (no informative group, nothing replayed) changes neither weights nor momentum: Muon would make a
        full-sized step from old momentum. Raises UpdateFault, without a step, for a gradient that is not finite and one
        that has changed on its way.
        """
        outgoing = self._for_owners(torch.from_numpy(gradient.flat))
        told = yield [_told(gradient, checksum(piece.split(PORTION))) for piece in outgoing]
        everyone = [_heard(one) for one in told]
        received = yield outgoing
        for piece, (_, expected) in zip(received, everyone, strict=True):
            if checksum(piece.split(PORTION)) != expected:
                raise UpdateFault("a gradient has changed between the worker that made it and one that applies it")
        total = received[0]
        for piece in received[1:]:
            total.add_(piece)
        owned, owned_critic = self._owned()
        policy, critic = total.split([sum(p.numel() for p in some) for some in (owned, owned_critic)])
        lengths = torch.tensor([policy.norm(), critic.norm()], dtype=torch.float64)
        norm, critic_norm = (hypot(*one) for one in torch.stack(list((yield [lengths] * self.num_ranks))).T.tolist())
        if not np.isfinite(norm) or not np.isfinite(critic_norm):
            raise UpdateFault("the gradient is not finite")
        for part, length in ((policy, norm), (critic, critic_norm)):
            if length > grad_clip:
                part *= grad_clip / length
        for parameter in self.trainables.all:
            parameter.grad = None
        if norm > 0:
            self._step(owned, self.trainables.optimizers, policy, lr_factor)
        if critic_norm > 0:
            self._step(owned_critic, self.trainables.critic_optimizers, critic, lr_factor)
        if self.num_ranks > 1:
            self._take((yield [_values([*owned, *owned_critic])] * self.num_ranks))
        return metrics_of([sums for sums, _ in everyone], grad_norm=norm, critic_grad_norm=critic_norm)

    def _for_owners(self, flat: Tensor) -> list[Tensor]:
        """Return the part of a gradient (P) that each rank owns."""
        if self.num_ranks == 1:
            return [flat]
        parts = flat.split([p.numel() for p in self.trainables.all])
        return [torch.cat([parts[place] for place in places] or [flat[:0]]) for places in self.shares]

    def _owned(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Return the parameters that this rank owns: of the model, and of the critic."""
        mine, first = self.shares[self.rank], len(self.trainables.policy)
        return [self.trainables.all[p] for p in mine if p < first], [self.trainables.all[p] for p in mine if p >= first]

    @torch.no_grad()
    def _take(self, received: Sequence[Tensor]) -> None:
        """Give parameters the values that their owners have sent."""
        for rank, (places, flat) in enumerate(zip(self.shares, received, strict=True)):
            theirs = [self.trainables.all[place] for place in places]
            if rank != self.rank:
                for parameter, values in zip(theirs, flat.split([p.numel() for p in theirs]), strict=True):
                    parameter.copy_(values.view_as(parameter))

    def _step(
        self,
        parameters: Sequence[nn.Parameter],
        optimizers: Mapping[str, torch.optim.Optimizer],
        flat: Tensor,
        lr_factor: float,
    ) -> None:
        """Step with the gradient `flat` of these parameters; optimizers leave those alone that have none."""
        chunks = flat.split([parameter.numel() for parameter in parameters])
        for parameter, chunk in zip(parameters, chunks, strict=True):
            parameter.grad = chunk.view_as(parameter).to(parameter.device, parameter.dtype)
        self.trainables.step(optimizers, lr_factor)

    def state(self) -> bytes:
        """Return as safetensors what this rank owns of the optimizers' state and the critic.

        Beside the weights, all ranks' states are all that an update depends on.
        """
        names = {id(p): name for name, p in self.trainables.named.items()}
        tensors = {
            f"{kind}|{names[id(parameter)]}|{key}": value.detach().cpu().contiguous().clone()
            for kind, optimizer in self.trainables.all_optimizers.items()
            for parameter, state in optimizer.state.items()
            for key, value in state.items()
            if torch.is_tensor(value)
        }
        for parameter in self._owned()[1]:
            tensors[f"critic|{names[id(parameter)]}|{WEIGHT}"] = parameter.detach().cpu().contiguous().clone()
        return safetensors.torch.save(tensors)

    def restore(self, state: bytes) -> None:
        """Continue from all ranks' `state`, joined, of the same model and optimizer settings; keep what is owned."""
        parameters, optimizers = self.trainables.named, self.trainables.all_optimizers
        owned = {id(parameter) for some in self._owned() for parameter in some}
        for path, value in safetensors.torch.load(state).items():
            kind, name, key = path.split("|")
            if key == WEIGHT:
                parameters[name].data.copy_(value)
                continue
            if id(parameters[name]) not in owned:
                continue
            # Optimizers keep their step count on the CPU.
            place = parameters[name].device if key != "step" else value.device
            optimizers[kind].state[parameters[name]][key] = value.to(place)


def _values(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Return parameters as one vector in float32."""
    flat = [parameter.detach().reshape(-1).float().cpu() for parameter in parameters]
    return torch.cat(flat or [torch.empty(0)])


def _told(sums: Sums, checksum: int) -> Tensor:
    """Return a gradient's sums and the checksum of one piece of it, in bits that one exchange carries."""
    figures = torch.tensor([float(getattr(sums, one.name)) for one in fields(Sums)], dtype=torch.float64)
    return torch.cat([figures.view(torch.int64), torch.tensor([checksum])])


def _heard(told: Tensor) -> tuple[Sums, int]:
    """Return what `_told` was given."""
    return Sums.of(told[:-1].view(torch.float64).tolist()), int(told[-1])
