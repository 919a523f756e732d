"""Wilson intervals and paired lower bounds against published and reference values."""

import math
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from bootstrap.evaluation.intervals import paired_interval, paired_lower_bound, wilson


@given(st.integers(1, 2000), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_agrees_with_scipy(total, share, confidence):
    right = round(share * total)
    interval = wilson(right, total=total, confidence=confidence)
    reference = binomtest(right, total).proportion_ci(confidence, method="wilson")
    assert interval.low == pytest.approx(reference.low, abs=1e-12)
    assert interval.high == pytest.approx(reference.high, abs=1e-12)
    assert 0 <= interval.low <= right / total <= interval.high <= 1


def test_wilson_at_the_ends_is_exact_on_the_closed_side_and_open_on_the_other():
    assert wilson(0, total=10).low == 0.0
    assert 0 < wilson(0, total=10).high < 0.4
    assert wilson(10, total=10).high == 1.0
    assert 0.6 < wilson(10, total=10).low < 1


def test_wilson_of_nothing_says_nothing():
    interval = wilson(0, total=0)
    assert (interval.low, interval.high, interval.confidence) == (0.0, 1.0, 0.95)


def test_published_paired_intervals_are_met():
    # Airway hyper-responsiveness before and after stem cell transplantation (Bentur et al. 2009): of 21 children 1 and
    # 7 changed. Fagerland, Lydersen & Laake, Statistics in Medicine 33:2850-2875 (2014), give Tango's interval.
    interval = paired_interval(1, lost=7, total=21)
    assert (round(interval.low, 3), round(interval.high, 3)) == (-0.517, -0.026)


@pytest.mark.parametrize(("gained", "lost", "total"), [(3, 9, 40), (0, 5, 30), (12, 2, 50), (1, 1, 200)])
def test_the_score_holds_the_likeliest_shares_under_the_difference(gained, lost, total):
    """Tango's score is the distance over its standard error at the maximum of the likelihood, found here by search."""

    def likelihood(q, difference):
        p, same = q + difference, 1 - 2 * q - difference
        if p < 0 or same < 0:
            return -math.inf
        terms = ((gained, p), (lost, q), (total - gained - lost, same))
        return sum(count * (math.log(share) if share else -math.inf) for count, share in terms if count)

    bound = paired_lower_bound(gained, lost=lost, total=total)
    grid = [step / 200_000 for step in range(200_001)]
    q = max(grid, key=lambda q: likelihood(q, bound))
    error = math.sqrt((2 * q + bound - bound**2) / total)
    assert ((gained - lost) / total - bound) / error == pytest.approx(NormalDist().inv_cdf(0.95), abs=2e-3)


def test_answers_that_all_agree_show_no_more_than_their_number_can():
    z = NormalDist().inv_cdf(0.95)
    assert paired_lower_bound(0, lost=0, total=50) == pytest.approx(-z * z / (50 + z * z))


def test_the_bound_keeps_its_error_at_small_totals():
    """A true loss of exactly the margin passes in at most 5 % of the samples, where the normal bound passes 19.5 %."""
    passes = sum(
        math.comb(100, lost) * 0.03**lost * 0.97 ** (100 - lost)
        for lost in range(101)
        if paired_lower_bound(0, lost=lost, total=100) >= -0.03
    )
    assert passes <= 0.05


def test_a_unanimous_change_has_its_own_bound():
    assert paired_lower_bound(0, lost=7, total=7) == -1.0
    assert 0 < paired_lower_bound(7, lost=0, total=7) < 1
    assert paired_interval(7, lost=0, total=7).high == 1.0


def test_the_interval_of_the_reverse_is_the_reverse():
    forth, back = paired_interval(9, lost=4, total=60), paired_interval(4, lost=9, total=60)
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low))


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 1000))
def test_more_confidence_never_raises_the_bound(gained, lost, rest):
    total = gained + lost + rest + 1
    careful = paired_lower_bound(gained, lost=lost, total=total, confidence=0.99)
    assert careful <= paired_lower_bound(gained, lost=lost, total=total, confidence=0.9)


def test_impossible_counts_are_refused():
    with pytest.raises(AssertionError):
        wilson(11, total=10)
    with pytest.raises(AssertionError):
        paired_lower_bound(6, lost=6, total=10)
