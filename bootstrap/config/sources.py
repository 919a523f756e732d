"""What supervised fine-tuning learns from, and what is replayed beside new answers."""

from typing import Annotated, Literal, Protocol

from pydantic import Field, model_validator

from bootstrap.config.base import ByType, Settings
from bootstrap.config.models import Sampler, server_model
from bootstrap.config.working import Forms


class References(Settings):
    """The task's own reference answers, for levels up to its `base_level` and no further."""

    type: Literal["references"] = "references"
    forms: Forms | None = None
    """How task `working` writes them in this step; null as the task says (`task.forms`)."""
    proposals: float = Field(default=0.0, ge=0, lt=1)
    """Share of each batch that shows how a problem is put instead of how it is answered: what `self_play` needs."""


Levels = Literal["targets", "reached", "all"]
"""Levels that prompts are drawn from: those the generation aims at, all below its first target, or both."""


class Drawing(Protocol):
    """Settings by which prompts are drawn on certain levels."""

    levels: Levels
    easier_variants: float


class Replay(Settings):
    """Which sequences of the lineage are trained on again, so that what they show is not forgotten."""

    data: Literal["accumulate", "latest", "references"] = "accumulate"
    """What is replayed: everything verified so far, only the parent generation's, or base references alone."""
    decay: float = Field(default=1.0, gt=0, le=1)
    """Factor by which the chance of an answer to be replayed falls with every generation of its age; 1 keeps all alike.
    Of several answers to a prompt the first is kept, with its age. Base references do not age, so with a small factor
    they and the newest answers are most of what is replayed."""
    min_reference_share: float = Field(default=0.0, ge=0, le=1)
    """Least share of base references in each replayed batch: seed data that no generation has made. Levels beyond the
    base grow in number, so without a floor the share of references falls as the lineage climbs (arXiv:2305.17493)."""

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
        return self


class Rejection(Settings):
    """Rejection sampling: a model's answers, kept when the filter lets them pass, and imitated."""

    type: Literal["rejection"] = "rejection"
    sampler: Sampler = "start"
    """Who answers: `start`, the weights that the step starts from; another generation, so that data and weights may
    have different parents (R1's third stage, ReST-EM) or the student imitates its teacher (sequence-level
    distillation, arXiv:1606.07947); or a model outside the lineage: a folder, or a server of which only the text is
    known."""
    levels: Levels = "targets"
    prompts: int = Field(default=2000, ge=1)
    """Prompts drawn on these levels, spread evenly."""
    samples_per_prompt: int = Field(default=1, ge=1)
    max_accepted_per_prompt: int = Field(default=1, ge=1)
    """Cap on accepted samples of one prompt, so that easy prompts do not crowd out hard ones (arXiv:2312.06585)."""
    temperature: float = Field(default=1.0, ge=0)
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
    arXiv:2203.14465); what is right then is imitated without the hint. `base`: on levels up to the task's `base_level`.
    `references`: on all levels, so that training sees references of those prompts, and beyond `base_level` not only the
    verifier speaks."""
    newest_share: float = Field(default=0.5, gt=0, le=1)
    """Share of each batch taken from these answers; the rest replays earlier levels."""
    replay: Replay = Replay()
    """What is replayed beside them. `data: latest` is the control that replaces data instead of accumulating it."""

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
        if self.newest_share == 1 and self.replay != Replay():
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


SftSource = Annotated[References | Rejection, ByType()]
