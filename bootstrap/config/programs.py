"""Programs: a task with an executor that answers any problem, so that models can propose problems."""

from typing import ClassVar, Literal

from pydantic import Field

from bootstrap.config.task import TaskSettings

OPERATIONS = "rlsic"
"""Names of the operations, which `prompts/programs.py` defines."""
DIGITS = "0123456789"
PROPOSING = "?"
"""The prompt that asks for a problem instead of an answer: the proposer's role marker."""


class ProgramsTask(TaskSettings):
    """The output of a program: `rl:0123=` gives `r3210l2103`; level n has n operations on a few digits.

    The output has each operation with the digits that it leaves. A model may propose problems of this task (step
    `self_play`), since the executor checks and answers any text.
    """

    executes: ClassVar[bool] = True
    built_by: ClassVar[str] = "bootstrap.prompts.programs:ProgramTask"
    type: Literal["programs"] = "programs"
    base_level: int = Field(default=4, ge=1)
    """Highest level whose reference answers training may see."""
    width: int = Field(default=4, ge=2, le=16)
    """Number of digits that every program works on."""

    @property
    def characters(self) -> str:
        return OPERATIONS + DIGITS + ":=" + PROPOSING

    def longest_sequence(self, level: int) -> int:
        # The program with its digits, and all that it prints.
        return 1 + (level + self.width + 2) + level * (1 + self.width) + 1
