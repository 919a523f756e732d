"""Multiple choice: reward 1 for the right letter, otherwise 0.

`B`, `(B)`, `B.` and `B)` are one answer, in any markup (`\\textbf{(B)}`, `$B$`, `**B**`). Two letters, or a letter
among words, are no answer: a completion that names every choice must not win.
"""

import re
from collections.abc import Sequence

from bootstrap.config.answers import ChoiceVerifier
from bootstrap.scoring import extract, math_source
from bootstrap.scoring.math_nodes import Unreadable
from bootstrap.scoring.verifier import Answer, AnswerVerifier, Judgement, Tools, failed, passed, version_of


class Choice(AnswerVerifier):
    """Compares letters."""

    name, judges = "choice", ChoiceVerifier.judges

    def __init__(self, settings: ChoiceVerifier, tools: Tools) -> None:
        self.version = version_of(__name__, settings=settings)
        self._place = settings.answer
        letter = f"[{settings.choices}]"
        self._told = f"none of the choices {settings.choices}"
        self._grammar = re.compile(rf"\(({letter})\)|({letter})[.)]?")

    def reads(self, references: Sequence[str]) -> list[str]:
        """Return why each reference cannot be compared with; "" where it can."""
        return ["" if self._letter(reference) else self._told for reference in references]

    def judge_one(self, answer: Answer) -> Judgement:
        """Return the judgement. Raises ValueError when the reference is none of the choices."""
        right = self._letter(answer.reference)
        if right is None:
            raise ValueError(f"the reference {answer.reference[:40]!r} is {self._told}")
        found = extract.answer_of(answer, self._place)
        if found.text is None:
            return failed(self.name, found.reason)
        given = self._letter(found.text)
        if given is None:
            return failed(self.name, f"no one letter: {self._told}")
        return passed(self.name) if given == right else failed(self.name)

    def _letter(self, text: str) -> str | None:
        try:
            text, _ = math_source.unwrapped(text)
            if text.startswith("(") and text.endswith(")"):
                text = f"({math_source.unwrapped(text[1:-1])[0]})"
        except Unreadable:
            return None
        match = self._grammar.fullmatch(text)
        return match[1] or match[2] if match else None
