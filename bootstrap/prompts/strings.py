"""Random strings to give back: reversal (`abc=` gives `cba`) and copy (`abc=` gives `abc`); level n has n symbols.

The two cheapest tasks on which a small transformer outgrows its base lengths (arXiv:2502.01612).

Left out: splits and draws (`procedural.py`); easier variants, since there is one operand.
"""

import itertools
from collections.abc import Iterator
from random import Random

from bootstrap.config.tasks import CopyTask, ReversalTask
from bootstrap.prompts.procedural import Family, ProceduralTask


class Strings(Family):
    """Texts of a task on one string over an alphabet, and their answers."""

    def __init__(self, *, alphabet: str, backwards: bool) -> None:
        self.name = self.kind = "reversal" if backwards else "copy"
        self._alphabet = alphabet
        self._backwards = backwards

    def num_texts(self, level: int, *, easier_variant: bool) -> int:
        return len(self._alphabet) ** level

    def texts(self, level: int, *, easier_variant: bool) -> Iterator[str]:
        return ("".join(symbols) + "=" for symbols in itertools.product(self._alphabet, repeat=level))

    def sample(self, rng: Random, *, level: int, easier_variant: bool) -> str:
        return "".join(rng.choices(self._alphabet, k=level)) + "="

    def level_of(self, text: str) -> int | None:
        string = text.removesuffix("=")
        return len(string) if string and string != text and set(string) <= set(self._alphabet) else None

    def answer(self, text: str) -> str:
        string = text.removesuffix("=")
        return string[::-1] if self._backwards else string

    def wrong_answers(self, text: str) -> list[str]:
        right = self.answer(text)
        candidates = (
            "",
            right[:-1],
            right + self._alphabet[0],
            right + self._alphabet[1],
            self._next(right[0]) + right[1:],
            right[:-1] + self._next(right[-1]),
            right[::-1],
        )
        return [answer for answer in dict.fromkeys(candidates) if answer != right]

    def max_answer_length(self, level: int) -> int:
        return level

    def _next(self, symbol: str) -> str:
        return self._alphabet[(self._alphabet.index(symbol) + 1) % len(self._alphabet)]


def build(settings: ReversalTask | CopyTask) -> ProceduralTask:
    """Return the task. Raises RecipeError when a level would have an empty split."""
    return ProceduralTask(settings, family=Strings(alphabet=settings.alphabet, backwards=settings.backwards))
