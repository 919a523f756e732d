"""Data of supervised fine-tuning, and of replay beside new answers."""

from typing import Annotated, Literal, Protocol, Self

from pydantic import Field, model_validator

from bootstrap.config.base import ByType, Later, Settings
from bootstrap.config.models import Sampler, server_model
from bootstrap.config.working import Forms

Draw = Annotated[Literal["epochs", "random"] | None, Later("random")]
"""Order in which prompts are drawn; null is written out by the kind of task (`written_out`)."""


class References(Settings):
    """The task's own reference answers, for levels up to its `base_level`."""

    type: Literal["references"] = "references"
    draw: Draw = None
    """Order of prompts. `epochs`: of fixed data, each once in this step before any comes again. `random`: every batch
    draws afresh. null takes epochs for fixed data, and else random."""
    forms: Forms | None = None
    """How task `working` writes them in this step; null takes the task's own `forms`."""
    proposals: float = Field(default=0.0, ge=0, lt=1)
    """Share of each batch that shows how to propose a problem instead of how to answer one; `self_play` needs it."""

    def written_out(self, *, fixed: bool, epochs: bool) -> Self:
        """Return the settings with nulls written out, as `StepBase.written_out`."""
        return self.model_copy(update={"draw": self.draw or ("epochs" if epochs else "random")})


Levels = Literal["targets", "reached", "all"]
"""Levels that prompts are drawn from: the generation's targets, all below its first target, or both."""


class DrawnSource(Protocol):
    """Settings that draw prompts on chosen levels."""

    @property
    def draw(self) -> Draw:
        """Order in which prompts are drawn."""
        ...

    @property
    def levels(self) -> Levels:
        """The levels."""
        ...

    @property
    def easier_variants(self) -> float:
        """Share of easier variants among the prompts."""
        ...


class Replay(Settings):
    """Sequences of the lineage that are trained on again, against forgetting."""

    data: Literal["accumulate", "latest", "references"] = "accumulate"
    """What is replayed, beside base references: `accumulate`, all verified answers so far; `latest`, the parent
    generation's; `references`, nothing. Where no level to replay has any yet, the references of all base levels are
    replayed, or with `references: min_share` as many as `min_reference_share` asks."""
    answers: Annotated[Literal["newest", "first", "shortest", "all"] | None, Later("first")] = None
    """Which of several answers to one prompt are replayed: the `newest`, the `first`, the `shortest` in characters, or
    `all` that differ. null takes the newest of fixed data (files, and mixtures of files alone), where the same
    prompts come again, and else the first."""
    references: Annotated[Literal["base_levels", "min_share"] | None, Later("base_levels")] = None
    """Where base references are replayed. `base_levels`: on all levels up to the task's `base_level`. `min_share`: as
    `min_reference_share` asks and no more, so that these levels replay verified answers too, and nothing before the
    lineage has any. null takes `min_share` for fixed data, whose references are often bare answers, and else
    `base_levels`."""
    decay: float = Field(default=1.0, gt=0, le=1)
    """Factor by which an answer's chance of replay falls with every generation of its age; 1 keeps all alike. Base
    references do not age, so a small factor replays mostly them and the newest answers."""
    min_reference_share: float = Field(default=0.0, ge=0, le=1)
    """Least share of base references, which no model has made, in each replayed batch. Levels beyond the base grow in
    number, so without a floor this share falls as the lineage climbs (arXiv:2305.17493)."""

    @model_validator(mode="after")
    def _replay_can_act(self) -> "Replay":
        if self.decay < 1 and self.data != "accumulate":
            raise ValueError(
                f"decay has no effect with data {self.data}, which has no answers of different ages; remove decay, or "
                "set data: accumulate"
            )
        if self.min_reference_share and self.data == "references":
            raise ValueError(
                "min_reference_share has no effect with data references, where all is reference; remove it, or set "
                "data: accumulate"
            )
        if self.references == "min_share" and self.data == "references":
            raise ValueError(
                "references min_share has no effect with data references, which replays nothing else; remove it, or "
                "set data: accumulate"
            )
        return self

    @property
    def from_pool(self) -> bool:
        """Whether every level replays the lineage's answers, those up to `base_level` too."""
        return self.references == "min_share"

    @property
    def is_default(self) -> bool:
        """Whether it is what a recipe that says nothing of replay has, written out or not."""
        by_kind = self.answers in (None, "first", "newest")
        return by_kind and self.model_copy(update={"answers": None, "references": None}) == Replay()

    def written_out(self, *, fixed: bool) -> Self:
        """Return the settings with nulls written out; `fixed`: for fixed data."""
        by_share = fixed and self.data != "references"
        return self.model_copy(
            update={
                "answers": self.answers or ("newest" if fixed else "first"),
                "references": self.references or ("min_share" if by_share else "base_levels"),
            }
        )


class Rejection(Settings):
    """Rejection sampling: a model answers, and the answers that pass the filter are imitated."""

    type: Literal["rejection"] = "rejection"
    sampler: Sampler = "start"
    """The model that answers. `start`: the weights that the step starts from. Another generation gives data and weights
    different parents (R1's third stage, ReST-EM), or lets the student imitate a teacher (sequence-level distillation,
    arXiv:1606.07947). A folder or a server is a model outside the lineage; of a server only the text is known."""
    levels: Levels = "targets"
    """Levels that prompts are drawn from."""
    draw: Draw = None
    """Order of prompts, as in an `rl` step."""
    prompts: int = Field(default=2000, ge=1)
    """Prompts drawn, spread evenly over the levels."""
    samples_per_prompt: int = Field(default=1, ge=1)
    """Answers to each prompt."""
    max_accepted_per_prompt: int = Field(default=1, ge=1)
    """Most accepted samples of one prompt; the cap keeps easy prompts from crowding out hard ones
    (arXiv:2312.06585)."""
    temperature: float = Field(default=1.0, ge=0)
    """Sampling temperature; 0 is greedy."""
    top_k: int = Field(default=0, ge=0)
    """Sample among the k likeliest tokens; 0 among all."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Sample among the fewest tokens that together have this probability; 1 among all."""
    filter: Literal["verified", "none"] = "verified"
    """`none` keeps every answer, right or wrong: the control without a verifier."""
    easier_variants: float = Field(default=0.0, ge=0, le=1)
    """Share of easier variants of the target level among the prompts (addition: one operand shorter)."""
    hints: Literal["never", "base", "references"] = "never"
    """Whether prompts whose answers were all wrong are asked again with the right answer as a hint (STaR,
    arXiv:2203.14465); answers that are right then are imitated without the hint. `base`: on levels up to the task's
    `base_level`. `references`: on all levels, so that training depends on references beyond `base_level` too."""
    newest_share: float = Field(default=0.5, gt=0, le=1)
    """Share of each batch taken from the new answers; the rest replays earlier levels."""
    replay: Replay = Replay()
    """Replay beside the new answers. `data: latest` is the control that replaces data instead of accumulating it."""

    @model_validator(mode="after")
    def _can_differ(self) -> "Rejection":
        if self.samples_per_prompt > 1 and self.temperature == 0:
            raise ValueError(
                "several greedy samples of one prompt are all alike; set samples_per_prompt: 1 or temperature above 0"
            )
        if server_model(self.sampler) and self.top_k:
            raise ValueError("a server's interface knows no top_k; remove it")
        if self.hints != "never" and self.filter == "none":
            raise ValueError(
                "filter none takes wrong answers too, so nothing is asked again; remove hints, or set filter: verified"
            )
        if self.hints == "base" and self.levels == "targets":
            raise ValueError(
                "target levels lie beyond base_level, where hints: base gives none; set levels: reached or all, or "
                "hints: references"
            )
        if self.newest_share == 1 and not self.replay.is_default:
            raise ValueError(
                "replay never acts beside newest_share 1, which takes whole batches from the newest answers; remove "
                "replay, or lower newest_share, for example to 0.5"
            )
        if self.max_accepted_per_prompt > self.samples_per_prompt:
            raise ValueError(
                f"max_accepted_per_prompt {self.max_accepted_per_prompt} never acts on {self.samples_per_prompt} "
                f"sample(s) of a prompt; use {self.samples_per_prompt} or less, or raise samples_per_prompt"
            )
        return self

    @property
    def measures(self) -> bool:
        """Whether its verdicts tell how often the weights in training solve each prompt."""
        return self.sampler == "start"

    def written_out(self, *, fixed: bool, epochs: bool) -> Self:
        """Return the settings with nulls written out, as `StepBase.written_out`."""
        draw = self.draw or ("epochs" if epochs else "random")
        return self.model_copy(update={"draw": draw, "replay": self.replay.written_out(fixed=fixed)})


SftSource = Annotated[References | Rejection, ByType()]
