"""Programs: a task whose problems anyone can write, since an executor knows every answer."""

from typing import ClassVar, Literal

from pydantic import Field

from bootstrap.config.task import TaskSettings

OPERATIONS = "rlsic"
"""Names of the operations; what each does stands in `prompts/programs.py`."""
DIGITS = "0123456789"
PROPOSING = "?"
"""The prompt that asks for a problem instead of an answer: the proposer's role marker."""


class ProgramsTask(TaskSettings):
    """What a program prints: `rl:0123=` gives `r3210l2103`; level n has n operations on a few digits.

    Each operation is printed with the digits that it leaves. A model may also put problems of this task (step
    `self_play`): whatever it writes, the executor says whether it is one and what its answer is.
    """

    executes: ClassVar[bool] = True
    built_by: ClassVar[str] = "bootstrap.prompts.programs:ProgramTask"
    type: Literal["programs"] = "programs"
    base_level: int = Field(default=4, ge=1)
    width: int = Field(default=4, ge=2, le=16)
    """Digits that every program works on."""

    @property
    def characters(self) -> str:
        return OPERATIONS + DIGITS + ":=" + PROPOSING

    def longest_sequence(self, level: int) -> int:
        """Tokens of the longest sequence at `level`: the program with its digits, and all that it prints."""
        return 1 + (level + self.width + 2) + level * (1 + self.width) + 1
