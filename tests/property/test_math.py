"""Mathematics: the same object passes however it is spelt, a perturbed one never does, and no text makes the reader
fail.
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootstrap.config.answers import MathVerifier, Whole
from bootstrap.records import Status
from bootstrap.scoring import math_nodes, math_text
from bootstrap.scoring.verifier import Answer, Tools, Verifier, build_verifier

pytestmark = pytest.mark.sandbox

FRACTIONS = st.builds(Fraction, st.integers(-(10**9), 10**9), st.integers(1, 10**6))
DISTINCT = st.lists(FRACTIONS, min_size=2, max_size=5, unique=True)


@pytest.fixture(scope="module")
def math() -> Iterator[Verifier]:
    verifier = build_verifier(MathVerifier(answer=Whole()), tools=Tools(processes=2))
    yield verifier
    verifier.close()


def verdicts(math: Verifier, pairs: list[tuple[str, str]]) -> list[Status]:
    """Return the verdict on each (reference, answer)."""
    answers = [Answer(prompt="", text=text, reference=reference) for reference, text in pairs]
    return [judgement.status for judgement in math.judge(answers)]


def spellings(value: Fraction) -> list[str]:
    """Return texts that all mean the number."""
    sign, above, below = "-" if value < 0 else "", abs(value.numerator), value.denominator
    texts = [
        f"{sign}{above}/{below}",
        rf"{sign}\frac{{{above}}}{{{below}}}",
        rf"{sign} \dfrac {{ {above} }} {{ {below} }}",
        rf"${sign}\tfrac{{{3 * above}}}{{{3 * below}}}$",
        rf"\frac{{{value.numerator}}}{{{below}}}",
        rf"{sign}\left({above} \div {below}\right)",
        rf"{sign}{above}\cdot {below}^{{-1}}",
    ]
    return [*texts, f"{sign}{above}"] if below == 1 else texts


def ordered(values: list[Fraction], *, brackets: str) -> str:
    left, right = brackets.split("|")
    return left + ", ".join(map(str, values)) + right


@settings(max_examples=30)
@given(FRACTIONS)
def test_a_number_is_equal_to_itself_however_it_is_spelt(math: Verifier, value: Fraction):
    texts = spellings(value)
    assert set(verdicts(math, list(product(texts, texts)))) == {Status.PASS}


@settings(max_examples=30)
@given(FRACTIONS.filter(bool), st.integers(1, 1000))
def test_another_numerator_denominator_or_sign_never_passes(math: Verifier, value: Fraction, step: int):
    others = [
        Fraction(value.numerator + step, value.denominator),
        Fraction(value.numerator, value.denominator + step),
        -value,
    ]
    texts = [text for other in others for text in spellings(other)]
    assert set(verdicts(math, [(str(value), text) for text in texts])) == {Status.FAIL}


@settings(max_examples=30)
@given(st.integers(2, 99), st.integers(-300, 300), st.integers(1, 5))
def test_another_exponent_never_passes(math: Verifier, base: int, exponent: int, step: int):
    pairs = [(f"{base}^{{{exponent}}}", f"{base}^{{{exponent + change}}}") for change in (step, -step)]
    assert set(verdicts(math, pairs)) == {Status.FAIL}
    assert verdicts(math, [(f"{base}^{{{exponent}}}", f"1/{base}^{{{-exponent}}}")]) == [Status.PASS]


@settings(max_examples=30)
@given(DISTINCT, st.randoms(use_true_random=False))
def test_order_counts_in_tuples_and_lists_and_not_in_sets(math: Verifier, values: list[Fraction], rng: Random):
    other = values[:]
    rng.shuffle(other)
    same = Status.PASS if other == values else Status.FAIL
    written = {b: (ordered(values, brackets=b), ordered(other, brackets=b)) for b in ("(|)", "|", r"\{|\}")}
    assert verdicts(math, list(written.values())) == [same, same, Status.PASS]
    mixed = [(a[0], b[0]) for (k, a), (m, b) in product(written.items(), repeat=2) if k != m]
    assert set(verdicts(math, mixed)) == {Status.FAIL}


@settings(max_examples=30)
@given(DISTINCT, FRACTIONS)
def test_a_member_more_or_less_never_passes(math: Verifier, values: list[Fraction], extra: Fraction):
    for brackets in ("(|)", "|", r"\{|\}"):
        reference = ordered(values, brackets=brackets)
        longer, shorter = ordered([*values, extra], brackets=brackets), ordered(values[:-1], brackets=brackets)
        expected = Status.PASS if brackets == r"\{|\}" and extra in values else Status.FAIL
        assert verdicts(math, [(reference, longer), (reference, shorter)]) == [expected, Status.FAIL]


@settings(max_examples=30)
@given(FRACTIONS, FRACTIONS, st.sampled_from(list(product("([", ")]"))), st.sampled_from(list(product("([", ")]"))))
def test_the_ends_of_an_interval_count(math: Verifier, low: Fraction, high: Fraction, ends: tuple, others: tuple):
    def written(marks: tuple, *values: Fraction) -> str:
        return f"{marks[0]}{values[0]},{values[1]}{marks[1]}"

    reference = written(ends, low, high)
    expected = [ends == others, low == high, False]
    texts = [written(others, low, high), written(ends, high, low), written(ends, low, high + 1)]
    assert [status is Status.PASS for status in verdicts(math, [(reference, text) for text in texts])] == expected


def polynomial(roots: list[tuple[int, int]], *, change: int) -> str:
    """Return the product of `(a x + b)` multiplied out, its second coefficient changed by so much."""
    coefficients = [1]
    for a, b in roots:
        longer = [0] * (len(coefficients) + 1)
        for power, coefficient in enumerate(coefficients):
            longer[power] += b * coefficient
            longer[power + 1] += a * coefficient
        coefficients = longer
    coefficients[1] += change
    return "+".join(f"({c})x^{{{power}}}" for power, c in enumerate(coefficients)).replace("x^{0}", "")


SMALL = st.integers(-9, 9)
ROOTS = st.lists(st.tuples(SMALL.filter(bool), SMALL), min_size=2, max_size=3)


@settings(max_examples=2)
@given(st.lists(st.tuples(ROOTS, SMALL.filter(bool)), min_size=6, max_size=6))
def test_a_polynomial_is_equal_to_its_factors_and_to_no_other(math: Verifier, cases: list):
    factored = ["".join(f"({a}x+{b})".replace("+-", "-") for a, b in roots) for roots, _ in cases]
    right = [(text, polynomial(roots, change=0)) for text, (roots, _) in zip(factored, cases, strict=True)]
    wrong = [(text, polynomial(roots, change=change)) for text, (roots, change) in zip(factored, cases, strict=True)]
    assert verdicts(math, right + wrong) == [Status.PASS] * len(right) + [Status.FAIL] * len(wrong)


@settings(max_examples=2)
@given(st.lists(st.tuples(st.integers(2, 60), st.integers(2, 12), st.integers(-9, 9)), min_size=6, max_size=6))
def test_a_root_is_equal_to_itself_with_a_square_taken_out_and_to_no_other(math: Verifier, cases: list):
    right = [(rf"\sqrt{{{n * k * k}}}+{m}".replace("+-", "-"), rf"{m}+{k}\sqrt{{{n}}}") for n, k, m in cases]
    wrong = [
        pair
        for n, k, m in cases
        for pair in (
            (rf"\sqrt{{{n * k * k}}}", rf"{k}\sqrt{{{n + 1}}}"),
            (rf"\sqrt{{{n * k * k}}}", rf"-{k}\sqrt{{{n}}}"),
            (rf"{m}+\sqrt[3]{{{n}}}", rf"{m}+\sqrt{{{n}}}"),
        )
    ]
    assert verdicts(math, right + wrong) == [Status.PASS] * len(right) + [Status.FAIL] * len(wrong)


COMMANDS = r"\frac \sqrt \left \right \{ \} \cup \infty \sin \log \pi \cdot \mathrm{e} \emptyset \, \\"
PIECES = st.sampled_from([*COMMANDS.split(), *"0123456789xyei+-*/^_!,=()[]{} .$%", "12", "é", "\x00", "\ud800"])


@settings(max_examples=300)
@given(st.lists(PIECES, max_size=30).map("".join), st.sampled_from([None, *math_nodes.KINDS]))
def test_any_text_is_read_or_refused_and_reads_the_same_again(text: str, kind: math_nodes.Kind | None):
    try:
        reading = math_text.read(text, kind=kind)
    except math_nodes.Unreadable as error:
        assert str(error)
        return
    for item in (item for block in reading.blocks for item in block.items):
        if item.node.op != "infinity":
            assert math_text.scalar(item.text) == item.node
