"""reasoning-gym (arXiv:2505.24760) as task and verifier; the extra `gym` installs it."""

from typing import ClassVar, Literal

from pydantic import Field

from bootstrap.config.answers import Judges, Place, Whole
from bootstrap.config.base import Settings
from bootstrap.config.task import OpenTask


class ReasoningGymTask(OpenTask):
    """Questions of reasoning-gym data sets; level n is the n-th level of each data set's own curriculum."""

    type: Literal["reasoning_gym"] = "reasoning_gym"
    base_level: int = Field(default=1, ge=1)
    datasets: tuple[str, ...] = Field(min_length=1)


class ReasoningGymVerifier(Settings):
    """The data set's own scorer judges, with a threshold, since its scores for wrong answers can be positive."""

    judges: ClassVar[Judges] = "answer"
    type: Literal["reasoning_gym"] = "reasoning_gym"
    answer: Place = Whole(strip=True)
    pass_score: float = Field(default=0.99, gt=0, le=1)
    """From which score an answer is right."""
    partial_credit: bool = False
    """Give the score of a wrong answer as its reward instead of 0: for shaping, never for the gate."""
