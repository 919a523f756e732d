"""Training steps inside a generation: `sft`, `distill`, `rl`, and the union of all kinds."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bootstrap.config.algorithms import Algorithm, Grpo, PolicyGradient, ValueHead
from bootstrap.config.base import ByType, Placed
from bootstrap.config.distillation import Distillation, OnPolicyDistillation, Taught
from bootstrap.config.models import Reference, Sampler, told
from bootstrap.config.self_play import SelfPlayStep
from bootstrap.config.sources import Drawing, Levels, References, Rejection, SftSource
from bootstrap.config.step import (
    MergeStep,
    Portion,
    RoundSettings,
    UpdateSettings,
    Words,
    batches,
    check_refresh,
    held_to,
    of_policy,
    replayed,
    with_replay,
)


class SftStep(UpdateSettings):
    """Supervised fine-tuning: cross-entropy on references, or on the generation's own accepted answers plus replay."""

    trainer: ClassVar[str] = "bootstrap.stages.supervised:SupervisedTrainer"
    type: Literal["sft"] = "sft"
    source: SftSource = References()
    batch_size: int = Field(default=192, ge=1)
    """Sequences in one update."""

    def shown(self) -> Placed[References]:
        """Return the settings by which it shows the task's own reference answers."""
        return ((("source",), self.source),) if isinstance(self.source, References) else ()

    def rejections(self) -> Placed[Rejection]:
        """Return the settings by which it samples answers and imitates those that pass."""
        return ((("source",), self.source),) if isinstance(self.source, Rejection) else ()

    @property
    def practises(self) -> Literal["drawn", "references"]:
        """References, or answers of its own."""
        return "references" if self.shown() else "drawn"

    @property
    def num_prompts(self) -> int:
        """Those of rejection sampling."""
        return sum(source.prompts for _, source in self.rejections())

    @property
    def samples_per_prompt(self) -> int:
        """Those of rejection sampling."""
        return sum(source.samples_per_prompt for _, source in self.rejections())

    @property
    def summary(self) -> str:
        """Its updates."""
        return f"sft, {self.updates} updates of {self.batch_size}"

    def data(self, words: Words) -> str:
        """Return what it imitates and replays."""
        for _, source in self.rejections():
            kept = words.judged if source.filter == "verified" else "kept right or wrong"
            by = "" if source.sampler == "start" else f" by {told(source.sampler)}"
            found = f"{source.prompts} x {source.samples_per_prompt} answers{by} of {words.drawn}, {kept}"
            return found + (f"; replay of {words.replayed(source.replay)}" if source.newest_share < 1 else "")
        return words.references

    def portions(self, *, learned: float) -> tuple[Portion, ...]:
        """Return references alone, or newest answers and what is replayed beside them."""
        count = self.updates * self.batch_size
        for _, source in self.rejections():
            newest = source.newest_share * count
            return (Portion("drawn", newest), replayed(source.replay, (1 - source.newest_share) * count))
        return (Portion("references", count),)

    def samplers(self) -> Placed[Sampler]:
        """Return who answers in place of the weights that the step starts from."""
        named = (((*place, "sampler"), source.sampler) for place, source in self.rejections())
        return tuple((place, sampler) for place, sampler in named if sampler != "start")


class DistillStep(UpdateSettings):
    """Distillation on replayed sequences alone."""

    trainer: ClassVar[str] = "bootstrap.stages.supervised:SupervisedTrainer"
    type: Literal["distill"] = "distill"
    distillation: Distillation = Distillation()

    @property
    def practises(self) -> Literal["references", "replayed"]:
        """What its distillation replays."""
        return "references" if self.distillation.data == "references" else "replayed"

    @property
    def anchor(self) -> Distillation:
        """`distillation`, which is all there is."""
        return self.distillation

    @property
    def summary(self) -> str:
        """Its updates."""
        return f"distill, {self.updates} updates of {self.distillation.batch_size}"

    def data(self, words: Words) -> str:
        """Return what is replayed."""
        return batches(self.distillation, words)

    def portions(self, *, learned: float) -> tuple[Portion, ...]:
        """Return what is replayed."""
        return (replayed(self.distillation, self.updates * self.distillation.batch_size),)

    def taught(self) -> Placed[Taught]:
        """Return the settings by which teachers teach in it."""
        return ((("distillation",), self.distillation),)


class RlStep(RoundSettings):
    """Reinforcement learning with verifier reward on the target levels, with distillation on replayed ones."""

    trainer: ClassVar[str] = "bootstrap.stages.reinforcement:RlTrainer"
    tells_rates: ClassVar[bool] = True
    type: Literal["rl"] = "rl"
    rounds: int = Field(default=60, ge=1)
    """Rounds of sampling, each followed by the algorithm's optimizer updates: its inner epochs, times the mini-batches
    of each."""
    levels: Levels = "targets"
    prompts_per_update: int = Field(default=24, ge=1)
    """Prompts that a round draws, spread evenly over the levels; chance says which levels have one more than others."""
    group_size: int = Field(default=8, ge=1)
    """Samples per prompt, compared with one another."""
    initial_samples: int | None = Field(default=None, ge=2)
    """Samples drawn of every prompt before those that need no more are left alone (after sGPO, arXiv:2606.08854): a
    prompt then has as many as two over the share of right ones among these, which are two right ones expected, at least
    `initial_samples` and at most `group_size`; that many if none is right. null draws `group_size` of every prompt."""
    temperature: float = Field(default=1.0, gt=0)
    retire: float | None = Field(default=None, gt=0, le=1)
    """Share of right answers, in the `rl` rounds of the generations that the weights come from and in this step's own,
    from which a prompt is not drawn again (ScaleRL, arXiv:2510.13786, takes 0.9). It acts where prompts come back: on
    files and small levels. When all prompts of a level are solved, nothing is drawn there. null draws from all."""
    easier_variants: float = Field(default=0.0, ge=0, lt=1)
    """Share of easier variants of the target level among the prompts (addition: one operand shorter)."""
    algorithm: Algorithm = Grpo()
    distillation: Distillation | None = Distillation()
    """null trains by policy gradient alone (a control: old levels erode)."""
    teaching: OnPolicyDistillation | None = None
    """Distillation on the step's own samples, in the same loss; `algorithm: {type: unrewarded}` leaves it alone."""

    @model_validator(mode="after")
    def _groups_can_compare(self) -> "RlStep":
        algorithm = self.algorithm
        algorithm.check_group_size(self.group_size)
        if algorithm.mini_batches > self.prompts_per_update:
            raise ValueError(
                f"{self.prompts_per_update} prompts a round do not go into {algorithm.mini_batches} mini-batches of "
                "whole groups; lower algorithm.mini_batches, or raise prompts_per_update"
            )
        if self.group_size * self.prompts_per_update == 1:
            raise ValueError(
                "one sample in a round has nothing to be compared with; raise prompts_per_update or group_size"
            )
        return self

    @model_validator(mode="after")
    def _unrewarded_is_taught(self) -> "RlStep":
        algorithm, teaching = self.algorithm, self.teaching
        if algorithm.compares != "nothing":
            return self
        if teaching is None:
            raise ValueError(
                "algorithm unrewarded learns from a teacher alone, and none is named; "
                "set teaching: {teacher: champion}, or algorithm: {type: grpo}"
            )
        if algorithm.entropy is not None:
            raise ValueError(
                f"{algorithm.entropy.type} chooses tokens by their advantages, and those of unrewarded are all 0; "
                "remove entropy, or set algorithm: {type: grpo}"
            )
        in_reward = algorithm.kl is not None and algorithm.kl.where == "reward"
        if algorithm.correction is not None and teaching.loss != "token_reward" and not in_reward:
            raise ValueError(
                f"a correction weighs policy gradients, and unrewarded with teaching.loss {teaching.loss} has none; "
                "remove correction, or set teaching.loss: token_reward"
            )
        return self

    @model_validator(mode="after")
    def _reference_is_refreshed(self) -> "RlStep":
        check_refresh(self.algorithm.kl, self.rounds)
        return self

    @model_validator(mode="after")
    def _divergences_agree(self) -> "RlStep":
        one, other = self.distillation, self.teaching
        if one is None or other is None or one.loss == "ce" or other.loss == "token_reward":
            return self
        if (one.kl_beta, one.top_k) != (other.kl_beta, other.top_k):
            raise ValueError(
                "distillation and teaching are summed in one divergence and name two; give both the same loss, beta "
                "and top_k, or use teaching.loss: token_reward"
            )
        return self

    @property
    def critic(self) -> ValueHead | None:
        """The algorithm's."""
        return self.algorithm.critic

    def references(self) -> Placed[Reference]:
        """Return the model of the KL term, unless it is the weights that the step starts from."""
        return held_to(self.algorithm.kl)

    @model_validator(mode="after")
    def _initial_samples_leave_something(self) -> "RlStep":
        if self.initial_samples is not None and self.initial_samples >= self.group_size:
            raise ValueError(
                f"initial_samples {self.initial_samples} leaves nothing to decide in groups of {self.group_size}; "
                f"use initial_samples: {max(self.group_size // 2, 2)}, a larger group_size, or remove initial_samples"
            )
        if self.initial_samples is not None:
            self.algorithm.check_initial_samples(self.initial_samples)
        return self

    def taught(self) -> Placed[Taught]:
        """Return the settings by which teachers teach in it."""
        named = ((("distillation",), self.distillation), (("teaching",), self.teaching))
        return tuple((place, taught) for place, taught in named if taught is not None)

    @property
    def policy_gradient(self) -> PolicyGradient:
        """`algorithm`."""
        return self.algorithm

    @property
    def anchor(self) -> Distillation | None:
        """`distillation`."""
        return self.distillation

    @property
    def own_teaching(self) -> OnPolicyDistillation | None:
        """`teaching`."""
        return self.teaching

    @property
    def num_prompts(self) -> int:
        """Those of all rounds."""
        return self.rounds * self.prompts_per_update

    @property
    def samples_per_prompt(self) -> int:
        """`group_size`."""
        return self.group_size

    @property
    def leaves_out_equal_rewards(self) -> bool:
        """Whether groups are compared within, and neither a teacher nor a reference has a word on every sample."""
        held = self.algorithm.keeps_zero_variance and self.algorithm.kl is not None
        return self.teaching is None and self.algorithm.compares == "group" and not held

    @property
    def retires(self) -> bool:
        """Whether `retire` is set."""
        return self.retire is not None

    @property
    def summary(self) -> str:
        """Its rounds."""
        found = f"rl ({self.algorithm.type}), {self.rounds} rounds of {self.prompts_per_update} x {self.group_size}"
        parts = self.algorithm.mini_batches
        return f"{found} in {parts} mini-batches" if parts > 1 else found

    def data(self, words: Words) -> str:
        """Return what it answers, and what is replayed beside."""
        return with_replay(f"answers of {words.drawn}, {words.judged}", self.distillation, words)

    def portions(self, *, learned: float) -> tuple[Portion, ...]:
        """Return its own samples, and what is replayed beside them."""
        return of_policy(self.algorithm, self.distillation, rounds=self.rounds, learned=learned)

    def pinned(self) -> Self:
        """Return the step with its algorithm pinned."""
        return self.model_copy(update={"algorithm": self.algorithm.pinned()})

    def draws(self) -> Placed[Drawing]:
        """Return the step itself."""
        return (((), self),)


Step = Annotated[SftStep | DistillStep | RlStep | SelfPlayStep | MergeStep, ByType()]
