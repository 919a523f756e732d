"""The answer is a number equal to the reference within the tolerance: reward 1, otherwise 0.

Numbers are read by a strict grammar to exact fractions, so no float rounds and no library guesses: an optional sign,
then digits with an optional decimal part and an optional exponent (`-12`, `.5`, `3.50`, `1.2e5`), or two integers with
a slash (`7/8`). What people read differently is refused: thousands separators, units, percent signs, `5.`, mixed
numbers. Length and exponent are bounded before anything is computed.

Left out: numbers that need computing, as `2^10` or `\\sqrt{2}` (`math.py`).
"""

import re
from fractions import Fraction

from bootstrap.config.answers import NumericVerifier
from bootstrap.scoring import extract
from bootstrap.scoring.verifier import Answer, AnswerVerifier, Judgement, Tools, failed, passed, version_of

MAX_LENGTH = 256
"""Characters of a number."""

_GRAMMAR = re.compile(
    r"(?P<sign>[+-]?)(?:(?P<over>[0-9]+)/(?P<under>[0-9]+)"
    r"|(?P<whole>[0-9]*)(?:\.(?P<part>[0-9]+))?(?<=[0-9])(?:[eE](?P<exponent>[+-]?[0-9]{1,3}))?)"
)


class NotANumber(ValueError):
    """A text is no number of the grammar."""


class Numeric(AnswerVerifier):
    """Compares exact fractions."""

    name, judges = "numeric", NumericVerifier.judges

    def __init__(self, settings: NumericVerifier, tools: Tools) -> None:
        self.version = version_of(__name__, settings=settings)
        self._place = settings.answer
        self._absolute = Fraction(settings.absolute_tolerance)
        self._relative = Fraction(settings.relative_tolerance)

    def judge_one(self, answer: Answer) -> Judgement:
        """Return the judgement. Raises ValueError when the reference is no number."""
        try:
            right = parse(answer.reference)
        except NotANumber as error:
            raise ValueError(f"the reference is no number: {error}") from None
        found = extract.answer_of(answer, self._place)
        if found.text is None:
            return failed(self.name, found.reason)
        try:
            given = parse(found.text)
        except NotANumber as error:
            return failed(self.name, str(error))
        close = abs(given - right) <= max(self._absolute, self._relative * abs(right))
        return passed(self.name) if close else failed(self.name)


def parse(text: str) -> Fraction:
    """Return the exact value of a number. Raises NotANumber for everything else."""
    if len(text) > MAX_LENGTH:
        raise NotANumber(f"no number: more than {MAX_LENGTH} characters")
    match = _GRAMMAR.fullmatch(text)
    if match is None:
        raise NotANumber(f"no number: {text[:40]!r}")
    if match["under"] is not None:
        if int(match["under"]) == 0:
            raise NotANumber("no number: division by zero")
        value = Fraction(int(match["over"]), int(match["under"]))
    else:
        part = match["part"] or ""
        value = int(match["whole"] + part) * Fraction(10) ** (int(match["exponent"] or 0) - len(part))
    return -value if match["sign"] == "-" else value
