"""Tasks: where prompts come from. Difficulty is one integer level.

`longest_sequence(level)` counts the tokens of a character vocabulary: `<bos>`, prompt, answer and `<eos>`.
"""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from bootstrap.config.code import FunctionsTask
from bootstrap.config.files import FileTask
from bootstrap.config.gym import ReasoningGymTask
from bootstrap.config.programs import ProgramsTask
from bootstrap.config.task import TaskSettings
from bootstrap.config.working import WorkingTask


class AdditionTask(TaskSettings):
    """Sum of two numbers, digits least significant first: `21+43=640`; level n has two n-digit operands."""

    type: Literal["addition"] = "addition"
    base_level: int = Field(default=4, ge=1)

    @property
    def characters(self) -> str:
        """Every character of prompts and answers: the vocabulary of a model from scratch."""
        return "0123456789+="

    def longest_sequence(self, level: int) -> int:
        """Tokens of the longest sequence at `level`: two operands, their sum of one digit more, `+` and `=`."""
        return 1 + (2 * level + 2) + (level + 1) + 1


class StringTask(TaskSettings):
    """Base of the tasks on one random string; level n has n symbols."""

    base_level: int = Field(default=8, ge=1)
    alphabet: str = Field(default="abcdefghijk", min_length=2)
    """Distinct single-character symbols; `=` is taken by the prompt."""

    @field_validator("alphabet")
    @classmethod
    def _symbols_are_distinct(cls, alphabet: str) -> str:
        if len(set(alphabet)) < len(alphabet) or "=" in alphabet or any(c.isspace() for c in alphabet):
            raise ValueError("symbols must be distinct, visible and other than `=`, for example abcdefghijk")
        return alphabet

    @property
    def characters(self) -> str:
        """Every character of prompts and answers: the vocabulary of a model from scratch."""
        return self.alphabet + "="

    def longest_sequence(self, level: int) -> int:
        """Tokens of the longest sequence at `level`: the string twice and `=`."""
        return 1 + (level + 1) + level + 1


class ReversalTask(StringTask):
    """The string backwards: `abc=` gives `cba`."""

    type: Literal["reversal"] = "reversal"


class CopyTask(StringTask):
    """The string itself: `abc=` gives `abc`."""

    type: Literal["copy"] = "copy"


Task = Annotated[
    AdditionTask | ReversalTask | CopyTask | FunctionsTask | ProgramsTask | FileTask | ReasoningGymTask | WorkingTask,
    Field(discriminator="type"),
]
"""The discriminated union of all tasks; `type` tells them apart."""
