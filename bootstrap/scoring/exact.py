"""Exact match: reward 1 for an answer that equals the reference character by character, otherwise 0.

A truncated answer FAILS even where its text equals the reference: a model that never ends its answers has not learnt
the task, and training on such answers would teach that.
"""

from bootstrap.config.answers import ExactVerifier
from bootstrap.scoring import extract
from bootstrap.scoring.verifier import Answer, AnswerVerifier, Judgement, Tools, failed, passed, version_of


class ExactMatch(AnswerVerifier):
    """Compares text."""

    name, judges = "exact", ExactVerifier.judges

    def __init__(self, settings: ExactVerifier, tools: Tools) -> None:
        self.version = version_of(__name__, settings=settings)
        self._place = settings.answer

    def judge_one(self, answer: Answer) -> Judgement:
        found = extract.answer_of(answer, self._place)
        if found.text is None:
            return failed(self.name, found.reason)
        return passed(self.name) if found.text == answer.reference else failed(self.name)
