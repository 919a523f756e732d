"""Numbers: every spelling of one is equal, no other one ever is, and no text makes the reader fail."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import example, given, settings
from hypothesis import strategies as st

from bootstrap.config.answers import NumericVerifier, Whole
from bootstrap.records import Status
from bootstrap.scoring import numeric
from bootstrap.scoring.verifier import Answer, build_verifier

EXACT = build_verifier(NumericVerifier(answer=Whole()))
NEAR = build_verifier(NumericVerifier.model_validate({"answer": {"type": "whole"}, "absolute_tolerance": "0.25"}))
FRACTIONS = st.builds(Fraction, st.integers(-(10**30), 10**30), st.integers(1, 10**20))
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=6)


def verdict(verifier, reference: str, text: str) -> Status:
    [judgement] = verifier.judge([Answer(prompt="", text=text, reference=reference)])
    return judgement.status


@settings(max_examples=80)
@given(FRACTIONS, st.integers(1, 1000))
def test_an_unreduced_fraction_is_the_same_number(value: Fraction, factor: int):
    text = f"{value.numerator * factor}/{value.denominator * factor}"
    assert numeric.parse(text) == value
    assert verdict(EXACT, str(value), text) is Status.PASS


@settings(max_examples=80)
@given(DECIMALS, st.integers(-40, 40), st.integers(0, 5))
def test_moving_the_point_and_padding_with_zeros_changes_nothing(value: Decimal, shift: int, zeros: int):
    plain = f"{value:f}"
    moved = f"{value.scaleb(shift):f}"
    text = moved + ("0" * zeros if "." in moved else "." + "0" * zeros if zeros else "")
    assert verdict(EXACT, plain, f"{text}e{-shift}") is Status.PASS
    assert verdict(EXACT, plain, f"{text}E{-shift:+d}") is Status.PASS


@settings(max_examples=80)
@given(FRACTIONS.filter(bool), st.integers(1, 10**6))
def test_another_numerator_sign_or_exponent_never_passes(value: Fraction, step: int):
    other = Fraction(value.numerator + step, value.denominator)
    digits = f"{value.numerator}"
    assert verdict(EXACT, str(value), str(other)) is Status.FAIL
    assert verdict(EXACT, str(value), str(-value)) is Status.FAIL
    assert verdict(EXACT, f"{digits}e{step % 99}", f"{digits}e{step % 99 + 1}") is Status.FAIL


@settings(max_examples=80)
@given(DECIMALS, DECIMALS)
def test_within_the_tolerance_means_at_most_that_far_apart(left: Decimal, right: Decimal):
    close = abs(Fraction(left) - Fraction(right)) <= Fraction(1, 4)
    assert (verdict(NEAR, f"{left:f}", f"{right:f}") is Status.PASS) == close
    near = f"{left + Decimal('0.25'):f}"
    assert verdict(NEAR, f"{left:f}", near) is Status.PASS


@settings(max_examples=200)
@example("1E256")
@given(st.one_of(st.text(max_size=300), st.text("0123456789+-./eE,_ ", max_size=30)))
def test_any_text_is_a_number_or_refused(text: str):
    try:
        value = numeric.parse(text)
    except numeric.NotANumber:
        assert verdict(EXACT, "7919", text) is Status.FAIL
    else:
        # Written out, an exponent may take more digits than a reference can have.
        reference = str(value) if len(str(value)) <= numeric.MAX_LENGTH else text
        assert verdict(EXACT, reference, text) is Status.PASS
        assert text.isascii()
