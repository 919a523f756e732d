"""Code: a task of one-line functions, and a verifier that runs the model's code."""

from typing import ClassVar, Literal

from pydantic import Field

from bootstrap.config.answers import Judges, VerifierSettings
from bootstrap.config.task import QuestionTask, References


class FunctionsTask(QuestionTask):
    """A one-line Python function of n operations, at level n: `a+b*3:` may become `x=a;x+=b;x*=3`."""

    built_by: ClassVar[str] = "bootstrap.prompts.functions:build"
    type: Literal["functions"] = "functions"
    base_level: int = Field(default=4, ge=1)
    """Highest level whose reference answers training may see."""

    @property
    def references(self) -> References:
        return "code"

    @property
    def characters(self) -> str:
        return "abcx23456789+-*=;:"

    def longest_sequence(self, level: int) -> int:
        # `level + 1` operands with `level` operators, and a statement for each.
        return 1 + (2 * level + 2) + (5 * level + 3) + 1


class CodeVerifier(VerifierSettings):
    """The answer is Python code that gives the expected results on hidden inputs, run in the sandbox."""

    judges: ClassVar[Judges] = "answer"
    reads: ClassVar[str | None] = "code"
    built_by: ClassVar[str] = "bootstrap.scoring.code:Code"
    reads_rows: ClassVar[bool] = True
    type: Literal["code"] = "code"
    code: Literal["whole", "fenced"] = "whole"
    """`whole`: the completion is the code. `fenced`: the code is its one block between lines of three backticks."""
    reward: Literal["all", "share"] = "all"
    """`all`: 1 when every case is right, else 0. `share`: the share of right cases, a shaped reward. PASS needs all."""
    cpu_seconds: float = Field(default=5.0, ge=0.02, le=600)
    """CPU seconds for one answer: for all calls of its function together, or for each input of a script."""
    memory_mb: int = Field(default=512, ge=64)
    """Address space for one answer, in MB."""
    min_level: Literal["seal", "seal+ns", "bwrap"] = "seal"
    """Weakest accepted confinement; a machine without it stops the run."""
