"""What the settings of all tasks share."""

from typing import Literal

from pydantic import Field

from bootstrap.config.base import Settings

PRINTABLE = "".join(map(chr, range(32, 127))) + "\n"
"""Printable ASCII and the line end."""


ANSWER_MARGIN = 2
"""Tokens allowed beyond the longest right answer and its end: room to be wrong, but not to ramble."""


def room(longest: int) -> int:
    """Return the tokens that an answer may have where the longest right one has `longest`, its end left out."""
    return longest + 1 + ANSWER_MARGIN


References = Literal["text", "code", "reasoning_gym"]
"""What a task's references are: the right answer itself, or cases and items that verifiers of one kind can read."""


class TaskSettings(Settings):
    base_level: int = Field(ge=1)
    """Highest level whose reference answers training may ever see; beyond it only the verifier speaks."""
    heldout_fraction: float = Field(default=0.125, ge=0.001, lt=1)
    """Share of all possible prompts, by hash of their text, kept for evaluation and never trained on."""

    @property
    def references(self) -> References:
        """What its references are, which a verifier must be able to read."""
        return "text"

    @property
    def executes(self) -> bool:
        """Whether it can read and answer any problem of its form, so that a model may put problems too."""
        return False

    @property
    def highest_level(self) -> int | None:
        """The last level, where the settings name one."""
        return None


class OpenTask(TaskSettings):
    """Base of tasks whose texts this program does not make itself, so that their alphabet and lengths are declared."""

    alphabet: str = Field(default=PRINTABLE, min_length=2)
    """Every character of prompts and answers: the vocabulary of a model from scratch. Others are left out."""
    max_prompt_length: int = Field(default=256, ge=1)
    """Characters; items with longer prompts are left out."""
    max_answer_length: int = Field(default=64, ge=1)
    """Characters; items with longer answers are left out."""
    max_answer_tokens: int | None = Field(default=None, ge=2)
    """Tokens that an answer may have, its end included; null allows as many as the longest right one has characters and
    little more. Set it where a pretrained model answers in words: its tokens are no characters, and it needs room to
    reason."""

    @property
    def characters(self) -> str:
        """Every character of prompts and answers: the vocabulary of a model from scratch."""
        return self.alphabet

    @property
    def answer_room(self) -> int:
        """Tokens that an answer may have at most, its end included."""
        return self.max_answer_tokens or room(self.max_answer_length)

    def longest_sequence(self, level: int) -> int:
        """Tokens of the longest sequence, the same at every level."""
        return 1 + self.max_prompt_length + max(self.max_answer_length + 1, self.max_answer_tokens or 0)
