"""Training of weights, whatever the step: all of them or an adapter, precision, memory.

Left out: a step's data and length (`steps.py`).
"""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from bootstrap.config.base import Operational, Settings


class LoraAdapter(Settings):
    """Low-rank updates of the base's matrices (LoRA, arXiv:2106.09685): W + alpha / rank * B A, with W frozen.

    There is no dropout, since sampler and trainer must compute the same log-probabilities.
    """

    type: Literal["lora"] = "lora"
    rank: int = Field(default=16, ge=1)
    """Rank of the update: numbers learnt grow with it."""
    alpha: float = Field(default=32, gt=0)
    """The update is scaled by `alpha` / `rank`."""
    targets: Literal["all-linear"] | tuple[Annotated[str, Field(min_length=1)], ...] = "all-linear"
    """Matrices with an update: all inside the blocks (arXiv:2305.14314), or those of the modules named, as `q_proj`."""
    dora: bool = False
    """Learn each row's length apart from its direction (DoRA, arXiv:2402.09353): better at small ranks, and slower."""

    @field_validator("targets")
    @classmethod
    def _names_something(cls, targets: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not targets:
            raise ValueError(
                "an adapter without targets learns nothing; use all-linear, or name modules such as q_proj"
            )
        return targets


class UpdateBounds(Settings):
    """Numbers beyond which an update is not believed; null leaves one unwatched.

    A breach undoes the updates since the last checkpoint and does them once more, which a passing fault of memory does
    not outlive; a second one ends the run (UpdateFault, exit code 5). Within bounds nothing depends on them.
    """

    grad_norm: float | None = Field(default=1000.0, gt=1)
    """Largest ratio of the gradient's norm, before clipping, to its running median in the step (at least 1), and of its
    gain to the gain's: the norm over that of the gradient at the last hidden states, from which it is computed. The
    critic's gradient, at its values, is watched apart."""
    loss: float | None = Field(default=100.0, gt=1)
    """The same of each loss: policy gradient, cross-entropy, divergence, the critic's."""
    logprobs: float | None = Field(default=2.0, gt=0)
    """Largest difference of log-probabilities between sampling and training, in nats, as a mean over a rollout's
    tokens. Measured on the rollouts of each round's first update, which trains the weights that sampled them."""


class Training(Settings):
    adapter: LoraAdapter | None = None
    """null trains all weights. An adapter needs a pretrained base (`base.model` of type folder), stored once."""
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    """Precision of the matrix products inside the blocks, in sampling and training alike. Embedding, norms, output
    matrix, softmax and trained weights stay in 32 bits. `auto` is bf16 where every worker's device has instructions for
    it, else fp32 (a processor without them emulates bf16, several times slower than fp32); a lineage keeps the choice
    that it began with."""
    gradient_checkpointing: bool = False
    """Keep only each block's input for the backward pass and recompute the rest: a third more work, far less memory."""
    packing: bool = False
    """Pack several short sequences into one row, kept apart by the attention mask: less padding where lengths differ;
    results differ by rounding."""
    bounds: Annotated[UpdateBounds, Operational()] = UpdateBounds()
    """What an update's numbers have to keep to."""
