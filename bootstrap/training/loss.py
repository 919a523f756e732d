"""The three streams' losses as pure functions over flat completion tokens (N), before any normalisation.

Every function returns a sum; the caller divides by the batch's global `Normalizers`, so a result does not depend on
micro-batches, padding or the number of workers.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyLoss:
    loss: Tensor
    ratio_max: Tensor
    num_clipped: Tensor


def policy_gradient(
    logprobs_N: Tensor, old_logprobs_N: Tensor, advantages_N: Tensor, *, clip_low: float | None, clip_high: float | None
) -> PolicyLoss:
    """Return the sum of `-min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)` with `r = exp(logprob - old)`.

    PPO's clipped surrogate (arXiv:1707.06347) with DAPO's separate bounds (arXiv:2503.14476, eq. 8). Where the ratio
    is 1, the gradient is that of REINFORCE: `-A grad logprob`.
    """
    ratio_N = torch.exp(logprobs_N - old_logprobs_N)
    low = 0.0 if clip_low is None else 1.0 - clip_low
    high = torch.inf if clip_high is None else 1.0 + clip_high
    plain_N = ratio_N * advantages_N
    clipped_N = ratio_N.clamp(low, high) * advantages_N
    return PolicyLoss(
        loss=-torch.minimum(plain_N, clipped_N).sum(),
        ratio_max=ratio_N.detach().max() if len(ratio_N) else logprobs_N.new_ones(()),
        num_clipped=(clipped_N < plain_N).sum(),
    )


def cross_entropy(logprobs_N: Tensor, weights_N: Tensor) -> Tensor:
    """Return the sum of `-w logprob`: negative log-likelihood of the tokens shown."""
    return -(weights_N * logprobs_N).sum()


def forward_kl(student_logits_NV: Tensor, teacher_logits_NV: Tensor, weights_N: Tensor) -> Tensor:
    """Return the sum of `w KL(teacher || student)` over the full vocabulary (GKD at beta 0, arXiv:2306.13649).

    Mass-covering: the student is pulled to wherever the teacher puts probability. Zero where they agree.
    """
    student_NV = torch.log_softmax(student_logits_NV.float(), dim=-1)
    teacher_NV = torch.log_softmax(teacher_logits_NV.float(), dim=-1)
    return (weights_N * (teacher_NV.exp() * (teacher_NV - student_NV)).sum(dim=-1)).sum()
