"""What every training step answers about itself, and the step that does not train: `merge`."""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from bootstrap.config.algorithms import PolicyGradient, ValueHead
from bootstrap.config.base import Operational, Place, Placed, Settings, below
from bootstrap.config.distillation import Distillation, Taught
from bootstrap.config.models import LineageModel, Model, Reference, Sampler, Teacher, told
from bootstrap.config.optimizers import MuonAdamW, Optimizer, Schedule
from bootstrap.config.sources import DrawnSource, References, Rejection, Replay


@dataclass(frozen=True)
class Portion:
    """A share of the sequences that a step trains on."""

    what: Literal["drawn", "references", "replayed"]
    """Answers to prompts that the step draws; the task's references; replayed answers of the levels below."""
    count: float


class Words(NamedTuple):
    """Names for a step's data in a recipe, from which the step makes its own description."""

    drawn: str
    """Levels that the step draws prompts from, as `level 5`."""
    judged: str
    """Who judges its answers, as `judged by exact`."""
    references: str
    replayed: Callable[[Replay], str]
    highest: int
    """Highest level that the generation aims at."""


class StepBase(Settings):
    """What others ask of a step; the answers hold where a kind says nothing else.

    Parts of a step are given with their places below it (`Placed`)."""

    trainer: ClassVar[str]
    """`module:class` of what makes its rounds (`stages/trainer.Trainer`); a step that merges has none."""
    tells_rates: ClassVar[bool] = False
    """Whether its verdicts are a fair measure of how often each prompt is solved."""
    pinned_by: ClassVar[Place] = ()
    """Place, below the step, of the setting that names what `pinned` reads."""
    rehearsed_by: ClassVar[str] = ""
    """`module:function` that tries the step on a task before anything is grown; empty where nothing needs trying."""

    @property
    def practises(self) -> Literal["drawn", "references", "replayed", "nothing"]:
        """What the step trains on, replayed sequences beside it left out; `nothing` for a merge."""
        return "drawn"

    @property
    def num_rounds(self) -> int:
        """Number of rounds; 0 for a merge."""
        return 0

    @property
    def trained_by(self) -> Optimizer | None:
        """The optimizer; None for a merge."""
        return None

    @property
    def policy_gradient(self) -> PolicyGradient | None:
        """The algorithm that learns from rewards; None where the step does not."""
        return None

    @property
    def anchor(self) -> Distillation | None:
        """Distillation on replayed sequences in every update; None without it."""
        return None

    @property
    def own_teaching(self) -> Taught | None:
        """Distillation on the step's own samples; None without it."""
        return None

    @property
    def num_prompts(self) -> int:
        """Prompts that the step draws, redraws left out."""
        return 0

    @property
    def samples_per_prompt(self) -> int:
        """Answers to each prompt."""
        return 0

    @property
    def leaves_out_equal_rewards(self) -> bool:
        """Whether zero-variance groups are left out of training."""
        return False

    @property
    def retires(self) -> bool:
        """Whether solved prompts are not drawn again."""
        return False

    @property
    def pays_for_anything(self) -> bool:
        """Whether proposals earn reward regardless of learnability."""
        return False

    @property
    @abstractmethod
    def summary(self) -> str:
        """Description of the step in a few words."""

    @abstractmethod
    def data(self, words: Words) -> str:
        """Return a description of the data that the step trains on."""

    def portions(self, *, learned: float) -> tuple[Portion, ...]:
        """Return the sequences that the step trains on, by origin.

        `learned`: the step's own samples in one epoch of a policy gradient.
        """
        return ()

    def taught(self) -> Placed[Taught]:
        """Return the settings that name teachers."""
        return ()

    def teachers(self) -> Placed[Teacher]:
        """Return the teachers."""
        found: list[tuple[Place, Teacher]] = []
        for place, taught in self.taught():
            found.extend(below(place, taught.teachers()))
        return tuple(found)

    def references(self) -> Placed[Reference]:
        """Return the reference models of KL terms, other than the weights that the step starts from."""
        return ()

    def samplers(self) -> Placed[Sampler]:
        """Return the models that answer in place of the weights that the step starts from."""
        return ()

    def merged(self) -> Placed[LineageModel]:
        """Return the generations whose weights are merged."""
        return ()

    def named(self) -> Placed[Model]:
        """Return every model that the step names."""
        return (*self.samplers(), *self.teachers(), *self.references(), *self.merged())

    def shown(self) -> Placed[References]:
        """Return the settings that show the task's reference answers."""
        return ()

    @property
    def shown_by(self) -> str:
        """The function that decides how many references the step shows; empty where the settings do."""
        return ""

    def rejections(self) -> Placed[Rejection]:
        """Return the settings of rejection sampling."""
        return ()

    def replays(self) -> Placed[Replay]:
        """Return the settings of what is replayed."""
        found: list[tuple[Place, Replay]] = [] if self.anchor is None else [(("distillation",), self.anchor)]
        for place, source in self.rejections():
            if source.newest_share < 1:
                found.append(((*place, "replay"), source.replay))
        return tuple(found)

    def draws(self) -> Placed[DrawnSource]:
        """Return the settings that draw prompts on chosen levels."""
        return self.rejections()

    @property
    def draws_epochs(self) -> bool:
        """Whether prompts are drawn by epochs; False for a step that draws none."""
        return any(drawn.draw == "epochs" for _, drawn in self.draws())

    @property
    def measures(self) -> bool:
        """Whether its verdicts tell how often the weights in training solve each prompt, in any step that samples."""
        return self.tells_rates or any(source.measures for _, source in self.rejections())

    def written_out(self, *, fixed: bool, epochs: bool) -> Self:
        """Return the step with the nulls written out whose meaning the kind of task decides.

        `fixed`: of fixed data alone; `epochs`: of data that can be drawn by epochs.
        """
        return self

    def pinned(self) -> Self:
        """Return the step with the hash of the user's code that it names. Raises RecipeError where that is missing."""
        return self

    @property
    def proposal_reach(self) -> int | None:
        """Levels above the highest aim that a proposed problem may have; None where nothing is proposed."""
        return None

    @property
    def as_merge(self) -> "MergeStep | None":
        """The step itself if it merges weights; None for one that trains."""
        return None

    @property
    def as_training(self) -> "StepSettings | None":
        """The step itself if it trains; None if it merges weights."""
        return None


class StepSettings(StepBase):
    """A step that trains. A kind adds `trainer`, `type`, `summary`, `data`, `portions` and `num_rounds`."""

    optimizer: Optimizer = MuonAdamW()
    """Optimizer; its state starts afresh in every step."""
    schedule: Schedule = Schedule()
    """Learning rate over the updates."""
    grad_clip: float = Field(default=1.0, gt=0)
    """Largest global L2 norm of the gradient."""
    checkpoint_every: Annotated[int, Operational()] = Field(default=20, ge=1)
    """Rounds between checkpoints inside the step; a killed run repeats at most this many. More often costs disk writes,
    which 20 keeps rare."""

    @property
    def as_training(self) -> Self:
        """The step itself."""
        return self

    @property
    def critic(self) -> ValueHead | None:
        """The value function that is trained beside the policy; None without one."""
        return None

    @property
    def trained_by(self) -> Optimizer:
        return self.optimizer


class UpdateSettings(StepSettings):
    """A step whose rounds are its updates."""

    updates: int = Field(ge=1)
    """Optimizer updates in this step."""

    @property
    def num_rounds(self) -> int:
        return self.updates


class MergeStep(StepBase):
    """Merge several generations' weights into one model, without training.

    The result is the candidate, or the start of the next step. A merge has to be the first step, since it keeps nothing
    of the weights that the generation starts from.
    """

    type: Literal["merge"] = "merge"
    method: Literal["linear", "ties"] = "linear"
    """`linear`: the weighted mean. `ties` (arXiv:2306.01708): generation 0's weights (with `training.adapter`: the
    base's) plus the mean difference to them, of which only the largest entries count, and only those that agree in
    sign."""
    models: tuple[LineageModel, ...] = Field(min_length=2)
    """Generations of the lineage: by place (`champion`), by number, or as the end of a stage."""
    weights: tuple[float, ...] | None = None
    """One weight for each model. null: equal shares for `linear`; 1 each for `ties`, which takes the mean itself."""
    density: float | None = Field(default=None, gt=0, lt=1)
    """Share of each matrix's entries that `ties` keeps: the largest ones. null is 0.5."""

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
        """Return the weight of each model."""
        if self.weights is not None:
            return self.weights
        return (1.0,) * len(self.models) if self.method == "ties" else (1 / len(self.models),) * len(self.models)

    @property
    def practises(self) -> Literal["nothing"]:
        return "nothing"

    @property
    def summary(self) -> str:
        return f"merge ({self.method})"

    def data(self, words: Words) -> str:
        return f"weights of {', '.join(told(model) for model in self.models)}"

    @property
    def as_merge(self) -> "MergeStep":
        return self

    def merged(self) -> Placed[LineageModel]:
        return tuple((("models", index), model) for index, model in enumerate(self.models))


# --- shared by several kinds of steps ------------------------------------------------------------------------------


def replayed(settings: Replay, count: float) -> Portion:
    return Portion("references" if settings.data == "references" else "replayed", count)


def batches(anchor: Distillation, words: Words) -> str:
    return f"{anchor.batch_size} a batch from {words.replayed(anchor)}"
