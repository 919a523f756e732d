"""What every task offers, and the rules that hold for all of them: splits, draws, references, the held-out suite.

A task is a *family* of texts (`addition.py`, `strings.py`: texts and their answers, nothing else) under these rules:

- A prompt belongs to the train or to the held-out split by the hash of its text alone; no draw ever crosses over.
- Draws depend on their arguments alone, never on earlier draws.
- Training sees references through `demonstrate` alone, which refuses levels beyond the task's `base_level`.
  `reference` and `wrong_answers` serve verifiers.

Left out: which level comes next (`selection/curriculum.py`) and how answers are judged (`scoring/`).
"""

import hashlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from random import Random
from typing import Protocol

from bootstrap.config import tasks
from bootstrap.config.task import room
from bootstrap.errors import RecipeError
from bootstrap.records import Prompt, Split
from bootstrap.seeds import generator

ENUMERABLE = 40_000
"""Levels with at most this many texts are listed whole; larger ones are sampled."""

HASHES = 2**64
"""Number of values of the part of a hash that decides on the split."""

MAX_TRIES = 1_000_000
"""Texts tried for one prompt before the split counts as empty."""


class Task(Protocol):
    """A source of prompts at integer difficulty levels, from 1 up."""

    name: str
    settings: tasks.Task
    characters: Sequence[str]
    """Every character of prompts and answers; an entry of several characters is one token of a model from scratch."""
    has_stepping_stones: bool
    highest_level: int | None
    """The last level that can be drawn; None where levels go on."""

    def max_answer_length(self, level: int) -> int:
        """Return the length of the longest reference answer at a level, stepping stones included.

        In characters; what `characters` has as one entry counts once.
        """

    def max_answer_tokens(self, level: int) -> int:
        """Return the tokens that a model's answer may have at a level, its end included."""

    def draw(
        self, level: int, count: int, *, seed: int, split: Split = Split.TRAIN, stepping_stone: bool = False
    ) -> list[Prompt]:
        """Return `count` prompts of one level and split, determined by the arguments alone.

        They are distinct as long as the split has that many; beyond that the whole split is gone through again and
        again, each time in a new order. Stepping stones have one operand of `level` digits and one of uniformly fewer,
        in either order; where a level's stepping stones are few enough to be listed, each text is equally likely
        instead. Raises RecipeError when the split is empty or the level has no stepping stones.
        """

    def demonstrate(
        self, levels: Sequence[int], count: int, *, seed: int, mixed: bool = False
    ) -> list[tuple[Prompt, str]]:
        """Return `count` train prompts, level uniform over `levels`, each with its reference answer; they may repeat.

        `mixed`: for addition, both operand lengths are independent and uniform over 1..max(levels), and the prompt's
        level is the longer one; for tasks on one string the distribution stays as it is. Raises RecipeError when any
        level lies beyond the task's base level.
        """

    def reference(self, prompt: Prompt) -> str:
        """Return what the verifier compares with: the right answer, or what it must fulfil. For verifiers only."""

    def solution(self, prompt: Prompt) -> str:
        """Return a right answer. For probing verifiers, and for `demonstrate`."""

    def wrong_answers(self, prompt: Prompt) -> list[str]:
        """Return at least four distinct wrong answers, always the same ones, for probing verifiers."""

    def heldout(self, level: int, count: int) -> list[Prompt]:
        """Return the frozen held-out prompts of a level: distinct, in fixed order, the same for every recipe seed.

        As many as asked for, or all there are. A longer suite begins with the shorter one, except where the longer one
        takes about a quarter or more of a level beyond `ENUMERABLE` texts and the shorter one does not. Raises
        RecipeError when there are none.
        """

    def num_heldout(self, level: int, count: int) -> int | None:
        """Return how many prompts `heldout` gives; None where that is not known before a large level has been drawn."""


class Family(Protocol):
    """What one kind of task knows: texts and their answers. It knows nothing of splits or of who may ask."""

    name: str
    has_stepping_stones: bool

    def num_texts(self, level: int, *, stepping_stone: bool) -> int:
        """Return how many texts there are; it grows with the level."""

    def texts(self, level: int, *, stepping_stone: bool) -> Iterator[str]:
        """Yield every text once, in fixed order."""

    def sample(self, rng: Random, *, level: int, stepping_stone: bool) -> str:
        """Return a random text."""

    def sample_mixed(self, rng: Random, *, levels: Sequence[int]) -> tuple[str, int, bool]:
        """Return a random text of mixed operand lengths, its level, and whether it is a stepping stone."""

    def answer(self, text: str) -> str:
        """Return a right answer."""

    def reference(self, text: str) -> str:
        """Return what the verifier compares with: the right answer itself, where there is only one."""

    def wrong_answers(self, text: str) -> list[str]:
        """Return distinct wrong answers."""

    def max_answer_length(self, level: int) -> int:
        """Return the length of the longest answer, counted as `Task.max_answer_length` says."""


class ProceduralTask:
    """A family under the rules of this module. Holds no state but caches of what it would compute again."""

    highest_level = None

    def __init__(self, settings: tasks.Task, *, family: Family) -> None:
        """Raise RecipeError when some small level has no prompt in one of the splits."""
        self.name = family.name
        self.settings = settings
        self.characters = settings.characters
        self.has_stepping_stones = family.has_stepping_stones
        self._family = family
        self._threshold = _heldout_threshold(settings.heldout_fraction)
        self._lists: dict[tuple[int, Split, bool], tuple[Prompt, ...]] = {}
        self._suites: dict[tuple[int, int], tuple[Prompt, ...]] = {}
        level = 1
        while family.num_texts(level, stepping_stone=False) <= ENUMERABLE:
            for split in Split:
                if not any(_digest(self.name, t, self._threshold)[1] is split for t in self._texts(level)):
                    raise self._empty(level, split)
            level += 1

    def max_answer_length(self, level: int) -> int:
        return self._family.max_answer_length(level)

    def max_answer_tokens(self, level: int) -> int:
        return room(self.max_answer_length(level))

    def draw(
        self, level: int, count: int, *, seed: int, split: Split = Split.TRAIN, stepping_stone: bool = False
    ) -> list[Prompt]:
        self._check_level(level)
        if stepping_stone and not (self.has_stepping_stones and level > 1):
            raise RecipeError(
                f"{self.name} level {level} has no stepping stones; set stepping_stones: 0"
                + (" or aim at level 2 or higher" if self.has_stepping_stones else "")
            )
        rng = generator(seed, "draw", self.name, level, split.value, int(stepping_stone))
        if self._is_listed(level, count, split=split, stepping_stone=stepping_stone):
            return again_and_again(self._list(level, split=split, stepping_stone=stepping_stone), count, rng=rng)
        return self._sample_distinct(rng, level, count, split=split, stepping_stone=stepping_stone)

    def demonstrate(
        self, levels: Sequence[int], count: int, *, seed: int, mixed: bool = False
    ) -> list[tuple[Prompt, str]]:
        check_references(levels, self.name, base_level=self.settings.base_level)
        for level in levels:
            self._check_level(level)
        rng = generator(seed, "demonstrate", self.name, int(mixed), *levels)
        shown = []
        for _ in range(count):
            if mixed:
                prompt = self._sample_mixed(rng, levels)
            else:
                level = rng.choice(levels)
                if self._is_listed(level, 1, split=Split.TRAIN, stepping_stone=False):
                    prompt = rng.choice(self._list(level, split=Split.TRAIN, stepping_stone=False))
                else:
                    prompt = self._sample(rng, level, split=Split.TRAIN, stepping_stone=False)
            shown.append(self._demonstration(prompt, rng))
        return shown

    def reference(self, prompt: Prompt) -> str:
        assert prompt.task == self.name, f"a prompt of {prompt.task} was given to {self.name}"
        return self._family.reference(prompt.text)

    def solution(self, prompt: Prompt) -> str:
        assert prompt.task == self.name, f"a prompt of {prompt.task} was given to {self.name}"
        return self._family.answer(prompt.text)

    def wrong_answers(self, prompt: Prompt) -> list[str]:
        assert prompt.task == self.name, f"a prompt of {prompt.task} was given to {self.name}"
        return self._family.wrong_answers(prompt.text)

    def heldout(self, level: int, count: int) -> list[Prompt]:
        self._check_level(level)
        if (level, count) not in self._suites:
            if self._is_listed(level, count, split=Split.HELDOUT, stepping_stone=False):
                # The order of the ids is as good as random, and no seed enters it.
                listed = self._list(level, split=Split.HELDOUT, stepping_stone=False)
                suite = sorted(listed, key=lambda prompt: prompt.id)[:count]
            else:
                rng = generator(0, "heldout", self.name, level)
                suite = self._sample_distinct(rng, level, count, split=Split.HELDOUT, stepping_stone=False)
            self._suites[level, count] = tuple(suite)
        return list(self._suites[level, count])

    def num_heldout(self, level: int, count: int) -> int | None:
        self._check_level(level)
        num_texts = self._family.num_texts(level, stepping_stone=False)
        # Of 100 + 2 * count expected prompts, fewer than `count` are more than 10 standard deviations away.
        if num_texts * self._threshold >= (100 + 2 * count) * HASHES:
            return count
        if num_texts > ENUMERABLE:
            return None
        return min(count, len(self._list(level, split=Split.HELDOUT, stepping_stone=False)))

    def _demonstration(self, prompt: Prompt, rng: Random) -> tuple[Prompt, str]:
        """Return what is shown for a prompt; `rng` serves tasks that show it in several forms."""
        return prompt, self._family.answer(prompt.text)

    def _is_listed(self, level: int, count: int, *, split: Split, stepping_stone: bool) -> bool:
        """Whether the level is listed whole: because it is small, or because rejecting repeats might never end."""
        num_texts = self._family.num_texts(level, stepping_stone=stepping_stone)
        share = self._threshold if split is Split.HELDOUT else HASHES - self._threshold
        # With 100 + 4 * count expected prompts, fewer than `count` actual ones are practically impossible. In integers,
        # because the texts of a long level outnumber what a float can hold.
        return num_texts <= ENUMERABLE or num_texts * share < (100 + 4 * count) * HASHES

    def _list(self, level: int, *, split: Split, stepping_stone: bool) -> tuple[Prompt, ...]:
        key = (level, split, stepping_stone)
        if key not in self._lists:
            prompts = (self._prompt(t, level, split, stepping_stone) for t in self._texts(level, stepping_stone))
            self._lists[key] = tuple(prompt for prompt in prompts if prompt is not None)
        if not self._lists[key]:
            raise self._empty(level, split)
        return self._lists[key]

    def _sample_distinct(
        self, rng: Random, level: int, count: int, *, split: Split, stepping_stone: bool
    ) -> list[Prompt]:
        prompts: dict[str, Prompt] = {}
        while len(prompts) < count:
            prompt = self._sample(rng, level, split=split, stepping_stone=stepping_stone)
            prompts.setdefault(prompt.text, prompt)
        return list(prompts.values())

    def _sample(self, rng: Random, level: int, *, split: Split, stepping_stone: bool) -> Prompt:
        for _ in range(MAX_TRIES):
            text = self._family.sample(rng, level=level, stepping_stone=stepping_stone)
            if prompt := self._prompt(text, level, split, stepping_stone):
                return prompt
        raise self._empty(level, split)

    def _sample_mixed(self, rng: Random, levels: Sequence[int]) -> Prompt:
        for _ in range(MAX_TRIES):
            text, level, stepping_stone = self._family.sample_mixed(rng, levels=levels)
            if prompt := self._prompt(text, level, Split.TRAIN, stepping_stone):
                return prompt
        raise self._empty(max(levels), Split.TRAIN)

    def _prompt(self, text: str, level: int, split: Split, stepping_stone: bool) -> Prompt | None:
        """Return the prompt of a text, or None when it belongs to the other split."""
        identifier, actual = _digest(self.name, text, self._threshold)
        if actual is not split:
            return None
        return Prompt(id=identifier, task=self.name, level=level, text=text, split=split, stepping_stone=stepping_stone)

    def _texts(self, level: int, stepping_stone: bool = False) -> Iterator[str]:
        return self._family.texts(level, stepping_stone=stepping_stone)

    def _check_level(self, level: int) -> None:
        assert level >= 1, f"levels start at 1, not {level}"

    def _empty(self, level: int, split: Split) -> RecipeError:
        change = "raise" if split is Split.HELDOUT else "lower"
        return RecipeError(
            f"{self.name} level {level} has no {split.value} prompt at task.heldout_fraction "
            f"{self.settings.heldout_fraction:g}; {change} it, or enlarge the alphabet of a task on strings"
        )


def again_and_again(listed: Sequence[Prompt], count: int, *, rng: Random, first: Sequence[Prompt] = ()) -> list[Prompt]:
    """Return `count` prompts: those of `first`, then `listed` as often as needed, each time in a new order."""
    prompts = list(first)
    while len(prompts) < count:
        prompts += rng.sample(listed, min(count - len(prompts), len(listed)))
    return prompts


def check_references(levels: Sequence[int], name: str, *, base_level: int) -> None:
    """Raise RecipeError when any of the levels lies beyond those whose references may be shown."""
    assert levels, "demonstrations need at least one level"
    if max(levels) > base_level:
        raise RecipeError(
            f"references of {name} end at level {base_level} (task.base_level), level {max(levels)} was asked for; "
            "sample that level and let the verifier judge, or raise task.base_level"
        )


def prompt_id(task: str, text: str) -> str:
    """Return the first 16 hex digits of SHA-256 over the task's name, a newline and the text."""
    return _digest(task, text, 0)[0]


def split_of(task: str, text: str, *, heldout_fraction: float) -> Split:
    """Return the split of a text: held out when bytes 8-15 of its hash, an integer, lie below that share of 2**64.

    Bytes other than the id's, so that an id says nothing about the split.
    """
    return _digest(task, text, _heldout_threshold(heldout_fraction))[1]


def suite_digest(prompts: Sequence[Prompt]) -> str:
    """Return SHA-256 over the prompts' ids, in order."""
    return hashlib.sha256("".join(f"{prompt.id}\n" for prompt in prompts).encode()).hexdigest()


def _heldout_threshold(fraction: float) -> int:
    """Return the exact integer part of `fraction` * `HASHES`."""
    return int(Fraction(fraction) * HASHES)


def _digest(task: str, text: str, threshold: int) -> tuple[str, Split]:
    digest = hashlib.sha256(f"{task}\n{text}".encode()).digest()
    split = Split.HELDOUT if int.from_bytes(digest[8:16], "big") < threshold else Split.TRAIN
    return digest[:8].hex(), split
