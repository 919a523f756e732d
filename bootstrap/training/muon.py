"""Muon (Jordan 2024, kellerjordan.github.io/posts/muon): the steps of torch.optim.Muon at a fraction of their cost.

torch iterates in bf16, one matrix after the other. Both are slow on a CPU: without bf16 instructions it emulates bf16,
and the small matrices of a small model cost less than the calls that multiply them. Here all matrices of one shape go
through Newton-Schulz together, in float32 on a CPU, with the same result up to bf16 rounding. Many large matrices go in
portions, since each portion is copied several times.

Left out: the choice of parameters for Muon (`optimizer.py`).
"""

# torch has no public names for its operations on lists of tensors.
# pyright: reportPrivateImportUsage=false

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from bootstrap import compute


class Muon(torch.optim.Muon):
    """torch.optim.Muon with its own step; settings and state are the same."""

    owners = 1
    """Processes that orthogonalise at the same time, each a portion."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Move every matrix that has a gradient."""
        assert closure is None, "the gradient of the whole batch is computed once"
        for group in self.param_groups:
            alike: dict[tuple[torch.Size, torch.device], list[Tensor]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    alike[(matrix.shape, matrix.device)].append(matrix)
            for matrices in alike.values():
                for portion in portions(matrices, owners=self.owners):
                    self._move(portion, group)

    def _move(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        """Move matrices of one shape (R, C)."""
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
        momenta = []
        for matrix in matrices:
            state = self.state[matrix]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(matrix)
            momenta.append(state["momentum_buffer"])
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        # The argument has no name, so that only the stack stays in memory.
        stacked_MRC = torch.stack(
            torch._foreach_lerp(gradients, momenta, group["momentum"]) if group["nesterov"] else momenta
        )
        updates_MRC = orthogonalise(stacked_MRC, group["ns_coefficients"], steps=group["ns_steps"], eps=group["eps"])
        rows, columns = matrices[0].shape
        torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(matrices, list(updates_MRC.unbind()), alpha=-group["lr"] * max(1, rows / columns) ** 0.5)


def portions(matrices: list[Tensor], *, owners: int = 1) -> Iterator[list[Tensor]]:
    """Yield matrices of one shape in order, in portions of at most `MUON_PORTION` elements and at least one matrix for
    each owner."""
    size = owners * max(compute.MUON_PORTION // matrices[0].numel(), 1)
    for start in range(0, len(matrices), size):
        yield matrices[start : start + size]


def orthogonalise(matrices_MRC: Tensor, coefficients: tuple[float, float, float], *, steps: int, eps: float) -> Tensor:
    """Return the M matrices (M, R, C) with the same singular vectors and singular values near 1, in float32.

    `steps` quintic Newton-Schulz iterations `X <- a X + (b X X' + c (X X')^2) X` from matrices of norm 1 at most.
    """
    dtype = torch.bfloat16 if matrices_MRC.is_cuda else torch.float32
    a, b, c = coefficients
    is_tall = matrices_MRC.shape[-2] > matrices_MRC.shape[-1]
    x = (matrices_MRC.mT if is_tall else matrices_MRC).to(dtype)
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if is_tall else x).float()
