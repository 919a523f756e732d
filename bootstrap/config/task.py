"""What the settings of all tasks share."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bootstrap.config.base import Later, Place, Settings

PRINTABLE = "".join(map(chr, range(32, 127))) + "\n"
"""Printable ASCII and the line end."""


ANSWER_MARGIN = 2
"""Tokens allowed beyond the longest right answer and its end: room to be wrong, but not to ramble."""


def room(longest: int) -> int:
    """Return the tokens that an answer may have where the longest right one has `longest`, its end left out."""
    return longest + 1 + ANSWER_MARGIN


References = Literal["text", "code", "reasoning_gym"]
"""What a task's references are: the right answer itself, or cases and items that verifiers of one kind can read."""


SplitBy = Literal["question", "text"]
"""What decides on which side of the split a prompt is: its question, or all of the text that the model reads."""


class TaskKind(Settings):
    """What others ask a task about; the answers hold where a kind says nothing else."""

    built_by: ClassVar[str]
    """`module:name` of what makes the task (`prompts/task.Task`) of these settings."""
    executes: ClassVar[bool] = False
    """Whether it can read and answer any problem of its form, so that a model may put problems too."""
    has_forms: ClassVar[bool] = False
    """Whether its answers can be shown in several forms, of which one has a hint in the prompt."""

    @property
    def part_names(self) -> frozenset[str] | None:
        """The names of a mixture's parts; None for one task."""
        return None

    def place_of(self, name: str) -> Place:
        """Return where the settings of one of its tasks (`tasks_of`) stand below its own."""
        return ()


class TaskSettings(TaskKind):
    is_fixed: ClassVar[bool] = False
    """Whether its questions are a given set, of which the held-out ones are asked again and again."""
    has_easier_variants: ClassVar[bool] = False
    """Whether its prompts have easier variants of the same level."""
    pinned_by: ClassVar[str] = "path"
    """The setting that names what `pinned` reads."""
    has_answer_limit: ClassVar[bool] = False
    """Whether `max_answer_tokens` may bound its answers."""
    looks: ClassVar[str | None] = None
    """What its prompts look like; those of another type over the same characters that look alike are the same texts,
    with other answers."""
    question_kind: ClassVar[str | None] = None
    """What several types of tasks ask in forms of their own; None for questions that no other type asks."""
    base_level: int = Field(ge=1)
    """Highest level whose reference answers training may ever see; beyond it only the verifier speaks."""
    heldout_fraction: float = Field(default=0.125, ge=0.001, lt=1)
    """Share of all possible questions, by their hash, kept for evaluation and never trained on."""
    final_fraction: Annotated[float, Later(0.0)] = Field(default=0.0, ge=0, lt=1)
    """Share of all possible questions, by their hash, that no gate sees: for one comparison at the end. They are taken
    beside the held-out ones; 0 keeps none."""

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> Self:
        if self.heldout_fraction + self.final_fraction >= 1:
            raise ValueError(
                f"heldout_fraction {self.heldout_fraction:g} and final_fraction {self.final_fraction:g} leave nothing "
                "to train on; lower one of them, so that their sum is below 1"
            )
        return self

    @property
    def split_rule(self) -> SplitBy:
        """What decides on the split; where a prompt's text is its question, there is one rule."""
        return "text"

    @property
    def references(self) -> References:
        """What its references are, which a verifier must be able to read."""
        return "text"

    @property
    def highest_level(self) -> int | None:
        """The last level, where the settings name one; a file's is known when it has been read."""
        return None

    def most_answer_tokens(self, level: int) -> int:
        """Return a bound on the tokens of an answer at a level, its end included."""
        return self.longest_sequence(level)

    @property
    def answer_limit(self) -> int | None:
        """Tokens that an answer may have, its end included, where the settings bound them; None where they do not."""
        return None

    @property
    def cuts_references(self) -> bool:
        """Whether its answers' limit is too small for its longest reference, at one token a character."""
        return False

    @property
    def question_sources(self) -> frozenset[str] | None:
        """Where its questions come from; None where any of its characters make one."""
        return None

    @property
    def kept_parts(self) -> dict[str, str | None]:
        """Source -> pattern of the part of a question that becomes the prompt; None for all of it."""
        return {}

    def pinned(self) -> Self:
        """Return the task with the hash of all data that it reads. Raises ValueError where they cannot be read."""
        return self

    def with_tasks(self, tasks: "Mapping[str, TaskSettings]") -> Self:
        """Return this task with others in the place of some of its tasks, by name (`tasks_of`)."""
        return tasks.get(self.type, self)


class QuestionTask(TaskSettings):
    """Base of tasks that ask one question in several texts."""

    split_by: Annotated[SplitBy, Later("text")] = "question"
    """`question`: the hash of the question decides which prompts are held out, whatever form it is asked in. `text`:
    that of all that the model reads, so that another template holds out other questions; for lineages that were grown
    so, as all are whose stored recipe does not name it."""

    @property
    def split_rule(self) -> SplitBy:
        """What decides on the split."""
        return self.split_by


def completed(data: Any, *, kinds: frozenset[str]) -> Any:
    """Return a stored recipe's data with `split_by: text` in each task of these types that does not name it, and with
    `asserts: exact` in each file of asserts.

    Such a task was split by its prompts' texts, and its asserts compared types; a new recipe's that names neither is
    split by questions, and its asserts mean `==`.
    """
    if isinstance(data, dict):
        found = {name: completed(value, kinds=kinds) for name, value in data.items()}
        is_task = "heldout_fraction" in data and data.get("type") in kinds
        if is_task:
            found = {
                "split_by": "text",
                **({"asserts": "exact"} if data.get("form") in ("humaneval", "mbpp") else {}),
                **found,
            }
        return found
    return [completed(value, kinds=kinds) for value in data] if isinstance(data, list) else data


class OpenTask(QuestionTask):
    """Base of tasks whose texts this program does not make itself, so that their alphabet and lengths are declared."""

    has_answer_limit: ClassVar[bool] = True
    alphabet: str = Field(default=PRINTABLE, min_length=2)
    """Every character of prompts and answers: the vocabulary of a model from scratch. Others are left out."""
    max_prompt_length: int = Field(default=256, ge=1)
    """Characters; items with longer prompts are left out."""
    max_answer_length: int = Field(default=64, ge=1)
    """Characters; items with longer answers are left out."""
    max_answer_tokens: int | None = Field(default=None, ge=2)
    """Tokens that an answer may have, its end included; null allows as many as the longest right one has characters and
    little more. Set it where a pretrained model answers in words: its tokens are no characters, and it needs room to
    reason."""

    @property
    def characters(self) -> str:
        """Every character of prompts and answers: the vocabulary of a model from scratch."""
        return self.alphabet

    def most_answer_tokens(self, level: int) -> int:
        """Return a bound on the tokens of an answer, its end included: the same at every level."""
        return self.max_answer_tokens or room(self.max_answer_length)

    @property
    def answer_limit(self) -> int | None:
        """`max_answer_tokens`."""
        return self.max_answer_tokens

    @property
    def cuts_references(self) -> bool:
        """Whether `max_answer_tokens` has no room for `max_answer_length` characters and an end."""
        return self.max_answer_tokens is not None and self.max_answer_tokens <= self.max_answer_length

    def longest_sequence(self, level: int) -> int:
        """Tokens of the longest sequence, the same at every level."""
        return 1 + self.max_prompt_length + max(self.max_answer_length + 1, self.max_answer_tokens or 0)
