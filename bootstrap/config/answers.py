"""Verifiers of text answers: where the answer stands in a completion, and how it is compared."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from bootstrap.config.base import ByType, Place, Settings
from bootstrap.config.base_model import FolderModel
from bootstrap.config.faults import NotOfForm

Judges = Literal["answer", "form", "group", "nothing"]
"""What a verifier judges: the answer against its reference, the form alone, a group of answers to one prompt, or
nothing (a control)."""

_BY_SCRIPT = {
    "Latin": "af az bs ca cs cy da de en eo es et eu fi fr ga gl hr hu id is it la lb lt lv ms mt nl no pl pt ro sk sl "
    "so sq sv sw tl tr uz vi zu",
    "Cyrillic": "be bg kk ky mk mn ru sr tg uk",
    "Arabic": "ar fa ps ur",
    "Devanagari": "hi mr ne sa",
    "Bengali": "as bn",
    "Hebrew": "he yi",
    "Ethiopic": "am ti",
    "Greek": "el",
    "Armenian": "hy",
    "Georgian": "ka",
    "Gujarati": "gu",
    "Gurmukhi": "pa",
    "Kannada": "kn",
    "Malayalam": "ml",
    "Oriya": "or",
    "Sinhala": "si",
    "Tamil": "ta",
    "Telugu": "te",
    "Thai": "th",
    "Lao": "lo",
    "Khmer": "km",
    "Myanmar": "my",
    "Tibetan": "bo",
    "Han Bopomofo": "zh",
    "Han Hiragana Katakana": "ja",
    "Hangul Han": "ko",
}

SCRIPTS = {
    language: tuple(scripts.split())
    for scripts, languages in _BY_SCRIPT.items()
    for language in sorted(languages.split())
}
"""ISO 639-1 code -> Unicode scripts that the language is mostly written in today."""


REASONING_TAGS = ("think", "thinking", "thought", "reason", "reasoning")
"""Tags that chat templates open at the end of a prompt, so that the completion begins inside them."""


class Whole(Settings):
    """The whole completion is the answer."""

    type: Literal["whole"] = "whole"
    strip: bool = False
    """Ignore white space around the answer."""


class Tagged(Settings):
    """The answer stands between a pair of tags, as in `<answer>42</answer>`; exactly one pair is allowed."""

    type: Literal["tagged"] = "tagged"
    tag: str = Field(default="answer", pattern=r"^[a-z][a-z0-9_]*$")
    """The tags' name."""


class Boxed(Settings):
    r"""The answer stands in `\boxed{...}`; different or nested boxes are a wrong answer."""

    type: Literal["boxed"] = "boxed"


class LastLine(Settings):
    """The answer is the last line that is not empty."""

    type: Literal["last_line"] = "last_line"


AnswerPlace = Annotated[Whole | Tagged | Boxed | LastLine, ByType()]
"""Where the answer stands in a completion."""


class VerifierSettings(Settings):
    """What others ask of a verifier; the answers hold where a kind says nothing else."""

    judges: ClassVar[Judges]
    """What it judges."""
    built_by: ClassVar[str]
    """`module:class` of the verifier (`scoring/verifier.Verifier`)."""
    reads_rows: ClassVar[bool] = False
    """Whether it can look at every row of a file: it compares answers with references and asks no model. A plug-in does
    where its function says what it reads."""
    judges_alone: ClassVar[bool] = True
    """Whether it judges one answer without code of a user's own, a model, a server, or other answers."""
    is_hosted: ClassVar[bool] = False
    """Whether it holds a model, which may live in a process of its own (`Tools.host`)."""
    reads: ClassVar[str | None] = "text"
    """Form of the references that it can read (`TaskSettings.references`); None reads all."""

    @property
    def reward_model(self) -> FolderModel | None:
        """The model in a folder that scores prompt and answer together; None where there is none."""
        return None

    @property
    def can_be_negative(self) -> bool:
        """Whether its reward can be negative by its settings; a plug-in's is unknown here."""
        return False

    @property
    def free_tokens(self) -> int | None:
        """Tokens of an answer from which its reward falls; None where length does not matter."""
        return None

    @property
    def judged_parts(self) -> frozenset[str] | None:
        """Parts of a mixture that it has verifiers for; None for one that judges all prompts."""
        return None

    def parts(self) -> "Iterator[tuple[Place, VerifierSettings]]":
        """Yield its component verifiers with their places below it."""
        yield from ()

    def of_task(self, name: str) -> "tuple[Place, VerifierSettings] | None":
        """Return the verifier of a task's prompts with its place below this one; None without one."""
        return (), self

    def readers(self, *, decides: bool = True) -> "Iterator[tuple[VerifierSettings, bool]]":
        """Yield the verifiers in it that read rows, each with whether PASS needs its PASS (`decides` for this one)."""
        if self.reads_rows:
            yield self, decides


class ExactVerifier(VerifierSettings):
    """The answer equals the reference, character by character."""

    judges: ClassVar[Judges] = "answer"
    built_by: ClassVar[str] = "bootstrap.scoring.exact:ExactMatch"
    reads_rows: ClassVar[bool] = True
    type: Literal["exact"] = "exact"
    answer: AnswerPlace = Whole()
    """Place of the answer in the completion."""


class NumericVerifier(VerifierSettings):
    """The answer is a number (`-12`, `3.50`, `7/8`, `1.2e5`, `1,234`) equal to the reference within the tolerance.

    The answer may leave out the reference's currency or percent sign (`$5`, `12 %`). Other signs, units, other
    separators and other digits than 0-9 make it wrong.
    """

    judges: ClassVar[Judges] = "answer"
    built_by: ClassVar[str] = "bootstrap.scoring.numeric:Numeric"
    reads_rows: ClassVar[bool] = True
    type: Literal["numeric"] = "numeric"
    answer: AnswerPlace = Whole(strip=True)
    """Place of the answer in the completion."""
    absolute_tolerance: Decimal = Field(default=Decimal(0), ge=0, max_digits=60, decimal_places=40)
    """Largest difference from the reference."""
    relative_tolerance: Decimal = Field(default=Decimal(0), ge=0, lt=1, max_digits=60, decimal_places=40)
    """Tolerance as a share of the reference's magnitude; the wider of the two tolerances counts."""

    @field_validator("absolute_tolerance", "relative_tolerance", mode="before")
    @classmethod
    def _as_written(cls, tolerance: Any) -> Any:
        """Keep the digits of a number as written; strict validation makes no Decimal of a number."""
        try:
            # A bool is text that is no number; a Decimal keeps its digits.
            return Decimal(str(tolerance))
        except InvalidOperation:
            raise NotOfForm("a number") from None


class ChoiceVerifier(VerifierSettings):
    r"""The answer is one letter of a multiple choice, as `B`, `(B)` or `\textbf{B}`; case matters."""

    judges: ClassVar[Judges] = "answer"
    built_by: ClassVar[str] = "bootstrap.scoring.choice:Choice"
    reads_rows: ClassVar[bool] = True
    type: Literal["choice"] = "choice"
    answer: AnswerPlace = Whole(strip=True)
    """Place of the answer in the completion."""
    choices: str = Field(default="ABCD", min_length=2, pattern=r"^[A-Za-z0-9]+$")
    """All letters that can be chosen, in one word."""

    @field_validator("choices")
    @classmethod
    def _choices_are_distinct(cls, choices: str) -> str:
        if twice := sorted({choice for choice in choices if choices.count(choice) > 1}):
            raise ValueError(f"{', '.join(twice)} stands twice; name every choice once, for example ABCD")
        return choices


class RegexVerifier(VerifierSettings):
    """The completion matches a pattern. It judges form alone, so it needs a rubric with a verifier that decides."""

    judges: ClassVar[Judges] = "form"
    built_by: ClassVar[str] = "bootstrap.scoring.pattern:Pattern"
    type: Literal["regex"] = "regex"
    pattern: str = Field(min_length=1)
    """Pattern in the syntax of the `regex` package, for the whole completion; `.` matches line ends too."""
    max_characters: int = Field(default=65_536, ge=1)
    """Longer completions are FAIL without a match."""


class FormatVerifier(VerifierSettings):
    """The completion is `<think>...</think>`, then `<answer>...</answer>`, each once, as in R1 (arXiv:2501.12948)."""

    judges: ClassVar[Judges] = "form"
    built_by: ClassVar[str] = "bootstrap.scoring.format:Format"
    type: Literal["format"] = "format"
    think_tag: str = Field(default="think", pattern=r"^[a-z][a-z0-9_]*$")
    """Tag of the reasoning."""
    answer_tag: str = Field(default="answer", pattern=r"^[a-z][a-z0-9_]*$")
    """Tag of the answer."""

    @model_validator(mode="after")
    def _tags_differ(self) -> "FormatVerifier":
        if self.think_tag == self.answer_tag:
            raise ValueError(f"both tags are <{self.think_tag}>; give reasoning and answer tags of their own")
        return self


class LanguageVerifier(VerifierSettings):
    """The share of words in the target language's script: R1's language-consistency reward (arXiv:2501.12948).

    It tells scripts apart, not languages: English words count as German, and most Chinese words as Japanese.
    """

    judges: ClassVar[Judges] = "form"
    built_by: ClassVar[str] = "bootstrap.scoring.language:Language"
    type: Literal["language"] = "language"
    language: str = Field(default="en", pattern=r"^[a-z]{2}$")
    """ISO 639-1 code."""
    alphabet: str | None = Field(default=None, min_length=1)
    """Characters of the target language, where they tell it apart better than a script does, as the digits of written
    arithmetic; the share is then of visible characters. null goes by `language`."""
    within: AnswerPlace = Tagged(tag="think")
    """The part of the completion that counts: the reasoning."""
    min_share: float = Field(default=0.9, gt=0, le=1)
    """Share from which the verdict is PASS; the reward is the share itself."""

    @field_validator("language")
    @classmethod
    def _language_is_known(cls, language: str) -> str:
        if language not in SCRIPTS:
            raise ValueError(f"the script of {language!r} is not known; known are {', '.join(sorted(SCRIPTS))}")
        return language

    @field_validator("alphabet")
    @classmethod
    def _alphabet_is_visible(cls, alphabet: str | None) -> str | None:
        if alphabet is not None and any(character.isspace() for character in alphabet):
            raise ValueError("white space counts for no language; leave it out of alphabet")
        return alphabet

    @model_validator(mode="after")
    def _one_of_both(self) -> "LanguageVerifier":
        if self.alphabet is not None and self.language != type(self).model_fields["language"].default:
            raise ValueError(f"alphabet decides and language {self.language} has no effect; remove one of them")
        return self


class LengthVerifier(VerifierSettings):
    """DAPO's soft overlong penalty (arXiv:2503.14476, equation 13): 0 up to a length, falling to -1 at the limit.

    Answers up to the limit are PASS, so that the penalty shapes the reward and makes no answer wrong.
    """

    judges: ClassVar[Judges] = "form"
    built_by: ClassVar[str] = "bootstrap.scoring.length:Length"
    type: Literal["length"] = "length"
    max_tokens: int = Field(ge=1)
    """Completion tokens from which the penalty is -1."""
    soft_tokens: int = Field(ge=1)
    """Tokens before `max_tokens` over which the penalty grows from 0 to -1."""

    @property
    def can_be_negative(self) -> bool:
        return True

    @property
    def free_tokens(self) -> int:
        return self.max_tokens - self.soft_tokens

    @model_validator(mode="after")
    def _zone_fits(self) -> "LengthVerifier":
        if self.soft_tokens >= self.max_tokens:
            raise ValueError(
                f"soft_tokens {self.soft_tokens} leaves no length without penalty below max_tokens "
                f"{self.max_tokens}; make it smaller"
            )
        return self


class RandomVerifier(VerifierSettings):
    """A coin toss for each answer, whatever it says: the control of arXiv:2506.10947."""

    judges: ClassVar[Judges] = "nothing"
    built_by: ClassVar[str] = "bootstrap.scoring.random_reward:RandomReward"
    type: Literal["random"] = "random"
    chance: float = Field(default=0.5, gt=0, lt=1)
    """Probability of PASS and reward 1; otherwise FAIL and 0."""
    seed: int = Field(default=0, ge=0)
    """Seed of the tosses."""


class JsonSchemaVerifier(VerifierSettings):
    """The answer is JSON that a JSON Schema (draft 2020-12) accepts, and equals the reference as JSON.

    The order of keys does not matter; `1`, `1.0`, `"1"` and `true` are four values.
    """

    judges: ClassVar[Judges] = "answer"
    built_by: ClassVar[str] = "bootstrap.scoring.json_schema:JsonSchema"
    reads_rows: ClassVar[bool] = True
    type: Literal["json_schema"] = "json_schema"
    answer: AnswerPlace = Whole(strip=True)
    """Place of the answer in the completion."""
    json_schema: dict[str, Any]
    """The schema; a `$ref` points into its own `$defs`, and nothing is fetched."""


class MathVerifier(VerifierSettings):
    """The answer equals the reference as mathematics: by exact numbers, else symbolically inside the sandbox."""

    judges: ClassVar[Judges] = "answer"
    built_by: ClassVar[str] = "bootstrap.scoring.math:Math"
    reads_rows: ClassVar[bool] = True
    type: Literal["math"] = "math"
    answer: AnswerPlace = Boxed()
    """Place of the answer in the completion."""
    kind: Literal[
        "auto",
        "number",
        "tuple",
        "set",
        "interval",
        "expression",
        "equation",
        "inequality",
        "matrix",
        "ratio",
        "word",
    ] = "auto"
    """Kind of object that an answer must be; `auto` takes the reference's: `(1,2)` and `1, 2` are tuples, `1,234` and
    `x = 5` are numbers."""
    cpu_seconds: float = Field(default=1.0, ge=0.02, le=60)
    """CPU seconds for one comparison."""
    min_level: Literal["seal", "seal+ns", "bwrap"] = "seal"
    """Weakest accepted confinement; a machine without it stops the run."""
