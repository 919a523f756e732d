"""What every task offers: prompts by level and split, references, the held-out suite.

- The hash of a prompt's question alone decides its split (`splits.py`); no draw crosses over.
- Draws depend on their arguments alone, never on earlier draws.
- Training sees references through `demonstrate` alone, which refuses levels beyond the task's `base_level`.
  `reference` and `wrong_answers` serve verifiers.

Left out: which level comes next (`selection/curriculum.py`) and how answers are judged (`scoring/`).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Protocol

from bootstrap.config import tasks
from bootstrap.errors import RecipeError
from bootstrap.prompts.splits import Bounds
from bootstrap.records import Prompt, Split


class Task(Protocol):
    """A source of prompts at integer difficulty levels, from 1 up."""

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> tasks.Task: ...

    @property
    def characters(self) -> Sequence[str]:
        """Every character of prompts and answers; a longer entry is one token of a model from scratch."""
        ...

    @property
    def has_easier_variants(self) -> bool:
        """Whether levels above 1 have easier variants."""
        ...

    @property
    def highest_level(self) -> int | None:
        """The last level with prompts of its own, beyond which draws raise RecipeError; None where levels go on."""
        ...

    @property
    def parts(self) -> "Mapping[str, Task]":
        """The tasks that prompts come from, by `Prompt.task`: a mixture's parts, or the task itself."""
        ...

    @property
    def as_rows(self) -> Any:
        """The task itself (`files.Rows`) if its prompts are a file's rows; None otherwise."""
        ...

    def before(self, part: str) -> str:
        """Return the text put before each prompt of a part."""
        ...

    def inner(self, prompt: Prompt) -> "tuple[Task, Prompt]":
        """Return the part that a prompt comes from, and the prompt as the part knows it."""
        ...

    def dealt(self, count: int) -> Mapping[str, int]:
        """Return how many of `count` prompts of a suite come from each part."""
        ...

    def heldout_of(self, name: str, level: int, count: int) -> list[Prompt]:
        """Return the held-out prompts of one part at a level."""
        ...

    def max_answer_length(self, level: int) -> int:
        """Return the length of the longest reference answer at a level, easier variants included.

        In characters; an entry of `characters` counts once.
        """
        ...

    def max_answer_tokens(self, level: int) -> int:
        """Return the most tokens of a model's answer at a level, its end included."""
        ...

    def draw(
        self, level: int, count: int, *, seed: int, split: Split = Split.TRAIN, easier_variant: bool = False
    ) -> list[Prompt]:
        """Return `count` prompts of one level and split, determined by the arguments alone.

        Prompts are distinct while the split has enough; beyond that the whole split repeats, each time in a new order.
        Easier variants (`easier_variant`) have one operand of `level` digits and one of uniformly fewer, in either
        order; where they are few enough to be listed, each text is equally likely instead. Raises RecipeError for an
        empty split, and for a level without easier variants.
        """
        ...

    def every_prompt(self, level: int, split: Split) -> Sequence[Prompt] | None:
        """Return all prompts of a level and split of fixed data, in the order of the file; None for other tasks."""
        ...

    def every_shown(self, level: int) -> Sequence[Prompt] | None:
        """Return the train prompts of a level of fixed data whose solutions training may see; None for other tasks.

        In the order of the file. Raises RecipeError where there is none.
        """
        ...

    def demonstrate(
        self, levels: Sequence[int], count: int, *, seed: int, mixed: bool = False
    ) -> list[tuple[Prompt, str]]:
        """Return `count` train prompts, level uniform over `levels`, each with its reference answer; they may repeat.

        `mixed`: both operand lengths of a sum are uniform over 1..max(levels), and the longer one is the level; tasks
        on one string ignore it. Raises RecipeError for a level beyond the task's base level.
        """
        ...

    def read(self, text: str) -> Prompt | None:
        """Return the prompt that a text is, in its own split; None where the task cannot tell its reference."""
        ...

    def reference(self, prompt: Prompt) -> str:
        """Return the verifier's reference: the right answer, or conditions on it. For verifiers only."""
        ...

    def solution(self, prompt: Prompt) -> str:
        """Return a right answer. For probing verifiers, and for `demonstrate`."""
        ...

    def wrong_answers(self, prompt: Prompt) -> list[str]:
        """Return at least four distinct wrong answers, always the same ones, for probing verifiers."""
        ...

    def heldout(self, level: int, count: int) -> list[Prompt]:
        """Return up to `count` frozen held-out prompts of a level: distinct, in fixed order, the same for every seed.

        A longer suite begins with the shorter one, except where the longer one takes about a quarter or more of a level
        beyond `procedural.ENUMERABLE` texts and the shorter one does not. Raises RecipeError when there are none.
        """
        ...

    def num_heldout(self, level: int, count: int) -> int | None:
        """Return how many prompts `heldout` gives; None while a large level has not been drawn."""
        ...

    def final(self, level: int, count: int) -> list[Prompt]:
        """Return the frozen prompts of a level that no gate sees, by the rules of `heldout`.

        Empty with `final_fraction` 0; raises RecipeError where the settings keep some and the level has none.
        """
        ...


class OneTask(ABC):
    """Base of tasks that are no mixture: each is its only part."""

    name: str
    as_rows: Any = None
    _bounds: Bounds

    @property
    def parts(self) -> Mapping[str, Any]:
        return {self.name: self}

    def before(self, part: str) -> str:
        return ""

    def inner(self, prompt: Prompt) -> tuple[Any, Prompt]:
        return self, prompt

    def dealt(self, count: int) -> Mapping[str, int]:
        return {self.name: count}

    def every_prompt(self, level: int, split: Split) -> Sequence[Prompt] | None:
        return None

    def every_shown(self, level: int) -> Sequence[Prompt] | None:
        return None

    def read(self, text: str) -> Prompt | None:
        return None

    def heldout_of(self, name: str, level: int, count: int) -> list[Prompt]:
        return self.heldout(level, count)

    def heldout(self, level: int, count: int) -> list[Prompt]:
        return self._suite(level, count, Split.HELDOUT)

    def final(self, level: int, count: int) -> list[Prompt]:
        return self._suite(level, count, Split.FINAL) if Split.FINAL in self._bounds.splits else []

    @abstractmethod
    def _suite(self, level: int, count: int, split: Split) -> list[Prompt]:
        """Return the frozen prompts of a level and split."""


def again_and_again(listed: Sequence[Prompt], count: int, *, rng: Random, first: Sequence[Prompt] = ()) -> list[Prompt]:
    """Return `count` prompts: those of `first`, then `listed` as often as needed, each time in a new order."""
    prompts = list(first)
    while len(prompts) < count:
        prompts += rng.sample(listed, min(count - len(prompts), len(listed)))
    return prompts


def check_references(levels: Sequence[int], name: str, *, base_level: int) -> None:
    """Raise RecipeError for a level beyond those whose references may be shown."""
    assert levels, "demonstrations need at least one level"
    if max(levels) > base_level:
        raise RecipeError(
            f"references of {name} end at level {base_level} (task.base_level), level {max(levels)} was asked for; "
            "sample that level and let the verifier judge, or raise task.base_level"
        )


def check_level(task: Task, level: int) -> None:
    """Raise RecipeError for a level beyond the task's last."""
    assert level >= 1, f"levels start at 1, not {level}"
    if own_level(task, level) < level:
        raise RecipeError(
            f"level {level} of {task.name} was asked for, its last is {task.highest_level}; name levels up to "
            f"{task.highest_level} (curriculum, panel, base_level), or lower generations.count or evaluation.lookahead"
        )


def check_easier_variants(task: Task, level: int) -> None:
    """Raise RecipeError for a level without easier variants."""
    if not (task.has_easier_variants and level > 1):
        raise RecipeError(
            f"{task.name} level {level} has no easier variants; set easier_variants: 0"
            + (" or aim at level 2 or higher" if task.has_easier_variants else "")
        )


def own_level(task: Task, level: int) -> int:
    """Return the level, or the task's last one for a level beyond."""
    return level if task.highest_level is None else min(level, task.highest_level)
