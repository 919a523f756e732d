"""R1's format reward (arXiv:2501.12948): 1 for tagged reasoning followed by a tagged answer, otherwise 0.

Each of the four tags stands exactly once and in order, both parts hold more than white space, and only white space
stands outside. The prompt's last tag may stand for the completion's first. It judges form, never correctness.
"""

from bootstrap.config.answers import FormatVerifier
from bootstrap.scoring import extract
from bootstrap.scoring.verifier import Answer, AnswerVerifier, Judgement, Tools, failed, passed, version_of


class Format(AnswerVerifier):
    """Checks the tags."""

    name, judges = "format", FormatVerifier.judges

    def __init__(self, settings: FormatVerifier, tools: Tools) -> None:
        self.version = version_of(__name__, extract.__name__, settings=settings)
        tags = (settings.think_tag, settings.answer_tag)
        self._think = settings.think_tag
        self._tags = [mark for tag in tags for mark in (f"<{tag}>", f"</{tag}>")]

    def judge_one(self, answer: Answer) -> Judgement:
        if answer.truncated:
            return failed(self.name, "truncated")
        text = extract.opened(answer, self._think)
        for mark in self._tags:
            if (count := text.count(mark)) != 1:
                return failed(self.name, f"{count} {mark} instead of one")
        parts, rest = [], text
        for mark in self._tags:
            part, found, rest = rest.partition(mark)
            if not found:
                return failed(self.name, f"{mark} stands too early")
            parts.append(part.strip())
        before, thought, between, answered = parts
        if before or between or rest.strip():
            return failed(self.name, "text outside the tags")
        if not (thought and answered):
            return failed(self.name, "nothing between the tags")
        return passed(self.name, "well formed")
