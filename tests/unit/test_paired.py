"""McNemar's exact test against a reference implementation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from bootstrap.paired import mcnemar_exact


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_agrees_with_scipy(gained, lost):
    expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar_exact(gained, lost=lost) == pytest.approx(expected, rel=1e-9)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_knows_no_direction(gained, lost):
    assert mcnemar_exact(gained, lost=lost) == mcnemar_exact(lost, lost=gained)


def test_mcnemar_stays_exact_for_large_counts():
    assert mcnemar_exact(760, lost=0) == 2 / 2**760
    assert mcnemar_exact(20_000, lost=0) == 0.0
