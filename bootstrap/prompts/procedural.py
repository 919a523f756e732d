"""Tasks whose texts a program makes: a *family* of texts and their answers under the rules of all tasks (`task.py`).

Levels with few texts are listed whole, larger ones are sampled. Left out: the families (`addition.py`, `strings.py`).
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Protocol

from bootstrap.config import tasks
from bootstrap.config.task import room
from bootstrap.errors import RecipeError
from bootstrap.prompts.splits import HASHES, Bounds, changed_share, prompt_id
from bootstrap.prompts.task import (
    OneTask,
    again_and_again,
    check_easier_variants,
    check_level,
    check_references,
    own_level,
)
from bootstrap.records import Prompt, Split
from bootstrap.seeds import generator

ENUMERABLE = 40_000
"""Levels with at most this many texts are listed whole."""

MAX_TRIES = 1_000_000
"""Texts tried for one prompt before the split counts as empty."""


class Family(Protocol):
    """Texts of one kind of task and their answers, blind to splits. `easier_variant` asks for easier variants, and is
    true only for families that have them."""

    name: str
    kind: str
    """What questions are hashed with; tasks that ask the same in other forms share it."""
    has_easier_variants: bool = False

    def question(self, text: str) -> str:
        """Return a text's question; texts that ask the same have the same one."""
        return text

    def num_texts(self, level: int, *, easier_variant: bool) -> int:
        """Return how many texts there are; it grows with the level."""
        ...

    def texts(self, level: int, *, easier_variant: bool) -> Iterator[str]:
        """Yield every text once, in fixed order."""
        ...

    def sample(self, rng: Random, *, level: int, easier_variant: bool) -> str:
        """Return a random text."""
        ...

    def sample_mixed(self, rng: Random, *, levels: Sequence[int]) -> tuple[str, int, bool]:
        """Return a random text of mixed operand lengths, its level, and whether it is an easier variant."""
        level = rng.choice(levels)
        return self.sample(rng, level=level, easier_variant=False), level, False

    def level_of(self, text: str) -> int | None:
        """Return the level of one of its texts; None for any other text, and where the family cannot tell."""
        return None

    def answer(self, text: str) -> str:
        """Return a right answer."""
        ...

    def reference(self, text: str) -> str:
        """Return the verifier's reference: the right answer if there is only one, otherwise conditions on it."""
        return self.answer(text)

    def wrong_answers(self, text: str) -> list[str]:
        """Return distinct wrong answers."""
        ...

    def max_answer_length(self, level: int) -> int:
        """Return the length of the longest answer, counted as `Task.max_answer_length` says."""
        ...


class ProceduralTask(OneTask):
    """A family under the rules of this module. Its only state is caches."""

    highest_level: int | None = None

    def __init__(self, settings: tasks.SingleTask, *, family: Family) -> None:
        """Raise RecipeError when some small level has no prompt in one of the splits that the settings keep."""
        self.name = family.name
        self.settings = settings
        self.characters = settings.characters
        self.has_easier_variants = family.has_easier_variants
        self._family = family
        self._bounds = Bounds.of(settings.heldout_fraction, settings.final_fraction)
        self._lists: dict[tuple[int, Split, bool], tuple[Prompt, ...]] = {}
        self._suites: dict[tuple[int, int, Split], tuple[Prompt, ...]] = {}
        level = 1
        while own_level(self, level) == level and family.num_texts(level, easier_variant=False) <= ENUMERABLE:
            found = {self.split_of(text) for text in family.texts(level, easier_variant=False)}
            for split in self._bounds.splits:
                if split not in found:
                    raise self._empty(level, split)
            level += 1

    def split_of(self, text: str) -> Split:
        """Return the split of a prompt's text."""
        if self.settings.split_rule == "text":
            return self._bounds.split_of(self.name, text)
        return self._bounds.split_of(self._family.kind, self._family.question(text))

    def max_answer_length(self, level: int) -> int:
        return self._family.max_answer_length(level)

    def max_answer_tokens(self, level: int) -> int:
        return room(self.max_answer_length(level))

    def draw(
        self, level: int, count: int, *, seed: int, split: Split = Split.TRAIN, easier_variant: bool = False
    ) -> list[Prompt]:
        check_level(self, level)
        if easier_variant:
            check_easier_variants(self, level)
        if split not in self._bounds.splits:
            raise self._empty(level, split)
        rng = generator(seed, "draw", self.name, level, split.value, int(easier_variant))
        if self._is_listed(level, count, split=split, easier_variant=easier_variant):
            return again_and_again(self._list(level, split=split, easier_variant=easier_variant), count, rng=rng)
        return self._sample_distinct(rng, level, count, split=split, easier_variant=easier_variant)

    def demonstrate(
        self, levels: Sequence[int], count: int, *, seed: int, mixed: bool = False
    ) -> list[tuple[Prompt, str]]:
        check_references(levels, self.name, base_level=self.settings.base_level)
        for level in levels:
            check_level(self, level)
        rng = generator(seed, "demonstrate", self.name, int(mixed), *levels)
        shown = []
        for _ in range(count):
            if mixed:
                prompt = self._sample_mixed(rng, levels)
            else:
                level = rng.choice(levels)
                if self._is_listed(level, 1, split=Split.TRAIN, easier_variant=False):
                    prompt = rng.choice(self._list(level, split=Split.TRAIN, easier_variant=False))
                else:
                    prompt = self._sample(rng, level, split=Split.TRAIN, easier_variant=False)
            shown.append(self._demonstration(prompt, rng))
        return shown

    def read(self, text: str) -> Prompt | None:
        level = self._family.level_of(text)
        return None if level is None else self._prompt(text, level, self.split_of(text), easier_variant=False)

    def reference(self, prompt: Prompt) -> str:
        return self._family.reference(self._own_text(prompt))

    def solution(self, prompt: Prompt) -> str:
        return self._family.answer(self._own_text(prompt))

    def wrong_answers(self, prompt: Prompt) -> list[str]:
        return self._family.wrong_answers(self._own_text(prompt))

    def _own_text(self, prompt: Prompt) -> str:
        assert prompt.task == self.name, f"a prompt of {prompt.task} was given to {self.name}"
        return prompt.text

    def _suite(self, level: int, count: int, split: Split) -> list[Prompt]:
        check_level(self, level)
        key = (level, count, split)
        if key not in self._suites:
            if self._is_listed(level, count, split=split, easier_variant=False):
                # Ids are in random order, and no seed enters them.
                listed = self._list(level, split=split, easier_variant=False)
                suite = sorted(listed, key=lambda prompt: prompt.id)[:count]
            else:
                rng = generator(0, split.value, self.name, level)
                suite = self._sample_distinct(rng, level, count, split=split, easier_variant=False)
            self._suites[key] = tuple(suite)
        return list(self._suites[key])

    def num_heldout(self, level: int, count: int) -> int | None:
        check_level(self, level)
        num_texts = self._family.num_texts(level, easier_variant=False)
        # Of 100 + 2 * count expected prompts, fewer than `count` are more than 10 standard deviations away.
        if num_texts * self._bounds.share(Split.HELDOUT) >= (100 + 2 * count) * HASHES:
            return count
        if num_texts > ENUMERABLE:
            return None
        return min(count, len(self._list(level, split=Split.HELDOUT, easier_variant=False)))

    def _demonstration(self, prompt: Prompt, rng: Random) -> tuple[Prompt, str]:
        """Return the prompt and the answer to show; `rng` serves tasks that show several forms."""
        return prompt, self._family.answer(prompt.text)

    def _is_listed(self, level: int, count: int, *, split: Split, easier_variant: bool) -> bool:
        """Whether the level is listed whole: it is small, or rejecting repeats might never end."""
        num_texts = self._family.num_texts(level, easier_variant=easier_variant)
        share = self._bounds.share(split)
        # Of 100 + 4 * count expected prompts, fewer than `count` are practically impossible. In integers: the number of
        # texts of a long level exceeds every float.
        return num_texts <= ENUMERABLE or num_texts * share < (100 + 4 * count) * HASHES

    def _list(self, level: int, *, split: Split, easier_variant: bool) -> tuple[Prompt, ...]:
        key = (level, split, easier_variant)
        if key not in self._lists:
            texts = self._family.texts(level, easier_variant=easier_variant)
            prompts = (self._prompt(text, level, split, easier_variant) for text in texts)
            self._lists[key] = tuple(prompt for prompt in prompts if prompt is not None)
        if not self._lists[key]:
            raise self._empty(level, split)
        return self._lists[key]

    def _sample_distinct(
        self, rng: Random, level: int, count: int, *, split: Split, easier_variant: bool
    ) -> list[Prompt]:
        prompts: dict[str, Prompt] = {}
        while len(prompts) < count:
            prompt = self._sample(rng, level, split=split, easier_variant=easier_variant)
            prompts.setdefault(prompt.text, prompt)
        return list(prompts.values())

    def _sample(self, rng: Random, level: int, *, split: Split, easier_variant: bool) -> Prompt:
        for _ in range(MAX_TRIES):
            text = self._family.sample(rng, level=level, easier_variant=easier_variant)
            if prompt := self._prompt(text, level, split, easier_variant):
                return prompt
        raise self._empty(level, split)

    def _sample_mixed(self, rng: Random, levels: Sequence[int]) -> Prompt:
        for _ in range(MAX_TRIES):
            text, level, easier_variant = self._family.sample_mixed(rng, levels=levels)
            if prompt := self._prompt(text, level, Split.TRAIN, easier_variant):
                return prompt
        raise self._empty(max(levels), Split.TRAIN)

    def _prompt(self, text: str, level: int, split: Split, easier_variant: bool) -> Prompt | None:
        """Return the prompt of a text, or None when it belongs to another split."""
        if self.split_of(text) is not split:
            return None
        identifier = prompt_id(self.name, text)
        return Prompt(id=identifier, task=self.name, level=level, text=text, split=split, easier_variant=easier_variant)

    def _empty(self, level: int, split: Split) -> RecipeError:
        share, change = changed_share(self.settings, split)
        return RecipeError(
            f"{self.name} level {level} has no {split.value} prompt at {share}; {change} it, or enlarge the alphabet "
            "of a task on strings"
        )
