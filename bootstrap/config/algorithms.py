"""Algorithms of the `rl` step: how rewards become advantages, and what the policy loss makes of them.

Advantage and loss are chosen apart: every algorithm has the fields of `PolicyGradient`. A class's defaults are the
setting its paper vouches for. A class answers for itself what others ask of an algorithm, and names the module of
`training/algorithms/` that estimates its advantages; the losses stand in `training/loss.py`.
"""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from bootstrap.config.base import ByType, Settings
from bootstrap.config.models import Reference
from bootstrap.config.plugins import PluginSettings
from bootstrap.errors import RecipeError
from bootstrap.learner_records import KlForm, RatioLevel, Surrogate
from bootstrap.plugins import Kind


class ReferenceKl(Settings):
    """KL to a reference: the weights that the step starts from, others of the lineage, or those of its last refresh.

    It acts on the samples that take part in the policy loss, in the mean over their tokens: on those of groups with
    equal rewards too with `zero_variance: keep` (TRL's term is on every token) or beside `teaching`, otherwise on those
    of informative groups alone.

    k1 in the reward, and k2 in the loss where it is on policy, have the gradient of KL(policy || reference); k3 in the
    loss, GRPO's term, has that of KL(reference || policy) on policy. Each makes the two agree. The others are no
    penalty and are refused: the expected gradient of k1 as a loss is 0, and that of k2 or k3 in the reward,
    `E[estimate grad log policy]`, is of second order in the difference of the two, without its sign, and may lead away
    from the reference (arXiv:2510.01555).
    """

    model: Reference = "start"
    """`start`: the weights that the step starts from. A generation, by place in the lineage, by number or as the end
    of a stage, or an external model with the same vocabulary."""
    weight: float = Field(default=0.001, gt=0)
    """Factor of the estimate; 0.001 as in DeepSeek-R1 (arXiv:2501.12948)."""
    estimator: Literal["k1", "k2", "k3"] | None = None
    """Of the sampled token, with d = log reference - log policy: `-d`, `d^2 / 2` or `exp(d) - d - 1`. null: k3 in the
    loss, k1 in the reward."""
    where: Literal["loss", "reward"] = "loss"
    """`loss`: a term of its own, differentiated. `reward`: taken from the advantages, after their baseline."""
    refresh_every: int | None = Field(default=None, ge=1)
    """Rounds after which the current weights become the reference; null keeps `model`. DeepSeek-R1 takes 400 optimizer
    steps (arXiv:2501.12948), which are 25 rounds of its 16 mini-batches."""

    @property
    def form(self) -> KlForm:
        """How it bears on tokens: `where`, and `estimator` with its default."""
        return KlForm(f"{self.where}_{self.estimator or {'loss': 'k3', 'reward': 'k1'}[self.where]}")

    @model_validator(mode="after")
    def _has_the_gradient_of_a_penalty(self) -> "ReferenceKl":
        if self.estimator in ("k2", "k3") and self.where == "reward":
            raise ValueError(
                f"{self.estimator} in the reward is no penalty: its expected gradient does not know on which side of "
                "the reference the policy is, and may lead away from it; use estimator: k1, or where: loss"
            )
        if self.estimator == "k1" and self.where == "loss":
            raise ValueError(
                "the expected gradient of k1 as a loss is zero, so it would add noise alone; use where: reward, "
                "or estimator: k2 (the same gradient as k1 in the reward) or k3"
            )
        return self


class ClipCov(Settings):
    """Clip-Cov (arXiv:2505.22617): some tokens with both advantage and log-probability high lose their gradient."""

    acts_on_first_update: ClassVar[bool] = True
    type: Literal["clip_cov"] = "clip_cov"
    share: float = Field(default=2e-4, gt=0, le=1)
    """Share of a round's tokens that lose it, rounded down and at least one, drawn at random among those within the
    bounds; fewer where fewer lie there."""
    low: float = 1.0
    """Least covariance `(A - mean A)(logprob - mean logprob)` of a token that can be drawn."""
    high: float = 5.0

    @model_validator(mode="after")
    def _bounds_hold_something(self) -> "ClipCov":
        if self.low >= self.high:
            raise ValueError(
                f"no covariance is above low {self.low:g} and below high {self.high:g}; swap or widen them"
            )
        return self


class KlCov(Settings):
    """KL-Cov (arXiv:2505.22617): the tokens of largest covariance are held where they were when they were sampled."""

    acts_on_first_update: ClassVar[bool] = False
    type: Literal["kl_cov"] = "kl_cov"
    share: float = Field(default=2e-3, gt=0, le=1)
    """Share of a round's tokens that are held, rounded down and at least one."""
    weight: float = Field(default=1.0, gt=0)
    """Factor of `|logprob - logprob at sampling time|`."""


class OffPolicyCorrection(Settings):
    """Weight of tokens by `w = proximal / behaviour`: the trainer's probability at the start of a round over the
    sampler's.

    The two differ where they compute in another precision, in batches of another shape, or by another engine. The
    importance ratio of the loss is then that to the trainer's own probability (decoupled PPO, arXiv:2110.00641), which
    costs a forward pass over the round's answers.
    """

    level: RatioLevel = RatioLevel.PRODUCT
    """`w` of each token, of its completion by product (exact), or of its completion by geometric mean."""
    outside: Literal["mask", "truncate"] = "mask"
    """What `w` beyond the bounds becomes: 0, so that the tokens give no policy gradient, or the bound."""
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
Compared = Literal["group", "batch", "nothing"]
"""Samples whose rewards are compared: those of one prompt, all of a round, or none."""


class PolicyGradient(Settings):
    """What all algorithms share: the policy loss, which tokens it counts, and what others ask of an algorithm.

    The answers hold where a kind says nothing else.
    """

    estimator: ClassVar[str]
    """Module whose `estimate` gives the advantages (`training/algorithms/scored.py`)."""
    learns_from_equal_rewards: ClassVar[bool] = False
    """Whether a round in which all rewards are equal teaches anything."""
    aggregation: Literal["token", "sequence", "constant"] = "token"
    """Mean over all tokens (DAPO), mean of per-sequence means (GRPO), or sum over a constant length (Dr. GRPO)."""
    surrogate: Surrogate = Surrogate.CLIPPED
    """`clipped`: min of the plain and the clipped product (PPO). `truncated`: the clipped ratio as a constant weight of
    the log-probability (CISPO; truncated importance sampling). `masked`: the ratio as a constant weight within the
    bounds, nothing outside (masked importance sampling)."""
    ratio: RatioLevel = RatioLevel.TOKEN
    """Importance ratio of each token, of its completion by geometric mean (GSPO), or of its completion by product."""
    clip_low: float | None = Field(default=0.2, gt=0, le=1)
    """Lower clip distance of the importance ratio; null leaves it unclipped."""
    clip_high: float | None = Field(default=0.28, gt=0)
    """Upper clip distance (DAPO's clip-higher, arXiv:2503.14476)."""
    dual_clip: float | None = Field(default=None, gt=1)
    """Largest ratio that counts for a negative advantage (arXiv:1912.09729; 3 is usual); null for no bound."""
    inner_epochs: int = Field(default=1, ge=1)
    """Passes over the same rollouts, of `mini_batches` updates each."""
    mini_batches: int = Field(default=1, ge=1)
    """Updates into which a round's rollouts are split, whole groups together; R1 takes 16 (arXiv:2501.12948). Ratios
    differ from 1, and clips act, from a round's second update on. Advantages are those of the whole round, means those
    of the update; with fewer informative groups than this, some updates have replayed sequences alone."""
    correction: OffPolicyCorrection | None = None
    """null takes the sampler's log-probabilities for the trainer's."""
    truncated_answers: Literal["keep", "mask"] = "keep"
    """`mask`: answers cut by the length limit count in their group's mean and not in the loss (DAPO's overlong
    filtering)."""
    kl: ReferenceKl | None = None
    entropy: EntropyControl | None = None
    """Keeps the policy's entropy from collapsing; null leaves it alone."""

    def pinned(self) -> Self:
        """Return the settings with the hash of the user's code that they name. Raises RecipeError for lack of it."""
        return self

    @property
    def updates_per_round(self) -> int:
        """Optimizer updates on the rollouts of one round."""
        return self.inner_epochs * self.mini_batches

    @property
    def recomputes_logprobs(self) -> bool:
        """Whether a round's answers go through the trainer's model before its first update."""
        return self.correction is not None

    @property
    def compares(self) -> Compared:
        """Which samples are compared with one another."""
        return "batch"

    @property
    def redraws(self) -> int:
        """Times that a round may draw new prompts in place of groups without a gradient."""
        return 0

    @property
    def keeps_zero_variance(self) -> bool:
        """Whether groups without a gradient count in the mean, and are held by `kl`."""
        return False

    @property
    def least_group_size(self) -> int:
        """Fewest samples of one prompt that can have an advantage."""
        return 1

    @property
    def critic(self) -> "ValueHead | None":
        """The value function that is trained beside the policy; None where there is none."""
        return None

    def informative(self, rewards_G: Sequence[float]) -> bool:
        """Return whether a group with these rewards has an advantage other than 0."""
        return len(set(rewards_G)) > 1

    def check_group_size(self, size: int) -> None:
        """Raise ValueError when groups of this size never have an advantage."""
        if size < self.least_group_size:
            raise ValueError(
                "group_size 1 with a group-relative advantage always gives advantage 0 and cannot learn; "
                "use group_size 2 or more (8 is usual), or algorithm: {type: reinforce_pp, baseline: false}"
            )

    def check_initial_samples(self, initial_samples: int) -> None:
        """Raise ValueError when a prompt that is left alone after `initial_samples` samples, 2 or more, has no
        advantage.
        """

    @model_validator(mode="after")
    def _loss_can_work(self) -> "PolicyGradient":
        if self.dual_clip is not None and self.surrogate is not Surrogate.CLIPPED:
            raise ValueError(
                f"surrogate {self.surrogate} bounds the ratio of every token already; remove dual_clip, "
                "or set surrogate: clipped"
            )
        if self.dual_clip is not None and self.clip_high is not None and self.dual_clip <= 1 + self.clip_high:
            raise ValueError(
                f"dual_clip {self.dual_clip:g} is not above the upper clip {1 + self.clip_high:g}; use 3, "
                "or lower clip_high"
            )
        if self.surrogate is not Surrogate.CLIPPED and self.clip_low is None and self.clip_high is None:
            raise ValueError(
                f"surrogate {self.surrogate} without bounds is plain importance sampling of unbounded variance; "
                "set clip_high, for example 1.0"
            )
        if self.entropy is not None and not self.entropy.acts_on_first_update and self.updates_per_round == 1:
            raise ValueError(
                "kl_cov holds tokens where they were sampled, and the one update of a round finds none elsewhere; set "
                "inner_epochs: 2 or mini_batches: 2, or more, or entropy: {type: clip_cov}"
            )
        return self


class GroupRelative(PolicyGradient):
    """Algorithms that compare the samples of one prompt with one another."""

    zero_variance: Literal["drop", "keep"] = "drop"
    """`drop`: groups with equal rewards leave the batch; `keep`: their tokens still count in the mean, and `kl` holds
    them too."""
    resample: int = Field(default=0, ge=0)
    """Times that a round may draw new prompts in place of groups without a gradient (DAPO's dynamic sampling,
    arXiv:2503.14476); what is still missing then stays out. 0 takes the round as it comes."""

    @property
    def compares(self) -> Compared:
        """The samples of one prompt."""
        return "group"

    @property
    def redraws(self) -> int:
        """`resample`."""
        return self.resample

    @property
    def keeps_zero_variance(self) -> bool:
        """Whether `zero_variance` is `keep`."""
        return self.zero_variance == "keep"

    @property
    def least_group_size(self) -> int:
        """Two, of which each is compared with the other."""
        return 2

    @model_validator(mode="after")
    def _replaces_what_it_drops(self) -> "GroupRelative":
        if self.resample and self.zero_variance == "keep":
            raise ValueError(
                "resample replaces the groups that zero_variance keep would count in the mean; "
                "set zero_variance: drop, or resample: 0"
            )
        return self


class Grpo(GroupRelative):
    """Group Relative Policy Optimization (arXiv:2402.03300) with the switches of DAPO and Dr. GRPO."""

    estimator: ClassVar[str] = "bootstrap.training.algorithms.grpo"
    type: Literal["grpo"] = "grpo"
    normalize_std: bool | Literal["batch"] = False
    """Divide advantages by the group's standard deviation (original GRPO), or by that of all rewards in the round
    (`batch`); false as in Dr. GRPO (arXiv:2503.20783)."""


class Gspo(GroupRelative):
    """Group Sequence Policy Optimization (arXiv:2507.18071): GRPO with the importance ratio of whole completions."""

    estimator: ClassVar[str] = "bootstrap.training.algorithms.grpo"
    type: Literal["gspo"] = "gspo"
    normalize_std: bool | Literal["batch"] = True
    """As in grpo."""
    aggregation: Literal["token", "sequence", "constant"] = "sequence"
    ratio: RatioLevel = RatioLevel.SEQUENCE
    clip_low: float | None = Field(default=3e-4, gt=0, le=1)
    """Two orders of magnitude below grpo's: the mean over a completion hardly moves."""
    clip_high: float | None = Field(default=4e-4, gt=0)


class Cispo(GroupRelative):
    """CISPO (arXiv:2506.13585): every token keeps a gradient, its importance ratio truncated and constant."""

    estimator: ClassVar[str] = "bootstrap.training.algorithms.grpo"
    type: Literal["cispo"] = "cispo"
    normalize_std: bool | Literal["batch"] = "batch"
    """As in grpo; by the batch as in ScaleRL (arXiv:2510.13786)."""
    surrogate: Surrogate = Surrogate.TRUNCATED
    clip_low: float | None = Field(default=None, gt=0, le=1)
    clip_high: float | None = Field(default=4.0, gt=0)
    """The ratio counts up to 1 + this (5 as in ScaleRL)."""


class Rloo(GroupRelative):
    """REINFORCE leave-one-out (arXiv:2402.14740): the baseline of a sample is the mean of the others."""

    estimator: ClassVar[str] = "bootstrap.training.algorithms.rloo"
    type: Literal["rloo"] = "rloo"
    normalize_batch: bool = False
    """Divide by the standard deviation of all advantages in the round."""


class PassAtK(GroupRelative):
    """GRPO on pass@k (arXiv:2508.10751): a sample earns what the best of k samples earns with it."""

    estimator: ClassVar[str] = "bootstrap.training.algorithms.pass_at_k"
    type: Literal["pass_at_k"] = "pass_at_k"
    k: int = Field(default=4, ge=1)
    """Samples whose best counts; below `group_size`. 1 is grpo."""
    normalize_std: bool = True
    """Divide by the standard deviation of the best of k."""

    @property
    def least_group_size(self) -> int:
        """One more than `k`: with as many, the best of k is one number for the whole group."""
        return self.k + 1

    def informative(self, rewards_G: Sequence[float]) -> bool:
        """Return whether sets of k differ in their best sample: whether one can be drawn without one of the best."""
        return self.k <= len(rewards_G) and sorted(rewards_G)[self.k - 1] < max(rewards_G)

    def check_group_size(self, size: int) -> None:
        """Raise ValueError when the best of k is one number for the whole group."""
        if size > 1 and size < self.least_group_size:
            raise ValueError(
                f"pass@{self.k} of groups of {size} is one number for the whole group, so every "
                f"advantage would be 0; set algorithm.k below group_size, for example {max(size // 2, 1)}"
            )
        super().check_group_size(size)

    def check_initial_samples(self, initial_samples: int) -> None:
        """Raise ValueError when the best of k is one number for all initial samples."""
        if initial_samples < self.least_group_size:
            raise ValueError(
                f"a prompt left alone after {initial_samples} samples has nothing to compare by pass@{self.k}; "
                f"use initial_samples: {self.k + 1} or more, a smaller algorithm.k, or remove initial_samples"
            )


class ReinforcePlusPlus(PolicyGradient):
    """REINFORCE++ (arXiv:2501.03262): advantages normalised over all tokens of the round, not within groups."""

    estimator: ClassVar[str] = "bootstrap.training.algorithms.reinforce_pp"
    type: Literal["reinforce_pp"] = "reinforce_pp"
    baseline: bool = False
    """Take the group's mean off first (REINFORCE++-baseline; needs several samples per prompt)."""

    @property
    def least_group_size(self) -> int:
        """Two with a baseline."""
        return 2 if self.baseline else 1


class RoleRelative(PolicyGradient):
    """Task-Relative REINFORCE++ (arXiv:2505.03335): in self-play, rewards are compared within a role alone.

    The advantage is the reward less the mean of its role's rewards in the round, so that neither role's mean shifts the
    other's; its own loss is the mean over its own tokens.
    """

    estimator: ClassVar[str] = "bootstrap.training.algorithms.grpo"
    type: Literal["trr_pp"] = "trr_pp"
    normalize_std: bool = True
    """Divide by the standard deviation of the rewards that are compared, as in the paper."""
    solver_baseline: Literal["role", "problem"] = "role"
    """What a solution is compared with: all solutions of the round, or those of the same problem (grpo's baseline)."""

    @property
    def compares(self) -> Compared:
        """As `solver_baseline` says."""
        return "group" if self.solver_baseline == "problem" else "batch"


class ValueHead(Settings):
    """The critic: a linear head on the policy's last hidden state, which starts from zero in every step."""

    lr: float = Field(default=0.2, gt=0)
    """About how far one update can move a value: the learning rate of its AdamW, times the width of the hidden state.
    The step's schedule acts on it too; its gradient is clipped on its own."""
    clip: float | None = Field(default=0.2, gt=0)
    """A value that has moved further than this from that at sampling time, towards its target, is not moved on (PPO's
    clipped value loss); null for no clip."""
    trunk_weight: float = Field(default=0.0, ge=0)
    """Factor of the value loss in the policy's own weights (c1 of arXiv:1707.06347, eq. 9; 0.5 is usual); 0 stops its
    gradient at the head."""


class Ppo(PolicyGradient):
    """Proximal Policy Optimization (arXiv:1707.06347) with a critic and generalised advantages (arXiv:1506.02438).

    A KL term with `where: reward` is part of each token's reward, so the critic learns to expect it.
    """

    estimator: ClassVar[str] = "bootstrap.training.algorithms.ppo"
    learns_from_equal_rewards: ClassVar[bool] = True
    type: Literal["ppo"] = "ppo"
    gamma: float = Field(default=1.0, gt=0, le=1)
    """Discount of what comes later, per token; 1 as in Open-Reasoner-Zero (arXiv:2503.24290)."""
    lam: float = Field(default=1.0, ge=0, le=1)
    """Lambda of the generalised advantage: 1 trusts the rewards to come (Open-Reasoner-Zero), less the critic more."""
    normalize: bool = True
    """Take the mean off the advantages and divide by the standard deviation, over all tokens of the round."""
    value: ValueHead = ValueHead()
    clip_high: float | None = Field(default=0.2, gt=0)

    @property
    def recomputes_logprobs(self) -> bool:
        """Always: the critic reads what it judges."""
        return True

    @property
    def critic(self) -> ValueHead:
        """`value`."""
        return self.value


class Unrewarded(PolicyGradient):
    """No advantage from rewards: what is learnt is the teacher's word on the samples (`teaching`)."""

    estimator: ClassVar[str] = "bootstrap.training.algorithms.unrewarded"
    type: Literal["unrewarded"] = "unrewarded"

    @property
    def compares(self) -> Compared:
        """Nothing: rewards have no say."""
        return "nothing"


class PluginAlgorithm(PluginSettings, GroupRelative):
    """An algorithm of the user's own: `advantages(rewards, *, lengths, **options)`.

    It returns one number for each sample, or one for each of its tokens; the rest is as in grpo.
    """

    kind: ClassVar[Kind] = Kind(
        name="algorithm",
        results="advantages",
        written="advantages(rewards, *, lengths, **options)",
        error=RecipeError,
    )
    estimator: ClassVar[str] = "bootstrap.training.algorithms.plugin"
    type: Literal["plugin"] = "plugin"


Algorithm = Annotated[
    Grpo | Gspo | Cispo | Rloo | PassAtK | ReinforcePlusPlus | Ppo | Unrewarded | PluginAlgorithm, ByType()
]
"""The discriminated union of all algorithms; `type` tells them apart."""
