"""A task of the user's own: one class, named by the recipe as `module:Class` or by an entry point.

    class Task:
        def __init__(self, **options) -> None: ...
        def num_prompts(self, level: int) -> int: ...           # how many prompts a level has, as 10 ** level
        def prompt(self, level: int, number: int) -> str: ...   # number 0 to that less one
        def answer(self, prompt: str) -> str: ...               # a right answer: shown, and imitated
        def wrong_answers(self, prompt: str) -> list[str]: ...  # four or more, for probing verifiers
        def reference(self, prompt: str) -> str: ...            # what the verifier is given; left out: the answer

Levels go from 1 to the recipe's `levels`. A class that draws from a seed uses `number` as the seed, and has, say,
2 ** 32 prompts a level. The same arguments must give the same text, in any order and process. Draws, splits and shown
references follow the rules of our own tasks (`task.py`); the class knows no split, so it cannot mix them. Any other
return value and any exception stop the run with the class's name. It runs in the driver's process with all its rights.
"""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any, TypeVar

from bootstrap.config import plugin_task
from bootstrap.errors import RecipeError
from bootstrap.prompts.procedural import Family, ProceduralTask
from bootstrap.prompts.splits import changed_share
from bootstrap.records import Prompt, Split

WRONG_ANSWERS = 4
"""Fewest wrong answers of a prompt."""
PATIENCE = 1000
"""Prompts drawn without a new one before a level counts as having fewer than it says."""
METHODS = ("num_prompts", "prompt", "answer", "wrong_answers")
_Found = TypeVar("_Found")


class PluginPrompts(ProceduralTask):
    """The class's prompts under the rules of all tasks."""

    settings: plugin_task.PluginTask

    def __init__(self, settings: plugin_task.PluginTask) -> None:
        """Raise RecipeError when the class is missing, has changed, or breaks its interface."""
        self.highest_level = settings.levels
        super().__init__(settings, family=_Own(settings))

    def max_answer_tokens(self, level: int) -> int:
        return self.settings.most_answer_tokens(level)

    def _sample_distinct(
        self, rng: Random, level: int, count: int, *, split: Split, easier_variant: bool
    ) -> list[Prompt]:
        prompts: dict[str, Prompt] = {}
        repeats = 0
        while len(prompts) < count:
            prompt = self._sample(rng, level, split=split, easier_variant=easier_variant)
            repeats = repeats + 1 if prompt.text in prompts else 0
            if repeats == PATIENCE:
                raise RecipeError(
                    f"the task {self.settings.uses} has {len(prompts)} different {split.value} prompts on level "
                    f"{level}, far fewer than its num_prompts says; let that say how many there are"
                )
            prompts.setdefault(prompt.text, prompt)
        return list(prompts.values())

    def _empty(self, level: int, split: Split) -> RecipeError:
        share, change = changed_share(self.settings, split)
        return RecipeError(
            f"the task {self.settings.uses} has no {split.value} prompt on level {level} at {share}; {change} it, or "
            "give the level more prompts"
        )


class _Own(Family):
    """The class's texts and answers, each checked."""

    name = kind = "plugin"

    def __init__(self, settings: plugin_task.PluginTask) -> None:
        made = settings.found()
        self._settings, self._characters = settings, frozenset(settings.characters)
        self._own = self._called("__init__", lambda: made(**settings.options))
        if missing := [name for name in METHODS if not callable(getattr(self._own, name, None))]:
            raise RecipeError(
                f"the task {settings.uses} has no {', '.join(missing)}; write it as {settings.kind.written}"
            )

    def num_texts(self, level: int, *, easier_variant: bool) -> int:
        found = self._called("num_prompts", lambda: self._own.num_prompts(level))
        if type(found) is not int or found < 1:
            raise self._defect("num_prompts", f"{found!r:.60} for level {level}; it must return a whole number above 0")
        return found

    def texts(self, level: int, *, easier_variant: bool) -> Iterator[str]:
        numbers = range(self.num_texts(level, easier_variant=False))
        return iter(dict.fromkeys(self._prompt(level, number) for number in numbers))

    def sample(self, rng: Random, *, level: int, easier_variant: bool) -> str:
        return self._prompt(level, rng.randrange(self.num_texts(level, easier_variant=False)))

    def answer(self, text: str) -> str:
        found = self._called("answer", lambda: self._own.answer(text))
        return self._fitting("answer", found, self._settings.max_answer_length, "max_answer_length")

    def reference(self, text: str) -> str:
        if not hasattr(self._own, "reference"):
            return self.answer(text)
        found = self._called("reference", lambda: self._own.reference(text))
        if not _is_text(found):
            raise self._defect("reference", f"a {type(found).__name__}; it must return text")
        return found

    def wrong_answers(self, text: str) -> list[str]:
        found = self._called("wrong_answers", lambda: list(self._own.wrong_answers(text)))
        right = self.answer(text)
        if not all(map(_is_text, found)) or right in found or len(set(found)) < WRONG_ANSWERS:
            wanted = f"{WRONG_ANSWERS} or more texts that differ, the right answer {right!r:.60} not among them"
            raise self._defect("wrong_answers", f"{found!r:.200} for the prompt {text!r:.60}; it must return {wanted}")
        return list(dict.fromkeys(found))

    def max_answer_length(self, level: int) -> int:
        return self._settings.max_answer_length

    def _prompt(self, level: int, number: int) -> str:
        found = self._called("prompt", lambda: self._own.prompt(level, number))
        return self._fitting("prompt", found, self._settings.max_prompt_length, "max_prompt_length")

    def _fitting(self, method: str, found: Any, longest: int, setting: str) -> str:
        """Return `found` if it is text, not empty, of the task's characters alone and not too long."""
        if not _is_text(found) or not found:
            raise self._defect(method, f"{found!r:.60}; it must return text, and not empty")
        if len(found) > longest:
            raise self._defect(method, f"{len(found)} characters ({found!r:.60}); raise task.{setting}, now {longest}")
        if strange := "".join(sorted(set(found) - self._characters)):
            raise self._defect(method, f"{found!r:.60}; add {strange!r} to task.alphabet")
        return found

    def _called(self, method: str, call: Callable[[], _Found]) -> _Found:
        try:
            return call()
        # A foreign class may raise anything; the user needs its name.
        except Exception as error:
            raise RecipeError(
                f"{method} of the task {self._settings.uses} raised {type(error).__name__}: {error}; fix it"
            ) from error

    def _defect(self, method: str, what: str) -> RecipeError:
        return RecipeError(f"{method} of the task {self._settings.uses} returned {what}")


def _is_text(found: object) -> bool:
    return isinstance(found, str)
