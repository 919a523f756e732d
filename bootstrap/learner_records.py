"""The forms of the losses, and the learner's results.

    RatioLevel, Surrogate, KlForm: choices of a `Batch` and its KL targets (`records.py`)
    TokenScores, UpdateMetrics, Divergence: before an update, after it, between two models
    Version: weights that samplers take

Left out: the arithmetic (`training/loss.py`).
"""

from dataclasses import dataclass
from enum import StrEnum


class RatioLevel(StrEnum):
    """The importance ratio `r = exp(log-ratio)` of a token in the `rl` stream."""

    TOKEN = "token"
    """The token's own."""
    SEQUENCE = "sequence"
    """Its completion's: the geometric mean of the tokens' ratios (GSPO, arXiv:2507.18071)."""
    PRODUCT = "product"
    """Its completion's: the product of the tokens' ratios, the exact weight of the sequence."""


class Surrogate(StrEnum):
    """The `rl` stream's objective from a token's ratio `r` and advantage `A`; the bounds are the batch's clips."""

    CLIPPED = "clipped"
    """`min(r A, clip(r) A)`: no gradient for clipped tokens (PPO, arXiv:1707.06347)."""
    TRUNCATED = "truncated"
    """`stop_gradient(clip(r)) A logprob`: every token keeps a gradient, of bounded weight (CISPO, arXiv:2506.13585)."""
    MASKED = "masked"
    """`stop_gradient(r) A logprob` for `r` within the bounds, 0 outside."""


class KlForm(StrEnum):
    """How a KL target, a frozen model, enters the `rl` stream.

    `k1`, `k2`, `k3` estimate KL(policy || target) from the sampled token alone (Schulman 2020), with
    `d = logprob under the target - logprob`: `-d`, `d^2 / 2`, `exp(d) - d - 1`. Only k1 as a reward, and k2 and k3 as
    losses, have a gradient towards the target (`training/loss.py`).
    """

    REWARD_K1 = "reward_k1"
    """Subtracts from the advantage the estimate at sampling time, summed from the token to the completion's end."""
    TOKEN_K1 = "token_k1"
    """Subtracts from the advantage the token's own estimate: on-policy distillation (reverse KL, discount 0)."""
    LOSS_K2 = "loss_k2"
    """Adds the estimate to the loss."""
    LOSS_K3 = "loss_k3"

    @property
    def in_loss(self) -> bool:
        return self in (KlForm.LOSS_K2, KlForm.LOSS_K3)

    @property
    def estimator(self) -> str:
        return self.value.rsplit("_", 1)[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenScores:
    """The current weights' figures for one sequence's completion tokens, before an update."""

    source: str
    """The example's."""
    logprobs: tuple[float, ...]
    """At the requested temperature."""
    values: tuple[float, ...]
    """The critic's, of each token's state; empty without a critic."""
    rewards: tuple[float, ...]
    """From the example's KL targets in the reward: negative KL estimates times their weights."""
    flops: float
    """Model FLOPs of the sequence's forward passes, the KL targets' included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateMetrics:
    """Metrics of one optimizer update; losses are divided by their normalizers."""

    loss: float
    rl_loss: float
    ce_loss: float
    kl_loss: float
    value_loss: float
    """The critic's; 0 without one."""
    grad_norm: float
    """Global L2 norm before clipping, without the critic."""
    critic_grad_norm: float = 0.0
    """The critic's, clipped apart; 0 without one."""
    hidden_grad_norm: float = 0.0
    """L2 norm of the loss's gradient at the policy's last hidden states, from which `grad_norm` is computed."""
    value_grad_norm: float = 0.0
    """The same at the critic's values; 0 without one."""
    ratio_max: float
    """Largest importance ratio among `rl` tokens; 1 without any."""
    clip_fraction: float
    """Share of clipped `rl` tokens; except in `truncated` surrogates they give no gradient."""
    logprob_difference: float = 0.0
    """Largest mean over a sequence's `rl` tokens of |log-probability now - given|; infinite for NaN, 0 without any."""
    num_tokens: int
    """Tokens in the forward pass, without padding."""
    flops: float
    """Model FLOPs of forward and backward, teachers' forward passes included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Divergence:
    """Divergence of one model from another on given completions: sums over their tokens."""

    nats: float
    """KL(model || other) over the whole vocabulary."""
    num_tokens: int
    """Completion tokens compared."""
    flops: float
    """Of both models' forward passes."""

    @property
    def per_token(self) -> float:
        return self.nats / self.num_tokens


@dataclass(frozen=True, slots=True)
class Version:
    """Weights that learners have published."""

    fingerprint: str
