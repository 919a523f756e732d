"""DAPO's soft overlong punishment (arXiv:2503.14476, equation 13), a penalty from 0 to -1 to add to other rewards.

With `L` = `max_tokens`, `C` = `soft_tokens` and a completion of `n` tokens:

    0                     n <= L - C
    ((L - C) - n) / C     L - C < n <= L
    -1                    L < n

An answer of up to `L` tokens PASSES: in a rubric the other components decide whether it is right, and the penalty only
shapes its reward. A truncated completion would have been longer, so it FAILS with the whole penalty.
"""

from bootstrap.config.answers import LengthVerifier
from bootstrap.scoring.verifier import Answer, AnswerVerifier, Judgement, Tools, failed, passed, version_of


class Length(AnswerVerifier):
    """Counts tokens."""

    name, judges = "length", LengthVerifier.judges

    def __init__(self, settings: LengthVerifier, tools: Tools) -> None:
        self.version = version_of(__name__, settings=settings)
        self._settings = settings

    def judge_one(self, answer: Answer) -> Judgement:
        if answer.truncated:
            return failed(self.name, "truncated", reward=-1.0)
        limit, told = self._settings.max_tokens, f"{answer.num_tokens} tokens"
        reward = penalty(answer.num_tokens, max_tokens=limit, soft_tokens=self._settings.soft_tokens)
        found = passed if answer.num_tokens <= limit else failed
        return found(self.name, told, reward=reward)


def penalty(num_tokens: int, *, max_tokens: int, soft_tokens: int) -> float:
    """Return the penalty of a length in tokens, from 0 to -1."""
    free = max_tokens - soft_tokens
    if num_tokens <= free:
        return 0.0
    return max((free - num_tokens) / soft_tokens, -1.0)
