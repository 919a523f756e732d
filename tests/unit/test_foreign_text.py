"""Text of somebody else's records reaches terminals, pages, Markdown and MLflow escaped, whatever the command."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import CALLS, called
from support.hostile import EVIL, FORGED, build_hostile, poisoned

from bootstrap.cli import output
from bootstrap.cli.progress import Expected, PlainProgress
from bootstrap.lineage import card, datasets, judges, mermaid, notes, outcome, samples, sheets, tags
from bootstrap.lineage.outbox import Receipt
from bootstrap.lineage.page_server import Page
from bootstrap.lineage.text import mlflow_key, one_line, plain, visible
from bootstrap.records import Event
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

LOADS_A_MODEL = {"run", "submit", "reproduce", "chat"}
"""Commands that say nothing of a lineage's texts before they have loaded torch or asked a server
(test_text_of_servers.py)."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    build_hostile(folder / "rich")
    return folder


def hostile(told: str) -> set[str]:
    """Return the characters of a text that a terminal would act on."""
    return {character for character in told if not character.isprintable() and character != "\n"}


# Some import it with what they need.
@pytest.mark.torch
def test_no_command_hands_a_terminal_what_it_would_act_on(store: Path, tmp_path: Path) -> None:
    seen = 0
    for command in CALLS.keys() - LOADS_A_MODEL:
        for words in CALLS[command]:
            code, told = called(command, words, store=store, lineage="rich", out=tmp_path / "out")
            assert not hostile(told), (command, words)
            assert not re.search(rf"^{FORGED}", told, re.MULTILINE), (command, words)
            assert code != 1, told
            seen += "alert(1)" in told
    assert seen > 8, "the commands show nothing of what is hostile"


def test_the_page_has_it_as_data_alone(store: Path) -> None:
    page = Page(store=LineageStore(store / "rich")).html().decode()
    assert "alert(1)" in page, "the page shows nothing of what is hostile"
    assert not hostile(page) and "<script>alert" not in page
    assert page.count("</script>") == page.count("<script")


def markdown(store: LineageStore, entries: list[Entry]) -> Iterator[tuple[str, str]]:
    """Yield the name and text of everything that is Markdown."""
    identity = poisoned(json.loads(json.dumps(store.header().identity)), "identity")
    receipts = {
        entry.generation.number: Receipt(
            hash=entry.hash, version="1", experiment_id="1", lineage_run_id="l", run_id="r", model_id="m"
        )
        for entry in entries
    }
    yield "lineage", notes.of_lineage(entries, receipts, registered="rich")
    yield "experiment", notes.of_experiment({"r": f"rich{EVIL}"}, "1")
    yield "graph", mermaid.to_mermaid(entries)
    for entry in entries[-2:]:
        node, said = entry.generation, outcome.sentence(entry.generation)
        data = datasets.of_generation(store, entries, node, models={})
        judged = judges.of_generation(node, identity)
        yield "note", notes.of_generation(sentence=said, links="")
        # Its front matter is YAML, with JSON's strings.
        yield "card", card.model_card(entry, identity=store.header().identity).partition("\n---\n")[2]
        yield "gate", sheets.gate(node, sentence=said, bar="")
        yield "results", sheets.results(node, bar="")
        yield "data", sheets.data(node, data, bar="")
        yield "verifiers", sheets.verifiers(node, judged, samples.scores(store, node), bar="")
        yield "cost", sheets.cost(entry, bar="")


def test_markdown_has_none_of_its_markup(store: Path) -> None:
    lineage = LineageStore(store / "rich")
    for name, page in markdown(lineage, lineage.ledger.read()):
        assert not hostile(page), name
        assert not re.search(rf"<script>|`x`|\[a\]\(javascript|^{FORGED}", page, re.MULTILINE), name
        # A table's rows have as many cells as its head.
        tables = re.findall(r"(?:^\|.*\n?)+", page, re.MULTILINE)
        assert all(len({line.count("|") for line in table.splitlines()}) == 1 for table in tables), name


def test_mlflow_s_tags_and_params_are_one_line_of_letters(store: Path) -> None:
    entries = LineageStore(store / "rich").ledger.read()
    recipe = poisoned({"base": {"model": {"type": "folder", "path": "/m"}, "steps": []}, "name": "rich"})
    found = [tags.of_lineage(entries[0].generation, base=None), tags.of_head(entries), tags.recipe_params(recipe)]
    for entry in entries:
        found.append(tags.of_generation(entry, models={}, base=None))
        found.append(tags.of_version(entry.generation, base=None))
        found.append(tags.model_params(entry, recipe=recipe, models={}, weights=None))
    assert all(value.isprintable() for one in found for value in one.values())
    assert any("alert(1)" in value for one in found for value in one.values())


@pytest.mark.parametrize("name", [EVIL, "..", ".", "a/../../b", "/etc", "a//b", "", "x" * 999])
def test_no_name_is_a_path_or_too_long_as_a_key_of_mlflow(name: str) -> None:
    key = mlflow_key(name)
    assert re.fullmatch(r"[\w. -][\w./ -]{0,249}", key) and ".." not in key and key != "." and "//" not in key


def test_honest_text_of_all_scripts_stays_as_it_is() -> None:
    for text in (
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\U0001f469\u200d\U0001f4bb",
        "\u4e00\u3000\u4e8c",
        "10\u202f000\u00a0m",
    ):
        assert visible(text) == one_line(text) == text
        assert plain(text) == " ".join(text.split())
    # What turns the direction of writing, or hides.
    assert visible("a\u202eb\u2028\u200b\u2066") == "a\\u202eb\\u2028\\u200b\\u2066"


def test_no_line_of_an_error_looks_like_one_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    output.complain(f"the verifier said {EVIL}" + 99 * "\nmore")
    told = capsys.readouterr().err
    assert told.startswith("error: the verifier said ") and not hostile(told)
    assert all(line.startswith("  ") for line in told.splitlines()[1:])
    assert told.endswith("  and 71 lines more\n")


def test_progress_is_one_line_whatever_a_stage_says() -> None:
    told = io.StringIO()
    display = PlainProgress(told, last=1, expected=Expected())
    display(Event(generation=1, stage=f"train{EVIL}", done=0, total=1, warning=f"slow{EVIL}"))
    display.say(f"gen-1 promoted: {EVIL}")
    assert not hostile(told.getvalue()) and len(told.getvalue().splitlines()) == 3
