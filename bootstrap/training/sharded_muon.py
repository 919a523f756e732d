"""Muon over sharded matrices: each matrix has one owner, which alone orthogonalises it.

A rank sends the owner its rows of the update, and gets its rows of the result. Momentum is sharded as the weights are,
so a rank holds 1/S of it, and at no time more whole matrices than `MUON_PORTION` entries, or one.
"""

# torch has no public names for its operations on lists of tensors.
# pyright: reportPrivateImportUsage=false

from typing import Any

import torch
from torch import Tensor

from bootstrap.training.muon import Muon, orthogonalise
from bootstrap.training.owners import Owned
from bootstrap.training.ranks import Ranks
from bootstrap.training.rows import own_rows


class ShardedMuon(Muon):
    """Muon of a model that `sharded.shard` has spread over ranks."""

    def __init__(self, muon: Muon, ranks: Ranks) -> None:
        """`muon`: over the same parameters, before its first step."""
        super().__init__(muon.param_groups)
        self.ranks = ranks
        self.owners = ranks.num_shards
        self.next_owner = 0

    def step(self, closure: None = None) -> None:
        """Move every matrix that has a gradient."""
        self.next_owner = 0
        super().step(closure)

    def _move(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [own_rows(matrix.grad) for matrix in matrices if matrix.grad is not None]
        momenta = []
        for matrix in matrices:
            state = self.state[matrix]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(matrix)
            momenta.append(own_rows(state["momentum_buffer"]))
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        sent = torch._foreach_lerp(gradients, momenta, group["momentum"]) if group["nesterov"] else momenta
        owners = [(self.next_owner + number) % self.owners for number in range(len(matrices))]
        self.next_owner = (self.next_owner + len(matrices)) % self.owners
        owned = Owned(ranks=self.ranks, shapes=[matrix.shape for matrix in matrices], owners=owners)
        mine = owned.collect(sent)
        if mine:
            stacked_MRC = torch.stack(list(mine.values()))
            results_MRC = orthogonalise(
                stacked_MRC, group["ns_coefficients"], steps=group["ns_steps"], eps=group["eps"]
            )
            mine = dict(zip(mine, results_MRC.unbind(), strict=True))
        updates = owned.spread(mine, like=sent[0].float())
        weights = [own_rows(matrix) for matrix in matrices]
        rows, columns = matrices[0].shape
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, updates, alpha=-group["lr"] * max(1, rows / columns) ** 0.5)
