"""pass@k, majority@k, frontier and generalization margin against counting and reference implementations."""

from itertools import combinations

import pytest

from bootstrap.evaluation.metrics import (
    frontier,
    generalization_margin,
    majority_at_k,
    pass_at_k,
    pool_small,
)


@pytest.mark.parametrize("num_samples", [1, 4, 7])
def test_pass_at_k_is_the_share_of_k_subsets_with_a_right_answer(num_samples):
    for num_right in range(num_samples + 1):
        for k in range(1, num_samples + 1):
            subsets = list(combinations([True] * num_right + [False] * (num_samples - num_right), k))
            share = sum(any(subset) for subset in subsets) / len(subsets)
            assert pass_at_k(num_right, num_samples=num_samples, k=k) == pytest.approx(share)


def test_pass_at_more_than_the_samples_is_refused():
    with pytest.raises(AssertionError):
        pass_at_k(1, num_samples=4, k=5)


def test_the_majority_is_taken_among_the_first_k_answers():
    answers, right = ["x", "y", "y", "x", "x"], [False, True, True, False, False]
    assert majority_at_k(answers, right, k=3)
    assert not majority_at_k(answers, right, k=5)


def test_a_tie_goes_to_the_answer_that_reached_the_count_first():
    assert majority_at_k(["x", "y", "y", "x"], [False, True, True, False], k=4)
    assert not majority_at_k(["x", "y", "x", "y"], [False, True, False, True], k=4)
    assert majority_at_k(["y", "x"], [True, False], k=2)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [({1: 1.0, 2: 0.95, 3: 0.94, 4: 1.0}, 2), ({1: 0.5, 2: 1.0}, 0), ({2: 1.0}, 0), ({}, 0), ({1: 1.0}, 1)],
)
def test_the_frontier_is_the_last_level_before_the_first_gap(shares, expected):
    assert frontier(shares, mastered=0.95) == expected


def test_small_levels_are_pooled_with_the_next_until_there_are_enough_prompts():
    assert pool_small({1: 17, 2: 997, 3: 1000}, min_prompts=100) == [(1, 2), (3,)]
    assert pool_small({1: 4, 2: 9, 3: 172, 4: 1000}, min_prompts=100) == [(1, 2, 3), (4,)]
    assert pool_small({1: 200, 2: 40}, min_prompts=100) == [(1, 2)]
    assert pool_small({1: 40}, min_prompts=100) == [(1,)]
    assert pool_small({}, min_prompts=100) == []


@pytest.mark.parametrize(
    ("shares", "expected"), [({5: 0.5, 6: 0.6, 7: 0.4, 8: 0.9}, 2), ({5: 0.49, 6: 1.0}, 0), ({6: 1.0}, 0), ({}, 0)]
)
def test_the_generalization_margin_counts_consecutive_levels_beyond_the_trained_ones(shares, expected):
    assert generalization_margin(shares, trained_level=4) == expected
