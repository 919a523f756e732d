"""One-line Python functions from a description: `a+b*3:` asks for a, plus b, and all that times 3.

Operations apply one after another, without precedence. A level-n text has n of them on n + 1 operands, each a variable
or a digit; the answer is the middle of a function,

    def f(a, b, c):
     x=a;x+=b;x*=3
     return x

and `x=b+a;x=3*x` or `x=(a+b)*3` is as right as the one shown. So the verifier runs the program on hidden inputs, drawn
by a seed derived from the text; `reference` holds them with their results, computed from the description.

Left out: splits and draws (`procedural.py`), and running anything.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from random import Random

from bootstrap.config.code import FunctionsTask
from bootstrap.prompts.procedural import Family, ProceduralTask
from bootstrap.references import Call, CallCases, write
from bootstrap.seeds import generator

VARIABLES = "abc"
OPERANDS = VARIABLES + "23456789"
OPERATORS = "+-*"
NUM_CASES = 6
LARGEST_INPUT = 999
"""Inputs are whole numbers of at most this magnitude. Two polynomials of degree d that differ agree on one random case
with probability at most d / (2 * 999 + 1) (Schwartz-Zippel), and on all six with that to the power of six."""
PREFIX = f"def f({', '.join(VARIABLES)}):\n "
SUFFIX = "\n return x\n"


_FORM = re.compile(f"[{OPERANDS}]([{re.escape(OPERATORS)}][{OPERANDS}])+:")


class Functions(Family):
    """Texts of the task, right answers, and the hidden inputs that tell right from wrong."""

    name = kind = "functions"

    def __init__(self, settings: FunctionsTask) -> None:
        alphabet = set(OPERANDS + OPERATORS + "x=;:")
        assert alphabet == set(settings.characters), "the settings declare the characters that this module writes"

    def question(self, text: str) -> str:
        """Return the description with its commuting operations sorted: `b+a:` and `a+b:` ask the same.

        Factors of a product commute, and so do the signed terms of a sum; a description is a chain of both.
        """
        first, steps = _parts(text)
        runs = [(is_product, list(run)) for is_product, run in itertools.groupby(steps, lambda step: step[0] == "*")]
        # The first operand belongs to the first run, with the sign that it would have in any other place.
        runs[0][1].insert(0, ("*" if runs[0][0] else "+", first))
        return "".join(operator + operand for _, run in runs for operator, operand in sorted(run))

    def num_texts(self, level: int, *, easier_variant: bool) -> int:
        return len(OPERATORS) ** level * len(OPERANDS) ** (level + 1)

    def texts(self, level: int, *, easier_variant: bool) -> Iterator[str]:
        return ("".join(symbols) + ":" for symbols in itertools.product(OPERANDS, *[OPERATORS, OPERANDS] * level))

    def sample(self, rng: Random, *, level: int, easier_variant: bool) -> str:
        first = rng.choice(OPERANDS)
        return first + "".join(rng.choice(OPERATORS) + rng.choice(OPERANDS) for _ in range(level)) + ":"

    def level_of(self, text: str) -> int | None:
        return len(text) // 2 - 1 if _FORM.fullmatch(text) else None

    def answer(self, text: str) -> str:
        first, steps = _parts(text)
        return _statements(first, steps)

    def reference(self, text: str) -> str:
        return write(self.cases(text))

    def cases(self, text: str) -> CallCases:
        """Return a text's hidden inputs with their results: always the same for one text."""
        first, steps = _parts(text)
        inputs = hidden_inputs(text)
        return CallCases(
            function="f",
            prefix=PREFIX,
            suffix=SUFFIX,
            cases=tuple(Call(args=tuple(values), expected=_result(first, steps, values)) for values in inputs),
        )

    def wrong_answers(self, text: str) -> list[str]:
        """Return answers with one operator, operand or step changed, and some that are no program.

        Each program among them differs from the right one on a hidden input.
        """
        first, steps = _parts(text)
        (last_operator, last), others = steps[-1], steps[:-1]
        changed = [(first, (*others, (operator, last))) for operator in OPERATORS if operator != last_operator]
        changed += [(first, (*others, (last_operator, operand))) for operand in OPERANDS if operand != last][:1]
        changed += [(operand, steps) for operand in OPERANDS if operand != first][:1]
        changed += [(first, others), (first, tuple(reversed(steps))), ("2", ())]
        inputs = hidden_inputs(text)
        right = [_result(first, steps, values) for values in inputs]
        wrong = [
            _statements(start, other)
            for start, other in changed
            if [_result(start, other, values) for values in inputs] != right
        ]
        # No value, no program, a name without a value.
        wrong += ["", _statements(first, steps)[:-1], "x=x"]
        return list(dict.fromkeys(wrong))

    def max_answer_length(self, level: int) -> int:
        return 5 * level + 3


def hidden_inputs(text: str) -> list[tuple[int, ...]]:
    """Return `NUM_CASES` times values for a, b and c: different within a case, and of magnitude 11 or more."""
    rng = generator(0, "functions", "inputs", text)
    magnitudes = range(11, LARGEST_INPUT + 1)
    return [
        tuple(rng.choice((-1, 1)) * magnitude for magnitude in rng.sample(magnitudes, len(VARIABLES)))
        for _ in range(NUM_CASES)
    ]


Steps = tuple[tuple[str, str], ...]
"""Operator and operand of each operation, in order."""


def _parts(text: str) -> tuple[str, Steps]:
    symbols = text.removesuffix(":")
    return symbols[0], tuple(zip(symbols[1::2], symbols[2::2], strict=True))


def _statements(first: str, steps: Steps) -> str:
    return ";".join([f"x={first}", *[f"x{operator}={operand}" for operator, operand in steps]])


def _result(first: str, steps: Steps, values: Sequence[int]) -> int:
    """Return the result of a description at one input."""
    known = dict(zip(VARIABLES, values, strict=True)) | {digit: int(digit) for digit in OPERANDS[len(VARIABLES) :]}
    result = known[first]
    for operator, operand in steps:
        if operator == "+":
            result += known[operand]
        elif operator == "-":
            result -= known[operand]
        else:
            result *= known[operand]
    return result


def build(settings: FunctionsTask) -> ProceduralTask:
    """Return the task. Raises RecipeError when a level would have an empty split."""
    return ProceduralTask(settings, family=Functions(settings))
