"""The task whose answers show their working, and the forms in which its demonstrations are written."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from bootstrap.config.base import Settings
from bootstrap.config.task import QuestionTask

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
"""Each is one token of a model from scratch."""
LETTERS = "abcdefghij"
"""Digits 0 to 9 in the other language."""


class Forms(Settings):
    """In which form demonstrations are written: shares, drawn for each demonstration by itself."""

    direct: float = Field(default=0.0, ge=0, le=1)
    """Share without working: `<answer>132</answer>` alone."""
    mixed_language: float = Field(default=0.0, ge=0, le=1)
    """Share, of those with working, that mixes two languages in it: each column is as likely in letters (a to j for
    0 to 9) as in digits."""
    hinted: float = Field(default=0.0, ge=0, le=1)
    """Share whose prompt gives the answer away as a hint, always with working: the form of hinted retries."""

    @model_validator(mode="after")
    def _shares_fit(self) -> "Forms":
        if self.direct + self.hinted > 1:
            raise ValueError(
                f"direct {self.direct:g} and hinted {self.hinted:g} are shares of the same demonstrations and sum to "
                "more than 1; lower one of them"
            )
        if self.direct == 1 and self.mixed_language:
            raise ValueError("direct 1 leaves no working that could mix languages; lower direct or mixed_language")
        return self


class WorkingTask(QuestionTask):
    """Addition with working between tags: `74+58=` has `<think>12,13</think><answer>132</answer>`.

    The operands stand least significant digit first, the answer as people write it; level n has two n-digit operands.
    """

    has_forms: ClassVar[bool] = True
    has_easier_variants: ClassVar[bool] = True
    question_kind: ClassVar[str | None] = "sums"
    built_by: ClassVar[str] = "bootstrap.prompts.working:ShownWorking"
    looks: ClassVar[str | None] = "sum"
    type: Literal["working"] = "working"
    base_level: int = Field(default=4, ge=1)
    forms: Forms = Forms()
    """How references are written wherever they are shown, unless a step says otherwise."""

    @property
    def characters(self) -> tuple[str, ...]:
        """The vocabulary of a model from scratch: characters, and the tags as one token each."""
        return (*"0123456789", *"+=,?", *LETTERS, *TAGS)

    def longest_sequence(self, level: int) -> int:
        """Tokens of the longest sequence at `level`: a hinted prompt with its answer and `?`, the completion, ends."""
        return 1 + (2 * level + 2) + (level + 1 + 1) + self.longest_answer(level) + 1

    @staticmethod
    def longest_answer(level: int) -> int:
        """Tokens of the longest completion: four tags, two digits and a comma a column, the sum."""
        return len(TAGS) + (3 * level - 1) + (level + 1)
