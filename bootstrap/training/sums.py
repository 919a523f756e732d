"""The sums of one shard's losses, divided by the global normalizers, and the metrics of all shards together."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import sqrt
from typing import Any

from bootstrap.learner_records import UpdateMetrics


@dataclass(frozen=True, kw_only=True, slots=True)
class Sums:
    """A shard's losses and counts."""

    rl_loss: float
    ce_loss: float
    kl_loss: float
    value_loss: float
    ratio_max: float
    logprob_difference: float
    hidden_square: float
    """Squared norm of the loss's gradient at the policy's last hidden states."""
    value_square: float
    """The same at the critic's values."""
    num_clipped: int
    num_rl_tokens: int
    num_tokens: int
    flops: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Sums":
        """Return the sums of which these are the fields in order, each as a float."""
        named: dict[str, Any] = {
            one.name: int(value) if one.type is int else value for one, value in zip(fields(Sums), values, strict=True)
        }
        return cls(**named)


def metrics_of(shards: Sequence[Sums], *, grad_norm: float, critic_grad_norm: float) -> UpdateMetrics:
    """Return the metrics of an update; the shards are added in the order given."""
    rl, ce, kl = (sum(getattr(one, name) for one in shards) for name in ("rl_loss", "ce_loss", "kl_loss"))
    num_rl = sum(one.num_rl_tokens for one in shards)
    return UpdateMetrics(
        loss=rl + ce + kl,
        rl_loss=rl,
        ce_loss=ce,
        kl_loss=kl,
        value_loss=sum(one.value_loss for one in shards),
        grad_norm=grad_norm,
        critic_grad_norm=critic_grad_norm,
        hidden_grad_norm=sqrt(sum(one.hidden_square for one in shards)),
        value_grad_norm=sqrt(sum(one.value_square for one in shards)),
        ratio_max=max(one.ratio_max for one in shards),
        logprob_difference=max(one.logprob_difference for one in shards),
        clip_fraction=sum(one.num_clipped for one in shards) / max(num_rl, 1),
        num_tokens=sum(one.num_tokens for one in shards),
        flops=sum(one.flops for one in shards),
    )
