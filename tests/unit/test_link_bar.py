"""The bar of links of a generation's pages: every relative and every explanation, and whose bars one more changes."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from support.lineage_factory import PROMOTED, REJECTED, build

from bootstrap.ledger_records import Edge
from bootstrap.lineage import bar, judges, sheets, tracking
from bootstrap.lineage.outbox import Receipt
from bootstrap.store.ledger import Entry

LINK = re.compile(r"\[((?:[^\[\]])+)\]\((#/[^)]*)\)")
RECIPE = {"verifier": {"type": "exact", "answer": {"type": "whole", "strip": False}}}


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Entry]:
    plan = (PROMOTED, REJECTED, REJECTED, PROMOTED, REJECTED)
    return build(tmp_path_factory.mktemp("store") / "addition", plan=plan, outside="/models/tutor")


def receipt(number: int) -> Receipt:
    return Receipt(
        hash="h", experiment_id="1", lineage_run_id="whole", run_id=f"r{number}", model_id=f"m-{number}", version="9"
    )


def shown(entries: Sequence[Entry], number: int) -> str:
    node = entries[number].generation
    return bar.of_generation(
        node,
        kin=bar.Kin(entries),
        receipts={entry.generation.number: receipt(entry.generation.number) for entry in entries},
        registered="addition",
        judges=judges.of_generation(node, RECIPE),
    )


def links(text: str) -> dict[str, str]:
    return {label: url.partition("?")[0] for label, url in LINK.findall(text)}


def test_every_relative_and_every_explanation_is_one_click_away(entries: Sequence[Entry]) -> None:
    found, run = links(shown(entries, 3)), "#/experiments/1/runs"
    assert found == {
        "gen-1": f"{run}/r1",
        "gen-2": f"{run}/r2",
        "gen-4": f"{run}/r4",
        "gen-0": f"{run}/r0",
        "gate": f"{run}/r3/artifacts/{sheets.GATE}",
        "results (guard broken)": f"{run}/r3/artifacts/{sheets.RESULTS}",
        "samples": f"{run}/r3/traces",
        "data": f"{run}/r3/artifacts/{sheets.DATA}",
        "exact(answer=whole(strip=false))": f"{run}/r3/artifacts/{sheets.VERIFIERS}",
        "cost": f"{run}/r3/artifacts/{sheets.COST}",
        "lineage": f"{run}/whole/artifacts/{tracking.HTML_PATH}",
        "run": f"{run}/r3",
        "model": "#/experiments/1/models/m-3",
        "version": "#/models/addition/versions/9",
    }


def test_relatives_stand_under_what_they_are_to_the_generation(entries: Sequence[Entry]) -> None:
    first = "[lineage] · [gate] · [samples] · [results] · parent [gen-0] · children [gen-2], [gen-3], **[gen-4]** · "
    words = re.sub(r"\]\([^)]*\)", "]", shown(entries, 1))
    assert words.startswith(f"{first}teacher tutor (outside) · [data] · verifier [exact")
    words = re.sub(r"\]\([^)]*\)", "]", shown(entries, 3))
    relatives = "parent [gen-1] · no children yet · siblings [gen-2], [gen-4] · teachers [gen-0], tutor (outside)"
    assert words.startswith(f"[lineage] · [gate] · [samples] · [results (guard broken)] · {relatives} · [data] · ")


def test_a_merge_names_all_that_were_merged_and_is_a_child_of_each(entries: Sequence[Entry]) -> None:
    node = entries[5].generation
    edges = tuple(Edge(role="merged", generation=n, fingerprint=str(n)) for n in (2, 4))
    merged = replace(entries[5], generation=node.model_copy(update={"edges": edges}))
    whole = [*entries[:5], merged]
    assert "merged [gen-2](" in shown(whole, 5) and "gen-5" in links(shown(whole, 2))
    assert bar.Kin(whole).children(4) == [5] and bar.Kin(whole).siblings(5) == []


def test_bars_that_show_one_more_generation_are_those_that_it_touches(entries: Sequence[Entry]) -> None:
    for number in range(1, len(entries)):
        before = {n: shown(entries[:number], n) for n in range(number)}
        after = {n: shown(entries[: number + 1], n) for n in range(number)}
        changed = {n for n in before if before[n] != after[n]}
        assert changed == bar.Kin(entries[: number + 1]).touched([number]) - {number}


def test_however_many_relatives_there_are_a_bar_shows_a_bounded_number(entries: Sequence[Entry]) -> None:
    base, child = entries[0], entries[2]
    edges = (Edge(role="init", generation=0, fingerprint="f"),)
    many = [base] + [
        replace(child, generation=child.generation.model_copy(update={"number": number, "edges": edges}))
        for number in range(1, 201)
    ]
    kin = bar.Kin(many)
    assert kin.siblings(100) == [98, 99, 101, 102]
    assert kin.touched([200]) == {0, 198, 199, 200}
    text = shown(many, 0)
    assert "[196 earlier](" in text and "gen-200" in text and "[gen-196]" not in text
    assert len(text) < 4000


def test_a_sheets_bar_does_not_change_when_relatives_come(entries: Sequence[Entry]) -> None:
    node, known = entries[1].generation, {n: receipt(n) for n in range(6)}
    text = bar.of_sheet(node, receipts=known, registered="addition", judges=[])
    assert " · parent [gen-0](" in text and "gen-2" not in text
    assert "[gate](?gate#/experiments/1/runs/r1/artifacts/generation/gate.md?" in text, "else MLflow stays where it is"


def test_a_parent_that_is_not_published_is_named_without_a_link(entries: Sequence[Entry]) -> None:
    node = entries[1].generation
    text = bar.of_generation(node, kin=bar.Kin(entries), receipts={1: receipt(1)}, registered="a", judges=[])
    assert " · parent gen-0 · children gen-2, gen-3, **gen-4** ·" in text


def test_what_a_recipe_says_of_its_verifier_cannot_become_markup(entries: Sequence[Entry], tmp_path: Path) -> None:
    recipe = {"verifier": {"type": "regex", "pattern": "](javascript:x)[<b>`|"}}
    [judge] = judges.of_generation(entries[1].generation, recipe)
    assert not set("[]<>`|") & set(judge.short + judge.settings) and "javascript" in judge.settings
