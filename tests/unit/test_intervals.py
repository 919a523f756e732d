"""Wilson intervals and paired lower bounds against published and reference values."""

import math
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from bootstrap.evaluation.intervals import paired_lower_bound, wilson


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


def test_the_paired_bound_is_the_difference_less_the_quantile_times_the_sample_error():
    differences = [1] * 12 + [-1] * 30 + [0] * 958
    mean = sum(differences) / 1000
    error = math.sqrt(sum((d - mean) ** 2 for d in differences) / 1000) / math.sqrt(1000)
    expected = mean - NormalDist().inv_cdf(0.95) * error
    assert paired_lower_bound(12, lost=30, total=1000) == pytest.approx(expected, abs=1e-12)


def test_a_published_paired_difference_has_its_published_error():
    # Agresti, Categorical Data Analysis: approval of the prime minister, 86 and 150 changes of mind among 1600,
    # difference 0.04 with standard error 0.0095.
    bound = paired_lower_bound(150, lost=86, total=1600, confidence=0.975)
    assert bound == pytest.approx(0.04 - 1.96 * 0.0095, abs=5e-4)


def test_without_discordant_pairs_the_difference_is_exactly_zero():
    assert paired_lower_bound(0, lost=0, total=50) == 0.0


def test_a_unanimous_change_has_no_error():
    assert paired_lower_bound(0, lost=7, total=7) == -1.0
    assert paired_lower_bound(7, lost=0, total=7) == 1.0


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
