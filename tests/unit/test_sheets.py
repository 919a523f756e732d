"""The pages behind a generation's bar: every test of the gate, every data set, every score, every cost."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.lineage_factory import PROMOTED, REJECTED, build

from bootstrap.lineage import datasets, judges, queries, samples, sheets
from bootstrap.records import Status
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store") / "addition"


@pytest.fixture(scope="module")
def entries(root: Path) -> Sequence[Entry]:
    return build(root, plan=(PROMOTED, REJECTED, PROMOTED))


def rows(page: str, head: str) -> list[list[str]]:
    """Return the cells of the table whose first column is called `head`."""
    lines = page.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(f"| {head} |"))
    body = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        body.append([cell.strip() for cell in line.strip("|").split("|")])
    return body


def test_the_gates_page_has_every_test_with_its_verdict(entries: Sequence[Entry]) -> None:
    node = entries[2].generation
    page = sheets.gate(node, sentence="S", bar="B")
    table, tests = rows(page, "test"), queries.gate_tests(node.decision)
    assert [row[0] for row in table] == [name for name, _ in tests]
    assert [row[-1] for row in table] == ["yes" if one.passed else "**no**" for _, one in tests]
    assert table[0][1:5] == ["6", "gen-1", "33.7 %", "33.7 %"] and table[0][-2] == "+12 -12 of 1000"
    assert page.startswith("# Gate decision of gen-2\n\nB\n\nS.\n\nReason: rejected: level 6")


def test_what_decided_a_test_stands_beside_it(entries: Sequence[Entry]) -> None:
    node = entries[1].generation
    test = node.decision.improvement
    bounded = test.model_copy(update={"p_value": None, "alpha": 0.05, "margin": 0.03, "difference_low": -0.01})
    observed = test.model_copy(update={"p_value": None, "alpha": None, "margin": 0.03})
    tested = test.model_copy(update={"alpha": 0.025})
    decision = node.decision.model_copy(update={"improvement": tested, "retention": (observed,), "pooled": bounded})
    page = sheets.gate(node.model_copy(update={"decision": decision}), sentence="", bar="")
    assert [row[6] for row in rows(page, "test")][:3] == [
        "p 3e-40, alpha 0.025",
        "margin -3.0 pp",
        "lower bound -1.0 pp, margin -3.0 pp, alpha 0.05",
    ]


def test_the_base_was_compared_with_no_one(entries: Sequence[Entry]) -> None:
    assert "No test: there was no champion" in sheets.gate(entries[0].generation, sentence="", bar="")


def test_the_results_have_every_level_the_panel_and_what_guards_say(entries: Sequence[Entry]) -> None:
    page = sheets.results(entries[2].generation, bar="B")
    levels = rows(page, "level")
    assert [row[0] for row in levels] == ["1", "2", "3", "4", "5", "6 (target)", "7", "8"]
    assert levels[5][1:] == ["33.7 %", "30.8 to 36.6 %", "1000", "33.7 %", "38.7 % (k = 4)"] and levels[0][4:] == [
        "",
        "",
    ]
    assert rows(page, "panel task")[0][:3] == ["copy", "1", "86.9 %"]
    told = {row[0]: row[1:] for row in rows(page, "diagnostic")}
    assert told["truncated"] == ["0.25", "truncated 0.25 is above 0.1 (warn)"] and told["entropy"] == ["0.21", ""]


def test_every_data_set_has_digest_rows_columns_and_a_few_rows(root: Path, entries: Sequence[Entry]) -> None:
    found = datasets.of_generation(LineageStore(root), entries, entries[3].generation, models={})
    page = sheets.data(entries[3].generation, found, bar="B")
    assert [row[0] for row in rows(page, "data set")] == [one.name for one in found]
    assert [row[3] for row in rows(page, "data set")] == [f"`{one.digest[:32]}`" for one in found]
    assert rows(page, "data set")[0][2] == "48"
    assert "Answers of gen-1 (48)." in page and "prompt_text string" in page and "21+40=" in page
    assert "<img" not in page and "](javascript" not in page, "what a model wrote is no markup"


def test_scores_are_those_of_all_answers_by_every_name(root: Path, entries: Sequence[Entry]) -> None:
    node = entries[3].generation
    found = samples.scores(LineageStore(root), node)
    assert found.statuses == {Status.PASS: node.accounting.passed, Status.FAIL: node.accounting.failed}
    assert found.values == {"reward": Counter({1.0: 32, 0.0: 16})}
    page = sheets.verifiers(node, judges.of_generation(node, {}), found, bar="B")
    assert rows(page, "verifier") == [["exact", "answers of training, and held-out ones", "exact", f"`v{'1' * 15}`"]]
    assert rows(page, "score")[0][:2] == ["0", "16"] and "48 answers judged (all that training drew)" in page


def test_the_base_shows_the_scores_of_its_sampled_held_out_answers(root: Path, entries: Sequence[Entry]) -> None:
    found = samples.scores(LineageStore(root), entries[0].generation)
    assert found.drawn == "sampled held-out answers" and sum(found.statuses.values()) == 8


def test_few_values_have_a_bar_each_and_many_share_ten() -> None:
    assert sheets.histogram({0.0: 1, 1.0: 3}) == [("0", "1", "█" * 8), ("1", "3", "█" * 24)]
    table = sheets.histogram({value / 100: 1 for value in range(101)})
    assert len(table) == 10 and sum(int(count) for _, count, _ in table) == 101
    assert table[0][0] == "0 to 0.1" and table[-1][0] == "0.9 to 1"


def test_costs_add_up(entries: Sequence[Entry]) -> None:
    page = sheets.cost(entries[3], bar="B")
    assert rows(page, "phase")[-1] == ["total", "541k", "3.83 TFLOP"]
    assert rows(page, "stage")[-1][1] == "38.4 s"


def test_groups_are_drawn_whole_and_the_same_each_time(root: Path, entries: Sequence[Entry]) -> None:
    store, node = LineageStore(root), entries[3].generation
    found = samples.whole_groups(store, node, count=20)
    assert found == samples.whole_groups(store, node, count=20)
    assert Counter(row["group"] for row in found) == dict.fromkeys({row["group"] for row in found}, 8)
    assert len(found) == 16 and {row["judge"] for row in found} == {"exact"}
    assert [len(samples.whole_groups(store, node, count=count)) for count in (0, 3, 8, 1000)] == [0, 3, 8, 48]
