"""A regular expression: reward 1 for a completion that matches, otherwise 0. It judges form, never correctness.

Matching has a bound on time; beyond it the answer is UNVERIFIABLE, since a clock must not decide on a verdict. Only
patterns that backtrack without end reach it, because completions are of bounded length.
"""

import regex

from bootstrap.config.answers import RegexVerifier
from bootstrap.errors import VerifierError
from bootstrap.scoring.verifier import (
    Answer,
    AnswerVerifier,
    Judgement,
    Tools,
    failed,
    passed,
    unverifiable,
    version_of,
)

MATCH_SECONDS = 10.0
"""Wall-clock seconds after which a match is given up."""


class Pattern(AnswerVerifier):
    """Matches the whole completion."""

    name, judges = "regex", RegexVerifier.judges

    def __init__(self, settings: RegexVerifier, tools: Tools, *, match_seconds: float = MATCH_SECONDS) -> None:
        """Raise VerifierError when the pattern does not compile."""
        self.version = version_of(__name__, settings=settings, also=regex.__version__)
        self._max_characters = settings.max_characters
        self._match_seconds = match_seconds
        try:
            self._pattern = regex.compile(settings.pattern, regex.DOTALL)
        except regex.error as error:
            raise VerifierError(
                f"the pattern {settings.pattern!r} of a regex verifier does not compile: {error}; correct it"
            ) from None

    def judge_one(self, answer: Answer) -> Judgement:
        if answer.truncated:
            return failed(self.name, "truncated")
        if len(answer.text) > self._max_characters:
            return failed(self.name, f"longer than {self._max_characters} characters")
        try:
            match = self._pattern.fullmatch(answer.text, timeout=self._match_seconds)
        except TimeoutError:
            return unverifiable(
                f"the pattern took more than {self._match_seconds:g} s; it backtracks without end, so make its groups "
                "possessive (`(...)++`) or atomic (`(?>...)`), or lower max_characters"
            )
        return passed(self.name, "matches") if match else failed(self.name, "does not match")
