"""Evaluation on held-out prompts and the gate that decides on promotion."""

from pydantic import Field, model_validator

from bootstrap.config.base import Settings
from bootstrap.config.verifiers import Verifier


class Sampled(Settings):
    """Sampled metrics on the target levels: pass@1, pass@k, majority@k, entropy, distinct answers."""

    prompts: int = Field(default=64, ge=1)
    """Held-out prompts per target level that are sampled."""
    samples: int = Field(default=8, ge=2)
    """Samples per prompt."""
    k: int = Field(default=4, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    top_k: int = Field(default=0, ge=0)
    """Sample among the k likeliest tokens; 0 among all."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Sample among the fewest tokens that together have this probability; 1 among all."""

    @model_validator(mode="after")
    def _k_within_samples(self) -> "Sampled":
        if self.k > self.samples:
            raise ValueError(
                f"pass@{self.k} needs at least {self.k} samples, not {self.samples}; raise samples or lower k"
            )
        return self


class Evaluation(Settings):
    prompts_per_level: int = Field(default=1000, ge=1)
    """Held-out prompts per level; a level with fewer possible ones uses all of them."""
    lookahead: int = Field(default=2, ge=0)
    """Levels evaluated beyond the target, to see how far the skill reaches unasked."""
    mastered: float = Field(default=0.95, gt=0, le=1)
    """Greedy accuracy from which a level counts as mastered."""
    sampled: Sampled | None = Sampled()
    """null leaves sampled metrics out."""
    verifier: Verifier | None = None
    """Judges held-out answers; null takes the recipe's own. Set it where the reward is shaped or needs no reference."""


class Gate(Settings):
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """Significance of the exact McNemar test of improvement on the target levels."""
    retention_margin: float = Field(default=0.03, ge=0, le=1)
    """A mastered level is retained when the lower bound of candidate - champion stays at or above minus this."""
    min_prompts: int = Field(default=100, ge=1)
    """Levels with fewer held-out prompts are judged together with the next one."""
