"""The page's data: the graph without repetition, the newest generations in full, and small for a thousand of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.lineage_factory import PROMOTED, REJECTED, build
from support.long_lineage import Long, build_long
from support.rich_lineage import build_rich

from bootstrap.lineage import graph
from bootstrap.lineage.page import pack
from bootstrap.lineage.page.pack import packed

MOST_BYTES = 2_000_000


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return graph.lineage(build_rich(tmp_path_factory.mktemp("store") / "rich"))


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Long:
    return build_long(tmp_path_factory.mktemp("store") / "addition", count=1000)


def column(page: dict[str, Any], key: str) -> list[Any]:
    """Return a column as the page reads it."""
    kept = page["columns"][key]
    return kept if isinstance(kept, list) else [kept["values"][place] for place in kept["of"]]


def edges(page: dict[str, Any]) -> set[tuple[Any, ...]]:
    """Return (from, source, to, role) of every edge, as the page puts them together."""
    found: set[tuple[Any, ...]] = set()
    taken: set[int] = set()
    for number, listed in enumerate(page["edges"]):
        for role, origin, _, *outside in listed:
            source = page["outside"][outside[0]][0] if outside else f"gen-{origin}"
            found.add((origin, source, number, role))
        added, dropped = page["data"][number]
        taken = (taken | set(added)) - set(dropped)
        found |= {(page["pools"][place][0], f"gen-{page['pools'][place][0]}", number, "data") for place in taken}
    return found


def test_every_edge_of_the_graph_is_in_the_page(rich: dict[str, Any]) -> None:
    assert edges(packed(rich)) == {(edge["from"], edge["source"], edge["to"], edge["role"]) for edge in rich["edges"]}


def test_replayed_data_that_is_dropped_later_is_so_in_the_page(rich: dict[str, Any]) -> None:
    fewer = [edge for edge in rich["edges"] if not (edge["role"] == "data" and edge["to"] > 4 and edge["from"] == 1)]
    wanted = {(edge["from"], edge["source"], edge["to"], edge["role"]) for edge in fewer}
    assert edges(packed({**rich, "edges": fewer})) == wanted


def test_a_small_lineage_is_in_the_page_in_full(rich: dict[str, Any]) -> None:
    page = packed(rich)
    assert list(page["details"]) == list(range(9)) and page["shares"] == {}
    for key in ("fingerprint", "hash", "status", "stage", "suite", "children"):
        if key in page["columns"]:
            assert column(page, key) == [node[key] for node in rich["nodes"]]
    for node, detail in zip(rich["nodes"], page["details"].values(), strict=True):
        assert [row[0] for row in detail["accuracy"]] == [int(level) for level in node["accuracy"]]
        assert len(detail["gate_tests"]) == len(node["gate_tests"]) and detail["artifacts"] == node["artifacts"]
        assert set(detail["parts"]) == {"addition", "reversal"}


def test_where_there_is_no_room_the_newest_are_in_full_and_the_others_keep_what_matters(rich: dict[str, Any]) -> None:
    least = pack._size(packed(rich, limit=0))
    page = packed(rich, limit=least + 9000)
    assert list(page["details"]) and max(page["details"]) == 8 and len(page["details"]) < 9
    assert list(page["details"]) == list(range(min(page["details"]), 9)), "without a gap"
    tests = dict(enumerate(column(page, "gate_tests")))
    assert [row[0] for row in tests[2]] == ["improvement", "retention", "panel: copy"], "the failed ones"
    assert [row[0] for row in tests[1]] == ["improvement"] and column(page, "num_tests")[1] == [6, 6]
    levels, texts = page["shares"]["levels"], page["shares"]["texts"]
    for node, text in zip(rich["nodes"], texts, strict=True):
        for level, kept in zip(levels, text, strict=False):
            exact = node["accuracy"].get(str(level))
            assert (kept == ".") == (exact is None)
            assert exact is None or abs(pack.SHARES.index(kept) / 63 - exact["accuracy"]) <= 0.5 / 63


def test_a_page_of_a_thousand_generations_is_below_two_megabytes_and_has_them_all(long: Long) -> None:
    html = graph.to_html(graph.lineage(long.entries, samples=long.samples))
    assert len(html.encode()) < MOST_BYTES
    page = json.loads(html.partition('id="data">')[2].partition("</script>")[0])
    assert len(column(page, "number")) == len(page["edges"]) == 1000
    assert len(page["details"]) > 200
    sampled = [int(number) for number, detail in page["details"].items() if "samples" in detail]
    assert sampled == list(range(1000 - len(sampled), 1000)) and len(sampled) > 200, "the newest ones' answers"
    assert len(edges(page)) == sum(len(entry.generation.edges) for entry in long.entries)


def test_so_is_one_whose_levels_rise_with_every_promotion(tmp_path: Path) -> None:
    rising = build_long(tmp_path / "addition", count=400, rises=True)
    html = graph.to_html(graph.lineage(rising.entries, samples=rising.samples))
    assert len(html.encode()) < MOST_BYTES


def test_the_page_grows_by_as_much_for_the_last_generation_as_for_an_early_one(long: Long) -> None:
    def size(count: int) -> int:
        found = graph.lineage(long.entries[:count])
        return pack._size(packed(found, limit=0))

    early, late = size(150) - size(100), size(550) - size(500)
    assert late < 1.3 * early, "no generation's part of the page lists all before it"


def test_the_same_graph_is_packed_into_the_same_bytes(tmp_path: Path, rich: dict[str, Any]) -> None:
    again = graph.lineage(build_rich(tmp_path / "rich"))
    assert json.dumps(packed(again)) == json.dumps(packed(rich))


def test_markup_counts_as_it_is_escaped(tmp_path: Path) -> None:
    found = graph.lineage(build(tmp_path / "addition", plan=(PROMOTED, REJECTED)))
    for node in found["nodes"]:
        node["samples"] = [{"rollout": "r", "prompt": "<" * 500, "answer": "&" * 500}] * 6
    page = packed(found)
    text = json.dumps(page, sort_keys=True, separators=(",", ":"))
    assert pack._size(page) == len(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
