"""Wrong answers to a file's rows: a test for answers that mean the same, and programs that return a wrong constant.

Left out: which of them check a verifier (`files.py`).
"""

import re
from fractions import Fraction
from typing import Any

from bootstrap.python_values import equal
from bootstrap.references import Call, read_code

CONSTANTS: tuple[Any, ...] = ("?", None, "no answer", True, False, "wrong", "none")
"""Values that wrong programs return. No numbers, which a tolerance could accept; at most one can be right."""
NO_ANSWERS = ("", "?", "no answer", "I do not know", "none of these", "-")
"""Wrong answers for a row when the file has too few other answers."""
_FRACTION = re.compile(r"\\[dt]?frac\s*\{?\s*([0-9]{1,40})\s*\}?\s*\{?\s*([0-9]{1,40})\s*\}?")
_NUMBER = re.compile(
    r"(?P<number>(?:(?<![0-9A-Za-z)}])[-+]\s*)?"
    r"(?:(?:[0-9]{1,3}(?:,[0-9]{3}){1,12}(?![0-9])|[0-9]{1,40})(?:\.[0-9]{0,40})?|\.[0-9]{1,40})"
    r"(?:[eE][-+]?[0-9]{1,2}(?![0-9]))?)(?:\s*/\s*(?P<divisor>[0-9]{1,40}))?"
)


def meaning(answer: str) -> Any:
    r"""Return what all spellings of one answer share: its numbers in order, or its letters without case.

    Some different answers share it too, as `2x` and `2`: a verifier may accept `x = 5` or `5 \text{ cm}` for 5, so they
    do not count as wrong for each other.
    """
    text = _FRACTION.sub(r" \1/\2 ", answer.replace("\\!", "").replace("{,}", ","))
    numbers = [
        _as_number(match["number"]) / (_as_number(match["divisor"] or "1") or 1) for match in _NUMBER.finditer(text)
    ]
    if numbers:
        return tuple(numbers)
    letters = "".join(re.findall(r"[^\W_]+", re.sub(r"\\[A-Za-z]+", " ", answer))).casefold()
    return letters or "".join(answer.split())


def _as_number(text: str) -> Fraction:
    return Fraction("".join(text.replace(",", "").split()))


def wrong_programs(reference: str) -> list[str]:
    """Return programs whose result differs from the expected one in some case."""
    cases = read_code(reference)
    if cases.kind == "scripts":
        outputs = ("?", "no answer", "wrong", "0", "none")
        return ["pass\n"] * any(case.stdout.strip() for case in cases.cases) + [
            f"print({output!r})\n" for output in outputs if any(case.stdout.strip() != output for case in cases.cases)
        ]
    wrong = [value for value in CONSTANTS if any(_differs(value, case, cases.values) for case in cases.cases)]
    if not cases.prefix.strip():
        return [f"def {cases.function}(*args, **kwargs):\n    return {value!r}\n" for value in wrong]
    if cases.prefix.rstrip(" ").endswith("return"):
        return [repr(value) for value in wrong]
    # The prefix is the head of a function: the answer is its body.
    return [f"    return {value!r}\n" for value in wrong]


def _differs(value: Any, case: Call, values: str) -> bool:
    """Whether a constant differs from the value that a case expects."""
    if values == "python" and not case.identical:
        return not equal(case.expected, value, tolerance=case.tolerance)
    return type(value) is not type(case.expected) or value != case.expected
