"""Tasks: where prompts come from. Difficulty is one integer level.

`longest_sequence(level)` counts the tokens of a character vocabulary: `<bos>`, prompt, answer and `<eos>`.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from bootstrap.config.base import ByType, Place, Settings
from bootstrap.config.code import FunctionsTask
from bootstrap.config.files import FileTask
from bootstrap.config.gym import ReasoningGymTask
from bootstrap.config.plugin_task import PluginTask
from bootstrap.config.programs import ProgramsTask
from bootstrap.config.task import QuestionTask, TaskKind, TaskSettings
from bootstrap.config.working import WorkingTask


class AdditionTask(QuestionTask):
    """Sum of two numbers, digits least significant first: `21+43=640`; level n has two n-digit operands."""

    has_easier_variants: ClassVar[bool] = True
    question_kind: ClassVar[str | None] = "sums"
    built_by: ClassVar[str] = "bootstrap.prompts.addition:build"
    looks: ClassVar[str | None] = "sum"
    type: Literal["addition"] = "addition"
    base_level: int = Field(default=4, ge=1)

    @property
    def characters(self) -> str:
        """Every character of prompts and answers: the vocabulary of a model from scratch."""
        return "0123456789+="

    def longest_sequence(self, level: int) -> int:
        """Tokens of the longest sequence at `level`: two operands, their sum of one digit more, `+` and `=`."""
        return 1 + (2 * level + 2) + (level + 1) + 1


class StringTask(TaskSettings):
    """Base of the tasks on one random string; level n has n symbols."""

    backwards: ClassVar[bool]
    """Whether the string is given back backwards."""
    base_level: int = Field(default=8, ge=1)
    alphabet: str = Field(default="abcdefghijk", min_length=2)
    """Distinct single-character symbols; `=` is taken by the prompt."""

    @field_validator("alphabet")
    @classmethod
    def _symbols_are_distinct(cls, alphabet: str) -> str:
        if len(set(alphabet)) < len(alphabet) or "=" in alphabet or any(c.isspace() for c in alphabet):
            raise ValueError("symbols must be distinct, visible and other than `=`, for example abcdefghijk")
        return alphabet

    @property
    def characters(self) -> str:
        """Every character of prompts and answers: the vocabulary of a model from scratch."""
        return self.alphabet + "="

    def longest_sequence(self, level: int) -> int:
        """Tokens of the longest sequence at `level`: the string twice and `=`."""
        return 1 + (level + 1) + level + 1


class ReversalTask(StringTask):
    """The string backwards: `abc=` gives `cba`."""

    backwards: ClassVar[bool] = True
    built_by: ClassVar[str] = "bootstrap.prompts.strings:build"
    looks: ClassVar[str | None] = "string"
    type: Literal["reversal"] = "reversal"


class CopyTask(StringTask):
    """The string itself: `abc=` gives `abc`."""

    backwards: ClassVar[bool] = False
    built_by: ClassVar[str] = "bootstrap.prompts.strings:build"
    looks: ClassVar[str | None] = "string"
    type: Literal["copy"] = "copy"


_Single = (
    AdditionTask
    | ReversalTask
    | CopyTask
    | FunctionsTask
    | ProgramsTask
    | FileTask
    | ReasoningGymTask
    | WorkingTask
    | PluginTask
)
SingleTask = Annotated[_Single, ByType()]
"""Every task but a mixture."""
SPLIT_KINDS = frozenset(
    kind.model_fields["type"].default for kind in get_args(_Single) if issubclass(kind, QuestionTask)
)
"""Types of tasks that ask one question in several texts (`config/task.completed`)."""


class Part(Settings):
    """One task of a mixture."""

    task: SingleTask
    weight: float = Field(default=1.0, gt=0)
    """Its share of the prompts, relative to the other parts."""
    before: str = ""
    """Text put before each of its prompts, by which a model can tell apart parts whose prompts look alike."""


class MixtureTask(TaskKind):
    """Prompts of several tasks, level n from every part at its own level n, or its last where its levels end before."""

    built_by: ClassVar[str] = "bootstrap.prompts.mixture:build"
    type: Literal["mixture"] = "mixture"
    base_level: int = Field(ge=1)
    """Highest level whose reference answers training may ever see, of every part; no higher than any part's own."""
    parts: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")], Part] = Field(min_length=1)
    """By the name that prompts, reports, verifiers (`by_task`) and teachers (`routes`) know each part by."""

    @field_validator("parts")
    @classmethod
    def _parts_differ(cls, parts: dict[str, Part]) -> dict[str, Part]:
        for (name, one), (other_name, other) in combinations(parts.items(), 2):
            shared = set(one.task.characters) & set(other.task.characters) - {"="}
            alike = one.task.looks == other.task.looks is not None and one.task.type != other.task.type
            if alike and one.before == other.before and shared:
                raise ValueError(
                    f"prompts of {name} and {other_name} look alike and have different answers; give one of them a "
                    "text to begin with (before), or characters of its own"
                )
        return parts

    @model_validator(mode="after")
    def _references_go_far_enough(self) -> "MixtureTask":
        for name, part in self.parts.items():
            if part.task.base_level < self._own(part, self.base_level):
                raise ValueError(
                    f"base_level {self.base_level} is beyond that of part {name}, whose references end at level "
                    f"{part.task.base_level}; lower it to {part.task.base_level}, or raise parts.{name}.task.base_level"
                )
        return self

    @property
    def characters(self) -> tuple[str, ...]:
        """Every character of prompts and answers of all parts: the vocabulary of a model from scratch."""
        parts = (part for _, part in sorted(self.parts.items()))
        return tuple(dict.fromkeys(c for part in parts for c in (*part.before, *part.task.characters)))

    def longest_sequence(self, level: int) -> int:
        """Tokens of the longest sequence of any part at `level`."""
        return max(
            len(part.before) + part.task.longest_sequence(self._own(part, level)) for part in self.parts.values()
        )

    @property
    def highest_level(self) -> int | None:
        """The last level at which any part has one of its own; None where one goes on, or its settings do not tell."""
        last = [part.task.highest_level for part in self.parts.values()]
        known = [level for level in last if level is not None]
        return max(known) if len(known) == len(last) else None

    @property
    def part_names(self) -> frozenset[str]:
        """The names of its parts."""
        return frozenset(self.parts)

    def place_of(self, name: str) -> Place:
        """Return where a part's task stands."""
        return ("parts", name, "task")

    def with_tasks(self, tasks: Mapping[str, TaskSettings]) -> Self:
        """Return the mixture with other tasks in some of its parts."""
        parts = {
            name: part.model_copy(update={"task": tasks[name]}) if name in tasks else part
            for name, part in self.parts.items()
        }
        return self.model_copy(update={"parts": parts})

    @staticmethod
    def _own(part: Part, level: int) -> int:
        """Return the level of a part that is used at a level of the mixture."""
        return level if part.task.highest_level is None else min(level, part.task.highest_level)


Task = Annotated[_Single | MixtureTask, ByType()]
"""The discriminated union of all tasks; `type` tells them apart."""


def tasks_of(task: Task) -> dict[str, SingleTask]:
    """Return the tasks that prompts come from, by the name that they carry: a mixture's parts, or the one task."""
    if isinstance(task, MixtureTask):
        return {name: part.task for name, part in sorted(task.parts.items())}
    return {task.type: task}
