"""Tasks: the sources of prompts. Difficulty is one integer level.

`longest_sequence(level)` counts tokens of a character vocabulary: `<bos>`, prompt, answer and `<eos>`.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Annotated, ClassVar, Literal, get_args

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
    """The sum of two numbers, least significant digit first: `21+43=640`; level n has two n-digit operands."""

    has_easier_variants: ClassVar[bool] = True
    question_kind: ClassVar[str | None] = "sums"
    built_by: ClassVar[str] = "bootstrap.prompts.addition:build"
    looks: ClassVar[str | None] = "sum"
    type: Literal["addition"] = "addition"
    base_level: int = Field(default=4, ge=1)
    """Highest level whose reference answers training may see."""

    @property
    def characters(self) -> str:
        return "0123456789+="

    def longest_sequence(self, level: int) -> int:
        return 1 + (2 * level + 2) + (level + 1) + 1


class StringTask(TaskSettings):
    """Base of the tasks on one random string; level n has n symbols."""

    backwards: ClassVar[bool]
    """Whether the answer is the string backwards."""
    base_level: int = Field(default=8, ge=1)
    """Highest level whose reference answers training may see."""
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
        return self.alphabet + "="

    def longest_sequence(self, level: int) -> int:
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
"""Every kind of task but a mixture."""
SPLIT_KINDS = frozenset(
    kind.model_fields["type"].default for kind in get_args(_Single) if issubclass(kind, QuestionTask)
)
"""Types of tasks with several texts for one question (`config/task.completed`)."""


class Part(Settings):
    """One task of a mixture."""

    task: SingleTask
    """Task of this part."""
    weight: float = Field(default=1.0, gt=0)
    """Its share of the prompts, relative to the other parts."""
    before: str = ""
    """Text before each of its prompts, by which a model can tell parts apart whose prompts look alike."""


class MixtureTask(TaskKind):
    """Prompts of several tasks: level n has every part's level n, or a part's last level where that is lower."""

    built_by: ClassVar[str] = "bootstrap.prompts.mixture:build"
    type: Literal["mixture"] = "mixture"
    base_level: int = Field(ge=1)
    """Highest level whose reference answers training may see, of every part; at most the lowest of the parts' own."""
    parts: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")], Part] = Field(min_length=1)
    """Parts by the names that prompts, reports, verifiers (`by_task`) and teachers (`routes`) use."""

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
        return max(
            (0 if part.task.counts_tokens else len(part.before)) + part.task.longest_sequence(self._own(part, level))
            for part in self.parts.values()
        )

    @property
    def highest_level(self) -> int | None:
        """The highest of the parts' last levels; None where some part's is unknown or does not exist."""
        last = [part.task.highest_level for part in self.parts.values()]
        known = [level for level in last if level is not None]
        return max(known) if len(known) == len(last) else None

    @property
    def part_names(self) -> frozenset[str]:
        return frozenset(self.parts)

    def place_of(self, name: str) -> Place:
        return ("parts", name, "task")

    @staticmethod
    def _own(part: Part, level: int) -> int:
        """Return a part's level at a level of the mixture."""
        return level if part.task.highest_level is None else min(level, part.task.highest_level)


Task = Annotated[_Single | MixtureTask, ByType()]
"""The discriminated union of all tasks; `type` tells them apart."""


def tasks_of(task: Task) -> dict[str, SingleTask]:
    """Return the tasks that prompts come from, by name: a mixture's parts, or the one task by its type."""
    if isinstance(task, MixtureTask):
        return {name: part.task for name, part in sorted(task.parts.items())}
    return {task.type: task}


def with_tasks(task: Task, tasks: Mapping[str, SingleTask]) -> Task:
    """Return the task with some of its tasks replaced, by name (`tasks_of`)."""
    if not isinstance(task, MixtureTask):
        return tasks.get(task.type, task)
    parts = {
        name: part.model_copy(update={"task": tasks[name]}) if name in tasks else part
        for name, part in task.parts.items()
    }
    return task.model_copy(update={"parts": parts})
