"""Training steps inside a generation: `sft`, `distill`, `rl`, and what they share."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bootstrap.config.base import Operational, Settings
from bootstrap.config.base_model import FolderModel

Beta = Annotated[float, Field(ge=0, lt=1)]


class MuonAdamW(Settings):
    """Muon for the blocks' matrices, AdamW for everything else (embeddings, head, norms)."""

    type: Literal["muon_adamw"] = "muon_adamw"
    muon_lr: float = Field(default=0.004, gt=0)
    adamw_lr: float = Field(default=0.0004, gt=0)
    momentum: float = Field(default=0.95, ge=0, lt=1)
    betas: tuple[Beta, Beta] = (0.9, 0.98)
    weight_decay: float = Field(default=0.0, ge=0)


class AdamW(Settings):
    """AdamW for all parameters."""

    type: Literal["adamw"] = "adamw"
    lr: float = Field(default=0.0004, gt=0)
    betas: tuple[Beta, Beta] = (0.9, 0.98)
    weight_decay: float = Field(default=0.0, ge=0)


Optimizer = Annotated[MuonAdamW | AdamW, Field(discriminator="type")]


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


class StepSettings(Settings):
    updates: int = Field(ge=1)
    """Optimizer updates in this step."""
    optimizer: Optimizer = MuonAdamW()
    schedule: Schedule = Schedule()
    grad_clip: float = Field(default=1.0, gt=0)
    """Largest global L2 norm of the gradient."""
    checkpoint_every: Annotated[int, Operational()] = Field(default=20, ge=1)
    """Updates between checkpoints inside the step; a killed run repeats at most this many."""


class References(Settings):
    """The task's own reference answers, for levels up to its `base_level` and no further."""

    type: Literal["references"] = "references"


class Rejection(Settings):
    """Rejection sampling: answers from this generation's starting weights, kept when the filter lets them pass."""

    type: Literal["rejection"] = "rejection"
    prompts: int = Field(default=2000, ge=1)
    """Prompts drawn on the target levels, spread evenly."""
    samples_per_prompt: int = Field(default=1, ge=1)
    max_accepted_per_prompt: int = Field(default=1, ge=1)
    """Cap on accepted samples of one prompt, so that easy prompts do not crowd out hard ones (arXiv:2312.06585)."""
    temperature: float = Field(default=1.0, ge=0)
    top_k: int = Field(default=0, ge=0)
    """Sample among the k likeliest tokens; 0 among all."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Sample among the fewest tokens that together have this probability; 1 among all."""
    filter: Literal["verified", "none"] = "verified"
    """`none` keeps every answer, right or wrong: the control without a verifier."""
    stepping_stones: float = Field(default=0.0, ge=0, le=1)
    """Share of easier variants of the target level among the prompts (addition: one operand shorter)."""
    newest_share: float = Field(default=0.5, gt=0, le=1)
    """Share of each batch taken from this generation's answers; the rest replays earlier levels."""

    @model_validator(mode="after")
    def _can_differ(self) -> "Rejection":
        if self.samples_per_prompt > 1 and self.temperature == 0:
            raise ValueError(
                "several greedy samples of one prompt are all alike; set samples_per_prompt: 1 or temperature above 0"
            )
        if self.max_accepted_per_prompt > self.samples_per_prompt:
            raise ValueError(
                f"max_accepted_per_prompt {self.max_accepted_per_prompt} never acts on {self.samples_per_prompt} "
                f"sample(s) of a prompt; use {self.samples_per_prompt} or less, or raise samples_per_prompt"
            )
        return self


SftSource = Annotated[References | Rejection, Field(discriminator="type")]


class SftStep(StepSettings):
    """Supervised fine-tuning: cross-entropy on references, or on the generation's own accepted answers plus replay."""

    type: Literal["sft"] = "sft"
    source: SftSource = References()
    batch_size: int = Field(default=192, ge=1)
    """Sequences in one update."""


Teacher = Literal["parent", "champion", "base"] | Annotated[int, Field(ge=0)] | FolderModel
"""An earlier generation, by place in the lineage or by number, or an external model with the same vocabulary."""


class Distillation(Settings):
    """Learning from the lineage: its verified answers accumulated over generations, or a teacher's distribution."""

    weight: float = Field(default=1.0, gt=0)
    """Factor of this stream in the loss."""
    batch_size: int = Field(default=96, ge=1)
    """Replayed sequences in one update."""
    loss: Literal["ce", "forward_kl"] = "ce"
    """`ce`: cross-entropy on verified answers. `forward_kl`: KL(teacher || student) on the same sequences."""
    teacher: Teacher = "parent"
    """Who gives the distribution for `forward_kl`; `ce` needs none."""
    data: Literal["accumulate", "latest", "references"] = "accumulate"
    """What is replayed: everything verified so far, only the parent generation's, or base references alone."""

    @model_validator(mode="after")
    def _teacher_teaches(self) -> "Distillation":
        if self.loss == "ce" and self.teacher != "parent":
            raise ValueError("a teacher has no effect with loss ce; remove teacher, or set loss: forward_kl")
        return self


class DistillStep(StepSettings):
    """Distillation on replayed sequences alone."""

    type: Literal["distill"] = "distill"
    distillation: Distillation = Distillation()


class Grpo(Settings):
    """Group Relative Policy Optimization (arXiv:2402.03300) with the switches of DAPO and Dr. GRPO."""

    type: Literal["grpo"] = "grpo"
    normalize_std: bool = False
    """Divide advantages by the group's standard deviation (original GRPO); off as in Dr. GRPO (arXiv:2503.20783)."""
    aggregation: Literal["token", "sequence", "constant"] = "token"
    """Mean over all tokens (DAPO), mean of per-sequence means (GRPO), or sum over a constant length (Dr. GRPO)."""
    clip_low: float | None = Field(default=0.2, gt=0, le=1)
    """Lower clip distance of the importance ratio; null leaves it unclipped."""
    clip_high: float | None = Field(default=0.28, gt=0)
    """Upper clip distance (DAPO's clip-higher, arXiv:2503.14476)."""
    zero_variance: Literal["drop", "keep"] = "drop"
    """`drop`: groups with equal rewards leave the batch; `keep`: their tokens still count in the mean."""
    inner_epochs: int = Field(default=1, ge=1)
    """Updates on the same rollouts; the ratio differs from 1 only from the second on."""


Algorithm = Grpo
"""The discriminated union of all algorithms; `type` tells them apart."""


class RlStep(StepSettings):
    """Reinforcement learning with verifier reward on the target levels, with distillation on replayed ones."""

    type: Literal["rl"] = "rl"
    updates: int = Field(default=60, ge=1)
    """Rounds of sampling, each followed by the algorithm's inner epochs of optimizer updates."""
    prompts_per_update: int = Field(default=24, ge=1)
    group_size: int = Field(default=8, ge=1)
    """Samples per prompt, compared with one another."""
    temperature: float = Field(default=1.0, gt=0)
    stepping_stones: float = Field(default=0.0, ge=0, lt=1)
    """Share of easier variants of the target level among the prompts (addition: one operand shorter)."""
    algorithm: Algorithm = Grpo()
    distillation: Distillation | None = Distillation()
    """null trains by policy gradient alone (a control: old levels erode)."""

    @model_validator(mode="after")
    def _groups_can_compare(self) -> "RlStep":
        if self.group_size == 1:
            raise ValueError(
                "group_size 1 with a group-relative advantage always gives advantage 0 and cannot learn; "
                "use group_size 2 or more (8 is usual)"
            )
        return self


Step = Annotated[SftStep | DistillStep | RlStep, Field(discriminator="type")]
