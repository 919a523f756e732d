"""Code: a task of one-line functions, and verification by running what the model wrote."""

from typing import ClassVar, Literal

from pydantic import Field

from bootstrap.config.answers import Judges, VerifierSettings
from bootstrap.config.task import QuestionTask, References


class FunctionsTask(QuestionTask):
    """A Python function in one line that does n operations one after another: `a+b*3:` may become `x=a;x+=b;x*=3`."""

    built_by: ClassVar[str] = "bootstrap.prompts.functions:build"
    type: Literal["functions"] = "functions"
    base_level: int = Field(default=4, ge=1)

    @property
    def references(self) -> References:
        """Cases for the code verifier."""
        return "code"

    @property
    def characters(self) -> str:
        return "abcx23456789+-*=;:"

    def longest_sequence(self, level: int) -> int:
        """Tokens of the longest sequence at `level`: `n + 1` operands with `n` operators, and a statement for each."""
        return 1 + (2 * level + 2) + (5 * level + 3) + 1


class CodeVerifier(VerifierSettings):
    """The answer is Python that gives the expected results on inputs that it has never seen, run in the sandbox."""

    judges: ClassVar[Judges] = "answer"
    reads: ClassVar[str | None] = "code"
    built_by: ClassVar[str] = "bootstrap.scoring.code:Code"
    reads_rows: ClassVar[bool] = True
    type: Literal["code"] = "code"
    code: Literal["whole", "fenced"] = "whole"
    """The whole completion, or the one block between two lines of three backticks in it."""
    reward: Literal["all", "share"] = "all"
    """1 only when every case is right, or the share of right cases as a shaped reward; PASS always needs all."""
    cpu_seconds: float = Field(default=5.0, ge=0.02, le=600)
    """CPU time that one answer may take: over all calls of its function, or for each input of a script."""
    memory_mb: int = Field(default=512, ge=64)
    """Address space that one answer may use."""
    min_level: Literal["seal", "seal+ns", "bwrap"] = "seal"
    """Weakest confinement that is accepted; a machine that cannot give it stops the run."""
