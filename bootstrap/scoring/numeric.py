"""Numeric equality: reward 1 for a number equal to the reference within the tolerance, otherwise 0.

A strict grammar reads numbers as exact fractions, so no float rounds and no library guesses:

    digits      with optional sign, decimal part and exponent: `-12`, `.5`, `3.50`, `5.`, `1.2e5`
    fraction    two integers with a slash: `7/8`
    thousands   commas between groups of three digits are skipped: `1,234`, `1{,}234`, `10,\\!080`
    unit        one currency sign before the digits, or a percent sign after them: `$5`, `-$1,234.50`, `12 %`

An answer may leave out the reference's unit, but not change it or add one; `12 %` is not 0.12. Ambiguous notation is
refused: other units, other separators, mixed numbers. Length and exponent are bounded before anything is computed.

Left out: numbers that need computing, as `2^10` or `\\sqrt{2}` (`math.py`).
"""

import re
from collections.abc import Sequence
from fractions import Fraction

from bootstrap.config.answers import NumericVerifier
from bootstrap.scoring import extract
from bootstrap.scoring.verifier import Answer, AnswerVerifier, Judgement, Tools, failed, passed, version_of

MAX_LENGTH = 256
"""Characters of a number."""

_GROUPS = r"[1-9][0-9]{0,2}(?:(?:,|\{,\}|,\\!)[0-9]{3})+"
_GRAMMAR = re.compile(
    r"(?P<sign>[+-]?)(?P<currency>(?:\\?\$|€|£)?)(?:(?P<over>[0-9]+)/(?P<under>[0-9]+)"
    rf"|(?P<whole>{_GROUPS}|[0-9]*)(?:(?:\.(?P<part>[0-9]+))?(?<=[0-9])(?:[eE](?P<exponent>[+-]?[0-9]{{1,3}}))?"
    r"|(?<=[0-9])\.))(?P<percent>(?: ?\\?%)?)"
)
_NO_DIGITS = re.compile(r"[^0-9]")


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
            right, what = quantity(answer.reference)
        except NotANumber as error:
            raise ValueError(f"the reference is no number: {error}") from None
        found = extract.answer_of(answer, self._place)
        if found.text is None:
            return failed(self.name, found.reason)
        try:
            given, counted = quantity(found.text)
        except NotANumber as error:
            return failed(self.name, str(error))
        if counted not in ("", what):
            return failed(self.name, f"{counted} where the reference has {what or 'no sign'}")
        close = abs(given - right) <= max(self._absolute, self._relative * abs(right))
        return passed(self.name) if close else failed(self.name)

    def reads(self, references: Sequence[str]) -> list[str]:
        """Return why each reference cannot be compared with; "" where it can."""
        return ["" if _is_number(reference) else "no number" for reference in references]


def _is_number(text: str) -> bool:
    try:
        quantity(text)
    except NotANumber:
        return False
    return True


def parse(text: str) -> Fraction:
    """Return the exact value of a number, whatever its unit. Raises NotANumber for anything else."""
    return quantity(text)[0]


def quantity(text: str) -> tuple[Fraction, str]:
    """Return the exact value of a number and its unit: `%`, a currency sign, or "".

    Raises NotANumber for anything else.
    """
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
        part, digits = match["part"] or "", _NO_DIGITS.sub("", match["whole"])
        value = int(digits + part) * Fraction(10) ** (int(match["exponent"] or 0) - len(part))
    if match["currency"] and match["percent"]:
        raise NotANumber(f"no number: {text[:40]!r}")
    return -value if match["sign"] == "-" else value, (match["currency"] or match["percent"]).strip(" \\")
