"""What MLflow draws of a ledger: every figure of a record once, under a legal name, with the model it belongs to."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.lineage_factory import PROMOTED, REJECTED, UNGATED, build, compare_finally

from bootstrap.ledger_records import DiagnosticMetric, Drawing, GenerationOutcome
from bootstrap.lineage import metrics, queries
from bootstrap.lineage.metrics import MetricPoint
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

AT = 1_767_262_000_000
MODELS = {number: f"m-{number}" for number in range(5)}
LEGAL = re.compile(r"[\w./: -]+")
"""What MLflow allows in a metric's name."""


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Entry]:
    return build(tmp_path_factory.mktemp("store") / "addition", plan=(PROMOTED, REJECTED, PROMOTED, UNGATED))


def points(entry: Entry) -> list[MetricPoint]:
    return [*metrics.of_generation(entry, at=AT, models=MODELS), *metrics.of_costs(entry, at=AT)]


def values(found: Sequence[MetricPoint], prefix: str = "") -> dict[str, float]:
    return {point.key: point.value for point in found if point.key.startswith(prefix)}


def changed(entry: Entry, **update: Any) -> Entry:
    return replace(entry, generation=entry.generation.model_copy(update=update))


def test_no_value_is_logged_twice_and_none_is_missing_a_number(entries: Sequence[Entry]) -> None:
    for entry in entries:
        found = points(entry)
        assert max(Counter((point.key, point.model_id) for point in found).values()) == 1
        assert all(math.isfinite(point.value) and LEGAL.fullmatch(point.key) for point in found)
        assert {(point.at, point.step) for point in found} == {(AT, 0)}


def test_each_level_has_its_accuracy_within_its_interval_and_samples_where_there_were_any(
    entries: Sequence[Entry],
) -> None:
    for entry in entries:
        report, found = entry.generation.report, values(points(entry), "eval/")
        for row in report.levels:
            prefix = f"eval/level_{row.level}"
            assert found[f"{prefix}/low"] <= found[f"{prefix}/accuracy"] == row.accuracy <= found[f"{prefix}/high"]
        sampled = {f"eval/level_{row.level}/pass_at_1" for row in report.levels if row.pass_at_1 is not None}
        assert sampled and {key for key in found if key.endswith("pass_at_1")} == sampled
        assert found["eval/frontier"] == report.frontier


def test_what_was_measured_on_the_suite_names_it_and_nothing_else_does(entries: Sequence[Entry]) -> None:
    report = entries[3].generation.report
    named = {point.dataset for point in points(entries[3]) if point.key.startswith(("eval/", "diagnostics/"))}
    assert named == {(f"suite-{report.suite[:12]}", report.suite[:32])}
    others = [point for point in points(entries[3]) if not point.key.startswith(("eval/", "diagnostics/"))]
    assert others and {point.dataset for point in others} == {None}


def test_what_people_look_at_stands_first_and_costs_last(entries: Sequence[Entry]) -> None:
    for entry in entries:
        node, keys = entry.generation, [point.key for point in points(entry)]
        best, test = queries.headline(node), node.decision.improvement
        shown = {"accuracy": best.accuracy, "frontier": node.report.frontier, "generation": node.number}
        shown |= {} if test is None else {"gain": test.candidate - test.champion}
        assert set(keys[: len(shown)]) == set(shown)
        assert {key: value for key, value in values(points(entry)).items() if key in shown} == pytest.approx(shown)
        first_cost = next(index for index, key in enumerate(keys) if key.startswith("cost/"))
        assert all(key.startswith("cost/") for key in keys[first_cost:])


def test_diagnostics_are_what_the_record_measured_and_how_many_guards_broke(entries: Sequence[Entry]) -> None:
    for entry in entries:
        diagnostics = entry.generation.diagnostics
        measured = {f"diagnostics/{metric}" for metric in DiagnosticMetric if diagnostics.value(metric) is not None}
        assert set(values(points(entry), "diagnostics/")) == measured | {"diagnostics/findings"}
    assert [values(points(entry))["diagnostics/findings"] for entry in entries] == [0, 0, 1, 0, 0]


def test_what_was_watched_is_shown_where_it_is_a_number(entries: Sequence[Entry]) -> None:
    checks = {"critic_grad_norm": 2.5, "logprob_difference": math.inf}
    entry = replace(entries[1], annotations=entries[1].annotations.model_copy(update={"checks": checks}))
    assert values(points(entry), "check/") == {"check/critic_grad_norm": 2.5}


@pytest.mark.parametrize("kind", ["flops", "tokens", "seconds"])
def test_the_phases_of_a_cost_add_up_to_its_total(entries: Sequence[Entry], kind: str) -> None:
    for entry in entries:
        phases = values(points(entry), f"cost/{kind}/")
        total = phases.pop(f"cost/{kind}/total")
        phases.pop("cost/tokens/useful", None)
        assert len(phases) >= 2 and sum(phases.values()) == pytest.approx(total)


def test_a_phase_of_any_name_becomes_a_legal_key(entries: Sequence[Entry]) -> None:
    compute = entries[1].generation.compute.model_copy(update={"flops": {"ü@x: y": 2.0}})
    found = values(points(changed(entries[1], compute=compute)), "cost/flops/")
    assert found == {"cost/flops/ü_x_ y": 2.0, "cost/flops/total": 2.0}


def test_the_champions_side_belongs_to_the_champions_model_and_all_else_to_the_own_or_none(
    entries: Sequence[Entry],
) -> None:
    for entry in entries[1:]:
        node = entry.generation
        champion = MODELS[node.decision.champion]
        theirs = [point for point in points(entry) if point.model_id == champion]
        assert {point.key.split("/")[1] for point in theirs} == {"parent"}
        assert len(theirs) == len({test.levels for test in (node.decision.improvement, *node.decision.retention)})
        rest = {point.model_id for point in points(entry) if point not in theirs}
        assert rest == {MODELS[node.number], None}


def test_a_champion_that_is_not_published_yet_still_has_its_side(entries: Sequence[Entry]) -> None:
    own = metrics.of_generation(entries[3], at=AT, models={3: "m-3"})
    theirs = [point for point in own if point.key.startswith("gate/parent/")]
    assert theirs and {point.model_id for point in theirs} == {None}


def test_a_test_against_an_earlier_champion_is_not_told_as_one_against_the_champion(entries: Sequence[Entry]) -> None:
    decision = entries[3].generation.decision
    first, *rest = decision.retention
    assert first.levels == (1,) and decision.champion == 1
    earlier = decision.model_copy(update={"retention": (first.model_copy(update={"reference": (0, 1)}), *rest)})
    found = values(points(changed(entries[3], decision=earlier)), "gate/")
    assert found["gate/best/level_1/accuracy"] == first.champion
    assert "gate/parent/level_1/accuracy" not in found and "gate/parent/level_2/accuracy" in found


def test_one_that_did_not_start_from_the_champion_is_compared_with_no_parent(entries: Sequence[Entry]) -> None:
    edges = tuple(edge for edge in entries[3].generation.edges if edge.role != "init")
    found = values(points(changed(entries[3], edges=edges)), "gate/")
    assert "gate/champion/level_6/accuracy" in found
    assert not [key for key in found if key.startswith("gate/parent/")]


def test_the_base_passed_no_test(entries: Sequence[Entry]) -> None:
    assert values(points(entries[0]), "gate/") == {"gate/promoted": 1.0}


def test_the_worst_slice_and_the_bound_of_all_levels_together_are_shown(entries: Sequence[Entry]) -> None:
    decision = entries[3].generation.decision
    better = decision.improvement
    worse = better.model_copy(update={"candidate": better.champion - 0.25})
    together = better.model_copy(update={"difference_low": -0.125})
    judged = decision.model_copy(update={"slices": {"slice a": better, "slice b": worse}, "pooled": together})
    found = values(points(changed(entries[3], decision=judged)), "gate/")
    assert found["gate/slices/worst"] == pytest.approx(-0.25)
    assert found["gate/retention/low"] == -0.125


NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
ROWS = st.lists(st.dictionaries(st.sampled_from(["loss", "reward", "update"]), NUMBERS), max_size=30)


@given(ROWS, st.integers(0, 10**13), st.integers(0, 10**8))
def test_a_curve_has_a_point_for_every_finite_value_in_the_tables_order(
    rows: list[dict[str, float]], start: int, length: int
) -> None:
    found = metrics.of_training({"train": rows, "self_play": []}, start=start, end=start + length)
    wanted = [
        (f"train/{key}", step, value)
        for step, row in enumerate(rows)
        for key, value in row.items()
        if key != "update" and math.isfinite(value)
    ]
    assert [(point.key, point.step, point.value) for point in found] == wanted
    times = [point.at for point in found]
    assert times == sorted(times) and all(start <= at <= start + length for at in times)
    assert all(point.at == start + length for point in found if point.step == len(rows) - 1)


def test_the_lineages_curves_have_a_point_per_generation_at_its_own_step(entries: Sequence[Entry]) -> None:
    by_entry = [metrics.over_generations(entry, at=AT) for entry in entries]
    for entry, found in zip(entries, by_entry, strict=True):
        assert {point.step for point in found} == {entry.generation.number}
        assert {point.key.partition("/")[0] for point in found} == {"gen"}
    promoted = [values(found)["gen/promoted"] for found in by_entry]
    assert promoted == [float(entry.generation.outcome in (GenerationOutcome.BASE, PROMOTED)) for entry in entries]
    assert [values(found)["gen/champion"] for found in by_entry] == [0, 1, 1, 3, 3]
    panel = [values(found)["gen/panel/copy/accuracy"] for found in by_entry]
    assert panel == [entry.generation.report.panel["copy"][0].accuracy for entry in entries]


def test_the_final_comparison_stands_at_its_generation_within_its_bounds(tmp_path: Path) -> None:
    build(tmp_path / "addition")
    made = compare_finally(LineageStore(tmp_path / "addition"))
    found = metrics.of_final(made, at=AT)
    assert {point.step for point in found} == {made.generation}
    told = values(found)
    assert told["final/low"] <= told["final/difference"] <= told["final/high"]
    assert told["final/difference"] == told["final/accuracy"] - told["final/base_accuracy"]
    unjudged = made.model_copy(update={"num_prompts": 0, "difference": None})
    assert values(metrics.of_final(unjudged, at=AT)) == {"final/prompts": 0}


@pytest.mark.parametrize(
    ("levels", "key"), [((1, 2, 3, 4), "levels_1_to_4"), ((5,), "level_5"), ((1, 4), "levels_1_4")]
)
def test_metrics_of_other_levels_have_other_names(levels: tuple[int, ...], key: str) -> None:
    assert metrics.levels_key(levels) == key


DRAWING = Drawing(
    drawn=36,
    distinct=33,
    prompts=42,
    epochs={1: 1.77},
    skipped_right=2,
    skipped_wrong=1,
    returned=4,
    all_right=10,
    all_wrong=3,
    replayable=33,
)


def test_epochs_of_fixed_data_are_drawn_where_there_are_any(entries: Sequence[Entry]) -> None:
    assert not values(points(entries[1]), "drawing/")
    entry = changed(entries[1], drawing=DRAWING)
    expected = DRAWING.model_dump() | {"epochs": 1.77}
    assert values(points(entry), "drawing/") == {f"drawing/{name}": value for name, value in expected.items()}
    assert values(metrics.over_generations(entry, at=AT), "gen/epochs") == {"gen/epochs": 1.77}
    several = changed(entries[1], drawing=DRAWING.model_copy(update={"epochs": {1: 1.5, 2: 0.5}}))
    found = values(points(several), "drawing/level")
    assert found == {"drawing/level_1/epochs": 1.5, "drawing/level_2/epochs": 0.5}
    assert all(LEGAL.fullmatch(name) for name in found)
