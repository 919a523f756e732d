"""What every training step answers about itself, and the one that trains nothing: `merge`."""

import math
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from bootstrap.config.algorithms import PolicyGradient, ReferenceKl, ValueHead
from bootstrap.config.base import Operational, Placed, Settings, below
from bootstrap.config.distillation import Distillation, OnPolicyDistillation, Taught
from bootstrap.config.models import LineageModel, Model, Reference, Sampler, Teacher, told
from bootstrap.config.optimizers import MuonAdamW, Optimizer, Schedule
from bootstrap.config.sources import Drawing, References, Rejection, Replay


class Portion(NamedTuple):
    """Some of the sequences that a step trains on."""

    what: Literal["drawn", "references", "replayed"]
    """Answers to prompts that it draws; the task's references; what the lineage replays on the levels below."""
    count: float


class Words(NamedTuple):
    """What a step's data are called in a recipe, for a step to tell of itself."""

    drawn: str
    """Levels that it draws prompts from."""
    judged: str
    """By whom its answers are."""
    references: str
    replayed: Callable[[Replay], str]
    highest: int
    """The highest level aimed at."""


class StepBase(Settings):
    """What a step consists of, each part with its place below the step: nothing, where a kind says nothing else."""

    trainer: ClassVar[str]
    """`module:class` of what makes its rounds (`stages/step.Trainer`); a step that merges has none."""
    tells_rates: ClassVar[bool] = False
    """Whether its verdicts say how often each prompt is solved."""

    @property
    def practises(self) -> Literal["drawn", "references", "replayed", "nothing"]:
        """What it trains on that is not replayed beside; `nothing` for one that does not train."""
        return "drawn"

    @property
    def num_rounds(self) -> int:
        """Rounds that it consists of; 0 for one that does not train."""
        return 0

    @property
    def trained_by(self) -> Optimizer | None:
        """Its optimizer; None for one that does not train."""
        return None

    @property
    def policy_gradient(self) -> PolicyGradient | None:
        """The algorithm by which it learns from rewards; None where it does not."""
        return None

    @property
    def anchor(self) -> Distillation | None:
        """The settings by which every update replays the lineage's sequences; None where none does."""
        return None

    @property
    def own_teaching(self) -> OnPolicyDistillation | None:
        """The settings by which a teacher has a word on its own samples; None where none has."""
        return None

    @property
    def num_prompts(self) -> int:
        """Prompts that it asks, those in place of others left out."""
        return 0

    @property
    def samples_per_prompt(self) -> int:
        """Answers to each of them."""
        return 0

    @property
    def leaves_out_equal_rewards(self) -> bool:
        """Whether groups with equal rewards are not trained on."""
        return False

    @property
    def retires(self) -> bool:
        """Whether it asks prompts no more that are solved."""
        return False

    @property
    def pays_for_anything(self) -> bool:
        """Whether it proposes problems and is paid for others than those that can be learnt."""
        return False

    @property
    def summary(self) -> str:
        """What it does, in words."""
        raise NotImplementedError

    def data(self, words: Words) -> str:
        """Return what it trains on, in words."""
        raise NotImplementedError

    def portions(self, *, learned: float) -> tuple[Portion, ...]:
        """Return what it trains on; `learned`: its own samples that one epoch of a policy gradient trains on."""
        return ()

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

    def draws(self) -> Placed[Drawing]:
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

    @property
    def trained_by(self) -> Optimizer:
        """`optimizer`."""
        return self.optimizer


class UpdateSettings(StepSettings):
    """A step whose rounds are its updates."""

    updates: int = Field(ge=1)
    """Optimizer updates in this step."""

    @property
    def num_rounds(self) -> int:
        """`updates`."""
        return self.updates


class RoundSettings(StepSettings):
    """A step whose rounds sample from the weights that the round before has trained."""

    rounds: int = Field(default=60, ge=1)
    """Rounds of sampling, each followed by the algorithm's optimizer updates."""

    @property
    def num_rounds(self) -> int:
        """`rounds`."""
        return self.rounds


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
    def practises(self) -> Literal["nothing"]:
        """It does not train."""
        return "nothing"

    @property
    def summary(self) -> str:
        """How it merges."""
        return f"merge ({self.method})"

    def data(self, words: Words) -> str:
        """Return whose weights it merges."""
        return f"weights of {', '.join(told(model) for model in self.models)}"

    @property
    def as_merge(self) -> "MergeStep":
        """The step itself."""
        return self

    def merged(self) -> Placed[LineageModel]:
        """Return whose weights it makes into one model's."""
        return tuple((("models", index), model) for index, model in enumerate(self.models))


# --- what several kinds of steps answer alike ----------------------------------------------------------------------


def replayed(settings: Replay, count: float) -> Portion:
    return Portion("references" if settings.data == "references" else "replayed", count)


def with_replay(data: str, anchor: Distillation | None, words: Words) -> str:
    """Return in words what is trained on, with what is replayed beside it."""
    return f"{data}; {batches(anchor, words)}" if anchor else data


def batches(anchor: Distillation, words: Words) -> str:
    return f"{anchor.batch_size} a batch from {words.replayed(anchor)}"


def of_policy(
    algorithm: PolicyGradient, anchor: Distillation | None, *, rounds: int, learned: float
) -> tuple[Portion, ...]:
    """Return a step's own samples in all epochs, and what each of its updates replays beside them."""
    own = Portion("drawn", algorithm.inner_epochs * learned)
    updates = rounds * algorithm.updates_per_round
    return (own, replayed(anchor, updates * anchor.batch_size)) if anchor else (own,)


def held_to(kl: ReferenceKl | None) -> Placed[Reference]:
    return ((("algorithm", "kl", "model"), kl.model),) if kl is not None and kl.model != "start" else ()


def check_refresh(kl: ReferenceKl | None, rounds: int) -> None:
    """Raise ValueError when a step is over before the first refresh of its reference."""
    if kl is not None and kl.refresh_every is not None and kl.refresh_every >= rounds:
        raise ValueError(
            f"a reference refreshed every {kl.refresh_every} rounds never is in {rounds}; lower "
            "algorithm.kl.refresh_every, raise rounds, or remove it"
        )
