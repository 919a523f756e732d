"""Sums of two numbers, digits least significant first: `21+43=` (12 + 34) has the answer `640` (046 backwards).

In this order every digit of the sum depends on digits already read or written, which small transformers learn; in plain
order they hardly do (arXiv:2307.03381). A level-n text has two operands of exactly n digits without a leading zero
(level 1: 0 to 9); the answer is zero-padded at its most significant end to one digit more than the longer operand. An
easier variant has one operand of n digits and one of 1 to n-1 digits, in either order.

Left out: splits and draws (`procedural.py`).
"""

import re
from collections.abc import Iterator, Sequence
from random import Random

from bootstrap.config.tasks import AdditionTask
from bootstrap.prompts.procedural import Family, ProceduralTask

_OPERAND = "[0-9]|[0-9]+[1-9]"
_FORM = re.compile(f"({_OPERAND})[+]({_OPERAND})=")


class Addition(Family):
    """Texts of the addition task and their answers."""

    name = kind = "addition"
    has_easier_variants = True

    def question(self, text: str) -> str:
        """Return the sum with its operands sorted, since `12+3=` and `3+12=` ask the same."""
        return "+".join(sorted(text.removesuffix("=").split("+")))

    def num_texts(self, level: int, *, easier_variant: bool) -> int:
        if easier_variant:
            # Operands of 1 to n-1 digits are all numbers below 10 ** (n-1).
            return 2 * _num_operands(level) * 10 ** (level - 1) if level > 1 else 0
        return _num_operands(level) ** 2

    def texts(self, level: int, *, easier_variant: bool) -> Iterator[str]:
        if not easier_variant:
            lengths = [(level, level)]
        else:
            lengths = [pair for shorter in range(1, level) for pair in ((level, shorter), (shorter, level))]
        return (_text(a, b) for first, second in lengths for a in _operands(first) for b in _operands(second))

    def sample(self, rng: Random, *, level: int, easier_variant: bool) -> str:
        first = second = level
        if easier_variant:
            second = rng.randrange(1, level)
            if rng.random() < 0.5:
                first, second = second, first
        return _text(_operand(rng, first), _operand(rng, second))

    def sample_mixed(self, rng: Random, *, levels: Sequence[int]) -> tuple[str, int, bool]:
        longest = max(levels)
        first, second = rng.randrange(1, longest + 1), rng.randrange(1, longest + 1)
        return _text(_operand(rng, first), _operand(rng, second)), max(first, second), first != second

    def level_of(self, text: str) -> int | None:
        found = _FORM.fullmatch(text)
        return None if found is None else max(map(len, found.groups()))

    def answer(self, text: str) -> str:
        first, second = text.removesuffix("=").split("+")
        total = int(first[::-1]) + int(second[::-1])
        return str(total).zfill(max(len(first), len(second)) + 1)[::-1]

    def wrong_answers(self, text: str) -> list[str]:
        right = self.answer(text)
        candidates = (
            "",
            right[:-1],
            right + "0",
            str((int(right[0]) + 1) % 10) + right[1:],
            right[:-1] + str((int(right[-1]) + 1) % 10),
            right[::-1],
        )
        return [answer for answer in dict.fromkeys(candidates) if answer != right]

    def max_answer_length(self, level: int) -> int:
        return level + 1


def _operands(digits: int) -> range:
    return range(10) if digits == 1 else range(10 ** (digits - 1), 10**digits)


def _num_operands(digits: int) -> int:
    return 10 if digits == 1 else 9 * 10 ** (digits - 1)


def _operand(rng: Random, digits: int) -> int:
    return rng.randrange(0 if digits == 1 else 10 ** (digits - 1), 10**digits)


def _text(a: int, b: int) -> str:
    return f"{str(a)[::-1]}+{str(b)[::-1]}="


def build(settings: AdditionTask) -> ProceduralTask:
    """Return the task. Raises RecipeError when a level would have an empty split."""
    return ProceduralTask(settings, family=Addition())
