"""Optimizers of a training step, and how the learning rate changes over it."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from bootstrap.config.base import ByType, Settings

Beta = Annotated[float, Field(ge=0, lt=1)]


class OptimizerSettings(Settings):
    """What an optimizer holds in memory, and what builds it."""

    built_by: ClassVar[str]
    """`module:function` that makes it of a model and these settings (`training/optimizer.py`)."""
    moments: ClassVar[int]
    """Numbers that it keeps of most parameters, beside the gradient."""
    copies_matrices: ClassVar[bool]
    """Whether its step works on copies of a portion of the matrices."""


class MuonAdamW(OptimizerSettings):
    """Muon for the blocks' matrices, AdamW for everything else (embeddings, head, norms)."""

    built_by: ClassVar[str] = "bootstrap.training.optimizer:muon_adamw"
    moments: ClassVar[int] = 1
    copies_matrices: ClassVar[bool] = True
    type: Literal["muon_adamw"] = "muon_adamw"
    muon_lr: float = Field(default=0.004, gt=0)
    """Learning rate of Muon, before the schedule."""
    adamw_lr: float = Field(default=0.0004, gt=0)
    """Learning rate of AdamW, before the schedule: a tenth of Muon's, whose updates are orthogonalised."""
    momentum: float = Field(default=0.95, ge=0, lt=1)
    """Momentum of Muon."""
    betas: tuple[Beta, Beta] = (0.9, 0.98)
    """AdamW's decay of the gradient's first and second moment."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled decay: a weight loses this times the learning rate in every update. 0 keeps weights."""


class AdamW(OptimizerSettings):
    """AdamW for all parameters."""

    built_by: ClassVar[str] = "bootstrap.training.optimizer:adamw"
    moments: ClassVar[int] = 2
    copies_matrices: ClassVar[bool] = False
    type: Literal["adamw"] = "adamw"
    lr: float = Field(default=0.0004, gt=0)
    """Learning rate, before the schedule."""
    betas: tuple[Beta, Beta] = (0.9, 0.98)
    """AdamW's decay of the gradient's first and second moment."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled decay: a weight loses this times the learning rate in every update. 0 keeps weights."""


Optimizer = Annotated[MuonAdamW | AdamW, ByType()]


class Schedule(Settings):
    """Learning-rate factor over a step's updates: linear warm-up, flat, linear decay to `final`."""

    warmup: float = Field(default=0.0, ge=0, le=1)
    """Share of the updates."""
    decay: float = Field(default=1.0, ge=0, le=1)
    """Share of the updates, at the end."""
    final: float = Field(default=0.05, ge=0, le=1)
    """Factor that the decay leads to; it would be reached one update after the last."""

    @model_validator(mode="after")
    def _fits(self) -> "Schedule":
        if self.warmup + self.decay > 1:
            raise ValueError(
                f"warmup {self.warmup} and decay {self.decay} overlap; let them sum to 1 or less, "
                f"for example decay: {1 - self.warmup:g}"
            )
        return self
