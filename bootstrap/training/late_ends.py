"""End tokens that a policy cannot draw at first (`base.model.min_new_tokens`): probability zero, as in sampling.

The policy's log-probabilities are those of the distribution that was sampled, so the ratio of unchanged weights is 1.
Imitation and divergences between whole distributions are of the model itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bootstrap.training.batch import MicroBatch


@dataclass(frozen=True)
class LateEnds:
    """The end tokens, and the number of tokens before which none can be drawn."""

    ends: Sequence[int] = ()
    first: int = 0

    def without(self, logits_NV: Tensor, micro: MicroBatch, mine_N: Tensor | None = None) -> Tensor:
        """Return the policy's logits; `mine_N`: mask (N) of the tokens that the logits belong to, by default all.

        A token that is an end itself was not sampled so, and keeps its probability.
        """
        if not self.first:
            return logits_NV
        ends_E = torch.tensor([end for end in self.ends if end < logits_NV.shape[-1]], device=logits_NV.device)
        early_N = (micro.number_N < self.first) & ~torch.isin(micro.targets_N, ends_E)
        early_N = early_N if mine_N is None else early_N[mine_N]
        mask_V = torch.zeros(logits_NV.shape[-1], dtype=torch.bool, device=logits_NV.device)
        mask_V[ends_E] = True
        return logits_NV.masked_fill(early_N.unsqueeze(-1) & mask_V, -torch.inf)


ANYTIME = LateEnds()
"""A policy that may end an answer at once."""
