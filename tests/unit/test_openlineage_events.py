"""OpenLineage events keep the rules of the specification and name what a generation was made from.

`RULES` are the specification's rules for run events (2-0-2), in our words; each facet is made again by the
class of the package openlineage-python whose schema it names, which knows the facet's fields.
"""

import itertools
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import attr
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openlineage.client import facet_v2
from support.copies import fork, lineage
from support.lineage_factory import NASTY, PROMOTED, REJECTED, SETTINGS, build
from support.long_lineage import build_long

from bootstrap.cli.main import main
from bootstrap.ledger_records import Edge
from bootstrap.lineage import openlineage
from bootstrap.store.ledger import Entry

FACETS = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "required": ["_producer", "_schemaURL"],
        "properties": {
            "_producer": {"type": "string", "pattern": "^https://"},
            "_schemaURL": {
                "type": "string",
                "pattern": r"^https://openlineage\.io/spec/facets/\d-\d-\d/\w+\.json#/\$defs/",
            },
        },
    },
}
NAMED = {
    "type": "object",
    "required": ["namespace", "name"],
    "properties": {
        "namespace": {"type": "string", "minLength": 1},
        "name": {"type": "string", "minLength": 1},
        "facets": FACETS,
        "inputFacets": FACETS,
        "outputFacets": FACETS,
    },
    "additionalProperties": False,
}
RULES = Draft202012Validator(
    {
        "type": "object",
        "required": ["eventTime", "producer", "schemaURL", "run", "job", "eventType"],
        "additionalProperties": False,
        "properties": {
            "eventTime": {"type": "string"},
            "eventType": {"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
            "producer": {"type": "string", "pattern": "^https://"},
            "schemaURL": {"const": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"},
            "run": {
                "type": "object",
                "required": ["runId"],
                "properties": {"runId": {"type": "string", "format": "uuid"}, "facets": FACETS},
                "additionalProperties": False,
            },
            "job": NAMED,
            "inputs": {"type": "array", "items": NAMED},
            "outputs": {"type": "array", "items": NAMED},
        },
    },
    format_checker=FormatChecker(),
)


def classes() -> dict[str, type]:
    """Return the package's class of each facet by the address of its schema."""
    modules = [getattr(facet_v2, name) for name in facet_v2.__all__ if name.islower() and name != "set_producer"]
    found = [kind for module in modules for kind in vars(module).values() if isinstance(kind, type)]
    return {kind._get_schema(): kind for kind in found if issubclass(kind, facet_v2.BaseFacet)}


def facets(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every facet at any depth."""
    match value:
        case {"_schemaURL": _}:
            yield value
        case {}:
            for inner in value.values():
                yield from facets(inner)
        case [*items]:
            for inner in items:
                yield from facets(inner)


def events(entries: list[Entry]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in openlineage.to_lines(entries, identity=SETTINGS.identity())]


def tags(dataset: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in dataset["facets"]["tags"]["tags"]}


def test_every_event_and_facet_keeps_the_rules(tmp_path: Path) -> None:
    known, seen = classes(), set[str]()
    for event in events(build(tmp_path / "addition", outside=NASTY)):
        RULES.validate(event)
        assert datetime.fromisoformat(event["eventTime"]).tzinfo is not None
        for facet in facets(event):
            kind = known[facet["_schemaURL"]]
            fields = {name: value for name, value in facet.items() if not name.startswith("_")}
            made = kind(**fields)
            wanted = {field.name for field in attr.fields(kind) if field.default is attr.NOTHING}
            assert wanted <= fields.keys() and set(fields) <= set(attr.asdict(made))
            seen.add(kind.__name__)
    assert len(seen) >= 9


@pytest.mark.parametrize("lost", ["eventTime", "producer", "schemaURL", "run", "job"])
def test_the_rules_refuse_an_event_without_what_the_specification_requires(tmp_path: Path, lost: str) -> None:
    event = events(build(tmp_path / "addition", plan=()))[0]
    del event[lost]
    assert not RULES.is_valid(event)


def test_each_generation_starts_once_and_completes_once_in_order(tmp_path: Path) -> None:
    found = events(build(tmp_path / "addition", plan=(PROMOTED, REJECTED)))
    runs = [event["run"]["runId"] for event in found]
    assert [event["eventType"] for event in found] == ["START", "COMPLETE"] * 3
    assert runs[::2] == runs[1::2] and len(set(runs)) == 3 and all(uuid.UUID(run) for run in runs)
    assert [event["job"]["name"] for event in found[::2]] == [f"addition.gen-{number}" for number in range(3)]
    assert len({event["run"]["facets"]["parent"]["run"]["runId"] for event in found}) == 1
    assert all(event["eventTime"] <= later["eventTime"] for event, later in itertools.pairwise(found))


def test_what_goes_in_is_what_came_out_of_an_earlier_generation_or_from_outside(tmp_path: Path) -> None:
    entries = build(tmp_path / "addition", plan=(PROMOTED, PROMOTED), outside="/models/tutor")
    done = events(entries)[1::2]
    made: set[tuple[str, str]] = set()
    for entry, event in zip(entries, done, strict=True):
        sources = {(one["namespace"], one["name"]): one for one in event["inputs"]}
        assert len(sources) == len(event["inputs"]), "each source once"
        own = {place for place in sources if place[0] == "bootstrap://addition" and place[1] != "task"}
        assert own <= made
        named = {edge.fingerprint for edge in entry.generation.edges if edge.role != "data"}
        assert {one["facets"]["version"]["datasetVersion"] for one in event["inputs"]} >= named
        made |= {(one["namespace"], one["name"]) for one in event["outputs"]}
    last = {one["name"]: one for one in done[2]["inputs"]}
    assert tags(last["gen-1/weights"]) == {"role": "init"} and tags(last["gen-1/data"]) == {"role": "data"}
    assert last["/models/tutor"]["namespace"] == openlineage.OUTSIDE
    outputs = {one["name"]: one["facets"]["version"]["datasetVersion"] for one in done[2]["outputs"]}
    assert outputs["gen-2/weights"] == entries[2].generation.fingerprint
    assert outputs["gen-2/evaluation"] == entries[2].generation.artifacts["evaluation"].digest


def replay_of(done: list[dict[str, Any]]) -> Iterator[set[tuple[str, str, str]]]:
    """Yield what each generation replays, as a reader of the events finds it, after checking it against its version."""
    known: dict[str, set[tuple[str, str, str]]] = {}
    for event in done:
        found, dropped = set[tuple[str, str, str]](), set[str]()
        for one in event["inputs"]:
            version = one["facets"]["version"]["datasetVersion"]
            if one["name"].endswith("/replay"):
                found |= known[version]
                dropped = set(tags(one).get("dropped", "").split(", "))
            elif tags(one)["role"] == "data":
                found.add((one["namespace"], one["name"], version))
        found = {one for one in found if f"{one[0]}/{one[1]}" not in dropped}
        versions = {one["name"]: one["facets"]["version"]["datasetVersion"] for one in event["outputs"]}
        if found:
            own = versions[event["job"]["name"].partition(".")[2] + "/replay"]
            assert own == openlineage.replay_version(found)
            known[own] = found
        yield found


def test_every_data_edge_can_be_read_from_the_events_which_grow_no_faster_than_the_lineage(tmp_path: Path) -> None:
    sizes = dict[int, int]()
    for count in (40, 80):
        entries = build_long(tmp_path / str(count), count=count).entries
        # One that drops some, one that replays nothing, and one that goes on after it.
        some = entries[20].generation
        for number, edges in ((20, some.edges[:-3]), (21, some.edges[:1])):
            entries[number] = with_edges(entries[number], edges)
        told = events(entries)
        for entry, found in zip(entries, replay_of(told[1::2]), strict=True):
            wanted = [edge for edge in entry.generation.edges if edge.role == "data"]
            space = f"bootstrap://{entry.generation.lineage}"
            assert found == {(space, f"gen-{edge.generation}/data", edge.fingerprint) for edge in wanted}
        sizes[count] = len(json.dumps(told))
    assert sizes[80] < 2.1 * sizes[40]


def with_edges(entry: Entry, edges: tuple[Edge, ...]) -> Entry:
    return replace(entry, generation=entry.generation.model_copy(update={"edges": edges}))


def test_a_decision_and_its_tests_are_told(tmp_path: Path) -> None:
    entries = build(tmp_path / "addition", plan=(REJECTED,))
    run = events(entries)[-1]["run"]["facets"]
    told = {tag["key"]: tag["value"] for tag in run["tags"]["tags"]}
    assert (told["outcome"], told["champion"], told["record"]) == ("rejected", "gen-0", entries[1].hash)
    statuses = [one["status"] for one in run["test"]["tests"]]
    assert statuses.count("fail") >= 2 and "pass" in statuses
    assert entries[1].generation.decision.reason in events(entries)[-1]["job"]["facets"]["documentation"]["description"]


def test_a_fork_names_its_origin_as_the_origin_does(tmp_path: Path) -> None:
    store = lineage(tmp_path)
    origin = store.ledger.read()[1]
    first = events(fork(tmp_path, origin).ledger.read())[1]
    names = {(one["namespace"], one["name"]) for one in first["inputs"]}
    assert ("bootstrap://addition", "gen-1/weights") in names
    assert ("bootstrap://addition", "gen-1/weights") in {
        (one["namespace"], one["name"]) for one in events(store.ledger.read())[3]["outputs"]
    }
    assert "gen-0/inherited" in {one["name"] for one in first["outputs"]}


def test_the_command_prints_one_event_a_line_and_the_same_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lineage(tmp_path)
    told = []
    for _ in range(2):
        assert main(["export", "--as", "openlineage", "--store", str(tmp_path)]) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1] and told[0].isascii()
    assert [json.loads(line)["eventType"] for line in told[0].splitlines()] == ["START", "COMPLETE"] * 3


@pytest.mark.slow
def test_without_the_package_the_command_says_what_to_install(tmp_path: Path) -> None:
    lineage(tmp_path)
    program = (
        "import sys; sys.modules['openlineage'] = None\n"
        "from bootstrap.cli.main import main\n"
        f"raise SystemExit(main(['export', '--as', 'openlineage', '--store', {str(tmp_path)!r}]))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 2 and said.stdout == ""
    assert "pip install 'bootstrap-lm[openlineage]'" in said.stderr and "Traceback" not in said.stderr
