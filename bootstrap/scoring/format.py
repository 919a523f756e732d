"""R1's format reward (arXiv:2501.12948): reasoning between tags, then the answer between tags; reward 1, otherwise 0.

Each of the four tags stands exactly once and in order, both parts hold more than white space, and nothing but white
space stands outside. A tag that the prompt as shown ended with counts as the completion's first. Form alone, never
whether the answer is right.
"""

from bootstrap.config.answers import FormatVerifier
from bootstrap.scoring import extract
from bootstrap.scoring.verifier import Answer, AnswerVerifier, Judgement, Tools, failed, passed, version_of


class Format(AnswerVerifier):
    """Looks for the tags."""

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
