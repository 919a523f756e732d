"""`show` prints some held-out answers, right and wrong, as harmless text."""

import json
from pathlib import Path

import pytest
from support.lineage_factory import NASTY, PROMOTED, build

from bootstrap.cli.main import main
from bootstrap.cli.show import ANSWERS
from bootstrap.lineage import samples
from bootstrap.store.lineage_store import LineageStore


@pytest.fixture
def store(tmp_path: Path) -> LineageStore:
    build(tmp_path / "runs" / "addition", plan=(PROMOTED,))
    return LineageStore(tmp_path / "runs" / "addition")


def output(store: LineageStore, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["show", *arguments, "--store", str(store.root.parent)]) == 0
    return capsys.readouterr().out


def test_right_and_wrong_answers_are_shown(store: LineageStore, capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(output(store, capsys, "gen-1", "--json"))["answers"]
    assert len(rows) == ANSWERS
    assert [row["verdict"] for row in rows].count("PASS") == ANSWERS // 2
    assert {row["level"] for row in rows} == {5}
    text = output(store, capsys, "gen-1")
    assert "held-out answers" in text
    assert all(row["prompt"] in text and row["verdict"] in text and row["reason"] in text for row in rows)


def test_an_answer_stays_on_its_line_and_its_control_characters_are_seen(
    store: LineageStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    [row, *_] = samples.heldout(store, store.ledger.read()[1].generation, count=1)
    monkeypatch.setattr(samples, "heldout", lambda *_, **__: [{**row, "answer": f"\x1b[2J\r{NASTY}[bold]"}])
    text = output(store, capsys, "gen-1")
    assert "\x1b" not in text and "\r" not in text
    assert r"\x1b[2J\r<img" in text and r"\n# heading[bold]" in text


def test_a_lineage_without_its_evaluation_is_shown_without_answers(
    store: LineageStore, capsys: pytest.CaptureFixture[str]
) -> None:
    path = store.root / store.ledger.read()[1].generation.artifacts["evaluation"].path
    (path / "samples.parquet").unlink()
    assert "held-out answers" not in output(store, capsys, "gen-1")


def test_the_weights_size_is_shown(store: LineageStore, capsys: pytest.CaptureFixture[str]) -> None:
    size = json.loads(output(store, capsys, "gen-1", "--json"))["weights"]
    path = store.root / store.ledger.read()[1].generation.artifacts["weights"].path / "model.safetensors"
    assert size == {"bytes": path.stat().st_size, "freed": False}
    assert f"weights      {size['bytes']} B" in output(store, capsys, "gen-1")
