"""The simulation behind docs/gate.md: its models are what it says they are, and its table comes out of the gate."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "gate.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("gate_benchmark", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize(("share", "discordance", "lost"), [(0.95, 0.05, 0.0), (0.92, 0.02, 0.03), (0.4, 0.1, 0.0)])
def test_equal_models_differ_by_the_discordance_and_answer_the_share(bench, share, discordance, lost):
    rng = np.random.default_rng(0)
    one, other = (bench.level(100_000, share, discordance=discordance, lost=lost, rng=rng) for _ in range(2))
    assert one.mean() == pytest.approx(share, abs=0.005)
    if not lost:
        assert (one != other).mean() == pytest.approx(discordance, abs=0.005)


def test_a_row_of_the_table_comes_out_of_the_gate(bench):
    rates = bench.measure(bench.Scene(prompts=100, levels=2, discordance=0.02), 4)
    equal, ever, shared, first, _, margin, one = rates
    assert all(0 <= rate <= 1 for rate in rates)
    assert shared <= ever and equal <= ever
    assert max(first, margin, one) < 1


def test_a_panel_of_few_prompts_keeps_equals_out_more_often_than_a_large_one(bench):
    few, many = (bench.measure_panel(prompts, 0.1, 12)[0] for prompts in (100, 4000))
    assert few > many
