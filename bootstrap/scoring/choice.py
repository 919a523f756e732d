"""The answer is one letter of a multiple choice, and the right one: reward 1, otherwise 0.

`B`, `(B)`, `B.` and `B)` are the same answer. Two letters, or a letter with words around it, are none: a completion
that names every choice must not win.
"""

import re

from bootstrap.config.answers import ChoiceVerifier
from bootstrap.scoring import extract
from bootstrap.scoring.verifier import Answer, AnswerVerifier, Judgement, Tools, failed, passed, version_of


class Choice(AnswerVerifier):
    """Compares letters."""

    name, judges = "choice", ChoiceVerifier.judges

    def __init__(self, settings: ChoiceVerifier, tools: Tools) -> None:
        self.version = version_of(__name__, settings=settings)
        self._place = settings.answer
        letter = f"[{settings.choices}]"
        self._choices = settings.choices
        self._grammar = re.compile(rf"\(({letter})\)|({letter})[.)]?")

    def judge_one(self, answer: Answer) -> Judgement:
        """Return the judgement. Raises ValueError when the reference is none of the choices."""
        right = self._letter(answer.reference)
        if right is None:
            raise ValueError(f"the reference {answer.reference[:40]!r} is none of the choices {self._choices}")
        found = extract.answer_of(answer, self._place)
        if found.text is None:
            return failed(self.name, found.reason)
        given = self._letter(found.text)
        if given is None:
            return failed(self.name, f"no one letter of {self._choices}")
        return passed(self.name) if given == right else failed(self.name)

    def _letter(self, text: str) -> str | None:
        match = self._grammar.fullmatch(text)
        return match[1] or match[2] if match else None
