"""Evaluation on held-out prompts, the panel of other tasks, and the gate that decides on promotion."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from bootstrap.config.answers import ExactVerifier
from bootstrap.config.base import Later, Operational, Settings
from bootstrap.config.tasks import Task
from bootstrap.config.verifiers import Verifier


class Sampled(Settings):
    """Sampled metrics on the target levels: pass@1, pass@k, majority@k, entropy, distinct answers."""

    prompts: int = Field(default=64, ge=1)
    """Held-out prompts per target level that are sampled."""
    samples: int = Field(default=8, ge=2)
    """Samples per prompt."""
    k: int = Field(default=4, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    top_k: int = Field(default=0, ge=0)
    """Sample among the k likeliest tokens; 0 among all."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Sample among the fewest tokens that together have this probability; 1 among all."""

    @model_validator(mode="after")
    def _k_within_samples(self) -> "Sampled":
        if self.k > self.samples:
            raise ValueError(
                f"pass@{self.k} needs at least {self.k} samples, not {self.samples}; raise samples or lower k"
            )
        return self


class PanelTask(Settings):
    """A task that is watched beside the recipe's own: answered greedily by every generation, never trained on."""

    task: Task
    verifier: Verifier = ExactVerifier()
    """Judges its answers; it must be able to read the task's references."""
    levels: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Levels asked; empty asks those from 1 to the task's `base_level`."""
    prompts_per_level: int = Field(default=200, ge=1)
    """Held-out prompts per level; a level with fewer possible ones uses all of them."""

    @field_validator("levels")
    @classmethod
    def _levels_ascend(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        if list(levels) != sorted(set(levels)):
            raise ValueError(f"{list(levels)} is not ascending; give each level once, for example [1, 2]")
        return levels

    @property
    def asked(self) -> tuple[int, ...]:
        """The levels asked, ascending."""
        return self.levels or tuple(range(1, self.task.base_level + 1))


class EvaluationSettings(Settings):
    prompts_per_level: int = Field(default=1000, ge=1)
    """Held-out prompts per level; a level with fewer possible ones uses all of them."""
    lookahead: int = Field(default=2, ge=0)
    """Levels evaluated beyond the target, to see how far the skill reaches unasked."""
    mastered: float = Field(default=0.95, gt=0, le=1)
    """Greedy accuracy from which a level counts as mastered."""
    sampled: Sampled | None = Sampled()
    """null leaves sampled metrics out."""
    final_prompts: Annotated[int, Operational()] = Field(default=1000, ge=1)
    """Prompts per level of the final set, which no gate sees: once the lineage has grown to its length, the champion is
    compared with generation 0 on them. There is a set where the task keeps a share for it (`task.final_fraction`)."""
    verifier: Verifier | None = None
    """Judges held-out answers; null takes the recipe's own. Set it where the reward is shaped or needs no reference."""
    panel: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")], PanelTask] = Field(default={})
    """Tasks, or forms of the one trained on, that a promotion must not cost; the gate keeps each (`gate.panel_margin`).
    Their prompts train nobody, and they are in the report by the name given here."""


class Gate(Settings):
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """Significance of the exact McNemar test of improvement on the target levels; where several branches are tested and
    the best is kept, each is at this over their number (Bonferroni). 1 - alpha is the confidence of the bounds of
    retention and panel, which neither branches nor `spending` change."""
    spending: Annotated[Literal["auto", "generation", "lineage"], Later("auto")] = "auto"
    """What alpha is shared by. `generation`: each is tested at alpha. `lineage`: all planned generations that are
    compared share it, so that equal models are promoted at most once in 1 / alpha lineages; a promotion passes its
    share on to the next one. `auto`: `lineage` where the task has fixed data, whose held-out prompts are used again and
    again, else `generation`."""
    retention_margin: float = Field(default=0.03, ge=0, le=1)
    """How far a candidate may fall: on every level that the champion line has mastered, below the best that it reached
    there (observed); on these together, below the champion (lower score bound); in every slice of fixed data, and on
    its levels below `evaluation.mastered`, below the best (observed, and beyond chance)."""
    panel_margin: float = Field(default=0.03, ge=0, le=1)
    """The same for each task of `evaluation.panel`, its levels together, mastered or not: below the champion (lower
    score bound), and below the best (observed, and beyond chance). The bound falls with every answer that differs: of
    200 prompts, 5 lost and 5 gained bring it to -0.029."""
    min_prompts: int = Field(default=100, ge=1)
    """Levels with fewer held-out prompts are judged together with the next one."""
