"""The sampling distribution and per-sample randomness."""

import math

import numpy as np
import pytest
import torch

from bootstrap.rollouts.sampling import distribution, draw, entropy, uniform

pytestmark = pytest.mark.torch

LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0], [0.0, 0.0, 0.0, 0.0]])


def test_random_numbers_depend_on_seed_and_position_alone():
    seeds = np.array([3, 5, 7], dtype=np.uint64)
    together = uniform(seeds, 4)
    alone = np.array([uniform(seeds[i : i + 1], 4)[0] for i in range(3)])
    assert (together == alone).all()
    assert len({*uniform(seeds, 4), *uniform(seeds, 5)}) == 6


def test_random_numbers_are_uniform():
    values = uniform(np.arange(100_000, dtype=np.uint64), 0)
    assert values.min() >= 0 and values.max() < 1
    counts, _ = np.histogram(values, bins=20, range=(0, 1))
    # Chi-square with 19 degrees of freedom: 43.8 is its 0.999 quantile.
    assert ((counts - 5000) ** 2 / 5000).sum() < 43.8


def test_splitmix_matches_its_published_sequence():
    # First outputs of SplitMix64 from state 1234567 in the reference implementation by S. Vigna.
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    found = [uniform(np.array([1234567], dtype=np.uint64), p)[0] for p in range(3)]
    assert found == [(value >> 11) * 2.0**-53 for value in expected]


def test_draws_follow_the_distribution():
    logprobs = distribution(LOGITS[:1].expand(50_000, -1), temperature=1.0)
    tokens = draw(logprobs, uniform(np.arange(50_000, dtype=np.uint64), 1))
    shares = torch.bincount(tokens, minlength=4) / 50_000
    assert torch.allclose(shares, torch.softmax(LOGITS[0], -1), atol=0.01)


def test_temperature_divides_the_logits():
    assert torch.allclose(distribution(LOGITS, temperature=0.5), torch.log_softmax(LOGITS / 0.5, -1))


def test_top_k_keeps_k_tokens_and_renormalises():
    probabilities = distribution(LOGITS[:1], temperature=1.0, top_k=2).exp()
    assert (probabilities > 0).sum() == 2
    assert probabilities.sum().item() == pytest.approx(1)


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    shares = torch.softmax(LOGITS[0], -1)
    assert shares[0] < 0.7 < shares[:2].sum()
    probabilities = distribution(LOGITS[:1], temperature=1.0, top_p=0.7).exp()
    assert (probabilities > 0).tolist() == [[True, True, False, False]]


def test_a_token_of_probability_zero_is_never_drawn():
    logprobs = distribution(LOGITS[:1], temperature=1.0, top_k=1).expand(3, -1)
    assert draw(logprobs, np.array([0.0, 0.5, 1 - 2.0**-53])).tolist() == [0, 0, 0]
    last = torch.log_softmax(torch.tensor([[-torch.inf, 0.0, 0.0]]), -1)
    assert draw(last, np.array([0.0])).item() == 1


def test_entropy_of_a_uniform_distribution_is_the_logarithm_of_its_size():
    assert entropy(distribution(LOGITS[1:], temperature=1.0)).item() == pytest.approx(math.log(4))
    assert entropy(distribution(LOGITS[:1], temperature=1.0, top_k=1)).item() == pytest.approx(0)
