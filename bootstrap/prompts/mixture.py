"""Several tasks in one: which part each prompt comes from, and the way back to that part.

- A prompt carries its part's name (`Prompt.task`) and an id made with it, so two parts of one kind stay apart. Its
  split is the part's.
- Level n of the mixture is level n of every part. A part with fewer levels stays at its last, with the same prompts
  under the same ids. The mixture's last level is the highest last level of its parts.
- Each train prompt's part is drawn by weight, so small draws are right in the mean. Held-out prompts are dealt by
  weight in a fixed order, so every beginning of a suite holds all parts.

Left out: texts and answers (the parts'), and the choice of answers for replay.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TypeVar

from bootstrap.config.tasks import MixtureTask
from bootstrap.prompts.build import build_task
from bootstrap.prompts.splits import prompt_id
from bootstrap.prompts.task import Task, check_easier_variants, check_level, check_references, own_level
from bootstrap.records import Prompt, Split
from bootstrap.seeds import derive_seed, generator

_Drawn = TypeVar("_Drawn")


class Mixture:
    """Prompts of several tasks. Holds no state."""

    name = "mixture"

    def __init__(self, settings: MixtureTask, *, parts: Mapping[str, Task]) -> None:
        """`parts`: the settings' tasks, by name."""
        self.settings = settings
        self.characters = settings.characters
        # A stored recipe has its keys in another order.
        self.parts = {name: parts[name] for name in sorted(settings.parts)}
        self.has_easier_variants = any(part.has_easier_variants for part in self.parts.values())
        last = [part.highest_level for part in self.parts.values()]
        known = [level for level in last if level is not None]
        self.highest_level = max(known) if len(known) == len(last) else None
        self._weights = [settings.parts[name].weight for name in self.parts]

    as_rows = None

    def before(self, part: str) -> str:
        return self.settings.parts[part].before

    def max_answer_length(self, level: int) -> int:
        return max(part.max_answer_length(own_level(part, level)) for part in self.parts.values())

    def max_answer_tokens(self, level: int) -> int:
        return max(part.max_answer_tokens(own_level(part, level)) for part in self.parts.values())

    def draw(
        self, level: int, count: int, *, seed: int, split: Split = Split.TRAIN, easier_variant: bool = False
    ) -> list[Prompt]:
        """Return `count` prompts, each of a part drawn by weight; parts without easier variants give ordinary ones."""
        check_level(self, level)
        if easier_variant:
            check_easier_variants(self, level)

        def of(name: str, number: int) -> list[Prompt]:
            part = self.parts[name]
            at = own_level(part, level)
            easier = easier_variant and part.has_easier_variants and at > 1
            drawn = part.draw(at, number, seed=derive_seed(seed, "part", name), split=split, easier_variant=easier)
            return [self._outer(name, prompt, level) for prompt in drawn]

        return _in_order(self._names(count, seed, level, split.value, int(easier_variant)), of)

    def demonstrate(
        self, levels: Sequence[int], count: int, *, seed: int, mixed: bool = False
    ) -> list[tuple[Prompt, str]]:
        """Return `count` train prompts with their references, each of a part drawn by weight, at the part's level."""
        check_references(levels, self.name, base_level=self.settings.base_level)
        check_level(self, max(levels))

        def of(name: str, number: int) -> list[tuple[Prompt, str]]:
            part = self.parts[name]
            own = sorted({own_level(part, level) for level in levels})
            shown = part.demonstrate(own, number, seed=derive_seed(seed, "part", name), mixed=mixed)
            return [(self._outer(name, prompt, prompt.level), answer) for prompt, answer in shown]

        return _in_order(self._names(count, seed, "demonstrate", int(mixed), *levels), of)

    def every_prompt(self, level: int, split: Split) -> None:
        return None

    def every_shown(self, level: int) -> None:
        return None

    def read(self, text: str) -> Prompt | None:
        # Of two beginnings, one may begin with the other.
        for name in sorted(self.parts, key=lambda name: -len(self.before(name))):
            before = self.before(name)
            if text.startswith(before) and (found := self.parts[name].read(text[len(before) :])) is not None:
                return self._outer(name, found, found.level)
        return None

    def reference(self, prompt: Prompt) -> str:
        part, inner = self.inner(prompt)
        return part.reference(inner)

    def solution(self, prompt: Prompt) -> str:
        part, inner = self.inner(prompt)
        return part.solution(inner)

    def wrong_answers(self, prompt: Prompt) -> list[str]:
        part, inner = self.inner(prompt)
        return part.wrong_answers(inner)

    def heldout(self, level: int, count: int) -> list[Prompt]:
        """Return held-out prompts: of each part its weight's share, or all that it has."""
        check_level(self, level)
        return _in_order(self._dealt(count), lambda name, number: self.heldout_of(name, level, number))

    def final(self, level: int, count: int) -> list[Prompt]:
        """Return prompts that no gate sees, by the rules of `heldout`; none of a part that keeps none."""
        check_level(self, level)

        def of(name: str, number: int) -> list[Prompt]:
            part = self.parts[name]
            return [self._outer(name, prompt, level) for prompt in part.final(own_level(part, level), number)]

        return _in_order(self._dealt(count), of)

    def num_heldout(self, level: int, count: int) -> int | None:
        """Return the sum over the parts; None where a part gives None."""
        check_level(self, level)
        dealt = self.dealt(count)
        found = [self.parts[name].num_heldout(own_level(self.parts[name], level), part) for name, part in dealt.items()]
        known = [number for number in found if number is not None]
        return sum(known) if len(known) == len(found) else None

    def dealt(self, count: int) -> Counter[str]:
        """Return how many of `count` prompts of a suite come from each part."""
        return Counter(self._dealt(count))

    def heldout_of(self, name: str, level: int, count: int) -> list[Prompt]:
        """Return the held-out prompts of one part at a level of the mixture."""
        part = self.parts[name]
        return [self._outer(name, prompt, level) for prompt in part.heldout(own_level(part, level), count)]

    def _names(self, count: int, seed: int, *names: str | int) -> list[str]:
        """Return the part of each of `count` prompts, drawn by weight."""
        return generator(seed, "parts", *names).choices(list(self.parts), self._weights, k=count)

    def _dealt(self, count: int) -> list[str]:
        """Return the part of each of `count` prompts: each time the part furthest behind its share."""
        total, given = sum(self._weights), dict.fromkeys(self.parts, 0)
        shares = {name: weight / total for name, weight in zip(self.parts, self._weights, strict=True)}
        names = []
        for place in range(1, count + 1):
            name = max(self.parts, key=lambda name: shares[name] * place - given[name])
            given[name] += 1
            names.append(name)
        return names

    def _outer(self, name: str, prompt: Prompt, level: int) -> Prompt:
        text = self.settings.parts[name].before + prompt.text
        return replace(prompt, id=prompt_id(name, text), task=name, text=text, level=level)

    def inner(self, prompt: Prompt) -> tuple[Task, Prompt]:
        """Return the part that a prompt comes from, and the prompt as the part knows it."""
        assert prompt.task in self.parts, f"a prompt of {prompt.task} was given to {self.name}"
        part = self.parts[prompt.task]
        text = prompt.text.removeprefix(self.settings.parts[prompt.task].before)
        return part, replace(
            prompt, id=prompt_id(part.name, text), task=part.name, text=text, level=own_level(part, prompt.level)
        )


def _in_order(names: Sequence[str], of: Callable[[str, int], list[_Drawn]]) -> list[_Drawn]:
    """Return the results of `of(name, count)` for each name, in the order of `names`; a name may have too few."""
    given = {name: iter(of(name, number)) for name, number in Counter(names).items()}
    return [one for name in names for one in islice(given[name], 1)]


def build(settings: MixtureTask) -> Mixture:
    """Return the mixture with its parts. Raises RecipeError when a level of a part would have an empty split."""
    return Mixture(settings, parts={name: build_task(part.task) for name, part in settings.parts.items()})
