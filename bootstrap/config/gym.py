"""reasoning-gym (arXiv:2505.24760) as task and verifier; the extra `gym` installs it."""

import re
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from bootstrap.config.answers import AnswerPlace, Judges, VerifierSettings, Whole
from bootstrap.config.base import Settings
from bootstrap.config.task import OpenTask, References
from bootstrap.errors import RecipeError


class GymDataset(Settings):
    """One data set of reasoning-gym: its levels, its share of the prompts, and the form of these."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """reasoning-gym's name of the data set."""
    config: dict[str, Any] = Field(default_factory=dict)
    """The data set's own settings at every level."""
    levels: tuple[dict[str, Any], ...] = ()
    """The data set's own settings at level 1, 2, and so on; empty follows its curriculum. A data set without a
    curriculum needs them."""
    attributes: tuple[str, ...] = ()
    """Attributes of its curriculum that rise with the level, while the others keep their first value; empty raises all.
    An attribute stays at its highest value; at the last level all of them are there."""
    inclusive: bool = False
    """Let a level's ranges begin at the first level's values (reasoning-gym's default) instead of its own."""
    weight: float = Field(default=1.0, gt=0)
    """Its share of the prompts, relative to the other data sets."""
    keep: str | None = None
    r"""Regular expression searched in the question, whose joined groups become the prompt: `: (\w+)$` keeps the last
    word, which spares a small model the prose. null keeps the whole question."""
    before: str = ""
    """Text before every prompt, by which a model can tell data sets apart when `keep` has removed the prose."""
    after: str = ""
    """Text after every prompt, which marks its end for the model."""
    answer_template: str = "{answer}"
    """Form of a shown reference, as `<think>{expression} = {answer}</think><answer>{answer}</answer>`; verifiers do not
    use it. `{answer}` stands for the answer, any other name for the item's metadata of that name; lists are joined by
    commas."""

    @field_validator("keep")
    @classmethod
    def _pattern_keeps_something(cls, keep: str | None) -> str | None:
        if keep is None:
            return None
        try:
            groups = re.compile(keep).groups
        except re.error as error:
            raise ValueError(f"{keep!r} is no regular expression: {error}; fix it, or test it in Python's re") from None
        if not groups:
            raise ValueError(f"{keep!r} has no group, so nothing would be kept; put what to keep in parentheses")
        return keep

    @field_validator("answer_template")
    @classmethod
    def _holds_the_answer(cls, template: str) -> str:
        if "{answer}" not in template:
            raise ValueError("{answer} must stand in it, for example '<answer>{answer}</answer>'")
        return template

    @model_validator(mode="after")
    def _settings_act(self) -> Self:
        for settings in (self.config, *self.levels):
            if own := sorted({"seed", "size"} & settings.keys()):
                raise ValueError(
                    f"{own[0]} of data set {self.name} is not the recipe's to set: every prompt has a seed of its own, "
                    "derived from the recipe's; remove it"
                )
        if self.levels and (self.attributes or self.inclusive):
            raise ValueError(
                f"attributes and inclusive belong to the curriculum of {self.name}, which levels replaces; "
                "remove them, or remove levels"
            )
        return self


class ReasoningGymTask(OpenTask):
    """Questions of reasoning-gym data sets; level n is the n-th level of each data set's own curriculum."""

    built_by: ClassVar[str] = "bootstrap.prompts.gym:Gym"
    type: Literal["reasoning_gym"] = "reasoning_gym"
    base_level: int = Field(default=1, ge=1)
    """Highest level whose reference answers training may see."""
    datasets: tuple[GymDataset, ...] = Field(min_length=1)
    """Data sets that prompts come from."""

    @model_validator(mode="after")
    def _datasets_fit(self) -> Self:
        names = [dataset.name for dataset in self.datasets]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"data set {twice[0]} stands twice; give it once, with one list of levels")
        for dataset in self.datasets:
            if dataset.levels and len(dataset.levels) < self.base_level:
                raise ValueError(
                    f"data set {dataset.name} has {len(dataset.levels)} level(s), fewer than base_level "
                    f"{self.base_level}; add levels, beyond the base level as many as generations shall climb, or "
                    "lower base_level"
                )
            if strange := sorted(set(dataset.before + dataset.after) - set(self.alphabet)):
                raise ValueError(f"data set {dataset.name} adds {strange[0]!r}, which alphabet lacks; add it there")
        return self

    @property
    def references(self) -> References:
        return "reasoning_gym"

    @property
    def highest_level(self) -> int | None:
        """The last level of the shortest `levels`; None where every data set follows its curriculum."""
        return min((len(dataset.levels) for dataset in self.datasets if dataset.levels), default=None)

    @property
    def question_sources(self) -> frozenset[str]:
        return frozenset(self.kept_parts)

    @property
    def kept_parts(self) -> dict[str, str | None]:
        return {dataset.name: dataset.keep for dataset in self.datasets}

    def longest_sequence(self, level: int) -> int:
        """Return the tokens of the longest sequence. Raises RecipeError beyond the last of `levels`."""
        if self.highest_level is not None and level > self.highest_level:
            short = next(dataset.name for dataset in self.datasets if len(dataset.levels) == self.highest_level)
            raise RecipeError(
                f"level {level} can be reached, the levels of data set {short} end at {self.highest_level}; "
                "add levels, or lower generations.count or evaluation.lookahead"
            )
        return super().longest_sequence(level)


class ReasoningGymVerifier(VerifierSettings):
    """The data set's own scorer judges, with a threshold, since it may give wrong answers a positive score.

    Where a scorer is known to accept wrong answers, a stricter condition is checked too.
    """

    judges: ClassVar[Judges] = "answer"
    reads: ClassVar[str | None] = "reasoning_gym"
    built_by: ClassVar[str] = "bootstrap.scoring.gym:ReasoningGym"
    reads_rows: ClassVar[bool] = True
    type: Literal["reasoning_gym"] = "reasoning_gym"
    answer: AnswerPlace = Whole(strip=True)
    """Place of the answer in the completion."""
    pass_score: float = Field(default=0.99, gt=0, le=1)
    """Score from which the verdict is PASS, because scorers give partial credit."""
    partial_credit: bool = False
    """Reward a wrong answer with its score instead of 0: for shaping, not for the gate."""
    max_characters: int = Field(default=2048, ge=1)
    """Longer answers are wrong and are not scored."""
    cpu_seconds: float = Field(default=2.0, gt=0, le=60)
    """CPU seconds for one answer in the sandbox, where the scorer reads answers as expressions."""
    min_level: Literal["seal", "seal+ns", "bwrap"] = "seal"
    """Weakest accepted confinement of such scorers; a machine without it stops the run."""
