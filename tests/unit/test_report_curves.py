"""Compute against quality: curves from the ledger, ScaleRL's sigmoid, the picture, the command."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import lineage_factory
from support.lineage_factory import PROMOTED, REJECTED, UNGATED

from bootstrap.cli.main import main
from bootstrap.cli.report import to_json
from bootstrap.cli.report_curves import Reported, fit
from bootstrap.cli.report_tables import markdown, print_report
from bootstrap.config.recipe import Recipe
from bootstrap.errors import RecipeError
from bootstrap.evaluation.scaling import MIN_POINTS, fit_sigmoid
from bootstrap.ledger_records import Compute, ComputeCost, Edge, GenerationOutcome
from bootstrap.lineage import picture, text
from bootstrap.lineage.curves import Curve, CurvePoint, Quality, arms, curve
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


def points(values: list[float]) -> tuple[CurvePoint, ...]:
    return tuple(
        CurvePoint(
            generation=number,
            outcome=GenerationOutcome.PROMOTED if number else GenerationOutcome.BASE,
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
    assert (tmp_path / "runs" / ".reports" / "addition.png").exists()


def test_levels_that_cannot_be_read_are_refused(entries: list[Entry], tmp_path: Path, capsys):
    store = ("--store", str(tmp_path / "runs"), "--no-publish")
    for levels in ("0", "5-3", "x", "1-99999", "\u00b2", "\u0663", "5-\u00b2", "5-", 5000 * "9"):
        assert main(["report", *store, "--metric", "accuracy", "--levels", levels]) != 0
        assert "names no levels" in capsys.readouterr().err
    assert main(["report", "addition", "addition", *store]) != 0
    assert "named twice" in capsys.readouterr().err
    assert main(["report", "adition", *store]) != 0
    assert "did you mean addition" in capsys.readouterr().err


def test_generation_0_alone_is_told_to_have_no_target(tmp_path: Path, capsys):
    lineage_factory.build(tmp_path / "young" / "addition", plan=())
    asked = ("report", "--store", str(tmp_path / "young"), "--no-publish", "--metric", "accuracy")
    assert main([*asked]) == 2
    assert "nothing is grown beyond generation 0" in capsys.readouterr().err
    assert main([*asked, "--levels", "4"]) == 0


def test_sampled_shares_of_levels_nobody_sampled_are_refused(entries: list[Entry]):
    with pytest.raises(RecipeError, match="--metric accuracy"):
        curve(entries, quality=Quality(kind="pass_at_k", levels=(99,)))


def node(
    template: Entry, number: int, *, outcome: GenerationOutcome = PROMOTED, champion: int | None = None, **made: Any
) -> Entry:
    """Return a generation with what `made` says: `stage`; `init`, `teachers`, `data` (numbers); `train` (FLOPs);
    `frontier`; `spent` (of a fork's origin)."""
    roles = {"init": [made["init"]] if made.get("init") is not None else []}
    roles |= {"teacher": made.get("teachers", []), "data": made.get("data", [])}
    edges = [
        Edge(role=role, generation=source, fingerprint="f" * 64) for role, found in roles.items() for source in found
    ]
    if "compute_cost" in made:
        there = {"external": "old@gen-2", "record": "r" * 64, "compute_cost": made["compute_cost"]}
        edges.append(Edge(role="init", generation=None, fingerprint="f" * 64, **there))
    changes = {
        "number": number,
        "stage": made.get("stage", ""),
        "outcome": outcome,
        "champion": number if champion is None else champion,
        "edges": tuple(edges),
        "compute": Compute(flops={"train": made.get("train", 100.0), "evaluate": 1.0}),
        "report": template.generation.report.model_copy(update={"frontier": made.get("frontier", 4)}),
    }
    return replace(template, generation=template.generation.model_copy(update=changes))


@pytest.fixture
def distilled(entries: list[Entry]) -> list[Entry]:
    """Two champions; a fresh student left ungated, two arms that start from it, one of which the champion teaches; a
    champion that learns from that arm."""
    one = entries[0]
    kept = {"outcome": UNGATED, "champion": 2}
    return [
        node(one, 0, outcome=GenerationOutcome.BASE, train=10.0),
        node(one, 1, init=0, train=100.0, frontier=5),
        node(one, 2, init=1, data=[0, 1], train=200.0, frontier=6),
        node(one, 3, **kept, stage="student", train=1000.0, frontier=3),
        node(one, 4, **kept, stage="alone", init=3, train=40.0, frontier=3),
        node(one, 5, **kept, stage="taught", init=3, teachers=[2], data=[1, 2], train=50.0, frontier=5),
        node(one, 6, init=2, teachers=[5], train=400.0, frontier=7),
    ]


def test_an_arm_costs_what_it_descends_from_and_no_other_arm(distilled: list[Entry]):
    found = {arm.name: arm for arm in arms(distilled, quality=Quality(), count_evaluation=False)}
    costs = {name: [(p.generation, p.total, p.value) for p in arm.points] for name, arm in found.items()}
    assert costs == {
        "addition: student": [(3, 1000.0, 3.0)],
        "addition: alone": [(4, 1040.0, 3.0)],
        "addition: taught": [(5, 100.0 + 200.0 + 1000.0 + 50.0, 5.0)],
    }
    starts = {name: arm.start and (arm.start.generation, arm.start.total) for name, arm in found.items()}
    assert starts == {"addition: student": None, "addition: alone": (3, 1000.0), "addition: taught": (3, 1000.0)}
    assert {name: arm.base_flops for name, arm in found.items()} == {
        "addition: student": 0.0,
        "addition: alone": 0.0,
        "addition: taught": 10.0,
    }


def test_what_is_left_ungated_costs_the_champion_only_where_the_champion_learns_from_it(distilled: list[Entry]):
    found = curve(distilled, quality=Quality(), count_evaluation=False)
    assert [(p.generation, p.total, p.value) for p in found.points] == [
        (0, 0.0, 4.0),
        (1, 100.0, 5.0),
        (2, 300.0, 6.0),
        (6, 300.0 + 1000.0 + 50.0 + 400.0, 7.0),
    ]
    assert found.base_flops == 10.0


@pytest.fixture
def scouted(entries: list[Entry]) -> list[Entry]:
    """Four siblings left ungated, of which the second is the best; the last stage starts from that one."""
    one = entries[1]

    def scout(number: int, share: float) -> Entry:
        made = node(one, number, outcome=UNGATED, champion=0, stage="scouts", init=0, train=10.0 * number, frontier=4)
        decision, improvement = made.generation.decision, made.generation.decision.improvement
        assert improvement is not None
        changed = decision.model_copy(update={"improvement": improvement.model_copy(update={"candidate": share})})
        report = made.generation.report.model_copy(update={"frontier": 4 + round(10 * share)})
        update = {"decision": changed, "report": report}
        return replace(made, generation=made.generation.model_copy(update=update))

    scouts = [scout(number, share) for number, share in ((1, 0.2), (2, 0.4), (3, 0.3), (4, 0.1))]
    last = node(one, 5, stage="last", init=2, train=1000.0, frontier=9)
    return [node(one, 0, outcome=GenerationOutcome.BASE, train=1.0), *scouts, last]


def fours(number: int) -> range:
    """Generations 1 to 4 start from one parent."""
    return range(1, 5) if 1 <= number <= 4 else range(number, number + 1)


def test_what_starts_from_the_best_of_siblings_pays_for_all_of_them(scouted: list[Entry]):
    found = curve(scouted, quality=Quality(), count_evaluation=False, siblings=fours)
    assert [(p.generation, p.total) for p in found.points] == [(0, 0.0), (5, 10.0 + 20.0 + 30.0 + 40.0 + 1000.0)]
    assert found.base_flops == 1.0


def test_a_sibling_costs_those_tried_before_it_and_none_that_comes_later(scouted: list[Entry]):
    one = scouted[1]
    taught = node(one, 3, outcome=UNGATED, champion=0, stage="scouts", init=0, data=[1], train=30.0)
    arm_of_the_last = node(one, 6, outcome=UNGATED, champion=5, stage="rest", init=2, train=5.0)
    lineage = [*scouted[:3], taught, *scouted[4:], arm_of_the_last]
    scouts, rest = arms(lineage, quality=Quality(), count_evaluation=False, siblings=fours)
    assert [(p.generation, p.total) for p in scouts.points] == [(1, 10.0), (2, 30.0), (3, 60.0), (4, 100.0)]
    assert rest.start is not None and rest.start.total == 100.0
    assert [p.total for p in rest.points] == [105.0]


def test_the_report_shows_the_best_of_an_arms_siblings(scouted: list[Entry], tmp_path: Path, capsys):
    beside = arms(scouted, quality=Quality(), siblings=fours)
    one = Reported(
        store=LineageStore(tmp_path / "runs" / "addition"),
        entries=scouted,
        curve=curve(scouted, quality=Quality(), siblings=fours),
        fit=None,
        arms=beside,
        siblings=fours,
    )
    print_report([one])
    row = next(line for line in capsys.readouterr().out.splitlines() if "addition: scouts" in line)
    assert "4 -> 8" in row and text.si(beside[0].points[-1].total) in row
    assert to_json(one)["arms"][0]["best"] == 2
    *_, lineage, arm = markdown([one]).splitlines()
    assert "| 4 ungated | 4 -> 8 |" in arm
    assert lineage.endswith(f"| {text.si(10.0 + 20.0 + 30.0 + 40.0 + 1000.0)} |"), "the scouts are paid for"


def test_a_lineage_knows_its_siblings_and_its_steps_by_its_header(tmp_path: Path):
    sft, rl = {"type": "sft", "updates": 1}, {"type": "rl", "rounds": 1}
    stages = [
        {"name": "one", "generations": 2, "steps": [rl]},
        {"name": "scouts", "generations": 6, "branches": 3, "gate": "never", "steps": [sft, rl]},
        {"name": "last", "init": {"type": "stage", "stage": "scouts"}, "steps": [rl]},
    ]
    for generations, expected in (
        ({"stages": stages}, [(0,), (1,), (2,), *[(3, 4, 5)] * 3, *[(6, 7, 8)] * 3, (9,)]),
        ({"branches": 2, "steps": [rl]}, [(0,), (1, 2), (1, 2), (3, 4), (3, 4)]),
        ({"steps": [rl]}, [(0,), (1,), (2,)]),
    ):
        recipe = Recipe.model_validate({**lineage_factory.RECIPE, "generations": generations})
        header = LineageStore(tmp_path / str(len(expected))).open("addition", identity=recipe.identity())
        assert [tuple(header.siblings(number)) for number in range(len(expected))] == expected
        for number in range(len(expected)):
            assert [step["type"] for step in header.steps(number)] == [s.type for s in recipe.steps_of(number)]


def test_only_generations_that_could_move_the_champion_are_fitted(entries: list[Entry]):
    one = entries[0]
    teachers = [node(one, n, init=n - 1, train=100.0, frontier=4 + n) for n in (1, 2, 3, 4)]
    beside = [
        node(one, n, outcome=UNGATED, champion=4, stage=f"arm-{n}", init=4, train=100.0, frontier=8)
        for n in (5, 6, 7, 8)
    ]
    lineage = [node(one, 0, outcome=GenerationOutcome.BASE), *teachers, *beside]
    found = curve(lineage, quality=Quality())
    assert sum(point.total > 0 for point in found.points) == 4 < MIN_POINTS <= len(lineage) - 1
    assert fit(found) is None


def test_a_fork_goes_on_from_what_its_origin_cost_and_is_fitted_from_there(entries: list[Entry]):
    one = entries[0]
    before = ComputeCost(start={"train": 7.0}, since={"train": 500.0, "evaluate": 2.0})
    fork = [node(one, 0, outcome=GenerationOutcome.BASE, train=0.0, compute_cost=before)]
    whole = [node(one, 0, outcome=GenerationOutcome.BASE, train=0.0)]
    for number in range(1, MIN_POINTS + 1):
        for grown in (fork, whole):
            grown.append(node(one, number, init=number - 1, train=100.0, frontier=4 + round(8 * number / (number + 3))))
    found, alone = (curve(grown, quality=Quality(), count_evaluation=False) for grown in (fork, whole))
    assert [p.total for p in found.points] == [500.0 + 100.0 * n for n in range(MIN_POINTS + 1)]
    assert found.base_flops == 7.0 and found.points[1].flops == {"train": 600.0, "evaluate": 3.0}
    fits = [fit(one) for one in (found, alone)]
    assert fits[0] == fits[1] and fits[0] is not None
    figure = picture.draw([found], [picture.Fitted(value_at=fits[0].at, label="law")], counted="all categories")
    [steps] = [line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post"]
    assert next(iter(steps.get_xdata())) == 500.0


def test_the_picture_draws_arms_beside_the_champions(distilled: list[Entry]):
    beside = arms(distilled, quality=Quality())
    figure = picture.draw([curve(distilled, quality=Quality()), *beside], [None] * 4, counted="all categories")
    legend = figure.axes[0].get_legend()
    assert legend is not None
    names = ["addition", "addition: student", "addition: alone", "addition: taught"]
    assert [entry.get_text() for entry in legend.get_texts()] == names
    diamonds = [line for line in figure.axes[0].lines if line.get_marker() == "D"]
    assert [list(line.get_ydata()) for line in diamonds] == [[3.0], [3.0], [5.0]]


def test_a_sampled_share_of_a_level_that_was_not_sampled_is_a_gap_and_no_zero(entries: list[Entry]):
    aimed = entries[1].generation.target_levels[0]
    found = curve(entries, quality=Quality(kind="pass_at_k", levels=(aimed,)))
    row = entries[1].generation.report.level(aimed)
    assert row is not None and row.pass_at_k is not None
    assert [point.value for point in found.points] == [None, row.pass_at_k, row.pass_at_k, None]
    assert found.unmeasured == (aimed,)
    assert found.flops_to(0.01) == found.points[1].total
    assert fit(found) is None
    figure = picture.draw([found], [None], counted="all categories")
    [steps] = [line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post"]
    assert [math.isnan(value) for value in steps.get_ydata()] == [True, False, False, True]


def test_the_commands_say_what_was_not_sampled(entries: list[Entry], tmp_path: Path, capsys):
    asked = ("report", "--store", str(tmp_path / "runs"), "--no-publish", "--metric", "pass-at-k")
    assert main([*asked, "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)["lineages"]
    assert found["points"][0]["champion"] is None and found["levels_not_measured"]
    assert main([*asked]) == 0
    told = capsys.readouterr().out
    assert "not sampled of every generation" in told and "generation 0 was not sampled" in told


def test_the_table_has_a_row_for_each_arm_with_its_own_cost(entries: list[Entry], tmp_path: Path, capsys):
    store = LineageStore(tmp_path / "runs" / "addition")
    for stage in ("gold", "seqkd"):
        lineage_factory.grow(store, outcome=UNGATED, stage=stage)
    grown = store.ledger.read()
    asked = ("report", "--store", str(tmp_path / "runs"), "--no-publish")
    assert main([*asked, "--table"]) == 0
    head, _, lineage, *rows = capsys.readouterr().out.strip().splitlines()
    cells = [cell.strip() for cell in head.strip("|").split("|")]
    assert [row.split("|")[1].strip() for row in rows] == ["addition: gold", "addition: seqkd"]
    last = dict(zip(cells, [cell.strip() for cell in rows[1].strip("|").split("|")], strict=True))
    own = grown[5].generation.compute.flops
    assert last["generate + train after generation 0"] == text.si(own["generate"] + own["train"])
    assert last["FLOPs by category"].startswith("evaluate") and text.si(own["train"]) in last["FLOPs by category"]
    assert last["wall time"] == text.duration(sum(grown[5].annotations.seconds.values()))
    assert last["generations"] == "1 ungated" and last["frontier, start -> end"] == "6 -> 6"
    competed = [entry for entry in grown if entry.generation.outcome is not UNGATED]
    assert text.duration(sum(sum(entry.annotations.seconds.values()) for entry in competed)) in lineage
    assert main([*asked, "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)["lineages"]
    assert [arm["stage"] for arm in found["arms"]] == ["gold", "seqkd"]
    assert found["arms"][1]["own_flops"] == own and len(found["points"]) == 4
