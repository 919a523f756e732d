"""Terms of the policy loss beside the advantage: KL to a reference, entropy control, off-policy correction.

Their mathematics stand in `training/loss.py` and `training/algorithms/`.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from bootstrap.config.base import ByType, Settings
from bootstrap.config.models import Reference
from bootstrap.learner_records import KlForm, RatioLevel


class ReferenceKl(Settings):
    """KL to a reference: the weights that the step starts from, others of the lineage, or those of the last refresh.

    It is a mean over the tokens of the samples in the policy loss: of informative groups; of zero-variance groups too
    with `zero_variance: keep` (TRL's term is on every token) or beside `teaching`.

    | estimate | where | gradient, on policy |
    |---|---|---|
    | k1 | reward | KL(policy, reference) |
    | k2 | loss | KL(policy, reference) |
    | k3 | loss (GRPO's) | KL(reference, policy) |
    | k1 | loss | 0 in expectation: refused |
    | k2, k3 | reward | second order in the difference, without its sign: may lead away, refused (arXiv:2510.01555) |
    """

    model: Reference = "start"
    """The reference. `start`: the weights that the step starts from. Otherwise a generation (by place, by number, or as
    the end of a stage) or an external model with the same vocabulary."""
    weight: float = Field(default=0.001, gt=0)
    """Factor of the estimate; 0.001 as in DeepSeek-R1 (arXiv:2501.12948)."""
    estimator: Literal["k1", "k2", "k3"] | None = None
    """Estimate at the sampled token, with d = log reference - log policy: k1 is `-d`, k2 is `d^2 / 2`, k3 is
    `exp(d) - d - 1`. null: k3 in the loss, k1 in the reward."""
    where: Literal["loss", "reward"] = "loss"
    """`loss`: a term of its own, differentiated. `reward`: subtracted from the advantages, after their baseline."""
    refresh_every: int | None = Field(default=None, ge=1)
    """Rounds after which the current weights become the reference; null keeps `model`. DeepSeek-R1 refreshes after 400
    optimizer steps (arXiv:2501.12948): 25 rounds of its 16 mini-batches."""

    @property
    def form(self) -> KlForm:
        """`where` and `estimator`, with its default, as one."""
        return KlForm(f"{self.where}_{self.estimator or {'loss': 'k3', 'reward': 'k1'}[self.where]}")

    @model_validator(mode="after")
    def _has_the_gradient_of_a_penalty(self) -> "ReferenceKl":
        if self.estimator in ("k2", "k3") and self.where == "reward":
            raise ValueError(
                f"{self.estimator} in the reward is no penalty: its expected gradient has no sign, so it can push "
                "the policy away from the reference; use estimator: k1, or where: loss"
            )
        if self.estimator == "k1" and self.where == "loss":
            raise ValueError(
                "the expected gradient of k1 as a loss is zero, so it would add noise alone; use where: reward, "
                "or estimator: k2 (the same gradient as k1 in the reward) or k3"
            )
        return self


class EntropySettings(Settings):
    """What keeps the policy's entropy from collapsing."""

    applied_by: ClassVar[str]
    """`module:function` that chooses tokens and says what becomes of them (`training/algorithms/entropy.py`)."""
    acts_on_first_update: ClassVar[bool]
    """Whether it changes the first update on a round's rollouts."""


class ClipCov(EntropySettings):
    """Clip-Cov (arXiv:2505.22617): some tokens whose advantage and log-probability are both high lose their
    gradient."""

    applied_by: ClassVar[str] = "bootstrap.training.algorithms.entropy:clip_cov"
    acts_on_first_update: ClassVar[bool] = True
    type: Literal["clip_cov"] = "clip_cov"
    share: float = Field(default=2e-4, gt=0, le=1)
    """Share of a round's tokens that lose their gradient: rounded down, at least one, drawn at random among the tokens
    within the bounds; all of these where they are fewer."""
    low: float = 1.0
    """Least covariance `(A - mean A)(logprob - mean logprob)` of a token that can be drawn."""
    high: float = 5.0
    """Covariance from which a token cannot be drawn."""

    @model_validator(mode="after")
    def _bounds_hold_something(self) -> "ClipCov":
        if self.low >= self.high:
            raise ValueError(
                f"no covariance is above low {self.low:g} and below high {self.high:g}; swap or widen them"
            )
        return self


class KlCov(EntropySettings):
    """KL-Cov (arXiv:2505.22617): an anchor penalty holds the tokens of largest covariance to their sampling
    probability."""

    applied_by: ClassVar[str] = "bootstrap.training.algorithms.entropy:kl_cov"
    acts_on_first_update: ClassVar[bool] = False
    type: Literal["kl_cov"] = "kl_cov"
    share: float = Field(default=2e-3, gt=0, le=1)
    """Share of a round's tokens that are held: rounded down, at least one."""
    weight: float = Field(default=1.0, gt=0)
    """Factor of the penalty `|logprob - logprob at sampling time|`."""


class OffPolicyCorrection(Settings):
    """Weigh tokens by `w = proximal / behaviour`: the trainer's probability at the start of a round over the sampler's.

    The two differ by precision, batch shape or engine. The importance ratio of the loss is then relative to the
    trainer's own probability (decoupled PPO, arXiv:2110.00641), which costs a forward pass over the round's answers.
    """

    level: RatioLevel = RatioLevel.PRODUCT
    """`w` of each token, or of its whole completion: by product (exact) or by geometric mean."""
    outside: Literal["mask", "truncate"] = "mask"
    """`mask`: `w` beyond the bounds becomes 0, and the tokens give no policy gradient. `truncate`: it becomes the
    bound."""
    low: float | None = Field(default=None, gt=0, le=1)
    """Least `w`; null for no bound."""
    high: float = Field(default=3.0, ge=1)
    """Largest `w`; 3 as in TRL."""

    @field_validator("high", mode="before")
    @classmethod
    def _is_bounded(cls, high: Any) -> Any:
        if high is None:
            raise ValueError(
                "a correction without an upper bound is plain importance sampling of unbounded variance, and one "
                "answer's weight may outgrow all numbers; set high: 3"
            )
        return high


EntropyControl = Annotated[ClipCov | KlCov, ByType()]
