"""Base classes of steps that sample answers from the weights in training, beside replayed sequences."""

from typing import Self

from pydantic import Field, model_validator

from bootstrap.config.algorithms import PolicyGradient
from bootstrap.config.base import Placed
from bootstrap.config.distillation import Distillation, Taught
from bootstrap.config.models import Reference
from bootstrap.config.step import Portion, StepSettings, Words, batches, replayed


class SamplingStep(StepSettings):
    """Steps whose every round samples answers from the current weights, beside replayed sequences."""

    rounds: int = Field(default=60, ge=1)
    """Rounds of sampling, each followed by optimizer updates."""
    group_size: int = Field(default=8, ge=1)
    """Samples per prompt."""
    temperature: float = Field(default=1.0, gt=0)
    """Sampling temperature."""
    distillation: Distillation | None = Distillation()
    """Replayed sequences in every batch, which keep old levels from eroding. null replays nothing (a control)."""

    @model_validator(mode="after")
    def _divergences_agree(self) -> Self:
        one, other = self.distillation, self.own_teaching
        if one is None or other is None or one.loss == "ce" or other.loss in ("ce", "token_reward"):
            return self
        if (one.kl_beta, one.top_k) != (other.kl_beta, other.top_k):
            raise ValueError(
                "distillation and teaching are summed in one divergence and name two; give both the same loss, beta "
                "and top_k, or use teaching.loss: token_reward"
            )
        return self

    def taught(self) -> Placed[Taught]:
        named = ((("distillation",), self.distillation), (("teaching",), self.own_teaching))
        return tuple((place, taught) for place, taught in named if taught is not None)

    @property
    def num_rounds(self) -> int:
        return self.rounds

    def written_out(self, *, fixed: bool, epochs: bool) -> Self:
        anchor = self.distillation
        return self.model_copy(update={"distillation": anchor and anchor.written_out(fixed=fixed)})

    @property
    def anchor(self) -> Distillation | None:
        return self.distillation

    @property
    def samples_per_prompt(self) -> int:
        return self.group_size

    def with_replay(self, data: str, words: Words) -> str:
        """Return the description `data` with that of what is replayed beside."""
        return f"{data}; {batches(self.distillation, words)}" if self.distillation else data

    def with_replayed(self, count: float, *, updates: int) -> tuple[Portion, ...]:
        """Return `count` own samples, and what is replayed beside them in all updates."""
        own = Portion("drawn", count)
        anchor = self.distillation
        return (own, replayed(anchor, updates * anchor.batch_size)) if anchor else (own,)


class PolicyStep(SamplingStep):
    """Steps that learn from rewards by a policy gradient."""

    algorithm: PolicyGradient

    @model_validator(mode="after")
    def _reference_is_refreshed(self) -> Self:
        kl = self.algorithm.kl
        if kl is not None and kl.refresh_every is not None and kl.refresh_every >= self.rounds:
            raise ValueError(
                f"refresh_every {kl.refresh_every} is not below the step's {self.rounds} rounds, so the reference is "
                "never refreshed; lower algorithm.kl.refresh_every, raise rounds, or remove it"
            )
        return self

    @property
    def policy_gradient(self) -> PolicyGradient:
        return self.algorithm

    def references(self) -> Placed[Reference]:
        kl = self.algorithm.kl
        return ((("algorithm", "kl", "model"), kl.model),) if kl is not None and kl.model != "start" else ()

    def portions(self, *, learned: float) -> tuple[Portion, ...]:
        algorithm = self.algorithm
        return self.with_replayed(algorithm.inner_epochs * learned, updates=self.rounds * algorithm.updates_per_round)
