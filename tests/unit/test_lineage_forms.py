"""A lineage's graph as Mermaid text and as JSON: complete, the same for the same ledger, harmless, within limits."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.copies import fork, lineage
from support.lineage_factory import NASTY, PROMOTED, REJECTED, SETTINGS, UNGATED, build, grow
from support.long_lineage import build_long

from bootstrap.cli.main import main
from bootstrap.ledger_records import Edge
from bootstrap.lineage import graph_json, mermaid, queries
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

LINE = re.compile(
    r'%% .*|flowchart LR|  g\d+\["[^"{}<>]*(<br/>[^"{}<>]*)*"\]:::\w+|  \w+\["[^"{}<>]*(<br/>[^"{}<>]*)?"\]:::folded'
    r'|  out\d+\(\["[^"{}<>]*"\]\):::outside|  \w+ (==>|-->|-\.->)(\|\w+\|)? \w+|  classDef \w+ [\w:#,-]+'
    r"|  classDef \w+ [\w:#, -]+"
)
"""A line of the text; a label holds neither quotes nor braces nor markup but the breaks that this program sets."""


def arrows(text: str) -> set[tuple[str, str, str]]:
    return set(re.findall(r"^  (\w+) (\S+) (\w+)$", text, re.MULTILINE))


def with_edges(entry: Entry, *edges: Edge) -> Entry:
    return Entry(
        generation=entry.generation.model_copy(update={"edges": edges}),
        annotations=entry.annotations,
        hash=entry.hash,
        previous=entry.previous,
    )


def test_mermaid_draws_every_generation_and_every_edge_of_weights_and_teachers(tmp_path: Path) -> None:
    entries = build(tmp_path / "addition", plan=(PROMOTED, REJECTED, PROMOTED), outside="/models/tutor")
    text = mermaid.to_mermaid(entries)
    assert arrows(text) == {
        ("g0", "==>", "g1"),
        ("g1", "-->", "g2"),
        ("g1", "==>", "g3"),
        ("g0", "-.->|teacher|", "g2"),
        ("g0", "-.->|teacher|", "g3"),
        *(("out0", "-.->|teacher|", f"g{number}") for number in (1, 2, 3)),
    }
    assert '  g2["gen-2<br/>rejected<br/>level 6: ' in text and '  g3["gen-3 ★<br/>promoted<br/>' in text
    assert '  out0(["/models/tutor"]):::outside' in text
    assert all(LINE.fullmatch(line) for line in text.splitlines())


def test_mermaid_shows_a_merge_and_a_fork(tmp_path: Path) -> None:
    entries = build(tmp_path / "addition", plan=(PROMOTED, PROMOTED))
    merged = [Edge(role="merged", generation=number, fingerprint="f") for number in (0, 1)]
    text = mermaid.to_mermaid([*entries[:2], with_edges(entries[2], *merged)])
    assert {("g0", "==>|merged|", "g2"), ("g1", "==>|merged|", "g2")} <= arrows(text)
    made = fork(tmp_path, entries[1]).ledger.read()
    assert '  out0(["addition@gen-1"]):::outside' in mermaid.to_mermaid(made)


@pytest.mark.parametrize(
    "name", [NASTY, '"]; click g0 "javascript:x" %%{init: {}}%%', 'a"b', "end", "`**x**`", "\n%% x"]
)
def test_foreign_text_stays_text_in_mermaid(tmp_path: Path, name: str) -> None:
    entries = build(tmp_path / "addition", plan=(PROMOTED,), outside=name)
    for line in mermaid.to_mermaid(entries).splitlines():
        assert LINE.fullmatch(line), line


def test_mermaid_of_a_long_lineage_stays_within_the_limits_of_github(tmp_path: Path) -> None:
    base, promoted, rejected, ungated = build(tmp_path / "addition", plan=(PROMOTED, REJECTED, UNGATED), teacher=False)
    entries, champion = [base], 0
    for number in range(1, 1000):
        kind = (promoted, rejected, promoted, ungated)[number % 4]
        champion_now = number if kind is promoted else champion
        outside = Edge(role="teacher", generation=None, external=f"/models/{number}", fingerprint="e")
        init = Edge(role="init", generation=champion, fingerprint="f")
        node = kind.generation.model_copy(update={"number": number, "champion": champion_now, "edges": (init, outside)})
        entries.append(Entry(generation=node, annotations=base.annotations, hash=f"{number}", previous=""))
        champion = champion_now
    text = mermaid.to_mermaid(entries)
    assert len(text) < 50_000 and len(arrows(text)) < 500
    assert len(re.findall(r"^  \w+[\[(]", text, re.MULTILINE)) < 2 * mermaid.MOST_BOXES
    assert all(LINE.fullmatch(line) for line in text.splitlines())
    assert "out0" not in text and text.startswith("%% lineage addition, 1000 generations\n%% so many edges that")
    assert f"g{champion}[" in text and "g0[" in text and "off the champion's path" in text
    drawn = len(re.findall(r"^  g\d+\[", text, re.MULTILINE))
    folded = sum(int(count) for count in re.findall(r"(\d+) (?:generations\"\]|off the)", text))
    assert drawn + folded == 1000, "every generation is drawn or counted"


def test_json_names_its_schema_and_every_generation_and_edge(tmp_path: Path) -> None:
    entries = build(tmp_path / "addition", plan=(PROMOTED, REJECTED), outside="/models/tutor")
    text = graph_json.to_json(entries, identity=SETTINGS.identity())
    found = json.loads(text)
    assert text.isascii()
    assert (found["format"], found["schema_version"]) == ("bootstrap lineage graph", 2)
    assert (found["lineage"], found["champion"], found["champion_path"]) == ("addition", 1, [0, 1])
    assert found["head"] == entries[-1].hash and found["recipe"] == SETTINGS.identity()
    assert [node["hash"] for node in found["generations"]] == [entry.hash for entry in entries]
    assert len(found["edges"]) == sum(edge.role != "data" for entry in entries for edge in entry.generation.edges)
    assert {"from": None, "source": "/models/tutor", "to": 2, "role": "teacher"}.items() <= next(
        edge for edge in found["edges"] if edge["from"] is None and edge["to"] == 2
    ).items()


def test_json_has_the_fields_of_show_and_reads_each_record_once_whatever_the_length(tmp_path: Path) -> None:
    class Counted(list[Entry]):
        reads = 0

        def __iter__(self) -> Iterator[Entry]:
            Counted.reads += 1
            return super().__iter__()

    entries, passes = build(tmp_path / "addition", plan=(PROMOTED, REJECTED, PROMOTED, PROMOTED)), set[int]()
    for length in (2, 5):
        Counted.reads = 0
        found = json.loads(graph_json.to_json(Counted(entries[:length]), identity={}))["generations"]
        passes.add(Counted.reads)
        for node in found:
            shown = queries.show(entries[:length], node["name"])
            del shown["edges"], shown["pretrained"]
            assert node == json.loads(json.dumps(shown))
    assert len(passes) == 1, "the number of passes over the ledger does not grow with it"


def data_of(document: dict[str, Any], number: int) -> list[tuple[int | None, str]]:
    """Return the data sets of a generation as a reader of the document finds them."""
    places = [place for first, last in document["data"][number] for place in range(first, last + 1)]
    return [(document["data_sets"][place]["from"], document["data_sets"][place]["fingerprint"]) for place in places]


def test_every_data_edge_can_be_read_from_the_json_which_grows_no_faster_than_the_lineage(tmp_path: Path) -> None:
    sizes = dict[int, int]()
    for count in (40, 80):
        entries = build_long(tmp_path / str(count), count=count).entries
        text = graph_json.to_json(entries, identity={})
        found = json.loads(text)
        for entry in entries:
            edges = [edge for edge in entry.generation.edges if edge.role == "data"]
            assert data_of(found, entry.generation.number) == [(edge.generation, edge.fingerprint) for edge in edges]
        sizes[count] = len(text)
    assert sizes[80] < 2.1 * sizes[40]


def test_the_fields_of_schema_2_are_these(tmp_path: Path) -> None:
    """A name that goes or is renamed breaks whoever reads it: raise `SCHEMA_VERSION` with this list."""
    found = json.loads(graph_json.to_json(build(tmp_path / "addition"), identity={}))
    assert found.keys() == {
        "format",
        "schema_version",
        "lineage",
        "recipe",
        "recipe_digest",
        "head",
        "champion",
        "champion_path",
        "generations",
        "edges",
        "data_sets",
        "data",
    }
    assert found["data_sets"][0].keys() == {"from", "source", "fingerprint", "record"}
    assert found["edges"][0].keys() == {"from", "source", "to", "role", "fingerprint", "record"}
    assert found["generations"][0].keys() >= {
        "name",
        "number",
        "lineage",
        "stage",
        "status",
        "decision",
        "reason",
        "parents",
        "teachers",
        "fingerprint",
        "hash",
        "previous_hash",
        "frontier",
        "accuracy",
        "gate",
        "gate_tests",
        "levels",
        "accounting",
        "verifiers",
        "artifacts",
        "children",
        "recipe_digest",
        "seed",
        "flops",
        "tokens",
    }


def test_the_command_prints_each_form_and_the_same_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = lineage(tmp_path / "runs")
    for form, begin in (("mermaid", "%% lineage addition, 3 generations\nflowchart LR\n"), ("json", "{\n")):
        told = []
        for _ in range(2):
            assert main(["export", "--as", form, "--store", str(tmp_path / "runs")]) == 0
            told.append(capsys.readouterr().out)
        assert told[0] == told[1] and told[0].startswith(begin)
    grow(store, outcome=PROMOTED)
    assert main(["export", "--as", "mermaid", "--store", str(tmp_path / "runs")]) == 0
    assert "4 generations" in capsys.readouterr().out


def test_a_lineage_without_generations_has_no_graph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    LineageStore(tmp_path / "addition").open("addition", identity=SETTINGS.identity())
    assert main(["export", "--as", "mermaid", "--store", str(tmp_path)]) == 2
    assert "has no committed generation yet" in capsys.readouterr().err
