r"""Mathematics: no text, however made, takes the driver or the algebra more than a bounded amount of work and memory.

The texts are judged in a process without a sandbox and with little memory and CPU time to spare: what would run away
ends that process.
"""

import json
import subprocess
import sys

import pytest

from bootstrap.scoring import math_algebra, math_text
from bootstrap.scoring.math_nodes import Unreadable

BYTES = 64 * 2**20
"""Memory beside what the modules take. It is what a few of the largest polynomials need."""
CPU_SECONDS = 30

PROGRAM = r"""
import json, resource, sys
from bootstrap.config.answers import MathVerifier, Whole
from bootstrap.sandbox.job import Ending, Level, Outcome
from bootstrap.scoring import math_algebra, math_nodes
from bootstrap.scoring.math import Math
from bootstrap.scoring.verifier import Answer

class Sandbox:
    # Takes what is sent, as JSON, and decides nothing.
    def run(self, jobs):
        for job in jobs:
            pairs = job.arguments["pairs"]
            assert len(pairs) <= 64
            assert sum(len(flat) for pair in pairs for flat in pair) < 100_000
        return [Outcome(ending=Ending.CPU_LIMIT, detail="", level=Level.SEAL) for _ in jobs]

math = object.__new__(Math)
math._settings, math._declared, math._sandbox = MathVerifier(answer=Whole()), None, Sandbox()
way, pairs, more, seconds = json.load(sys.stdin)
pages = int(open("/proc/self/statm").read().split()[0])
room = pages * resource.getpagesize() + more
resource.setrlimit(resource.RLIMIT_AS, (room, room))
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
for reference, text in pairs:
    print(json.dumps([reference, text[:99]]), end=" ", flush=True)
    if way == "driver":
        [found] = math.judge([Answer(prompt="?", reference=reference, text=text)])
        print(found.status.value)
    else:
        [[a, b]] = [block.items for block in math._read(reference).blocks]
        [[c, d]] = [block.items for block in math._read(text).blocks]
        print(math_algebra.proportional((a.node, b.node), (c.node, d.node)), math_algebra.equal(b.node, d.node))
"""


def told(way: str, pairs: list[tuple[str, str]]) -> list[str]:
    """Return what the program prints on each pair (reference, text). Fail where it runs out of memory or time."""
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        command, input=json.dumps([way, pairs, BYTES, CPU_SECONDS]), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"it ended at {done.stdout[-300:]}: {done.stderr[-1000:]}"
    return [line.rpartition("] ")[2] for line in done.stdout.splitlines()]


def nested(opening: str, inner: str, closing: str, count: int) -> str:
    return opening * count + inner + closing * count


SINES = "y = " + nested(r"\sin^{9}(", "x", ")", 8)
EQUATIONS = [
    SINES,
    "y = " + nested(r"\sin^{9}(", "x", ")", 14),
    "y = " + nested(r"\sqrt{1+", "x", "}^{9}", 14),
    "y = " + nested(r"\frac{1}{1+x+", "x", "}", 14),
    "y = " + nested("(1+", "x", ")^{64}", 8),
    "y = " + nested("x^{x+", "x", "}", 14),
    "y = " + nested(r"\ln(1+", "x", ")^{1}", 9).replace("^{1}", ""),
    "y = " + nested(r"\sqrt[99]{\frac{1}{7}+", "x", "}", 9),
    "y = " + r"\sqrt[99]{" + "+".join(rf"x^{{{n}}}/{10**9 + n}" for n in range(1, 10)) + "}",
    "y = " + "*".join(f"(a+{'bcdhjk'[n % 6]})^{{9}}" for n in range(20)),
    "y = " + "+".join(["x"] * 120),
    "y = 7^{99999}x",
    "y = " + nested("(", "9^{50}x", ")^{50}", 12),
]


def test_an_equation_is_compared_with_another_within_bounds():
    pairs = [("y = x^2 + 1", text) for text in EQUATIONS]
    assert told("driver", pairs) == ["FAIL"] * len(EQUATIONS)
    assert told("algebra", pairs) == ["False False"] * len(EQUATIONS)


DEEP = [
    "2^{" * 15 + "2" + "}" * 15,
    "2**2**2**2",
    "9^{9^{9}}",
    nested("9^{", "9", "}", 15),
    nested("9^{(", "9", ")}", 7),
    "(9^{999999})^{999999}",
    "1^{999999}",
    "0^{999999}",
    "99999!",
    "0000000009999999!",
    r"\binom{000000000999999999}{499999999}",
    r"\binom{200}{000000000000000000999999999}",
    r"\sqrt[0000000029999999]{2}",
    nested(r"\frac{1}{1+", "x", "}", 16),
    r"\sqrt" * 50 + "2",
    r"\sin" * 60 + " x",
    "x" + "°" * 250,
    "°" * 255,
    "5" + "%" * 250,
    "x°" * 127,
    "+".join("1" * 128),
    "+".join("x" * 128),
    " ".join("x" * 127),
    ",".join("x" * 127),
    ",".join("12345" * 20),
    r"\{" + ",".join("abcdefghjk" * 12) + r"\}",
    r"\{" + ",".join(f"x^{n}" for n in range(10, 60)) + r"\}",
    r"\frac{9^{99}x+1}{7^{99}} \begin{pmatrix}" + r"\\".join("1" * 60) + r"\end{pmatrix}",
    "*".join(["9^{999}"] * 30),
    "+".join(f"1/{n}" for n in range(997, 1030)),
    ".1\\dot2" * 30,
    "f(" + "a" * 200 + "!)=5",
    "f(" + "a," * 100 + "!)=5",
    "(" + "a," * 100 + "!)=5",
    "f(" + "-a" * 100 + "!)=5",
    r"\text{" + "a " * 100 + "(}",
    r"5\text{" + "a." * 100 + "/}",
    r"5\text{" + "a/" * 100 + "}",
    "1" + ",000" * 60,
    "1" + r",\!000" * 40 + ",",
    " " * 250 + "1",
    "$" * 255,
    "{" * 128 + "}" * 127,
    r"\boxed{" * 30 + "1" + "}" * 30,
    r"\left" * 40,
    "|" * 255,
    "|x" * 127,
    "1:2" * 80,
    "A" * 255,
    "A" * 250 + "_{36}",
    "1" * 255,
    "1" * 100_000,
    "1," * 100_000,
    "(" * 100_000,
    "x+" * 100_000 + "x",
]
REFERENCES = ["5", "x^2+1", "y = x^2 + 1", r"\{a, b, c\}", "(1, x)"]


def test_no_text_takes_the_driver_more_than_its_bounds():
    pairs = [(reference, text) for reference in REFERENCES for text in DEEP]
    assert set(told("driver", pairs)) == {"FAIL"}


@pytest.mark.parametrize("opening", [r"\sin^{9}(", r"\ln(1+x+", r"\arctan(1+y+", r"(x^2+y)^{x+y+z+"])
def test_the_names_of_atoms_stay_short_however_deep_they_are_nested(opening: str):
    # Four deep, so that names that grow with each nesting fail here rather than fill the memory.
    text = "w = " + nested(opening, "x", "}" if "^{x" in opening else ")", 4)
    work = math_algebra._Work()
    [block] = math_text.read(text).blocks
    above, below = work.ratio(block.items[1].node)
    names = {atom for polynomial in (above, below) for monomial in polynomial for atom, _ in monomial}
    assert max(map(len, names)) < 30


@pytest.mark.parametrize(
    "text",
    ["000000000101!", r"\binom{0000000000201}{5}", r"\sqrt[0000000029999999]{2}", "99999!", r"\binom{201}{5}"],
)
def test_a_bound_on_a_number_counts_all_of_its_digits(text: str):
    with pytest.raises(Unreadable, match=r"up to 100|more than 200|2 to 99"):
        math_text.read(text)


def test_zeros_before_a_number_change_nothing():
    assert math_text.scalar(r"\binom{0000000005}{0000000002}").value == "10"
    assert math_text.read("00000000005!").blocks[0].items[0].exact == 120
