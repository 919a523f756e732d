"""The three streams' losses as pure functions over flat completion tokens (N), before any normalisation.

Every function returns a sum; the caller divides by the batch's global `Normalizers`, so a result does not depend on
micro-batches, padding or the number of workers. Sequences are told apart by `row_N`, the number of each token's
sequence; a sequence's tokens are always together and in order.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from bootstrap.learner_records import KlForm, RatioLevel, Surrogate

MAX_LOG_RATIO = 20.0
"""Log-ratio from which a ratio grows no further: float32 ends near 88, and a gradient's norm near half of that."""
ANCHOR_PENALTY_WIDTH = 0.01
"""Change of a log-probability, in nats, from which on a held token is pulled back with full force."""


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

    `clipped`: `-min(r A, clip(r) A)`, PPO's surrogate (arXiv:1707.06347) with DAPO's separate bounds (arXiv:2503.14476,
    eq. 8); under `dual_clip` c, `-max(min(r A, clip(r) A), c A)` where A < 0 (arXiv:1912.09729), so that one token of
    large ratio cannot outweigh a batch. `truncated`: `-sg(clip(r)) A logprob` (CISPO, arXiv:2506.13585, eq. 4).
    `masked`: `-sg(r) A logprob` within the bounds, 0 outside (masked importance sampling). Where the ratio is 1, all
    have the gradient of REINFORCE: `-A grad logprob`.

    `ratio_level` other than `token` needs `row_N`: the ratio of each token is that of its whole sequence. Its gradient
    in `clipped` goes through every token of the sequence (GSPO, arXiv:2507.18071, eq. 5-7); that of the product does so
    once for each of the sequence's L tokens, so that each counts for 1/L. Ratios are bounded by
    `exp(MAX_LOG_RATIO)`, so that loss and gradient stay finite however far a sequence has moved.
    """
    log_ratio_N = logprobs_N - old_logprobs_N
    if ratio_level is not RatioLevel.TOKEN:
        assert row_N is not None, "the ratio of a sequence needs to know which tokens it has"
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
        if ratio_level is RatioLevel.PRODUCT:
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
    """Return the ratios, those beyond `exp(MAX_LOG_RATIO)` at that value and with its gradient.

    An infinite ratio would make NaN of what multiplies it by 0: an advantage of 0, or the gradient of the side that
    a minimum has not taken. A gradient of 0 beyond the bound would leave a bad token that became likely as it is.
    """
    return torch.exp(log_ratio_N - (log_ratio_N.detach() - MAX_LOG_RATIO).clamp(min=0))


def _of_sequence(values_N: Tensor, row_N: Tensor, *, mean: bool) -> Tensor:
    """Return for each token the sum, or the mean, of the values of its sequence."""
    _, inverse_N, counts_S = torch.unique_consecutive(row_N, return_inverse=True, return_counts=True)
    sums_S = values_N.new_zeros(len(counts_S)).index_add(0, inverse_N, values_N)
    return (sums_S / counts_S if mean else sums_S)[inverse_N]


def sum_to_end(values_N: Tensor, row_N: Tensor) -> Tensor:
    """Return for each token the sum of the values from it to the end of its sequence."""
    # A running sum over all sequences and a difference of two of its values: in float64, lest the difference be lost.
    total_N = values_N.double().cumsum(0)
    _, inverse_N, counts_S = torch.unique_consecutive(row_N, return_inverse=True, return_counts=True)
    last_N = (counts_S.cumsum(0) - 1)[inverse_N]
    return (total_N[last_N] - total_N + values_N).to(values_N.dtype)


def kl_reward(old_logprobs_N: Tensor, kl_target_logprobs_N: Tensor, row_N: Tensor, *, form: KlForm) -> Tensor:
    """Return by how much the advantage of each token changes for a KL target of weight 1; constant in the policy.

    The KL estimates k1 at sampling time, negative; `token_k1` that of the token alone, which makes the policy gradient
    that of the reverse KL token by token (on-policy distillation), `reward_k1` summed to the completion's end, which
    makes it that of the whole sequence's reverse KL. They get no baseline: the mean of what other samples pay is not
    removed. As a reward no other estimator has that gradient: those of k2 and k3 are of second order in the difference.
    """
    reward_N = -kl_estimate(old_logprobs_N, kl_target_logprobs_N, estimator="k1")
    return reward_N if form is KlForm.TOKEN_K1 else sum_to_end(reward_N, row_N)


def kl_estimate(logprobs_N: Tensor, kl_target_logprobs_N: Tensor, *, estimator: str) -> Tensor:
    """Return an estimate of KL(policy || target) at each token from the sampled token alone (Schulman 2020).

    With `d = log target - log policy`: k1 `-d`, unbiased and as often negative as positive; k2 `d^2 / 2`, biased, and
    differentiated as a loss it has the reverse KL's gradient on policy (arXiv:2510.01555); k3 `exp(d) - d - 1`,
    unbiased and never negative, GRPO's term. All are zero where the two agree. The gradient of k1 as a loss is zero in
    expectation, whatever the KL target, so no KL target has that form.
    """
    difference_N = kl_target_logprobs_N - logprobs_N
    if estimator == "k1":
        return -difference_N
    if estimator == "k2":
        return difference_N.square() / 2
    assert estimator == "k3", f"no estimator {estimator}"
    return _exp(difference_N) - difference_N - 1


def anchor_penalty(logprobs_N: Tensor, old_logprobs_N: Tensor, weights_N: Tensor) -> Tensor:
    """Return the sum of `w |logprob - old|`: the pull that KL-Cov puts on the tokens it chose (arXiv:2505.22617).

    Within `ANCHOR_PENALTY_WIDTH` of the old value it is a parabola that joins smoothly (Huber), because there sampler
    and learner differ by rounding, and the absolute value would turn the sign of that into a gradient of full size.
    """
    distances_N = torch.nn.functional.smooth_l1_loss(
        logprobs_N, old_logprobs_N, reduction="none", beta=ANCHOR_PENALTY_WIDTH
    )
    return (weights_N * distances_N).sum()


def value_loss(values_N: Tensor, old_values_N: Tensor, returns_N: Tensor, *, clip: float | None) -> Tensor:
    """Return the sum of `1/2 max((v - R)^2, (clip(v, old - c, old + c) - R)^2)`: PPO's critic, clipped as its policy.

    As in the reference implementations (baselines' ppo2; arXiv:2005.12729, section 3): a value that has moved further
    than c towards its target has no gradient. Without `clip` it is the squared error, halved.
    """
    errors_N = (values_N - returns_N).square()
    if clip is not None:
        near_N = torch.minimum(torch.maximum(values_N, old_values_N - clip), old_values_N + clip)
        errors_N = torch.maximum(errors_N, (near_N - returns_N).square())
    return errors_N.sum() / 2


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


def divergence(
    student_logits_NV: Tensor, teacher_logits_NV: Tensor, weights_N: Tensor, *, beta: float, top_k: int = 0
) -> Tensor:
    """Return the sum of `w D(teacher, student)`, the generalised Jensen-Shannon divergence of GKD (arXiv:2306.13649).

    `D = beta KL(teacher || m) + (1 - beta) KL(student || m)` with `m = beta teacher + (1 - beta) student`; its limits,
    each divided by its vanishing weight, are beta 0: KL(teacher || student), mass-covering, and beta 1:
    KL(student || teacher), mode-seeking. `top_k` compares the teacher's k likeliest tokens with all others together as
    one more outcome, so that both sides sum to 1: a sum over the k tokens alone is no divergence, and as a reverse KL
    its gradient pushes the student's mass out of sight (arXiv:2605.11182). By the data-processing inequality that is
    never more than the whole divergence, and equal to it where k leaves out one token.

    Where one side is wider, because its output matrix is padded beyond the tokenizer's last token, both are compared on
    the outputs that they share, each normalised over these.
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
    """Return the log-probabilities of some tokens, and that of all others together (N, K + 1)."""
    rest_N1 = logprobs_NV.scatter(-1, top_NK, -torch.inf).logsumexp(dim=-1, keepdim=True)
    return torch.cat([logprobs_NV.gather(-1, top_NK), rest_N1], dim=-1)


def _kl(left_NV: Tensor, right_NV: Tensor) -> Tensor:
    return (left_NV.exp() * (left_NV - right_NV)).sum(dim=-1)
