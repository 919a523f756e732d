"""How a batch is learned from, and what the learner tells of it.

    RatioLevel, Surrogate, KlForm: the forms that a `Batch` and its KL targets choose from (`records.py`)
    TokenScores, UpdateMetrics, Divergence: before an update, after it, between two models

Left out: the arithmetic (`training/loss.py`).
"""

from dataclasses import dataclass
from enum import StrEnum


class RatioLevel(StrEnum):
    """Of what the importance ratio of a token in the `rl` stream is: `r = exp(log-ratio)`."""

    TOKEN = "token"
    """Of the token."""
    SEQUENCE = "sequence"
    """Of its completion: the geometric mean of the tokens' ratios (GSPO, arXiv:2507.18071)."""
    PRODUCT = "product"
    """Of its completion: the product of the tokens' ratios, the exact weight of the whole sequence."""


class Surrogate(StrEnum):
    """What the `rl` stream does with the ratio `r` of a token and its advantage `A`; bounds are the batch's clips."""

    CLIPPED = "clipped"
    """`min(r A, clip(r) A)`: no gradient where the clip acts (PPO, arXiv:1707.06347)."""
    TRUNCATED = "truncated"
    """`stop_gradient(clip(r)) A logprob`: every token keeps a gradient, of bounded weight (CISPO, arXiv:2506.13585)."""
    MASKED = "masked"
    """`stop_gradient(r) A logprob` where `r` is within the bounds, nothing elsewhere."""


class KlForm(StrEnum):
    """How a frozen model bears on the tokens of the `rl` stream.

    `k1`, `k2`, `k3` are estimators of KL(policy || target) from the sampled token alone (Schulman 2020), with
    `d = logprob under the KL target - logprob`: `-d`, `d^2 / 2`, `exp(d) - d - 1`. In the reward k1 alone, and in the
    loss k2 and k3 alone, have a gradient that leads to the KL target (`training/loss.py`).
    """

    REWARD_K1 = "reward_k1"
    """The advantage falls by the estimate at sampling time, summed from the token to the completion's end."""
    TOKEN_K1 = "token_k1"
    """The advantage falls by the token's own estimate alone: on-policy distillation (reverse KL, discount 0)."""
    LOSS_K2 = "loss_k2"
    """The estimate is differentiated as a term of the loss."""
    LOSS_K3 = "loss_k3"

    @property
    def in_loss(self) -> bool:
        return self in (KlForm.LOSS_K2, KlForm.LOSS_K3)

    @property
    def estimator(self) -> str:
        return self.value.rsplit("_", 1)[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenScores:
    """What the weights under training say of one sequence's completion tokens, before an update learns from it."""

    source: str
    """The example's."""
    logprobs: tuple[float, ...]
    """At the temperature that was asked for."""
    values: tuple[float, ...]
    """The critic's, of each token's state; empty where there is no critic."""
    rewards: tuple[float, ...]
    """What each token earns from the example's KL targets in the reward: the KL estimates, negative, times the
    weights.
    """
    flops: float
    """Model FLOPs of the sequence's forward passes, the KL targets' included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateMetrics:
    """What one optimizer update reports: sums already divided by their normalizers."""

    loss: float
    rl_loss: float
    ce_loss: float
    kl_loss: float
    value_loss: float
    """The critic's; 0 without one."""
    grad_norm: float
    """Global L2 norm before clipping, the critic's head left out."""
    ratio_max: float
    """Largest importance ratio among `rl` tokens; 1 when there are none."""
    clip_fraction: float
    """Share of `rl` tokens whose ratio the clip bounds; but for `truncated` surrogates they give no gradient."""
    num_tokens: int
    """Tokens in the forward pass, padding left out."""
    flops: float
    """Model FLOPs of forward and backward, teachers' forward passes included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Divergence:
    """How far one model is from another on given completions: sums over their tokens."""

    nats: float
    """KL(model || other) over the whole vocabulary."""
    num_tokens: int
    """Completion tokens compared."""
    flops: float
    """Of both models' forward passes."""

    @property
    def per_token(self) -> float:
        return self.nats / self.num_tokens
