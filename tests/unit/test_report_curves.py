"""Compute against quality: curves from the ledger, ScaleRL's sigmoid, the picture, the command."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from support import lineage_factory
from support.lineage_factory import PROMOTED, REJECTED

from bootstrap.cli.main import main
from bootstrap.errors import RecipeError
from bootstrap.evaluation.scaling import MIN_POINTS, fit_sigmoid
from bootstrap.lineage import picture
from bootstrap.lineage.curves import Curve, Point, Quality, curve
from bootstrap.records import Outcome
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore


def sigmoid(flops: float, *, start: float, ceiling: float, midpoint: float, steepness: float) -> float:
    return start + (ceiling - start) / (1 + (midpoint / flops) ** steepness)


@pytest.fixture
def entries(tmp_path: Path) -> list[Entry]:
    lineage_factory.build(tmp_path / "runs" / "addition", plan=(PROMOTED, REJECTED, PROMOTED))
    return LineageStore(tmp_path / "runs" / "addition").ledger.read()


@pytest.mark.parametrize(("ceiling", "midpoint", "steepness"), [(0.8, 3e12, 1.3), (1.0, 2e11, 2.5), (0.55, 5e12, 0.9)])
def test_the_fit_finds_the_parameters_that_made_the_points(ceiling: float, midpoint: float, steepness: float):
    flops = np.geomspace(midpoint / 30, midpoint * 30, 14)
    values = [sigmoid(c, start=0.1, ceiling=ceiling, midpoint=midpoint, steepness=steepness) for c in flops]
    fit = fit_sigmoid([0.0, *flops], [0.1, *values], start=0.1, highest=1.0)
    assert fit is not None and not fit.unidentified
    assert fit.ceiling.value == pytest.approx(ceiling, rel=1e-3)
    assert fit.midpoint.value == pytest.approx(midpoint, rel=1e-2)
    assert fit.steepness.value == pytest.approx(steepness, rel=1e-2)
    assert fit.at(midpoint) == pytest.approx((0.1 + ceiling) / 2, rel=1e-3)


def test_standard_errors_cover_the_truth_under_noise():
    rng = np.random.default_rng(0)
    flops = np.geomspace(1e10, 1e14, 20)
    inside = 0
    for _ in range(40):
        values = [sigmoid(c, start=0.2, ceiling=0.9, midpoint=1e12, steepness=1.0) for c in flops]
        noisy = [value + rng.normal(0, 0.01) for value in values]
        fit = fit_sigmoid(flops, noisy, start=0.2, highest=1.0)
        assert fit is not None
        inside += abs(fit.ceiling.value - 0.9) < 2 * fit.ceiling.error
    assert inside >= 32, "two standard errors hold the ceiling about 95 times in 100"


def test_a_curve_that_has_not_bent_identifies_no_ceiling():
    flops, rng = np.geomspace(1e10, 1e11, 12), np.random.default_rng(1)
    values = [sigmoid(c, start=0.1, ceiling=0.9, midpoint=2e12, steepness=1.0) + rng.normal(0, 0.004) for c in flops]
    for highest in (1.0, math.inf):
        fit = fit_sigmoid(flops, values, start=0.1, highest=highest)
        assert fit is not None and "A" in fit.unidentified


def test_too_few_points_or_no_gain_give_no_fit():
    flops = list(np.geomspace(1e10, 1e12, MIN_POINTS))
    assert fit_sigmoid(flops[1:], [0.5] * (MIN_POINTS - 1), start=0.1, highest=1.0) is None
    assert fit_sigmoid(flops, [0.1] * MIN_POINTS, start=0.1, highest=1.0) is None
    assert fit_sigmoid([0.0, *flops[1:]], [0.1] + [0.5] * (MIN_POINTS - 1), start=0.1, highest=1.0) is None


def test_rejected_generations_cost_and_do_not_count(entries: list[Entry]):
    found = curve(entries, quality=Quality())
    totals = [entry.generation.compute.total_flops for entry in entries]
    assert [p.total for p in found.points] == [0.0, totals[1], totals[1] + totals[2], sum(totals[1:])]
    assert found.base_flops == totals[0]
    assert found.points[2].outcome is REJECTED and found.points[2].value == found.points[1].value
    assert [p.value for p in found.points] == [
        float(entries[entry.generation.champion].generation.report.frontier) for entry in entries
    ]


def test_evaluation_can_be_left_out_of_the_cost(entries: list[Entry]):
    whole, without = (curve(entries, quality=Quality(), count_evaluation=count) for count in (True, False))
    assert whole.points[-1].total - without.points[-1].total == pytest.approx(whole.points[-1].flops["evaluate"])


def test_a_mean_over_levels_has_a_narrower_band_than_its_levels_and_unmeasured_levels_count_as_zero(
    entries: list[Entry],
):
    rows = entries[0].generation.report.levels
    one = curve(entries, quality=Quality(kind="accuracy", levels=(rows[0].level,))).points[0]
    assert (one.value, one.low, one.high) == (rows[0].accuracy, rows[0].interval.low, rows[0].interval.high)
    levels = tuple(row.level for row in rows[:2])
    two = curve(entries, quality=Quality(kind="accuracy", levels=levels)).points[0]
    assert two.value == pytest.approx(sum(row.accuracy for row in rows[:2]) / 2)
    widths = [row.interval.high - row.interval.low for row in rows[:2]]
    assert two.low is not None and two.high is not None and two.high - two.low < max(widths)
    beyond = max(row.level for entry in entries for row in entry.generation.report.levels) + 1
    far = curve(entries, quality=Quality(kind="accuracy", levels=(beyond,)))
    assert far.unmeasured == (beyond,) and {p.value for p in far.points} == {0.0}


def test_flops_to_a_value_are_those_of_the_first_champion_there(entries: list[Entry]):
    found = curve(entries, quality=Quality())
    assert found.flops_to(found.points[0].value) == 0.0
    assert found.flops_to(found.points[-1].value) == next(
        p.total for p in found.points if p.value >= found.points[-1].value
    )
    assert found.flops_to(1000) is None


def points(values: list[float]) -> tuple[Point, ...]:
    return tuple(
        Point(
            generation=number,
            outcome=Outcome.PROMOTED if number else Outcome.BASE,
            flops={"train": 1e12 * number},
            total=1e12 * number,
            value=value,
            low=value - 0.02,
            high=value + 0.02,
            own=value,
        )
        for number, value in enumerate(values)
    )


def test_the_picture_holds_every_lineage_its_points_and_its_law():
    quality = Quality(kind="accuracy", levels=(5,))
    curves = [
        Curve(lineage=name, quality=quality, points=points(values), base_flops=0.0, unmeasured=())
        for name, values in (("one", [0.1, 0.4, 0.8]), ("two", [0.2]), ("three", [0.3, 0.5, 0.6]))
    ]
    fit = picture.Fitted(value_at=lambda flops: math.tanh(flops / 1e12), label="law")
    figure = picture.draw(curves, [fit, None, None], counted="all categories")
    [axes] = figure.axes
    assert axes.get_xscale() == "log" and "FLOPs" in axes.get_xlabel() and axes.get_ylabel() == quality.label
    legend = axes.get_legend()
    assert legend is not None
    shown = [entry.get_text() for entry in legend.get_texts()]
    assert shown == ["one", "law", "two (generation 0 alone: 0.2)", "three"]
    steps = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    assert [list(line.get_ydata()) for line in steps] == [[0.1, 0.4, 0.8], [0.3, 0.5, 0.6]]
    assert len({line.get_color() for line in steps}) == 2
    png = picture.to_png(figure)
    assert png.startswith(b"\x89PNG") and png == picture.to_png(figure)


def test_the_command_writes_picture_and_numbers(entries: list[Entry], tmp_path: Path, capsys):
    store = ("--store", str(tmp_path / "runs"), "--no-publish")
    assert main(["report", *store, "--json", "--out", str(tmp_path / "a.png")]) == 0
    data = json.loads(capsys.readouterr().out)
    [found] = data["lineages"]
    assert found["sigmoid"] is None and len(found["points"]) == len(entries)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert main(["report", *store, "--table"]) == 0
    head, _, row = capsys.readouterr().out.strip().splitlines()
    assert head.count("|") == row.count("|") and "addition" in row and "2/3 promoted" in row
    assert (tmp_path / "runs" / "reports" / "addition.png").exists()


def test_levels_that_cannot_be_read_are_refused(entries: list[Entry], tmp_path: Path, capsys):
    store = ("--store", str(tmp_path / "runs"), "--no-publish")
    for levels in ("0", "5-3", "x", "1-99999"):
        assert main(["report", *store, "--metric", "accuracy", "--levels", levels]) != 0
        assert "names no levels" in capsys.readouterr().err
    assert main(["report", "addition", "addition", *store]) != 0
    assert "named twice" in capsys.readouterr().err
    assert main(["report", "adition", *store]) != 0
    assert "did you mean addition" in capsys.readouterr().err


def test_sampled_shares_of_levels_nobody_sampled_are_refused(entries: list[Entry]):
    with pytest.raises(RecipeError, match="--metric accuracy"):
        curve(entries, quality=Quality(kind="pass_at_k", levels=(99,)))
