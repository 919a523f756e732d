"""Questions of reasoning-gym (arXiv:2505.24760) as a task: its data sets, level by level, under the rules of all tasks.

A prompt is one item, made again from data set, level and seed (`Prompt.key`).

Splits: item n of a data set of seed s draws from `Random(s + n)`, so overlapping ranges of seeds would leak held-out
items. Every item has its own seed, from the upper half of the seeds for training and from the lower half otherwise
(`SEEDS`). The hash of the question decides as well, so two seeds with one question never cross the splits. The question
is the part of the item's own that `keep` leaves, without the texts before and after it.

Levels: those of the data set's curriculum, all attributes raised together, or the recipe's own list. Items outside the
task's alphabet and lengths are left out.

A level's texts cannot be listed. A draw counts a split as exhausted after `PATIENCE` tries and as many tries as all
earlier texts took without a new one; from then on its texts repeat.

Left out: judging answers (`scoring/gym.py`) and making items again (`gym_items.py`).
"""

import dataclasses
import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

from bootstrap import gym_items
from bootstrap.config.gym import GymDataset, ReasoningGymTask
from bootstrap.config.task import room
from bootstrap.errors import RecipeError
from bootstrap.prompts.splits import Bounds, changed_share, normalised, prompt_id
from bootstrap.prompts.task import OneTask, again_and_again, check_references
from bootstrap.records import Prompt, Split
from bootstrap.seeds import generator

SEEDS = {Split.HELDOUT: range(2**31), Split.FINAL: range(2**31), Split.TRAIN: range(2**31, 2**32)}
"""Seeds of a split's items; 32 bits, as NumPy takes them, which some data sets use."""

PATIENCE = 1000
"""Fewest tries without a new text before a split counts as exhausted."""

MAX_UNFIT = 1000
"""Consecutive unfit items after which a level counts as impossible."""

WRONG_ANSWERS = 6
"""Most wrong answers of a prompt; four are required."""

NEIGHBOURS = 8
"""Items whose answers are tried as wrong ones."""

PASS_SCORE = 0.99
"""Score from which the scorers count an answer as right; lower ones serve as wrong answers."""

LOOKED_UP = 1000
"""Held-out prompts of a level among which a text is looked for."""


class Gym(OneTask):
    """Prompts from one or more data sets. Its only state is caches."""

    name = "reasoning_gym"
    has_easier_variants = False

    def __init__(self, settings: ReasoningGymTask) -> None:
        """Raise RecipeError for a missing package, or a data set, a setting or an attribute that does not exist."""
        gym_items.library(RecipeError)
        self.settings = settings
        self.characters = settings.characters
        self._alphabet = frozenset(settings.characters)
        self._sources = {dataset.name: _Source(dataset) for dataset in settings.datasets}
        self.highest_level = min(source.highest_level for source in self._sources.values())
        self._weights = [dataset.weight for dataset in settings.datasets]
        self._bounds = Bounds.of(settings.heldout_fraction, settings.final_fraction)
        self._suites: dict[tuple[int, Split], tuple[list[Prompt], bool]] = {}

    def max_answer_length(self, level: int) -> int:
        return self.settings.max_answer_length

    def max_answer_tokens(self, level: int) -> int:
        return self.settings.max_answer_tokens or room(self.max_answer_length(level))

    def draw(
        self, level: int, count: int, *, seed: int, split: Split = Split.TRAIN, easier_variant: bool = False
    ) -> list[Prompt]:
        if easier_variant:
            raise RecipeError(f"{self.name} has no easier variants; set easier_variants: 0")
        if split not in self._bounds.splits:
            raise self._empty(level, split)
        rng = generator(seed, "draw", self.name, level, split.value)
        distinct = self._distinct(rng, level, count, split)
        return again_and_again(distinct, count, rng=rng, first=distinct)

    def demonstrate(
        self, levels: Sequence[int], count: int, *, seed: int, mixed: bool = False
    ) -> list[tuple[Prompt, str]]:
        check_references(levels, self.name, base_level=self.settings.base_level)
        rng = generator(seed, "demonstrate", self.name, int(mixed), *levels)
        shown: list[tuple[Prompt, str]] = []
        while len(shown) < count:
            level = rng.choice(levels)
            prompt = next(p for p in self._stream(rng, level, Split.TRAIN) if p is not None)
            shown.append((prompt, self.solution(prompt)))
        return shown

    def read(self, text: str) -> Prompt | None:
        """Return the held-out prompt that a text is; a text does not tell its data set and seed."""
        suites = (self.heldout(level, LOOKED_UP) for level in range(1, self.highest_level + 1))
        return next((prompt for suite in suites for prompt in suite if prompt.text == text), None)

    def reference(self, prompt: Prompt) -> str:
        source, level, seed = self._origin(prompt)
        config = source.config(level)
        found = gym_items.digest(gym_items.item(source.name, config, seed))
        reference = gym_items.Reference(dataset=source.name, config=config, seed=seed, digest=found)
        return gym_items.canonical(reference.model_dump(mode="json"))

    def solution(self, prompt: Prompt) -> str:
        source, level, seed = self._origin(prompt)
        entry = gym_items.item(source.name, source.config(level), seed)
        return source.answer(entry, gym_items.solution(source.name, entry))

    def wrong_answers(self, prompt: Prompt) -> list[str]:
        """Return up to `WRONG_ANSWERS` texts that the data set's own scorer counts as wrong, near misses first."""
        source, level, seed = self._origin(prompt)
        config = source.config(level)
        entry = gym_items.item(source.name, config, seed)
        right = gym_items.solution(source.name, entry)
        wrong: list[str] = []
        for text in dict.fromkeys(
            (*_near_misses(right), *self._neighbours(source, level, seed), "", "?", "0", "wrong")
        ):
            # None of these texts is a model's, so the scorer may run outside the sandbox.
            if text.strip() != right.strip() and gym_items.score(source.name, config, entry, text) < PASS_SCORE:
                wrong.append(source.answer(entry, text))
            if len(wrong) == WRONG_ANSWERS:
                return wrong
        if len(wrong) < 4:
            raise RecipeError(
                f"the scorer of data set {source.name} takes nearly every answer for right (question "
                f"{entry['question'][-80:]!r}, answer {right!r}), so nothing can be learnt from it; "
                "change its settings, or leave it out"
            )
        return wrong

    def _suite(self, level: int, count: int, split: Split) -> list[Prompt]:
        found, is_all = self._suites.get((level, split), ([], False))
        if len(found) < count and not is_all:
            # Drawn again from the start, so that a longer suite begins with the shorter one.
            found = self._distinct(generator(0, split.value, self.name, level), level, count, split)
            self._suites[level, split] = (found, len(found) < count)
        return found[:count]

    def num_heldout(self, level: int, count: int) -> int | None:
        """Return None: data sets do not know their number of questions."""

    def _distinct(self, rng: Random, level: int, count: int, split: Split) -> list[Prompt]:
        """Return `count` prompts with distinct texts, or all that an exhausted split has."""
        found: dict[str, Prompt] = {}
        stream = self._stream(rng, level, split)
        tries = latest = 0
        while len(found) < count:
            tries += 1
            prompt = next(stream)
            if prompt is not None and prompt.text not in found:
                found[prompt.text] = prompt
                latest = tries
            elif tries - latest > latest + PATIENCE:
                break
        if count and not found:
            raise self._empty(level, split)
        return list(found.values())

    def _empty(self, level: int, split: Split) -> RecipeError:
        share, change = changed_share(self.settings, split)
        return RecipeError(
            f"{self.name} level {level} has no {split.value} prompt at {share}; {change} it, or give the level "
            "settings with more questions"
        )

    def _stream(self, rng: Random, level: int, split: Split) -> Iterator[Prompt | None]:
        """Yield prompts without end, and None for each of another split."""
        assert level >= 1, f"levels start at 1, not {level}"
        sources = list(self._sources.values())
        seeds, unfit = SEEDS[split], Counter[str]()
        while True:
            source = rng.choices(sources, self._weights)[0]
            seed = seeds.start + rng.randrange(len(seeds))
            text, told = self._text(source, level, seed)
            if text is None:
                unfit[f"{source.name}: {told}"] += 1
                if unfit.total() >= MAX_UNFIT:
                    raise self._impossible(level, unfit)
                continue
            unfit.clear()
            decisive = normalised(told) if self.settings.split_rule == "question" else text
            if self._bounds.split_of(self.name, decisive) is not split:
                yield None
                continue
            yield Prompt(
                id=prompt_id(self.name, text),
                task=self.name,
                level=level,
                text=text,
                split=split,
                key=f"{source.name}/{level}/{seed}",
            )

    def _text(self, source: "_Source", level: int, seed: int) -> tuple[str | None, str]:
        """Return an item's prompt and question, or None and why the task leaves the item out."""
        config = source.config(level)
        try:
            entry = gym_items.item(source.name, config, seed)
            right = gym_items.solution(source.name, entry)
        # Third-party code may raise anything when it finds no item; the next seed may have one.
        except Exception as error:
            return None, f"it raises {type(error).__name__}: {error}"
        question, answer = source.kept(entry["question"]), source.answer(entry, right)
        text = source.prompt(question)
        if len(text) > self.settings.max_prompt_length:
            return None, f"prompts are longer than max_prompt_length {self.settings.max_prompt_length}"
        if len(answer) > self.settings.max_answer_length:
            return None, f"answers are longer than max_answer_length {self.settings.max_answer_length}"
        if strange := next((c for c in text + answer if c not in self._alphabet), None):
            return None, f"texts have characters beyond the alphabet, as {strange!r}"
        return text, question

    def _impossible(self, level: int, unfit: Mapping[str, int]) -> RecipeError:
        reasons = "; ".join(f"{reason} ({count})" for reason, count in Counter(unfit).most_common(3))
        return RecipeError(
            f"{self.name} level {level}: {MAX_UNFIT} items in a row could not be used. {reasons}. "
            "Change the level's settings, or task.alphabet and the two lengths"
        )

    def _origin(self, prompt: Prompt) -> tuple["_Source", int, int]:
        assert prompt.task == self.name, f"a prompt of {prompt.task} was given to {self.name}"
        name, level, seed = prompt.key.split("/")
        return self._sources[name], int(level), int(seed)

    def _neighbours(self, source: "_Source", level: int, seed: int) -> Iterator[str]:
        """Yield right answers to other questions of the level."""
        for other in range(seed + 1, seed + 1 + NEIGHBOURS):
            if self._text(source, level, other)[0] is not None:
                yield gym_items.solution(source.name, gym_items.item(source.name, source.config(level), other))


class _Source:
    """One data set with the recipe's settings."""

    def __init__(self, settings: GymDataset) -> None:
        from reasoning_gym.factory import CURRICULA, DATASETS, create_curriculum

        self.name = settings.name
        self._settings = settings
        self._configs: dict[int, dict[str, Any]] = {}
        if self.name not in DATASETS:
            raise RecipeError(f"reasoning-gym has no data set {self.name}; {_suggestion(self.name, DATASETS)}")
        if why := gym_items.refusal(self.name):
            raise RecipeError(f"data set {self.name} cannot be used: {why}")
        fields = dataclasses.fields(DATASETS[self.name][1])
        known = [field.name for field in fields if field.name not in ("seed", "size")]
        for given in (settings.config, *settings.levels):
            for key in given:
                if key not in known:
                    raise RecipeError(f"data set {self.name} has no setting {key}; {_suggestion(key, known)}")
        if settings.levels:
            self.highest_level = len(settings.levels)
        elif self.name not in CURRICULA:
            raise RecipeError(
                f"data set {self.name} has no curriculum; give levels, a list of its own settings for level 1, 2, ... "
                f"(it has {', '.join(known) or 'none'})"
            )
        else:
            attributes = create_curriculum(self.name).attributes
            for name in settings.attributes:
                if name not in attributes:
                    raise RecipeError(
                        f"the curriculum of data set {self.name} has no attribute {name}; "
                        f"{_suggestion(name, attributes)}"
                    )
            rising = settings.attributes or attributes
            self.highest_level = max((len(attributes[name].levels) for name in rising), default=1)

    def config(self, level: int) -> dict[str, Any]:
        """Return the data set's settings at a level. Raises RecipeError beyond the last, and for invalid settings."""
        if level not in self._configs:
            if level > self.highest_level:
                remedy = "add levels" if self._settings.levels else "give levels of your own"
                raise RecipeError(
                    f"level {level} of data set {self.name} was asked for, its highest is {self.highest_level}; "
                    f"{remedy}, or lower generations.count or evaluation.lookahead"
                )
            own = self._settings.levels[level - 1] if self._settings.levels else self._from_curriculum(level)
            config = {**own, **self._settings.config}
            try:
                gym_items.validate(self.name, config)
            # Third-party code: data sets refuse settings by assertions and by other exceptions.
            except Exception as error:
                raise RecipeError(
                    f"data set {self.name} refuses the settings of level {level}, {gym_items.canonical(config)}: "
                    f"{type(error).__name__}: {error}; change config or levels"
                ) from None
            self._configs[level] = config
        return self._configs[level]

    def kept(self, question: str) -> str:
        """Return the part of a question that the recipe keeps. Raises RecipeError when `keep` does not match it."""
        if self._settings.keep is None:
            return question
        match = re.search(self._settings.keep, question)
        if match is None:
            raise RecipeError(
                f"keep {self._settings.keep!r} of data set {self.name} does not match the question {question!r}; "
                "change the pattern so that it matches every question of the data set"
            )
        return "".join(group or "" for group in match.groups())

    def prompt(self, kept: str) -> str:
        """Return the prompt for the kept part of a question."""
        return f"{self._settings.before}{kept}{self._settings.after}"

    def answer(self, entry: Mapping[str, Any], text: str) -> str:
        """Return an answer in the template. Raises RecipeError when that names unknown metadata."""
        known = {**entry["metadata"], "answer": text}

        def fill(place: re.Match[str]) -> str:
            name = place[1]
            if name not in known:
                raise RecipeError(
                    f"answer_template of data set {self.name} names {name}, which its metadata lack; "
                    f"{_suggestion(name, known)}"
                )
            value = known[name]
            return ", ".join(map(str, value)) if type(value) in (list, tuple) else str(value)

        return re.sub(r"\{(\w+)\}", fill, self._settings.answer_template)

    def _from_curriculum(self, level: int) -> dict[str, Any]:
        from reasoning_gym.coaching.base_curriculum import DefaultCurriculumContext, RangeAttributeMode
        from reasoning_gym.factory import create_curriculum

        curriculum = create_curriculum(self.name)
        for name, attribute in curriculum.attributes.items():
            rises = not self._settings.attributes or name in self._settings.attributes
            curriculum.set_attr_level(name, min(level, len(attribute.levels)) - 1 if rises else 0)
        mode = RangeAttributeMode.INCLUSIVE if self._settings.inclusive else RangeAttributeMode.UPPER_BOUND
        # By default a curriculum makes an object whose defaults JSON cannot hold.
        curriculum._config_cls = dict  # pyright: ignore[reportAttributeAccessIssue]  # typed as an instance there
        return curriculum.generate_configuration(context=DefaultCurriculumContext(mode=mode))


def _suggestion(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]}?" if close else f"it has {', '.join(sorted(known)) or 'none'}"


def _near_misses(right: str) -> Iterator[str]:
    """Yield texts that differ little from a right answer."""
    for place in range(len(right) - 1, -1, -1):
        if (changed := _other(right[place])) != right[place]:
            yield right[:place] + changed + right[place + 1 :]
            break
    for place, character in enumerate(right):
        if (changed := _other(character)) != character:
            yield right[:place] + changed + right[place + 1 :]
            break
    yield right[: len(right) // 2]
    yield right[1:]
    yield right + right


def _other(character: str) -> str:
    """Return another letter or digit of the same kind; any other character itself."""
    if character.isdigit():
        return "3" if character == "8" else "8"
    if character.isalpha():
        return ("B" if character == "A" else "A") if character.isupper() else ("b" if character == "a" else "a")
    return character
