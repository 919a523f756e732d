"""The lineage page: complete, reproducible, self-contained, and deaf to what a model wrote."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.lineage_factory import NASTY, PROMOTED, REJECTED, build, restarted
from support.rich_lineage import build_rich

from bootstrap.lineage import graph
from bootstrap.lineage.page.changes import changes
from bootstrap.lineage.page.pack import packed
from bootstrap.lineage.questions.grown import Grown
from bootstrap.lineage.questions.why import why
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

SAMPLE = {"rollout": "g1.s0.u0.p0.k0", "prompt": NASTY, "answer": NASTY, "verdict": "FAIL", "reward": 0.0, "reason": ""}


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Entry]:
    return build(tmp_path_factory.mktemp("store") / "addition", plan=(PROMOTED, REJECTED, PROMOTED))


def embedded(html: str) -> Any:
    """Return the data that the page carries, as a browser would read it."""
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert match
    return json.loads(match.group(1))


def test_every_generation_and_every_typed_edge_is_in_the_graph(entries: Sequence[Entry]) -> None:
    found = graph.lineage(entries)
    assert [node["name"] for node in found["nodes"]] == ["gen-0", "gen-1", "gen-2", "gen-3"]
    wanted = {
        (edge.generation, entry.generation.number, edge.role) for entry in entries for edge in entry.generation.edges
    }
    assert {(edge["from"], edge["to"], edge["role"]) for edge in found["edges"]} == wanted
    assert {role for _, _, role in wanted} == {"init", "teacher", "data"}


def test_a_teacher_outside_the_lineage_has_an_edge_from_nowhere_that_names_it(tmp_path: Path) -> None:
    entries = build(tmp_path / "addition", plan=(PROMOTED,), outside="/models/tutor")
    found = graph.lineage(entries)
    [edge] = [edge for edge in found["edges"] if edge["from"] is None]
    assert (edge["to"], edge["role"], edge["source"]) == (1, "teacher", "/models/tutor")
    assert [node["outside_teachers"] for node in found["nodes"]] == [[], ["/models/tutor"]]


def test_the_champion_path_goes_around_the_rejected_branch_which_stays(entries: Sequence[Entry]) -> None:
    found = graph.lineage(entries)
    assert found["path"] == [0, 1, 3]
    assert [node["on_path"] for node in found["nodes"]] == [True, True, False, True]
    rejected = found["nodes"][2]
    assert rejected["status"] == "rejected" and "level 2 fell" in rejected["reason"]
    assert {(edge["from"], edge["to"]) for edge in found["edges"] if edge["on_path"]} == {(0, 1), (1, 3)}


def test_why_this_champion_is_what_the_command_answers(tmp_path: Path) -> None:
    found = graph.lineage(restarted(tmp_path / "addition"))
    chain = why(Grown.read(LineageStore(tmp_path / "addition"))).chain
    assert [step["name"] for step in found["why"]] == [step.name for step in chain]
    assert [step["reason"] for step in found["why"]] == [step.reason for step in chain]
    assert packed(found)["why"] == [0, 1, 3, 5] and found["path"] == [0, 5]


def test_the_same_ledger_gives_the_same_bytes(entries: Sequence[Entry], tmp_path: Path) -> None:
    again = build(tmp_path / "elsewhere", plan=(PROMOTED, REJECTED, PROMOTED))
    first, second = graph.lineage(entries, samples={1: [SAMPLE]}), graph.lineage(again, samples={1: [SAMPLE]})
    assert graph.to_html(first) == graph.to_html(second)
    assert first == second


def test_the_page_carries_the_packed_graph(entries: Sequence[Entry]) -> None:
    found = graph.lineage(entries, samples={1: [SAMPLE]})
    assert embedded(graph.to_html(found)) == json.loads(json.dumps(packed(found)))


def test_text_that_a_model_wrote_cannot_leave_the_pages_data(entries: Sequence[Entry]) -> None:
    html = graph.to_html(graph.lineage(entries, samples={1: [SAMPLE]}))
    assert "<img" not in html
    assert html.count("</script>") == graph.to_html(graph.lineage(entries)).count("</script>")
    page = embedded(html)
    answer = page["tables"]["samples"].index("answer")
    assert page["details"]["1"]["samples"][0][answer] == NASTY
    assert "innerHTML" not in html and "document.write" not in html and "eval(" not in html


def test_the_page_loads_nothing_and_links_nowhere(entries: Sequence[Entry]) -> None:
    html = graph.to_html(graph.lineage(entries)).replace("http://www.w3.org/2000/svg", "")
    assert not re.findall(r"https?://|\ssrc=|href=|@import|fetch\(|XMLHttpRequest|localStorage|<link", html)


def test_a_long_answer_is_cut_so_that_the_page_stays_small(entries: Sequence[Entry]) -> None:
    found = graph.lineage(entries, samples={1: [{**SAMPLE, "answer": "9" * 100_000}]})
    assert len(found["nodes"][1]["samples"][0]["answer"]) < 1000


def test_a_lineage_without_generations_still_has_a_page() -> None:
    page = embedded(graph.to_html(graph.lineage([])))
    assert page["columns"] == page["details"] == {} and page["edges"] == page["suites"] == []


def test_a_level_that_fell_beyond_both_intervals_is_marked_and_the_gain_is_over_the_parent(
    entries: Sequence[Entry],
) -> None:
    nodes = graph.lineage(entries)["nodes"]
    assert [node["worse"] for node in nodes] == [[], [], [2], []]
    assert [node["gain"] and round(node["gain"], 3) for node in nodes] == [None, 0.652, 0.0, 0.652]


def test_each_frozen_suite_has_a_share_for_every_generation_and_its_regressions(tmp_path: Path) -> None:
    suites = graph.lineage(build_rich(tmp_path / "rich"))["suites"]
    assert [suite["name"] for suite in suites] == ["all tasks", "addition", "reversal", "panel: copy"]
    assert all(len(suite["values"]) == 9 and None not in suite["values"] for suite in suites)
    assert suites[0]["worse"] == suites[3]["worse"] == [2, 4, 7]
    # Of levels 1 to 6, on which generation 0 was evaluated, whatever later ones were evaluated on.
    assert suites[0]["values"][8] == 0.997


def test_a_suite_that_a_generation_was_not_asked_has_no_value_there(entries: Sequence[Entry]) -> None:
    report = entries[1].generation.report.model_copy(update={"levels": (), "panel": {}})
    changed = replace(entries[1], generation=entries[1].generation.model_copy(update={"report": report}))
    suites = graph.lineage([entries[0], changed, *entries[2:]])["suites"]
    assert [[value is None for value in suite["values"]] for suite in suites] == [[False, True, False, False]] * 2


def test_only_settings_that_differ_from_the_parents_are_shown_with_those_of_the_recipes_stage(tmp_path: Path) -> None:
    entries = build_rich(tmp_path / "rich")
    header = LineageStore(tmp_path / "rich").header()
    nodes = graph.lineage(entries, header=header)["nodes"]
    third = {change["key"]: (change["before"], change["after"]) for change in nodes[3]["changes"]}
    assert third == {
        "target_levels[0]": ("5", "6"),
        "stage.name": ("taught", "alone"),
        # A step of another type has other settings, all of which differ.
        "stage.steps[0].type": ("distill", "rl"),
    }
    assert nodes[0]["changes"] == [] and nodes[6]["changes"] == [], "a base and a merge have no one parent"
    student = {change["key"]: (change["before"], change["after"]) for change in nodes[5]["changes"]}
    assert student["stage.gate"] == ("compare", "never")
    without = graph.lineage(entries)["nodes"][3]["changes"]
    assert [change["key"] for change in without] == ["stage.name", "target_levels[0]"]


def test_a_step_that_only_one_stage_has_and_a_long_setting_are_shown_in_short(tmp_path: Path) -> None:
    entries = build_rich(tmp_path / "rich")
    found = changes(entries[8].generation, entries[6].generation, header=LineageStore(tmp_path / "rich").header())
    told = {change["key"]: (change["before"], change["after"]) for change in found}
    assert told["stage.steps[0].type"] == ("merge", "rl")
    before, after = told["stage.steps[1]"]
    assert before.startswith('{"algorithm":') and len(before) == 201 and after == ""
