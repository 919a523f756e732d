"""Training steps inside a generation: `sft`, `distill`, `rl`, and what they share."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bootstrap.config.algorithms import (
    Algorithm,
    Grpo,
    ReferenceKl,
    RoleRelative,
    ValueHead,
)
from bootstrap.config.base import ByType, Operational, Placed, Settings, below
from bootstrap.config.distillation import Distillation, OnPolicyDistillation, Taught
from bootstrap.config.models import LineageModel, Model, Reference, Sampler, Teacher
from bootstrap.config.optimizers import MuonAdamW, Optimizer, Schedule
from bootstrap.config.sources import Levels, References, Rejection, SftSource


class StepBase(Settings):
    """What a step consists of, each part with its place below the step: nothing, where a kind says nothing else."""

    def taught(self) -> Placed[Taught]:
        """Return the settings by which teachers teach in it."""
        return ()

    def teachers(self) -> Placed[Teacher]:
        """Return everyone who teaches in it."""
        return tuple(teacher for place, taught in self.taught() for teacher in below(place, taught.teachers()))

    def references(self) -> Placed[Reference]:
        """Return what it is held to, other than the weights that it starts from."""
        return ()

    def samplers(self) -> Placed[Sampler]:
        """Return who answers in place of the weights that the step starts from."""
        return ()

    def merged(self) -> Placed[LineageModel]:
        """Return whose weights it makes into one model's."""
        return ()

    def named(self) -> Placed[Model]:
        """Return all of them."""
        return (*self.samplers(), *self.teachers(), *self.references(), *self.merged())

    def shown(self) -> Placed[References]:
        """Return the settings by which it shows the task's own reference answers."""
        return ()

    def rejections(self) -> Placed[Rejection]:
        """Return the settings by which it samples answers and imitates those that pass."""
        return ()

    def draws(self) -> "Placed[RlStep | Rejection]":
        """Return the settings by which it draws prompts on certain levels."""
        return self.rejections()

    def pinned(self) -> Self:
        """Return the step with the hash of the user's code that it names. Raises RecipeError for lack of it."""
        return self

    @property
    def proposal_reach(self) -> int | None:
        """Levels beyond the highest one aimed at that a proposed problem may have; None where none are proposed."""
        return None

    @property
    def as_merge(self) -> "MergeStep | None":
        """The step itself if it merges weights; None if it trains."""
        return None


class StepSettings(StepBase):
    updates: int = Field(ge=1)
    """Optimizer updates in this step."""
    optimizer: Optimizer = MuonAdamW()
    schedule: Schedule = Schedule()
    grad_clip: float = Field(default=1.0, gt=0)
    """Largest global L2 norm of the gradient."""
    checkpoint_every: Annotated[int, Operational()] = Field(default=20, ge=1)
    """Updates between checkpoints inside the step; a killed run repeats at most this many."""

    @property
    def critic(self) -> ValueHead | None:
        """The value function that is trained beside the policy; None where there is none."""
        return None


class SftStep(StepSettings):
    """Supervised fine-tuning: cross-entropy on references, or on the generation's own accepted answers plus replay."""

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

    def samplers(self) -> Placed[Sampler]:
        """Return who answers in place of the weights that the step starts from."""
        named = (((*place, "sampler"), source.sampler) for place, source in self.rejections())
        return tuple((place, sampler) for place, sampler in named if sampler != "start")


def _held_to(kl: ReferenceKl | None) -> Placed[Reference]:
    return ((("algorithm", "kl", "model"), kl.model),) if kl is not None and kl.model != "start" else ()


def _check_refresh(kl: ReferenceKl | None, rounds: int) -> None:
    """Raise ValueError when a step is over before the first refresh of its reference."""
    if kl is not None and kl.refresh_every is not None and kl.refresh_every >= rounds:
        raise ValueError(
            f"a reference refreshed every {kl.refresh_every} rounds never is in {rounds}; lower "
            "algorithm.kl.refresh_every, raise updates, or remove it"
        )


class DistillStep(StepSettings):
    """Distillation on replayed sequences alone."""

    type: Literal["distill"] = "distill"
    distillation: Distillation = Distillation()

    def taught(self) -> Placed[Taught]:
        """Return the settings by which teachers teach in it."""
        return ((("distillation",), self.distillation),)


class RlStep(StepSettings):
    """Reinforcement learning with verifier reward on the target levels, with distillation on replayed ones."""

    type: Literal["rl"] = "rl"
    updates: int = Field(default=60, ge=1)
    """Rounds of sampling, each followed by the algorithm's optimizer updates: its inner epochs, times the mini-batches
    of each."""
    levels: Levels = "targets"
    prompts_per_update: int = Field(default=24, ge=1)
    """Prompts that a round draws, spread evenly over the levels; chance says which levels have one more than others."""
    group_size: int = Field(default=8, ge=1)
    """Samples per prompt, compared with one another."""
    probe: int | None = Field(default=None, ge=2)
    """Samples drawn of every prompt before those that need no more are left alone (after sGPO, arXiv:2606.08854): a
    prompt then has as many as two over the share of right ones among these, which are two right ones expected, at least
    `probe` and at most `group_size`; that many if none is right. null draws `group_size` of every prompt."""
    temperature: float = Field(default=1.0, gt=0)
    retire: float | None = Field(default=None, gt=0, le=1)
    """Share of right answers, in the `rl` rounds of the generations that the weights come from and in this step's own,
    from which a prompt is not drawn again (ScaleRL, arXiv:2510.13786, takes 0.9). It acts where prompts come back: on
    files and small levels. When all prompts of a level are solved, nothing is drawn there. null draws from all."""
    stepping_stones: float = Field(default=0.0, ge=0, lt=1)
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
        _check_refresh(self.algorithm.kl, self.updates)
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
        return _held_to(self.algorithm.kl)

    @model_validator(mode="after")
    def _probe_leaves_something(self) -> "RlStep":
        if self.probe is not None and self.probe >= self.group_size:
            raise ValueError(
                f"probe {self.probe} leaves nothing to decide in groups of {self.group_size}; "
                f"use probe: {max(self.group_size // 2, 2)}, a larger group_size, or remove probe"
            )
        if self.probe is not None:
            self.algorithm.check_probe(self.probe)
        return self

    def taught(self) -> Placed[Taught]:
        """Return the settings by which teachers teach in it."""
        named = ((("distillation",), self.distillation), (("teaching",), self.teaching))
        return tuple((place, taught) for place, taught in named if taught is not None)

    def pinned(self) -> Self:
        """Return the step with its algorithm pinned."""
        return self.model_copy(update={"algorithm": self.algorithm.pinned()})

    def draws(self) -> "Placed[RlStep | Rejection]":
        """Return the step itself."""
        return (((), self),)


class SelfPlayStep(StepSettings):
    """Self-play (Absolute Zero, arXiv:2505.03335): one model puts problems and solves them, and learns from both.

    Each round the model is asked for problems. The task's executor keeps those that are problems, belong to the train
    split, are of bounded size and not among the recent ones; the model answers each several times, and the verifier
    judges the answers. Both roles then share one policy-gradient update, beside distillation on replayed sequences.
    """

    type: Literal["self_play"] = "self_play"
    updates: int = Field(default=60, ge=1)
    """Rounds of proposing and solving, each followed by the algorithm's inner epochs of optimizer updates."""
    proposals: int = Field(default=32, ge=2)
    """Problems that the model is asked for in each round."""
    group_size: int = Field(default=8, ge=2)
    """Solutions of each problem; their share of right ones is its solve rate."""
    temperature: float = Field(default=1.0, gt=0)
    """Of both roles."""
    proposer_reward: Literal["learnability", "valid", "none"] = "learnability"
    """What a kept problem earns. `learnability`: 1 - solve rate, but 0 where all or none of the solutions are right.
    `valid`: 1 (a control). `none`: the proposer is not trained (a control). What is no problem, too large or repeated
    earns 0, never less: punishing it makes the proposer fall silent."""
    proposer_weight: float = Field(default=1.0, gt=0)
    """Factor of the proposer's loss beside the solver's; each is normalised by its own tokens."""
    window: int = Field(default=2000, ge=1)
    """Kept problems in which a proposal must not occur again; those of the step's earlier rounds and of its own."""
    reach: int = Field(default=3, ge=0)
    """Levels beyond the highest one aimed at that a proposal may have; larger ones are not solved and earn 0."""
    algorithm: RoleRelative = RoleRelative()
    distillation: Distillation | None = Distillation()
    """null trains by policy gradient alone (a control: old levels erode)."""

    @model_validator(mode="after")
    def _settings_act(self) -> "SelfPlayStep":
        if self.algorithm.reads_again:
            raise ValueError(
                "self_play learns from what it has just sampled and reads nothing again; remove correction"
            )
        if self.algorithm.mini_batches > 1:
            raise ValueError(
                "self_play learns from both roles of a round in one update; remove mini_batches, or set inner_epochs"
            )
        _check_refresh(self.algorithm.kl, self.updates)
        if self.proposer_reward == "none" and self.proposer_weight != 1.0:
            raise ValueError(
                "proposer_weight has no effect where the proposer is not trained; remove it, or set "
                "proposer_reward: learnability"
            )
        return self

    def taught(self) -> Placed[Taught]:
        """Return the settings by which teachers teach in it."""
        return ((("distillation",), self.distillation),) if self.distillation is not None else ()

    @property
    def proposal_reach(self) -> int:
        """`reach`."""
        return self.reach

    def references(self) -> Placed[Reference]:
        """Return the model of the KL term, unless it is the weights that the step starts from."""
        return _held_to(self.algorithm.kl)


class MergeStep(StepBase):
    """Several generations' weights become one model's, without training: the candidate, or what the next steps train.

    The first step of its generations, since it leaves nothing of the weights that they start from.
    """

    type: Literal["merge"] = "merge"
    method: Literal["linear", "ties"] = "linear"
    """`linear`: the weighted mean. `ties` (arXiv:2306.01708): generation 0's weights (with `training.adapter`: the
    base's), moved by the mean of the differences to them, the largest ones only and those alone that agree in sign."""
    models: tuple[LineageModel, ...] = Field(min_length=2)
    """Generations of the lineage, by place, by number, or as the end of a stage."""
    weights: tuple[float, ...] | None = None
    """One for each model. null: equal shares for `linear`, 1 each for `ties`, which takes the mean itself."""
    density: float | None = Field(default=None, gt=0, lt=1)
    """Share of each matrix's entries that `ties` keeps, the largest; null is 0.5."""

    @model_validator(mode="after")
    def _can_be_merged(self) -> "MergeStep":
        if len(set(self.models)) < len(self.models):
            raise ValueError("a model stands twice; name each once, and give it a larger share in weights")
        if self.density is not None and self.method != "ties":
            raise ValueError(f"density has no effect with method {self.method}; remove it, or set method: ties")
        if self.weights is None:
            return self
        if len(self.weights) != len(self.models):
            raise ValueError(f"{len(self.weights)} weights for {len(self.models)} models; give one for each")
        if self.method == "linear" and not math.isclose(sum(self.weights), 1, abs_tol=1e-6):
            raise ValueError(
                f"weights sum to {sum(self.weights):g}, which would scale the model; let those of linear sum to 1"
            )
        if self.method == "ties" and min(self.weights) <= 0:
            raise ValueError("ties elects signs before it weighs, so a weight of 0 or less makes no sense; raise it")
        return self

    @property
    def kept(self) -> float:
        """`density` with its default."""
        return 0.5 if self.density is None else self.density

    def shares(self) -> tuple[float, ...]:
        """Return each model's weight."""
        if self.weights is not None:
            return self.weights
        return (1.0,) * len(self.models) if self.method == "ties" else (1 / len(self.models),) * len(self.models)

    @property
    def as_merge(self) -> "MergeStep":
        """The step itself."""
        return self

    def merged(self) -> Placed[LineageModel]:
        """Return whose weights it makes into one model's."""
        return tuple((("models", index), model) for index, model in enumerate(self.models))


Step = Annotated[SftStep | DistillStep | RlStep | SelfPlayStep | MergeStep, ByType()]
