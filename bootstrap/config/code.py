"""Code: a task of one-line functions, and verification by running what the model wrote."""

from typing import ClassVar, Literal

from pydantic import Field

from bootstrap.config.answers import Judges
from bootstrap.config.base import Settings
from bootstrap.config.task import TaskSettings


class FunctionsTask(TaskSettings):
    """The body of a one-line arithmetic function, from its description; level n has n operations."""

    type: Literal["functions"] = "functions"
    base_level: int = Field(default=2, ge=1)

    @property
    def characters(self) -> str:
        """Every character of prompts and answers: the vocabulary of a model from scratch."""
        return "abcd0123456789+-*()= "

    def longest_sequence(self, level: int) -> int:
        """Tokens of the longest sequence at `level`."""
        return 16 * level + 32


class CodeVerifier(Settings):
    """The answer is Python that gives the expected results on inputs that it has never seen, run in the sandbox."""

    judges: ClassVar[Judges] = "answer"
    type: Literal["code"] = "code"
    code: Literal["whole", "fenced"] = "whole"
    """The whole completion, or the one fenced code block in it."""
    reward: Literal["all", "share"] = "all"
    """1 only when every case is right, or the share of right cases as a shaped reward; PASS always needs all."""
    cpu_seconds: float = Field(default=5.0, gt=0, le=600)
    """CPU time that one answer may take over all its cases."""
    memory_mb: int = Field(default=512, ge=64)
    min_level: Literal["seal", "seal+ns", "bwrap"] = "seal"
    """Weakest confinement that is accepted; a machine that cannot give it stops the run."""
