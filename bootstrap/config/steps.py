"""Training steps inside a generation: `sft`, `distill`, `rl`, and the union of all kinds."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from bootstrap.config.algorithms import Algorithm, Grpo, ValueHead
from bootstrap.config.base import ByType, Later, Place, Placed, Settings
from bootstrap.config.distillation import Distillation, OnPolicyDistillation, Taught
from bootstrap.config.models import Sampler, told
from bootstrap.config.plugin_step import PluginStep
from bootstrap.config.sampling_step import PolicyStep
from bootstrap.config.self_play import SelfPlayStep
from bootstrap.config.sources import Draw, DrawnSource, Levels, References, Rejection, SftSource
from bootstrap.config.step import MergeStep, Portion, StepBase, UpdateSettings, Words, batches, replayed


class SftStep(UpdateSettings):
    """Supervised fine-tuning: cross-entropy on references, or on accepted answers of the generation's own plus
    replay."""

    trainer: ClassVar[str] = "bootstrap.stages.supervised:SupervisedTrainer"
    type: Literal["sft"] = "sft"
    source: SftSource = References()
    """Data that is imitated."""
    batch_size: int = Field(default=192, ge=1)
    """Sequences in one update."""

    def shown(self) -> Placed[References]:
        return ((("source",), self.source),) if self.source.type == "references" else ()

    def rejections(self) -> Placed[Rejection]:
        return ((("source",), self.source),) if self.source.type == "rejection" else ()

    def written_out(self, *, fixed: bool, epochs: bool) -> Self:
        return self.model_copy(update={"source": self.source.written_out(fixed=fixed, epochs=epochs)})

    @property
    def practises(self) -> Literal["drawn", "references"]:
        return "references" if self.shown() else "drawn"

    @property
    def num_prompts(self) -> int:
        return sum(source.prompts for _, source in self.rejections())

    @property
    def samples_per_prompt(self) -> int:
        return sum(source.samples_per_prompt for _, source in self.rejections())

    @property
    def summary(self) -> str:
        return f"sft, {self.updates} updates of {self.batch_size}"

    def data(self, words: Words) -> str:
        for _, source in self.rejections():
            kept = words.judged if source.filter == "verified" else "kept right or wrong"
            by = "" if source.sampler == "start" else f" by {told(source.sampler)}"
            found = f"{source.prompts} x {source.samples_per_prompt} answers{by} of {words.drawn}, {kept}"
            return found + (f"; replay of {words.replayed(source.replay)}" if source.newest_share < 1 else "")
        return words.references

    def portions(self, *, learned: float) -> tuple[Portion, ...]:
        count = self.updates * self.batch_size
        for _, source in self.rejections():
            newest = source.newest_share * count
            return (Portion("drawn", newest), replayed(source.replay, (1 - source.newest_share) * count))
        return (Portion("references", count),)

    def samplers(self) -> Placed[Sampler]:
        named: list[tuple[Place, Sampler]] = [
            ((*place, "sampler"), source.sampler) for place, source in self.rejections() if source.sampler != "start"
        ]
        return tuple(named)


class DistillStep(UpdateSettings):
    """Distillation on replayed sequences alone."""

    trainer: ClassVar[str] = "bootstrap.stages.supervised:SupervisedTrainer"
    type: Literal["distill"] = "distill"
    distillation: Distillation = Distillation()
    """Replayed sequences and their teacher."""

    @property
    def batch_size(self) -> int:
        """Sequences in one update."""
        return self.distillation.batch_size

    @property
    def practises(self) -> Literal["references", "replayed"]:
        return "references" if self.distillation.data == "references" else "replayed"

    @property
    def anchor(self) -> Distillation:
        return self.distillation

    def written_out(self, *, fixed: bool, epochs: bool) -> Self:
        return self.model_copy(update={"distillation": self.distillation.written_out(fixed=fixed)})

    @property
    def summary(self) -> str:
        return f"distill, {self.updates} updates of {self.batch_size}"

    def data(self, words: Words) -> str:
        return batches(self.distillation, words)

    def portions(self, *, learned: float) -> tuple[Portion, ...]:
        return (replayed(self.distillation, self.updates * self.batch_size),)

    def taught(self) -> Placed[Taught]:
        return ((("distillation",), self.distillation),)


class Until(Settings):
    """When an `rl` step has learnt what it trains on."""

    pass_rate: float = Field(default=0.97, gt=0, le=1)
    """Share of a round's answers to the target levels that pass, from which the round counts."""
    rounds: int = Field(default=3, ge=1)
    """Such rounds in a row after which the step ends."""


class RlStep(PolicyStep):
    """Reinforcement learning with verifier reward on the target levels, with distillation on replayed ones."""

    trainer: ClassVar[str] = "bootstrap.stages.reinforcement:RlTrainer"
    tells_rates: ClassVar[bool] = True
    pinned_by: ClassVar[Place] = ("algorithm", "uses")
    type: Literal["rl"] = "rl"
    rounds: int = Field(default=60, ge=1)
    """Rounds: each samples, then makes the algorithm's optimizer updates (`inner_epochs` times `mini_batches`)."""
    until: Annotated[Until | None, Later(None)] = None
    """When the step ends before its last round. The learning rate's schedule runs over all `rounds`. null makes all."""
    levels: Levels = "targets"
    """Levels that prompts are drawn from."""
    draw: Draw = None
    """Order of prompts. `epochs`: of fixed data, each prompt once before any comes again, on from generation to
    generation; a prompt whose last groups were all right or all wrong sits out a growing number of epochs. `random`:
    every round draws afresh. null takes epochs for fixed data without `retire`, and else random."""
    prompts_per_update: int = Field(default=24, ge=1)
    """Prompts that a round draws, spread evenly over the levels; which levels get one more is random."""
    group_size: int = Field(default=8, ge=1)
    """Samples per prompt, which are compared with one another; 8 is usual."""
    initial_samples: int | None = Field(default=None, ge=2)
    """First samples of every prompt, which decide how many more it gets (after sGPO, arXiv:2606.08854): enough for two
    right answers at the share that is right among them, at least `initial_samples` and at most `group_size` in all;
    `group_size` if none is right. null draws `group_size` of every prompt."""
    retire: float | None = Field(default=None, gt=0, le=1)
    """Pass rate from which a prompt is not drawn again (ScaleRL, arXiv:2510.13786, takes 0.9). It counts the `rl`
    rounds of the generations that the weights come from and those of this step, and acts where prompts come back: on
    files and small levels. A level whose prompts are all solved draws nothing. null draws from all prompts."""
    easier_variants: float = Field(default=0.0, ge=0, lt=1)
    """Share of easier variants of the target level among the prompts (addition: one operand shorter)."""
    algorithm: Algorithm = Grpo()  # pyright: ignore[reportIncompatibleVariableOverride]  # settings are frozen
    """Advantages and policy loss."""
    teaching: OnPolicyDistillation | None = None
    """Distillation on the step's own samples, in the same loss; with `algorithm: {type: unrewarded}` nothing else acts
    on them."""

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
    def _targets_are_watched(self) -> "RlStep":
        if self.until is not None and self.levels == "reached":
            raise ValueError(
                "until watches answers to the target levels, and levels: reached draws none of them; remove until, or "
                "set levels: targets or all"
            )
        return self

    @model_validator(mode="after")
    def _epochs_skip_by_themselves(self) -> "RlStep":
        if self.draw == "epochs" and self.retire is not None:
            raise ValueError(
                "draw epochs already lets solved prompts sit out, and retire would never let them come back; remove "
                "retire, or set draw: random"
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

    @property
    def critic(self) -> ValueHead | None:
        return self.algorithm.critic

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

    @property
    def own_teaching(self) -> OnPolicyDistillation | None:
        return self.teaching

    @property
    def num_prompts(self) -> int:
        return self.rounds * self.prompts_per_update

    @property
    def leaves_out_equal_rewards(self) -> bool:
        """Whether samples are compared within groups, and neither a teacher nor a reference acts on every sample."""
        held = self.algorithm.keeps_zero_variance and self.algorithm.kl is not None
        return self.teaching is None and self.algorithm.compares == "group" and not held

    @property
    def retires(self) -> bool:
        return self.retire is not None

    def written_out(self, *, fixed: bool, epochs: bool) -> Self:
        draw = self.draw or ("epochs" if epochs and self.retire is None else "random")
        return super().written_out(fixed=fixed, epochs=epochs).model_copy(update={"draw": draw})

    @property
    def summary(self) -> str:
        rounds = f"{'at most ' if self.until else ''}{self.rounds} rounds"
        found = f"rl ({self.algorithm.type}), {rounds} of {self.prompts_per_update} x {self.group_size}"
        parts = self.algorithm.mini_batches
        return f"{found} in {parts} mini-batches" if parts > 1 else found

    def data(self, words: Words) -> str:
        return self.with_replay(f"answers of {words.drawn}, {words.judged}", words)

    def pinned(self) -> Self:
        return self.model_copy(update={"algorithm": self.algorithm.pinned()})

    def draws(self) -> Placed[DrawnSource]:
        return (((), self),)


Step = Annotated[SftStep | DistillStep | RlStep | SelfPlayStep | MergeStep | PluginStep, ByType()]
_STEPS: dict[str, type[StepBase]] = {kind.model_fields["type"].default: kind for kind in get_args(get_args(Step)[0])}


def tells_rates(step: Mapping[str, Any]) -> bool:
    """Whether a stored step's verdicts measure how often prompts are solved (`StepBase.tells_rates`).

    `step`: its settings as plain JSON. False where its type is unknown, as in a lineage of another version.
    """
    kind = _STEPS.get(str(step.get("type")))
    return kind is not None and kind.tells_rates


def measures(step: Mapping[str, Any]) -> bool | None:
    """Whether a stored step's verdicts tell how often the weights in training solve each prompt (`StepBase.measures`).

    `step`: its settings as plain JSON. None where it draws no prompts from the task.
    """
    match step:
        case {"type": "sft", "source": {"type": "rejection", "sampler": sampler}}:
            return sampler == "start"
        case {"type": "rl" | "plugin", "prompts_per_update": int(count)} if count:
            return True
    return None
