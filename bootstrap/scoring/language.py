"""R1's language-consistency reward (arXiv:2501.12948): the share of target-language words in the reasoning.

A word is of the target language when each of its letters belongs to one of the language's scripts (Unicode's
`Script_Extensions`: the long vowel mark of kana is Hiragana and Katakana). Letters of no script, as the mathematical
alphabets, belong to no language. Languages of one script cannot be told apart: German counts as English. The reward
catches a model that mixes scripts, as Chinese into English, for which R1 introduced it.

In scripts without spaces (Chinese, Japanese, Thai, ...) each character is a word, so that a line weighs about as much
as its translation. Single Latin and Greek letters (symbols), LaTeX commands and digits are no words. A reasoning
without words has reward 0.

With the setting `alphabet`, the share is that of visible characters in it, for notations that scripts do not tell
apart, as the columns of a sum in digits or in letters. A reasoning without visible characters has reward 0.
"""

import regex

from bootstrap.config.answers import SCRIPTS, LanguageVerifier
from bootstrap.scoring import extract
from bootstrap.scoring.verifier import Answer, AnswerVerifier, Judgement, Tools, failed, passed, version_of

MAX_CHARACTERS = 2**18
"""A longer reasoning is FAIL."""

_COMMAND = regex.compile(r"\\[A-Za-z]+")
_UNSPACED = "".join(
    rf"\p{{Script_Extensions={script}}}"
    for script in ("Han", "Hiragana", "Katakana", "Bopomofo", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan")
)
_INSIDE = r"\p{M}'\u2019\u200c\u200d"
"""Characters that may follow a letter inside a word: marks, apostrophes, joiners."""
_WORD = regex.compile(rf"(?V1)[\p{{L}}&&[{_UNSPACED}]]\p{{M}}*+|(?:[\p{{L}}--[{_UNSPACED}]][{_INSIDE}]*+)++")
_MODIFIER = r"[\p{Lm}&&[\p{Script_Extensions=Common}]]"
_SYMBOL = regex.compile(r"[\p{Script=Latin}\p{Script=Greek}]")


class Language(AnswerVerifier):
    """Counts words."""

    name, judges = "language", LanguageVerifier.judges

    def __init__(self, settings: LanguageVerifier, tools: Tools) -> None:
        self.version = version_of(__name__, settings=settings, also=regex.__version__)
        self._settings = settings
        scripts = "".join(rf"\p{{Script_Extensions={script}}}" for script in SCRIPTS[settings.language])
        # Marks, joiners, apostrophes and modifier letters have no script of their own.
        letter = rf"[\p{{L}}&&[{scripts}]]"
        self._ours = regex.compile(rf"(?V1)(?:[{_INSIDE}]|{_MODIFIER})*+{letter}(?:{letter}|{_MODIFIER}|[{_INSIDE}])*+")

    def judge_one(self, answer: Answer) -> Judgement:
        found = extract.answer_of(answer, self._settings.within)
        if found.text is None:
            return failed(self.name, found.reason)
        if len(found.text) > MAX_CHARACTERS:
            return failed(self.name, f"longer than {MAX_CHARACTERS} characters")
        if self._settings.alphabet is not None:
            return self._of_characters(found.text, self._settings.alphabet)
        words = [word for word in _WORD.findall(_COMMAND.sub(" ", found.text)) if not _SYMBOL.fullmatch(word)]
        if not words:
            return failed(self.name, "no word")
        count = sum(self._ours.fullmatch(word) is not None for word in words)
        return self._share(count, len(words), f"words in the script of {self._settings.language}")

    def _of_characters(self, text: str, alphabet: str) -> Judgement:
        characters = [character for character in text if not character.isspace()]
        if not characters:
            return failed(self.name, "no visible character")
        count = sum(character in alphabet for character in characters)
        return self._share(count, len(characters), "characters of the alphabet")

    def _share(self, count: int, total: int, what: str) -> Judgement:
        share, told = count / total, f"{count} of {total} {what}"
        verdict = passed if share >= self._settings.min_share else failed
        return verdict(self.name, told, reward=share)
