"""Odd files in an outbox count as absent: what they mark is published again."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.lineage_factory import build

from bootstrap.lineage.outbox import Outbox
from bootstrap.store.ledger import Entry

SAMPLE = {"rollout": "r1", "level": 1, "prompt": "1+1=", "answer": "2", "verdict": "PASS", "reward": 1.0, "reason": ""}


@pytest.fixture
def entries(tmp_path: Path) -> list[Entry]:
    return build(tmp_path / "addition", plan=())


@pytest.fixture
def outbox(tmp_path: Path, entries: list[Entry]) -> Outbox:
    found = Outbox(tmp_path / "addition", tracking_uri="sqlite:////x", experiment="e")
    found.folder.mkdir(parents=True)
    found.mark_head(entries[-1], lineage_run_id="run", final=None, shown_as=3, drawn=1)
    assert found.shown(entries, lineage_run_id="run", shown_as=3) == 1
    return found


@pytest.mark.parametrize(
    "data", [b"[]", b"3", b"null", b'"x"', b"", b"{torn", b"[" * 100_000, b'{"hash": []}', b"\xff"]
)
def test_an_odd_head_shows_nothing(outbox: Outbox, entries: list[Entry], data: bytes) -> None:
    (outbox.folder / "head.json").write_bytes(data)
    assert outbox.shown(entries, lineage_run_id="run", shown_as=3) == 0
    assert outbox.drawn() == 0
    assert not outbox.shows(entries[-1], lineage_run_id="run", final=None, shown_as=3)


@pytest.mark.parametrize(
    "odd",
    [
        3,
        [],
        {**SAMPLE, "answer": 5},
        {**SAMPLE, "answer": None},
        {**SAMPLE, "reward": {"x" * 700: 1}},
        {**SAMPLE, "level": 10**700},
        {**SAMPLE, "reward": float("nan")},
    ],
)
def test_samples_that_no_page_can_show_are_left_out(outbox: Outbox, entries: list[Entry], odd: Any) -> None:
    ids = {"experiment_id": "1", "lineage_run_id": "run", "run_id": "r", "model_id": "m", "version": "1"}
    marker = {"hash": entries[0].hash, **ids, "samples": [odd, SAMPLE]}
    (outbox.folder / "000000.json").write_text(json.dumps(marker))
    assert outbox.receipts(entries)[0].samples == (SAMPLE,)
