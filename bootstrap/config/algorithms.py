"""Algorithms of the `rl` step: how rewards become advantages, and how the policy loss uses these.

Advantage and loss are chosen apart: every algorithm has the fields of `PolicyGradient`. A class's defaults are its
paper's settings. Each class answers what others ask of an algorithm, and names the module of `training/algorithms/`
that estimates its advantages; the losses stand in `training/loss.py`.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bootstrap.config.base import ByType, Settings
from bootstrap.config.plugins import PluginSettings
from bootstrap.config.policy_terms import EntropyControl, OffPolicyCorrection, ReferenceKl
from bootstrap.errors import RecipeError
from bootstrap.learner_records import RatioLevel, Surrogate
from bootstrap.plugins import USES, Kind

Compared = Literal["group", "batch", "nothing"]
"""Samples whose rewards are compared: those of one prompt, those of a whole round, or none."""


class PolicyGradient(Settings):
    """The policy loss that all algorithms share, and what others ask of an algorithm.

    The answers hold where a kind says nothing else.
    """

    estimator: ClassVar[str]
    """Module whose `estimate` gives the advantages (`training/algorithms/scored.py`)."""
    learns_from_equal_rewards: ClassVar[bool] = False
    """Whether a round in which all rewards are equal teaches anything."""
    aggregation: Literal["token", "sequence", "constant"] = "token"
    """`token`: mean over all tokens (DAPO). `sequence`: mean of per-sequence means (GRPO). `constant`: each sequence's
    sum over the length limit of answers (Dr. GRPO)."""
    surrogate: Surrogate = Surrogate.CLIPPED
    """`clipped`: minimum of the plain and the clipped product (PPO). `truncated`: the clipped ratio is a constant
    weight of the log-probability (CISPO; truncated importance sampling). `masked`: the ratio is a constant weight
    within the bounds and 0 outside (masked importance sampling)."""
    ratio: RatioLevel = RatioLevel.TOKEN
    """Importance ratio of each token, or of its whole completion: by geometric mean (GSPO) or by product."""
    clip_low: float | None = Field(default=0.2, gt=0, le=1)
    """The importance ratio is clipped below 1 - this; null leaves it unclipped."""
    clip_high: float | None = Field(default=0.28, gt=0)
    """The importance ratio is clipped above 1 + this (DAPO's clip-higher, arXiv:2503.14476); null leaves it
    unclipped."""
    dual_clip: float | None = Field(default=None, gt=1)
    """Largest importance ratio of a negative advantage (arXiv:1912.09729; 3 is usual); null for no bound."""
    inner_epochs: int = Field(default=1, ge=1)
    """Passes over a round's rollouts, each of `mini_batches` updates."""
    mini_batches: int = Field(default=1, ge=1)
    """Number of updates that a round's rollouts are split into, whole groups together; R1 takes 16 (arXiv:2501.12948).
    From a round's second update on ratios differ from 1 and clips act. Advantages are computed over the whole round,
    means over the update; with fewer informative groups than updates, some updates have replayed sequences alone."""
    correction: OffPolicyCorrection | None = None
    """null takes the sampler's log-probabilities as the trainer's."""
    truncated_answers: Literal["keep", "mask"] = "keep"
    """`mask`: answers cut by the length limit count in their group's mean and not in the loss (DAPO's overlong
    filtering)."""
    kl: ReferenceKl | None = None
    """Penalty for distance from a reference model; null has none."""
    entropy: EntropyControl | None = None
    """Keeps the policy's entropy from collapsing; null leaves it alone."""

    def pinned(self) -> Self:
        """Return the settings with the hash of the user's code that they name. Raises RecipeError where that is
        missing."""
        return self

    @property
    def updates_per_round(self) -> int:
        """Optimizer updates on the rollouts of one round."""
        return self.inner_epochs * self.mini_batches

    @property
    def recomputes_logprobs(self) -> bool:
        """Whether the trainer's model computes token scores of a round's answers before the first update."""
        return self.correction is not None

    @property
    def compares(self) -> Compared:
        """The samples that are compared with one another."""
        return "batch"

    @property
    def redraws(self) -> int:
        """Times that a round may draw new prompts in place of zero-variance groups."""
        return 0

    @property
    def keeps_zero_variance(self) -> bool:
        """Whether zero-variance groups count in the mean, and `kl` holds them."""
        return False

    @property
    def least_group_size(self) -> int:
        """Smallest group that can have an advantage."""
        return 1

    @property
    def critic(self) -> "ValueHead | None":
        """The value function that is trained beside the policy; None without one."""
        return None

    def informative(self, rewards_G: Sequence[float]) -> bool:
        """Whether a group with these rewards has an advantage other than 0."""
        return len(set(rewards_G)) > 1

    def check_group_size(self, size: int) -> None:
        """Raise ValueError when groups of this size never have an advantage."""
        if size < self.least_group_size:
            raise ValueError(
                "group_size 1 with a group-relative advantage always gives advantage 0 and cannot learn; "
                "use group_size 2 or more (8 is usual), or algorithm: {type: reinforce_pp, baseline: false}"
            )

    def check_initial_samples(self, initial_samples: int) -> None:
        """Raise ValueError when a group of `initial_samples` samples, 2 or more, never has an advantage."""

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
    """Algorithms that compare the samples of one prompt."""

    zero_variance: Literal["drop", "keep"] = "drop"
    """`drop`: groups with equal rewards leave the batch. `keep`: their tokens count in the mean, and `kl` holds
    them."""
    resample: int = Field(default=0, ge=0)
    """Times that a round may draw new prompts in place of zero-variance groups (DAPO's dynamic sampling,
    arXiv:2503.14476); the round stays short of those still missing. 0 takes the round as it comes."""

    @property
    def compares(self) -> Compared:
        return "group"

    @property
    def redraws(self) -> int:
        return self.resample

    @property
    def keeps_zero_variance(self) -> bool:
        return self.zero_variance == "keep"

    @property
    def least_group_size(self) -> int:
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
    """true divides advantages by the group's standard deviation (original GRPO), `batch` by that of all rewards in the
    round; false divides by nothing, as in Dr. GRPO (arXiv:2503.20783)."""


class Gspo(GroupRelative):
    """Group Sequence Policy Optimization (arXiv:2507.18071): GRPO with the importance ratio of whole completions."""

    estimator: ClassVar[str] = "bootstrap.training.algorithms.grpo"
    type: Literal["gspo"] = "gspo"
    normalize_std: bool | Literal["batch"] = True
    """true divides advantages by the group's standard deviation, as in the GSPO paper; `batch` by that of all rewards
    in the round; false by nothing."""
    aggregation: Literal["token", "sequence", "constant"] = "sequence"
    """Mean of the loss: over all tokens, over sequences, or against the length limit, as in grpo. `sequence` is the
    GSPO paper's, where the ratio is the same for a whole completion."""
    ratio: RatioLevel = RatioLevel.SEQUENCE
    """Importance ratio of each token, or of its whole completion: by geometric mean or by product. `sequence`, the
    geometric mean, is the GSPO paper's."""
    clip_low: float | None = Field(default=3e-4, gt=0, le=1)
    """The importance ratio is clipped below 1 - this; null leaves it unclipped. The GSPO paper's value is two orders of
    magnitude below grpo's, since a completion's mean ratio hardly moves."""
    clip_high: float | None = Field(default=4e-4, gt=0)
    """The importance ratio is clipped above 1 + this; null leaves it unclipped. The GSPO paper's value."""


class Cispo(GroupRelative):
    """CISPO (arXiv:2506.13585): every token keeps a gradient, weighted by its truncated, constant importance ratio."""

    estimator: ClassVar[str] = "bootstrap.training.algorithms.grpo"
    type: Literal["cispo"] = "cispo"
    normalize_std: bool | Literal["batch"] = "batch"
    """true divides advantages by the group's standard deviation; `batch`, as in ScaleRL (arXiv:2510.13786), by that of
    all rewards in the round; false by nothing."""
    surrogate: Surrogate = Surrogate.TRUNCATED
    """How the loss uses the importance ratio, as in grpo. `truncated`, a constant weight of the log-probability, is the
    CISPO paper's."""
    clip_low: float | None = Field(default=None, gt=0, le=1)
    """The importance ratio is raised to 1 - this where it is smaller; null, the CISPO paper's, does not raise it."""
    clip_high: float | None = Field(default=4.0, gt=0)
    """The importance ratio counts up to 1 + this: 5, as in ScaleRL (arXiv:2510.13786)."""


class Rloo(GroupRelative):
    """REINFORCE leave-one-out (arXiv:2402.14740): the baseline of a sample is the mean of the others."""

    estimator: ClassVar[str] = "bootstrap.training.algorithms.rloo"
    type: Literal["rloo"] = "rloo"
    normalize_batch: bool = False
    """Divide by the standard deviation of all advantages in the round."""


class PassAtK(GroupRelative):
    """GRPO on pass@k (arXiv:2508.10751): a set of k samples earns the reward of its best one."""

    estimator: ClassVar[str] = "bootstrap.training.algorithms.pass_at_k"
    type: Literal["pass_at_k"] = "pass_at_k"
    k: int = Field(default=4, ge=1)
    """Size of the sets whose best sample counts; below `group_size`. 1 is grpo."""
    normalize_std: bool = True
    """Divide by the standard deviation over the sets."""

    @property
    def least_group_size(self) -> int:
        """One more than `k`: a group of `k` has one set."""
        return self.k + 1

    def informative(self, rewards_G: Sequence[float]) -> bool:
        """Whether sets of k differ in their best sample: whether some set holds none of the best."""
        return self.k <= len(rewards_G) and sorted(rewards_G)[self.k - 1] < max(rewards_G)

    def check_group_size(self, size: int) -> None:
        """Raise ValueError when a group has at most one set of k samples."""
        if size > 1 and size < self.least_group_size:
            raise ValueError(
                f"pass@{self.k} of groups of {size} is one number for the whole group, so every "
                f"advantage would be 0; set algorithm.k below group_size, for example {max(size // 2, 1)}"
            )
        super().check_group_size(size)

    def check_initial_samples(self, initial_samples: int) -> None:
        """Raise ValueError when `initial_samples` samples have at most one set of k."""
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
    """Subtract the group's mean first (REINFORCE++-baseline; needs several samples per prompt)."""

    @property
    def least_group_size(self) -> int:
        """Two with a baseline."""
        return 2 if self.baseline else 1


class RoleRelative(PolicyGradient):
    """Task-Relative REINFORCE++ (arXiv:2505.03335): self-play compares rewards within a role.

    The advantage is the reward less the mean of its role's rewards in the round, so that neither role's mean shifts the
    other's. Each role's loss is a mean over its own tokens.
    """

    estimator: ClassVar[str] = "bootstrap.training.algorithms.grpo"
    type: Literal["trr_pp"] = "trr_pp"
    normalize_std: bool = True
    """Divide by the standard deviation of the compared rewards, as in the paper."""
    solver_baseline: Literal["role", "problem"] = "role"
    """Solutions that a solution is compared with: all of the round, or those of the same problem (grpo's baseline)."""

    @property
    def compares(self) -> Compared:
        return "group" if self.solver_baseline == "problem" else "batch"


class ValueHead(Settings):
    """The critic: a linear head on the policy's last hidden state. It starts from zero in every step."""

    lr: float = Field(default=0.2, gt=0)
    """About how far one update can move a value: its AdamW's learning rate times the width of the hidden state. The
    step's schedule acts on it too; its gradient is clipped apart from the policy's."""
    clip: float | None = Field(default=0.2, gt=0)
    """A value that has moved this far towards its target since sampling time is not moved on (PPO's clipped value
    loss); null for no clip."""
    trunk_weight: float = Field(default=0.0, ge=0)
    """Factor of the value loss for the policy's own weights (c1 of arXiv:1707.06347, eq. 9; 0.5 is usual); 0 stops its
    gradient at the head."""


class Ppo(PolicyGradient):
    """Proximal Policy Optimization (arXiv:1707.06347) with a critic and generalised advantages (arXiv:1506.02438).

    A KL term with `where: reward` is part of each token's reward, which the critic learns to expect.
    """

    estimator: ClassVar[str] = "bootstrap.training.algorithms.ppo"
    learns_from_equal_rewards: ClassVar[bool] = True
    type: Literal["ppo"] = "ppo"
    gamma: float = Field(default=1.0, gt=0, le=1)
    """Discount of later rewards, per token; 1 as in Open-Reasoner-Zero (arXiv:2503.24290)."""
    lam: float = Field(default=1.0, ge=0, le=1)
    """Lambda of the generalised advantage: 1 trusts the rewards alone (Open-Reasoner-Zero), a smaller value the critic
    more."""
    normalize: bool = True
    """Subtract the mean of the advantages and divide by their standard deviation, over all tokens of the round."""
    value: ValueHead = ValueHead()
    """The critic."""
    clip_high: float | None = Field(default=0.2, gt=0)
    """The importance ratio is clipped above 1 + this; null leaves it unclipped. The PPO paper's value, as far from 1 as
    `clip_low`."""

    @property
    def recomputes_logprobs(self) -> bool:
        """Always, since the critic needs the values."""
        return True

    @property
    def critic(self) -> ValueHead:
        return self.value


class Unrewarded(PolicyGradient):
    """No advantage from rewards: only the teacher (`teaching`) acts on the samples."""

    estimator: ClassVar[str] = "bootstrap.training.algorithms.unrewarded"
    type: Literal["unrewarded"] = "unrewarded"

    @property
    def compares(self) -> Compared:
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
        arguments=("rewards",),
        keywords=("lengths",),
    )
    estimator: ClassVar[str] = "bootstrap.training.algorithms.plugin"
    type: Literal["plugin"] = "plugin"
    uses: str = Field(pattern=USES)
    """`module:function` of an importable module, or the name of an entry point in the group `bootstrap.algorithms`."""


Algorithm = Annotated[
    Grpo | Gspo | Cispo | Rloo | PassAtK | ReinforcePlusPlus | Ppo | Unrewarded | PluginAlgorithm, ByType()
]
"""The discriminated union of all algorithms; `type` tells them apart."""
