"""What every task offers, and the rules that hold for all of them: splits, draws, references, the held-out suite.

A task is a *family* of texts (`addition.py`, `strings.py`: texts and their answers, nothing else) under these rules:

- A prompt belongs to the train, the held-out or the final split by the hash of its question alone; no draw ever
  crosses over. The question is what is asked, whatever form it is asked in: `1+23=` and `23+1=` are one, and so are a
  file's row under two templates. Lineages may have been grown with the hash of the whole text (`split_by: text`).
- Draws depend on their arguments alone, never on earlier draws.
- Training sees references through `demonstrate` alone, which refuses levels beyond the task's `base_level`.
  `reference` and `wrong_answers` serve verifiers.

Left out: which level comes next (`selection/curriculum.py`) and how answers are judged (`scoring/`).
"""

import hashlib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from random import Random
from typing import Any, NamedTuple, Protocol

from bootstrap.canonical import sha256
from bootstrap.config import tasks
from bootstrap.config.task import TaskSettings, room
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
    has_easier_variants: bool
    highest_level: int | None
    """The last level with prompts of its own, beyond which asking raises RecipeError; None where levels go on."""

    @property
    def parts(self) -> "Mapping[str, Task]":
        """The tasks that prompts come from, by the name that these carry: a mixture's parts, or the task itself."""

    @property
    def as_rows(self) -> Any:
        """The task itself (`files.Rows`) if it is a file's rows; None otherwise."""

    def before(self, part: str) -> str:
        """Return the text put before each prompt of a part."""

    def inner(self, prompt: Prompt) -> "tuple[Task, Prompt]":
        """Return the part that a prompt comes from, and the prompt as the part knows it."""

    def dealt(self, count: int) -> Mapping[str, int]:
        """Return how many of `count` prompts of a suite are each part's."""

    def heldout_of(self, name: str, level: int, count: int) -> list[Prompt]:
        """Return the held-out prompts of one part at a level."""

    def max_answer_length(self, level: int) -> int:
        """Return the length of the longest reference answer at a level, easier variants included.

        In characters; what `characters` has as one entry counts once.
        """

    def max_answer_tokens(self, level: int) -> int:
        """Return the tokens that a model's answer may have at a level, its end included."""

    def draw(
        self, level: int, count: int, *, seed: int, split: Split = Split.TRAIN, easier_variant: bool = False
    ) -> list[Prompt]:
        """Return `count` prompts of one level and split, determined by the arguments alone.

        They are distinct as long as the split has that many; beyond that the whole split is gone through again and
        again, each time in a new order. Easier variants have one operand of `level` digits and one of uniformly fewer,
        in either order; where a level's easier variants are few enough to be listed, each text is equally likely
        instead. Raises RecipeError when the split is empty or the level has no easier variants.
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

    def final(self, level: int, count: int) -> list[Prompt]:
        """Return the frozen prompts of a level that no gate sees, by the rules of `heldout`.

        Empty where the settings keep none (`final_fraction` 0); raises RecipeError where they do and there are none.
        """


class OneTask:
    """What a task that is no mixture answers about its parts: it is the only one."""

    name: str
    as_rows: Any = None

    @property
    def parts(self) -> Mapping[str, Any]:
        return {self.name: self}

    def before(self, part: str) -> str:
        return ""

    def inner(self, prompt: Prompt) -> tuple[Any, Prompt]:
        return self, prompt

    def dealt(self, count: int) -> Mapping[str, int]:
        return {self.name: count}

    def heldout_of(self, name: str, level: int, count: int) -> list[Prompt]:
        return self.heldout(level, count)

    def heldout(self, level: int, count: int) -> list[Prompt]:
        raise NotImplementedError


class Family(Protocol):
    """What one kind of task knows: texts and their answers. It knows nothing of splits or of who may ask."""

    name: str
    has_easier_variants: bool
    kind: str
    """What its questions are hashed with beside their text; tasks that ask the same in other forms share it."""

    def question(self, text: str) -> str:
        """Return what a text asks, the same for all texts that ask the same."""

    def num_texts(self, level: int, *, easier_variant: bool) -> int:
        """Return how many texts there are; it grows with the level."""

    def texts(self, level: int, *, easier_variant: bool) -> Iterator[str]:
        """Yield every text once, in fixed order."""

    def sample(self, rng: Random, *, level: int, easier_variant: bool) -> str:
        """Return a random text."""

    def sample_mixed(self, rng: Random, *, levels: Sequence[int]) -> tuple[str, int, bool]:
        """Return a random text of mixed operand lengths, its level, and whether it is an easier variant."""

    def answer(self, text: str) -> str:
        """Return a right answer."""

    def reference(self, text: str) -> str:
        """Return what the verifier compares with: the right answer itself, where there is only one."""

    def wrong_answers(self, text: str) -> list[str]:
        """Return distinct wrong answers."""

    def max_answer_length(self, level: int) -> int:
        """Return the length of the longest answer, counted as `Task.max_answer_length` says."""


class ProceduralTask(OneTask):
    """A family under the rules of this module. Holds no state but caches of what it would compute again."""

    highest_level: int | None = None

    def __init__(self, settings: tasks.Task, *, family: Family) -> None:
        """Raise RecipeError when some small level has no prompt in one of the splits that the settings keep."""
        self.name = family.name
        self.settings = settings
        self.characters = settings.characters
        self.has_easier_variants = family.has_easier_variants
        self._family = family
        self._bounds = bounds_of(settings)
        self._lists: dict[tuple[int, Split, bool], tuple[Prompt, ...]] = {}
        self._suites: dict[tuple[int, int, Split], tuple[Prompt, ...]] = {}
        level = 1
        while own_level(self, level) == level and family.num_texts(level, easier_variant=False) <= ENUMERABLE:
            found = {self.split_of(text) for text in self._texts(level)}
            for split in self._bounds.splits:
                if split not in found:
                    raise self._empty(level, split)
            level += 1

    def split_of(self, text: str) -> Split:
        """Return the split of a prompt's text."""
        if self.settings.split_rule == "text":
            return _side(_hash(self.name, text), self._bounds)
        return _side(_hash(self._family.kind, self._family.question(text)), self._bounds)

    def max_answer_length(self, level: int) -> int:
        return self._family.max_answer_length(level)

    def max_answer_tokens(self, level: int) -> int:
        return room(self.max_answer_length(level))

    def draw(
        self, level: int, count: int, *, seed: int, split: Split = Split.TRAIN, easier_variant: bool = False
    ) -> list[Prompt]:
        self._check_level(level)
        if easier_variant and not (self.has_easier_variants and level > 1):
            raise RecipeError(
                f"{self.name} level {level} has no easier variants; set easier_variants: 0"
                + (" or aim at level 2 or higher" if self.has_easier_variants else "")
            )
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
            self._check_level(level)
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
        return self._suite(level, count, split=Split.HELDOUT)

    def final(self, level: int, count: int) -> list[Prompt]:
        return self._suite(level, count, split=Split.FINAL) if Split.FINAL in self._bounds.splits else []

    def _suite(self, level: int, count: int, *, split: Split) -> list[Prompt]:
        self._check_level(level)
        key = (level, count, split)
        if key not in self._suites:
            if self._is_listed(level, count, split=split, easier_variant=False):
                # The order of the ids is as good as random, and no seed enters it.
                listed = self._list(level, split=split, easier_variant=False)
                suite = sorted(listed, key=lambda prompt: prompt.id)[:count]
            else:
                rng = generator(0, split.value, self.name, level)
                suite = self._sample_distinct(rng, level, count, split=split, easier_variant=False)
            self._suites[key] = tuple(suite)
        return list(self._suites[key])

    def num_heldout(self, level: int, count: int) -> int | None:
        self._check_level(level)
        num_texts = self._family.num_texts(level, easier_variant=False)
        # Of 100 + 2 * count expected prompts, fewer than `count` are more than 10 standard deviations away.
        if num_texts * self._bounds.share(Split.HELDOUT) >= (100 + 2 * count) * HASHES:
            return count
        if num_texts > ENUMERABLE:
            return None
        return min(count, len(self._list(level, split=Split.HELDOUT, easier_variant=False)))

    def _demonstration(self, prompt: Prompt, rng: Random) -> tuple[Prompt, str]:
        """Return what is shown for a prompt; `rng` serves tasks that show it in several forms."""
        return prompt, self._family.answer(prompt.text)

    def _is_listed(self, level: int, count: int, *, split: Split, easier_variant: bool) -> bool:
        """Whether the level is listed whole: because it is small, or because rejecting repeats might never end."""
        num_texts = self._family.num_texts(level, easier_variant=easier_variant)
        share = self._bounds.share(split)
        # With 100 + 4 * count expected prompts, fewer than `count` actual ones are practically impossible. In integers,
        # because the texts of a long level outnumber what a float can hold.
        return num_texts <= ENUMERABLE or num_texts * share < (100 + 4 * count) * HASHES

    def _list(self, level: int, *, split: Split, easier_variant: bool) -> tuple[Prompt, ...]:
        key = (level, split, easier_variant)
        if key not in self._lists:
            prompts = (self._prompt(t, level, split, easier_variant) for t in self._texts(level, easier_variant))
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

    def _texts(self, level: int, easier_variant: bool = False) -> Iterator[str]:
        return self._family.texts(level, easier_variant=easier_variant)

    def _check_level(self, level: int) -> None:
        check_level(self, level)

    def _empty(self, level: int, split: Split) -> RecipeError:
        share, change = changed_share(self.settings, split)
        return RecipeError(
            f"{self.name} level {level} has no {split.value} prompt at {share}; {change} it, or enlarge the alphabet "
            "of a task on strings"
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


def check_level(task: Task, level: int) -> None:
    """Raise RecipeError when a level lies beyond the task's last."""
    assert level >= 1, f"levels start at 1, not {level}"
    if own_level(task, level) < level:
        raise RecipeError(
            f"level {level} of {task.name} was asked for, its last is {task.highest_level}; name levels up to "
            f"{task.highest_level} (curriculum, panel, base_level), or lower generations.count or evaluation.lookahead"
        )


def own_level(task: Task, level: int) -> int:
    """Return the level, or the task's last one where it lies beyond."""
    return level if task.highest_level is None else min(level, task.highest_level)


def changed_share(settings: TaskSettings, split: Split) -> tuple[str, str]:
    """Return which share of the settings to change, and how, where a split has too few prompts."""
    name = "final_fraction" if split is Split.FINAL else "heldout_fraction"
    change = "lower" if split is Split.TRAIN else "raise"
    return f"task.{name} {getattr(settings, name):g}", change


def normalised(text: str) -> str:
    """Return a text in Unicode's composed form (NFC), each run of white space as one blank, none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def prompt_id(task: str, text: str) -> str:
    """Return the first 16 hex digits of SHA-256 over the task's name, a newline and the text."""
    return _hash(task, text)[:8].hex()


class Bounds(NamedTuple):
    """Where the splits end among the `HASHES` values of a question's hash: held out, then final, then train."""

    heldout: int
    final: int

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that are kept."""
        return (Split.TRAIN, Split.HELDOUT) if self.final == self.heldout else tuple(Split)

    def share(self, split: Split) -> int:
        """Return how many values belong to a split."""
        if split is Split.TRAIN:
            return HASHES - self.final
        return self.heldout if split is Split.HELDOUT else self.final - self.heldout


def bounds_of(settings: TaskSettings) -> Bounds:
    """Return the bounds of a task's splits, exact integer parts of shares of `HASHES`."""
    return _bounds(settings.heldout_fraction, settings.final_fraction)


def split_of(kind: str, question: str, *, heldout_fraction: float, final_fraction: float = 0.0) -> Split:
    """Return the split of a question: held out when bytes 8-15 of its hash, an integer, lie below that share of 2**64,
    final when they lie in the share that follows.

    `kind`: what questions of the task are hashed with. Bytes other than an id's, so that where a text is its question
    its id says nothing about the split.
    """
    return _side(_hash(kind, question), _bounds(heldout_fraction, final_fraction))


def suite_digest(prompts: Sequence[Prompt]) -> str:
    """Return SHA-256 over the prompts' ids, in order."""
    return sha256("".join(f"{prompt.id}\n" for prompt in prompts).encode())


def _bounds(heldout: float, final: float) -> Bounds:
    return Bounds(int(Fraction(heldout) * HASHES), int((Fraction(heldout) + Fraction(final)) * HASHES))


def _hash(name: str, text: str) -> bytes:
    return hashlib.sha256(f"{name}\n{text}".encode()).digest()


def _side(digest: bytes, bounds: Bounds) -> Split:
    value = int.from_bytes(digest[8:16], "big")
    return Split.HELDOUT if value < bounds.heldout else Split.FINAL if value < bounds.final else Split.TRAIN
