"""FLOP formulas against hand-computed values."""

import pytest

from bootstrap.compute import ModelShape, forward_flops, generate_flops, train_flops

SHAPE = ModelShape(num_layers=2, hidden_size=4, num_matmul_parameters=100, num_parameters=130)


def test_a_forward_pass_costs_two_operations_per_parameter_and_token_plus_causal_attention():
    assert forward_flops(SHAPE, [3]) == 2 * 100 * 3 + 2 * 2 * 4 * 9
    assert forward_flops(SHAPE, [3, 5]) == forward_flops(SHAPE, [3]) + forward_flops(SHAPE, [5])


def test_training_costs_three_forward_passes():
    assert train_flops(SHAPE, [7]) == 3 * forward_flops(SHAPE, [7])


def test_sampling_runs_each_prompt_once_and_feeds_all_but_the_last_token():
    attention = 4 * 2 * 4
    expected = forward_flops(SHAPE, [6]) + 2 * (2 * 100 * 3 + attention * (6 * 3 + 9 / 2))
    assert generate_flops(SHAPE, prefills=[6], completions=[(6, 4), (6, 4)]) == pytest.approx(expected)


def test_an_answer_of_one_token_costs_only_its_prompt():
    assert generate_flops(SHAPE, prefills=[6], completions=[(6, 1)]) == forward_flops(SHAPE, [6])
