"""Mathematics: what is equal passes, whatever else never does, and no answer costs more than the limit."""

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

from bootstrap.config.answers import MathVerifier, Whole
from bootstrap.records import Status
from bootstrap.sandbox.job import Ending, Level, Outcome
from bootstrap.scoring import math_nodes, math_text
from bootstrap.scoring.math import Math
from bootstrap.scoring.verifier import Answer, Judgement, Tools, Verifier, build_verifier

pytestmark = pytest.mark.sandbox

ROWS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "golden/math_regression.jsonl").read_text(encoding="utf-8").splitlines()
]
MAX_CPU_SECONDS = 1.5


@pytest.fixture(scope="module")
def math() -> Iterator[Verifier]:
    verifier = build_verifier(MathVerifier(answer=Whole()), tools=Tools(processes=2))
    yield verifier
    verifier.close()


def answered(reference: str, text: str) -> Answer:
    return Answer(prompt="?", text=text, reference=reference)


def as_kind(math: Verifier, kind: str) -> Verifier:
    """Return the verifier with another declared kind, in the same sandbox."""
    assert isinstance(math, Math)
    other = object.__new__(Math)
    other.__dict__.update(math.__dict__)
    other._declared = None if kind == "auto" else kind
    return other


def test_the_pinned_answers_get_their_pinned_verdicts_within_the_limit(math: Verifier):
    wrong = []
    for kind, group in groupby(sorted(ROWS, key=lambda row: row["kind"]), key=lambda row: row["kind"]):
        rows = list(group)
        judgements = as_kind(math, kind).judge([answered(row["reference"], row["answer"]) for row in rows])
        for row, judgement in zip(rows, judgements, strict=True):
            expected = {row["status"]}
            if row["why"].startswith("hostile") and judgement.sandbox:
                # On a machine under load, the wall may be hit before the CPU limit.
                expected.add(Status.UNVERIFIABLE)
            if judgement.status not in expected or judgement.cpu_seconds > MAX_CPU_SECONDS:
                wrong.append((row, judgement))
    assert wrong == []


@pytest.mark.parametrize(
    "text",
    [
        "(" * 2000 + "1" + ")" * 2000,
        "(" * 100 + "1" + ")" * 100,
        r"\frac{1}{" * 300 + "2" + "}" * 300,
        r"\frac{1}{1+" * 20 + "2" + "}" * 20,
        "2^{" * 40 + "2" + "}" * 40,
        "-" * 200 + "1",
        "1+" * 1000 + "1",
        "x" * 200,
        r"\sqrt{" * 30 + "2" + "}" * 30,
        "{" * 250,
        "1" * 1_000_000,
    ],
)
def test_what_exceeds_the_bounds_is_wrong_before_anything_is_computed(math: Verifier, text: str):
    [judgement] = math.judge([answered("1", text)])
    assert (judgement.status, judgement.cpu_seconds, judgement.sandbox) == (Status.FAIL, 0.0, "")


def test_plain_numbers_never_reach_the_sandbox_and_others_say_where_they_ran(math: Verifier):
    plain, other = math.judge([answered("1/2", "0.5"), answered(r"\sqrt{8}", r"2\sqrt{2}")])
    assert (plain.status, plain.sandbox, plain.cpu_seconds) == (Status.PASS, "", 0.0)
    assert (other.status, Level(other.sandbox).rank > 0, other.cpu_seconds > 0) == (Status.PASS, True, True)


def test_a_reference_that_cannot_be_read_is_not_the_answers_fault(math: Verifier):
    judgements = math.judge(
        [answered(reference, "4") for reference in ("?", "", "4 \\& 5", "1/0", r"\ln(0)", "x" * 300)]
    )
    assert {judgement.status for judgement in judgements} == {Status.UNVERIFIABLE}
    assert all("reference" in judgement.reason for judgement in judgements)


def test_a_disagreement_is_no_verdict_and_shows_both_forms(math: Verifier):
    [judgement] = math.judge([answered(r"\arcsin(x)+\arccos(x)", r"\pi/2")])
    assert judgement.status is Status.UNVERIFIABLE
    assert "acos(x) + asin(x)" in judgement.reason
    assert "pi/2" in judgement.reason


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        (Ending.CPU_LIMIT, Status.FAIL),
        (Ending.MEMORY, Status.FAIL),
        (Ending.TROUBLE, Status.UNVERIFIABLE),
        (Ending.CRASH, Status.UNVERIFIABLE),
        (Ending.ERROR, Status.UNVERIFIABLE),
        (Ending.PROTOCOL, Status.UNVERIFIABLE),
        (Ending.IDLE, Status.UNVERIFIABLE),
    ],
)
def test_only_the_answers_own_cost_counts_against_it(math: Verifier, ending: Ending, status: Status):
    assert isinstance(math, Math)

    class Broken:
        """A sandbox in which every job ends in one way."""

        def run(self, jobs):
            return [Outcome(ending=ending, detail="so it goes", level=Level.SEAL) for _ in jobs]

    broken = as_kind(math, "auto")
    broken._sandbox = Broken()
    [judgement] = broken.judge([answered(r"\sqrt{8}", r"2\sqrt{2}")])
    assert judgement.status is status
    assert ending.value in judgement.reason


def test_judging_in_one_batch_keeps_answers_and_judgements_together(math: Verifier):
    pairs = [(rf"\sqrt{{{n}}}", rf"{n}/\sqrt{{{m}}}") for n in (2, 3, 5) for m in (2, 3, 5)]
    texts = [answered(*pair) for pair in pairs] + [answered("1", "1"), answered("1", "2"), answered("?", "2")]
    judgements: list[Judgement] = math.judge(texts)
    assert [j.status is Status.PASS for j in judgements[:9]] == [n == m for n in (2, 3, 5) for m in (2, 3, 5)]
    assert [j.status for j in judgements[9:]] == [Status.PASS, Status.FAIL, Status.UNVERIFIABLE]


def test_sympy_stays_out_of_this_process(math: Verifier):
    import subprocess
    import sys

    program = (
        "import sys, bootstrap.scoring.math; print([name for name in ('sympy', 'math_verify') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("2", "number"),
        (r"2\pi", "number"),
        ("2x", "expression"),
        ("(1,2)", "tuple"),
        ("1, 2", "tuple"),
        (r"\{1\}", "set"),
        ("[1,2]", "interval"),
        (r"(1,\infty)", "interval"),
        ("x=1", "number"),
        ("y=2x", "equation"),
        ("x<y", "inequality"),
        ("x<1", "interval"),
        (r"\begin{pmatrix} 1 & 2 \end{pmatrix}", "matrix"),
        ("3:2", "ratio"),
        ("east", "word"),
    ],
)
def test_a_text_has_one_kind(text: str, kind: math_nodes.Kind):
    assert math_text.read(text).kind == kind
    assert math_text.read(text, kind=kind).kind == kind
    # A number is an expression, a list may be asked for as a set, and a pair in brackets as an interval.
    also: dict[str, tuple[str, ...]] = {
        "2": ("expression",),
        r"2\pi": ("expression",),
        "1, 2": ("set",),
        "(1,2)": ("interval",),
        "x=1": ("expression", "equation"),
        "x<1": ("inequality",),
        "y=2x": ("expression",),
    }
    for other in math_nodes.KINDS:
        if other not in (kind, *also.get(text, ())):
            with pytest.raises(math_nodes.Unreadable):
                math_text.read(text, kind=other)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1/2x", "right after a slash"),
        (r"1/2\pi", "right after a slash"),
        ("x2", "a number right after"),
        ("1 000", "a number right after"),
        ("1,234, 5", "thousands"),
        (r"10,\,080", "thousands"),
        ("0,123", "thousands"),
        ("1, 080", "begins with 0"),
        (r"2\frac{5}{3}", "mixed number"),
        (r"2\frac{1}{2}^2", "mixed number"),
        ("1 1/2x", "right after a slash"),
        (r"1 \pm 2 \pm 3", r"more than one"),
        ("3_2", "digits that the base"),
        (r"\$5 \%", "currency"),
        ("1 < x > 2", "one direction"),
        (r"\begin{pmatrix} 1 & 2 \\ 3 \end{pmatrix}", "different length"),
        (r"\begin{vmatrix} 1 & 2 \\ 3 & 4 \end{vmatrix}", "known kind"),
        ("2 e 3", "Euler"),
        ("2e 3", "Euler"),
        ("2 e3", "Euler"),
        ("2e + 3", "Euler"),
        ("1e1000", "power of ten beyond"),
        ("1e-99999999999", "power of ten beyond"),
        ("2^{1e6}", "exponent of more than 6"),
        ("1e2e3", "Euler"),
        ("1e2.5", "a number right after"),
        ("x1e2", "a number right after"),
        (r"\frac1e5", "without its argument"),
        ("1e2 1/2", "a number right after"),
        (r"\sin 2xy", "where it ends"),
        (r"\sin x / 2", "where it ends"),
        (r"\sin(x)^2", "of what"),
        (r"\sin^{-1}(x)", "exponent other than"),
        (r"\log x", "without a base"),
        ("f(x)", "a function or a product"),
        ("sin(x)", "a word: sin"),
        ("sqrt2", "a word: sqrt"),
        ("2^3^4", "after a power"),
        ("2^-1", "not in braces"),
        ("--1", "not understood"),
        ("x!", "factorial"),
        ("101!", "factorial"),
        (r"\sqrt[x]{2}", "root whose index"),
        (r"\frac{1}", "without its argument"),
        ("2^{1234567}", "exponent of more than 6"),
        ("a+b+c+d+h+j+k+l+m+n+o+p+q+r+s+t+u", "more than 16 variables"),
        (r"\left", "without a bracket"),
        ("(1", "missing"),
        ("{1)", "missing"),
        ("x_y_z", "not understood"),
        ("a=b=c", "more than one"),
        ("1,,2", "nothing beside"),
        (r"\infty + 1", "not understood"),
        ("0^{-1}", "a power of zero"),
    ],
)
def test_what_people_read_differently_or_not_at_all_is_refused(text: str, reason: str):
    with pytest.raises(math_nodes.Unreadable, match=reason):
        math_text.read(text)
