"""Evaluation on held-out prompts, the panel of other tasks, and the gate that decides on promotion."""

import sys
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from bootstrap.config.answers import ExactVerifier
from bootstrap.config.base import Later, Operational, Settings
from bootstrap.config.tasks import Task
from bootstrap.config.verifiers import Verifier

GENERATED_PROMPTS = 1000
"""Held-out prompts per level of generated tasks, unless a recipe says otherwise."""


class Sampled(Settings):
    """Metrics of sampled answers on the target levels: pass@1, pass@k, majority@k, entropy, distinct answers."""

    prompts: int = Field(default=64, ge=1)
    """Held-out prompts per target level that get samples."""
    samples: int = Field(default=8, ge=2)
    """Samples per prompt."""
    k: int = Field(default=4, ge=1)
    """k of pass@k and majority@k; at most `samples`."""
    temperature: float = Field(default=1.0, gt=0)
    """Sampling temperature."""
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
    """A task that every generation is evaluated on beside the recipe's own, greedily; it is never trained on."""

    task: Task
    """Task to evaluate."""
    verifier: Verifier = ExactVerifier()
    """Judge of its answers, which must be able to read the task's references."""
    levels: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Levels to evaluate; empty means 1 to the task's `base_level`."""
    prompts_per_level: int = Field(default=200, ge=1)
    """Held-out prompts per level; all of them where a level has fewer."""

    @field_validator("levels")
    @classmethod
    def _levels_ascend(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        if list(levels) != sorted(set(levels)):
            raise ValueError(f"{list(levels)} is not ascending; give each level once, for example [1, 2]")
        return levels

    @property
    def asked(self) -> tuple[int, ...]:
        """The levels to evaluate, ascending."""
        return self.levels or tuple(range(1, self.task.base_level + 1))


class EvaluationSettings(Settings):
    prompts_per_level: int | None = Field(default=None, ge=1)
    """Held-out prompts per level; all of them where a level has fewer. null asks all of a file's, and 1000 of
    generated tasks and of mixtures."""
    lookahead: int = Field(default=2, ge=0)
    """Levels evaluated beyond the target, to see how far the skill generalizes."""
    mastered: float = Field(default=0.95, gt=0, le=1)
    """Greedy accuracy from which a level counts as mastered."""
    sampled: Sampled | None = Sampled()
    """null leaves sampled metrics out."""
    final_prompts: Annotated[int, Operational()] = Field(default=1000, ge=1)
    """Prompts per level of the final set, which no gate sees: at the end of the lineage the champion is compared with
    generation 0 on them. There is a set where the task keeps a share for it (`task.final_fraction`)."""
    verifier: Verifier | None = None
    """Eval verifier, which judges held-out answers; null takes the recipe's own. Set it where the reward is shaped or
    needs no reference."""
    panel: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")], PanelTask] = Field(default={})
    """Tasks, or forms of the trained one, that a promotion must not cost (`gate.panel_margin`), by the name that
    reports use. Their prompts are never trained on."""

    @property
    def most_prompts(self) -> int:
        """Most held-out prompts of a level that are asked."""
        return self.prompts_per_level or sys.maxsize

    def written_out(self, *, fixed: bool) -> Self:
        """Return the settings with nulls written out; `fixed`: for one fixed set, where null stays and means all."""
        if fixed or self.prompts_per_level is not None:
            return self
        return self.model_copy(update={"prompts_per_level": GENERATED_PROMPTS})


class Gate(Settings):
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """Significance of the exact McNemar test for improvement on the target levels; with branches each is tested at this
    over their number (Bonferroni). 1 - alpha is the confidence of the bounds of retention and panel, which neither
    branches nor `spending` change."""
    spending: Annotated[Literal["auto", "generation", "lineage"], Later("auto")] = "auto"
    """`generation`: each generation is tested at alpha. `lineage`: all planned comparisons share alpha, so that equal
    models are promoted at most once in 1 / alpha lineages; a promotion passes its share on to the next comparison.
    `auto`: `lineage` where the task has fixed data, whose held-out prompts come again and again, else `generation`."""
    retention_margin: float = Field(default=0.03, ge=0, le=1)
    """Largest allowed loss of accuracy: on every level that the champion line has mastered, against the best that it
    reached there (observed); on these levels together, against the champion (lower score bound); in every slice of
    fixed data, and on its levels below `evaluation.mastered`, against the best (observed, and beyond chance)."""
    panel_margin: float = Field(default=0.03, ge=0, le=1)
    """The same for each task of `evaluation.panel`, its levels together, mastered or not: against the champion (lower
    score bound), and against the best (observed, and beyond chance). The bound falls with every answer that differs: of
    200 prompts, 5 lost and 5 gained bring it to -0.029."""
    min_prompts: int = Field(default=100, ge=1)
    """Levels with fewer held-out prompts are tested together with the next one."""
