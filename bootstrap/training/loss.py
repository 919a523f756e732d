"""The three streams' losses as pure functions over flat completion tokens (N), before any normalisation.

Every function returns a sum; the caller divides by the batch's global `Normalizers`, so results do not depend on
micro-batches, padding or the number of workers. `row_N` is the number of each token's sequence; a sequence's tokens are
adjacent and in order.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from bootstrap.learner_records import KlForm, RatioLevel, Surrogate

MAX_LOG_RATIO = 20.0
"""Log-ratio beyond which a ratio stays constant: float32 overflows near 88, a gradient's norm near half of that."""
ANCHOR_PENALTY_WIDTH = 0.01
"""Change of a log-probability, in nats, from which the anchor penalty has its full gradient."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyLoss:
    loss: Tensor
    ratio_max: Tensor
    num_clipped: Tensor


def policy_gradient(
    logprobs_N: Tensor,
    old_logprobs_N: Tensor,
    advantages_N: Tensor,
    *,
    clip_low: float | None,
    clip_high: float | None,
    surrogate: Surrogate = Surrogate.CLIPPED,
    ratio_level: RatioLevel = RatioLevel.TOKEN,
    dual_clip: float | None = None,
    row_N: Tensor | None = None,
) -> PolicyLoss:
    """Return the sum of a surrogate of `-r A`, with `r` the importance ratio and bounds `1 - clip_low, 1 + clip_high`.

    - `clipped`: `-min(r A, clip(r) A)`, PPO's surrogate (arXiv:1707.06347) with DAPO's separate bounds
      (arXiv:2503.14476, eq. 8). With `dual_clip` c, `-max(min(r A, clip(r) A), c A)` where A < 0 (arXiv:1912.09729), so
      that one token of large ratio cannot outweigh a batch.
    - `truncated`: `-sg(clip(r)) A logprob` (CISPO, arXiv:2506.13585, eq. 4).
    - `masked`: `-sg(r) A logprob` within the bounds, 0 outside (masked importance sampling).

    At ratio 1 all have the gradient of REINFORCE: `-A grad logprob`.

    `ratio_level` other than `token` needs `row_N`: each token has the ratio of its sequence. In `clipped` its gradient
    reaches every token of the sequence (GSPO, arXiv:2507.18071, eq. 5-7); the product's does so once for each of the L
    tokens, so each counts 1/L. Ratios are bounded by `exp(MAX_LOG_RATIO)`, so loss and gradient stay finite.
    """
    log_ratio_N = logprobs_N - old_logprobs_N
    if ratio_level is not RatioLevel.TOKEN:
        assert row_N is not None, "the ratio of a sequence needs row_N"
        log_ratio_N = _of_sequence(log_ratio_N, row_N, mean=ratio_level is RatioLevel.SEQUENCE)
    ratio_N = _exp(log_ratio_N)
    low = 0.0 if clip_low is None else 1.0 - clip_low
    high = torch.inf if clip_high is None else 1.0 + clip_high
    if surrogate is Surrogate.CLIPPED:
        plain_N = ratio_N * advantages_N
        clipped_N = ratio_N.clamp(low, high) * advantages_N
        gained_N = torch.minimum(plain_N, clipped_N)
        acts_N = clipped_N < plain_N
        if dual_clip is not None:
            floor_N = dual_clip * advantages_N
            acts_N = acts_N | ((advantages_N < 0) & (floor_N > gained_N))
            gained_N = torch.where(advantages_N < 0, torch.maximum(gained_N, floor_N), gained_N)
        if ratio_level is RatioLevel.PRODUCT and row_N is not None:
            gained_N = gained_N / _of_sequence(torch.ones_like(gained_N), row_N, mean=False)
    else:
        ratio_N = ratio_N.detach()
        inside_N = (ratio_N >= low) & (ratio_N <= high)
        truncated = surrogate is Surrogate.TRUNCATED
        weight_N = ratio_N.clamp(low, high) if truncated else torch.where(inside_N, ratio_N, torch.zeros_like(ratio_N))
        gained_N = weight_N * advantages_N * logprobs_N
        acts_N = ~inside_N
    return PolicyLoss(
        loss=-gained_N.sum(),
        ratio_max=ratio_N.detach().max() if len(ratio_N) else logprobs_N.new_ones(()),
        num_clipped=acts_N.sum(),
    )


def _exp(log_ratio_N: Tensor) -> Tensor:
    """Return the ratios; beyond `exp(MAX_LOG_RATIO)`, that value with its gradient.

    An infinite ratio times 0 would be NaN: an advantage of 0, or the gradient of a minimum's other side. A gradient of
    0 beyond the bound would never correct a bad token that became likely.
    """
    return torch.exp(log_ratio_N - (log_ratio_N.detach() - MAX_LOG_RATIO).clamp(min=0))


def logprob_difference(apart_N: Tensor, row_N: Tensor) -> float:
    """Return the largest mean over a sequence's tokens of |difference of log-probabilities|; 0 without tokens.

    Infinite where a difference is no number.
    """
    if not len(apart_N):
        return 0.0
    mean_N = _of_sequence(apart_N.abs(), row_N, mean=True)
    return float(mean_N.nan_to_num(nan=torch.inf).max())


def _of_sequence(values_N: Tensor, row_N: Tensor, *, mean: bool) -> Tensor:
    """Return each token's sum, or mean, of the values of its sequence."""
    _, inverse_N, counts_S = torch.unique_consecutive(row_N, return_inverse=True, return_counts=True)
    sums_S = values_N.new_zeros(len(counts_S)).index_add(0, inverse_N, values_N)
    return (sums_S / counts_S if mean else sums_S)[inverse_N]


def sum_to_end(values_N: Tensor, row_N: Tensor) -> Tensor:
    """Return each token's sum of the values from it to the end of its sequence."""
    # The difference of two running sums over all sequences: in float64, against cancellation.
    total_N = values_N.double().cumsum(0)
    _, inverse_N, counts_S = torch.unique_consecutive(row_N, return_inverse=True, return_counts=True)
    last_N = (counts_S.cumsum(0) - 1)[inverse_N]
    return (total_N[last_N] - total_N + values_N).to(values_N.dtype)


def kl_reward(old_logprobs_N: Tensor, kl_target_logprobs_N: Tensor, row_N: Tensor, *, form: KlForm) -> Tensor:
    """Return each token's change of advantage for a KL target of weight 1; constant in the policy.

    The negative KL estimate k1 at sampling time. `token_k1` uses the token's own, which gives the policy gradient of
    the reverse KL token by token (on-policy distillation); `reward_k1` sums to the completion's end, which gives that
    of the whole sequence's reverse KL. No baseline is subtracted. As rewards, k2 and k3 would not have this gradient:
    theirs are of second order in the difference.
    """
    reward_N = -kl_estimate(old_logprobs_N, kl_target_logprobs_N, estimator="k1")
    return reward_N if form is KlForm.TOKEN_K1 else sum_to_end(reward_N, row_N)


def kl_estimate(logprobs_N: Tensor, kl_target_logprobs_N: Tensor, *, estimator: str) -> Tensor:
    """Return an estimate of KL(policy || target) at each token, from the sampled token alone (Schulman 2020).

    With `d = log target - log policy`; all are zero where the two agree:

    - k1 `-d`: unbiased, of either sign. As a loss its expected gradient is zero, so no target has that form.
    - k2 `d^2 / 2`: biased; as a loss it has the reverse KL's gradient on policy (arXiv:2510.01555).
    - k3 `exp(d) - d - 1`: unbiased, never negative; GRPO's term.
    """
    difference_N = kl_target_logprobs_N - logprobs_N
    if estimator == "k1":
        return -difference_N
    if estimator == "k2":
        return difference_N.square() / 2
    assert estimator == "k3", f"no estimator {estimator}"
    return _exp(difference_N) - difference_N - 1


def anchor_penalty(logprobs_N: Tensor, old_logprobs_N: Tensor, weights_N: Tensor) -> Tensor:
    """Return the sum of `w |logprob - old|`: KL-Cov's anchor penalty on its chosen tokens (arXiv:2505.22617).

    Within `ANCHOR_PENALTY_WIDTH` of the old value it is a smoothly joined parabola (Huber): there sampler and learner
    differ by rounding, whose sign would otherwise become a full gradient.
    """
    distances_N = torch.nn.functional.smooth_l1_loss(
        logprobs_N, old_logprobs_N, reduction="none", beta=ANCHOR_PENALTY_WIDTH
    )
    return (weights_N * distances_N).sum()


def value_loss(values_N: Tensor, old_values_N: Tensor, returns_N: Tensor, *, clip: float | None) -> Tensor:
    """Return the sum of `1/2 max((v - R)^2, (clip(v, old - c, old + c) - R)^2)`: the loss of PPO's critic.

    As in the reference implementations (baselines' ppo2; arXiv:2005.12729, section 3): a value that moved further than
    c towards its target has no gradient. Without `clip`, half the squared error.
    """
    errors_N = (values_N - returns_N).square()
    if clip is not None:
        near_N = torch.minimum(torch.maximum(values_N, old_values_N - clip), old_values_N + clip)
        errors_N = torch.maximum(errors_N, (near_N - returns_N).square())
    return errors_N.sum() / 2


def cross_entropy(logprobs_N: Tensor, weights_N: Tensor) -> Tensor:
    """Return the sum of `-w logprob`: the weighted negative log-likelihood."""
    return -(weights_N * logprobs_N).sum()


def forward_kl(student_logits_NV: Tensor, teacher_logits_NV: Tensor, weights_N: Tensor) -> Tensor:
    """Return the sum of `w KL(teacher || student)` over the full vocabulary (GKD at beta 0, arXiv:2306.13649).

    Mass-covering: the student is pulled wherever the teacher has probability. Zero where they agree.
    """
    student_NV = torch.log_softmax(student_logits_NV.float(), dim=-1)
    teacher_NV = torch.log_softmax(teacher_logits_NV.float(), dim=-1)
    return (weights_N * (teacher_NV.exp() * (teacher_NV - student_NV)).sum(dim=-1)).sum()


def divergence(
    student_logits_NV: Tensor, teacher_logits_NV: Tensor, weights_N: Tensor, *, beta: float, top_k: int = 0
) -> Tensor:
    """Return the sum of `w D(teacher, student)`, the generalised Jensen-Shannon divergence of GKD (arXiv:2306.13649).

    `D = beta KL(teacher || m) + (1 - beta) KL(student || m)` with `m = beta teacher + (1 - beta) student`. Its limits,
    each divided by its vanishing weight: beta 0 is KL(teacher || student), mass-covering, and beta 1 is
    KL(student || teacher), mode-seeking.

    `top_k` compares the teacher's k likeliest tokens, and all others together as one more outcome, so that both sides
    sum to 1. A sum over the k tokens alone is no divergence, and as a reverse KL its gradient moves the student's mass
    to the tokens left out (arXiv:2605.11182). By the data-processing inequality the result is at most the whole
    divergence, and equal to it where k leaves out one token.

    Padded output matrices may differ in width; both sides are compared on their shared outputs, each normalised there.
    """
    shared = min(student_logits_NV.shape[-1], teacher_logits_NV.shape[-1])
    student_logits_NV, teacher_logits_NV = student_logits_NV[:, :shared], teacher_logits_NV[:, :shared]
    if not beta and not top_k:
        return forward_kl(student_logits_NV, teacher_logits_NV, weights_N)
    student_NV = torch.log_softmax(student_logits_NV.float(), dim=-1)
    teacher_NV = torch.log_softmax(teacher_logits_NV.float(), dim=-1)
    if 0 < top_k < teacher_NV.shape[-1]:
        top_NK = teacher_NV.topk(top_k, dim=-1).indices
        student_NV, teacher_NV = (_with_rest(side_NV, top_NK) for side_NV in (student_NV, teacher_NV))
    if beta == 0:
        rows_N = _kl(teacher_NV, student_NV)
    elif beta == 1:
        rows_N = _kl(student_NV, teacher_NV)
    else:
        weights = torch.tensor([1 - beta, beta], dtype=student_NV.dtype, device=student_NV.device).log()
        middle_NV = torch.logsumexp(torch.stack([student_NV + weights[0], teacher_NV + weights[1]]), dim=0)
        rows_N = beta * _kl(teacher_NV, middle_NV) + (1 - beta) * _kl(student_NV, middle_NV)
    return (weights_N * rows_N).sum()


def _with_rest(logprobs_NV: Tensor, top_NK: Tensor) -> Tensor:
    """Return the log-probabilities of K tokens, and of all others together (N, K + 1)."""
    rest_N1 = logprobs_NV.scatter(-1, top_NK, -torch.inf).logsumexp(dim=-1, keepdim=True)
    return torch.cat([logprobs_NV.gather(-1, top_NK), rest_N1], dim=-1)


def _kl(left_NV: Tensor, right_NV: Tensor) -> Tensor:
    return (left_NV.exp() * (left_NV - right_NV)).sum(dim=-1)
