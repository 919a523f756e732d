"""Settings that all tasks share."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bootstrap.config.base import Later, Place, Settings

PRINTABLE = "".join(map(chr, range(32, 127))) + "\n"
"""Printable ASCII and the line end."""


ANSWER_MARGIN = 2
"""Tokens allowed beyond the longest right answer and its end: room for wrong answers, not for rambling."""


def room(longest: int) -> int:
    """Return the limit on an answer's tokens, for a longest right answer of `longest` tokens without its end."""
    return longest + 1 + ANSWER_MARGIN


References = Literal["text", "code", "reasoning_gym"]
"""Form of a task's references: the right answer itself, or cases or items that one kind of verifier can read."""


SplitBy = Literal["question", "text"]
"""What the split's hash is of: a prompt's question, or the whole text that the model reads."""


class TaskKind(Settings):
    """What others ask of a task; the answers hold where a kind says nothing else."""

    built_by: ClassVar[str]
    """`module:name` that makes the task (`prompts/task.Task`) of these settings."""
    runs_own_code: ClassVar[bool] = False
    """Whether code of a user's own makes its prompts, in this process."""
    executes: ClassVar[bool] = False
    """Whether it can read and answer any problem of its form, so that a model may propose problems."""
    has_forms: ClassVar[bool] = False
    """Whether references can be shown in several forms, one of them with a hint in the prompt."""

    @property
    def downloads(self) -> bool:
        """Whether its rows may come by network."""
        return False

    @property
    def shows_hints(self) -> bool:
        """Whether its references have hints in their prompts, unless a step says otherwise."""
        return False

    @property
    def part_names(self) -> frozenset[str] | None:
        """The names of a mixture's parts; None for one task."""
        return None

    @property
    @abstractmethod
    def characters(self) -> Sequence[str]:
        """Every character of prompts and answers: the vocabulary of a model from scratch."""

    @abstractmethod
    def longest_sequence(self, level: int) -> int:
        """Return the tokens of the longest sequence at a level: `<bos>`, prompt, answer and `<eos>`.

        What only the model's context limits counts nothing.
        """

    def place_of(self, name: str) -> Place:
        """Return the place of one of its tasks (`tasks_of`) below its own settings."""
        return ()


class TaskSettings(TaskKind):
    is_fixed: ClassVar[bool] = False
    """Whether its questions are a fixed set, so that gates ask the same held-out ones again and again."""
    has_easier_variants: ClassVar[bool] = False
    """Whether its prompts have easier variants of the same level."""
    pinned_by: ClassVar[str] = "path"
    """Name of the setting that `pinned` reads from."""
    has_answer_limit: ClassVar[bool] = False
    """Whether `max_answer_tokens` can limit its answers."""
    looks: ClassVar[str | None] = None
    """Look of its prompts. Two types with one look and the same characters have the same texts, with other answers."""
    question_kind: ClassVar[str | None] = None
    """Kind of question that several types ask, each in its own form; None for questions of no other type."""
    base_level: int = Field(ge=1)
    """Highest level whose reference answers training may see; beyond it only the verifier tells right from wrong."""
    heldout_fraction: float = Field(default=0.125, ge=0.001, lt=1)
    """Share of all possible questions, chosen by their hash, that gates ask and training never sees; an eighth leaves
    enough of small levels on both sides."""
    final_fraction: Annotated[float, Later(0.0)] = Field(default=0.0, ge=0, lt=1)
    """Share of all possible questions, beside the held-out ones, that no gate sees: for one comparison at the end. 0
    keeps none."""

    @property
    def has_bare_answers(self) -> bool:
        """Whether its references are a file's answers without a solution."""
        return False

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> Self:
        if self.heldout_fraction + self.final_fraction >= 1:
            raise ValueError(
                f"heldout_fraction {self.heldout_fraction:g} and final_fraction {self.final_fraction:g} leave nothing "
                "to train on; lower one of them, so that their sum is below 1"
            )
        return self

    @property
    def holds_out_by_hash(self) -> bool:
        """Whether the hash of a question decides whether it is held out; otherwise its rows lie apart."""
        return True

    @property
    def counts_tokens(self) -> bool:
        """Whether its prompts are limited in tokens of the model, all that frames them included."""
        return False

    @property
    def without_limits(self) -> tuple[str, ...]:
        """Settings that a model from scratch needs, and that are null."""
        return ()

    @property
    def split_rule(self) -> SplitBy:
        """What decides on the split; the two are the same where a prompt's text is its question."""
        return "text"

    @property
    def references(self) -> References:
        """Form of its references, which its verifier must be able to read."""
        return "text"

    @property
    def highest_level(self) -> int | None:
        """The last level, where the settings say; a file's is known once it is read."""
        return None

    def most_answer_tokens(self, level: int) -> int:
        """Return an upper bound on the tokens of an answer at a level, its end included."""
        return self.longest_sequence(level)

    @property
    def answer_limit(self) -> int | None:
        """Limit on an answer's tokens, its end included; None where the settings name none."""
        return None

    @property
    def cut_reference(self) -> int | None:
        """Characters of the longest reference where they are too many for `answer_limit`; None otherwise."""
        return None

    @property
    def question_sources(self) -> frozenset[str] | None:
        """Names of what its questions come from; None where any of its characters make a question."""
        return None

    @property
    def kept_parts(self) -> dict[str, str | None]:
        """Map each source to the pattern of the part of a question that is the prompt; None keeps all."""
        return {}

    def within(self, context: int) -> Self:
        """Return the task with the limits in tokens that it leaves to a model, of this context length."""
        return self

    def pinned(self) -> Self:
        """Return the task with the hash of the data that it reads. Raises ValueError where they cannot be read."""
        return self


class QuestionTask(TaskSettings):
    """Base of tasks with several texts for one question."""

    split_by: Annotated[SplitBy, Later("text")] = "question"
    """`question`: a prompt is held out by the hash of its question, whatever form it is asked in. `text`: by the hash
    of all that the model reads, so that another template holds out other questions; for older lineages, whose stored
    recipes do not name this setting."""

    @property
    def split_rule(self) -> SplitBy:
        return self.split_by


def completed(data: Any, *, kinds: frozenset[str]) -> Any:
    """Return a stored recipe's data with the old meaning of settings that it does not name written out.

    Each task of `kinds` gets `split_by: text`, and each file of asserts `asserts: exact`; a new recipe without them
    means `split_by: question` and `asserts: equal`.
    """
    match data:
        case list():
            return [completed(value, kinds=kinds) for value in data]
        case dict():
            found = {name: completed(value, kinds=kinds) for name, value in data.items()}
            if "heldout_fraction" not in data or data.get("type") not in kinds:
                return found
            asserts = {"asserts": "exact"} if data.get("form") in ("humaneval", "mbpp") else {}
            return {"split_by": "text", **asserts, **found}
    return data


class OpenTask(QuestionTask):
    """Base of tasks whose texts come from elsewhere, so that the recipe declares their alphabet and lengths."""

    has_answer_limit: ClassVar[bool] = True
    alphabet: str = Field(default=PRINTABLE, min_length=2)
    """Every character of prompts and answers, the vocabulary of a model from scratch; items with others are left
    out."""
    max_prompt_length: int = Field(default=256, ge=1)
    """Characters of the longest prompt; items with longer ones are left out."""
    max_answer_length: int = Field(default=64, ge=1)
    """Characters of the longest answer; items with longer ones are left out."""
    max_answer_tokens: int | None = Field(default=None, ge=2)
    """Limit on an answer's tokens, its end included; null allows a few more than the longest right answer has
    characters. Set it for a pretrained model, whose tokens are no characters and which needs room to reason."""

    @property
    def characters(self) -> str:
        return self.alphabet

    def most_answer_tokens(self, level: int) -> int:
        return self.max_answer_tokens or room(self.max_answer_length)

    @property
    def answer_limit(self) -> int | None:
        return self.max_answer_tokens

    @property
    def cut_reference(self) -> int | None:
        limit, longest = self.max_answer_tokens, self.max_answer_length
        return longest if limit is not None and limit <= longest else None

    def longest_sequence(self, level: int) -> int:
        return 1 + self.max_prompt_length + max(self.max_answer_length + 1, self.max_answer_tokens or 0)
