"""`bootstrap ui` serves the lineages' own pages, and says where first of all."""

import re
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.lineage_factory import PROMOTED, build

from bootstrap.cli import ui
from bootstrap.cli.target import remember
from bootstrap.config.resources import Tracking
from bootstrap.lineage.outbox import Outbox, Receipt
from bootstrap.store.lineage_store import LineageStore

SERVER = "http://host:5000"


@pytest.fixture(autouse=True)
def _terminated() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def shown(printed: str) -> dict[str, str]:
    """Return lineage -> its page, from the addresses that are printed."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    found = {}
    for name, address in re.findall(r"^(\w+): (http://127\.0\.0\.1:\d+/\S+)$", printed, re.MULTILINE):
        with opener.open(address, timeout=30) as answer:
            found[name] = answer.read().decode()
    return found


def published_to_a_server(root: Path) -> None:
    """Leave what a publication of a lineage's newest generation to a tracking server leaves."""
    store, ids = LineageStore(root), {"experiment_id": "77", "lineage_run_id": "l", "run_id": "r7", "model_id": "m7"}
    remember(store, Tracking(experiment="mine"), tracking_uri=SERVER)
    [*_, entry] = store.ledger.read()
    outbox = Outbox(root, tracking_uri=SERVER, experiment="mine")
    outbox.mark(entry.generation.number, Receipt(hash=entry.hash, version="1", **ids))


def test_the_pages_address_comes_first_and_answers_while_mlflow_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path / "addition", plan=(PROMOTED,))
    build(tmp_path / "second", plan=(), name="second")
    seen: dict[str, str] = {}

    def stopped(uri: str, **_: object) -> None:
        seen.update(shown(capsys.readouterr().out))
        raise KeyboardInterrupt

    # A real server takes seconds to start; that it shows the pages is tests/browser's to prove.
    monkeypatch.setattr(ui, "serve", stopped)
    ui.serve_until_stopped(tmp_path, port=0)
    assert list(seen) == ["addition", "second"]
    assert '"lineage":"addition"' in seen["addition"] and '"lineage":"second"' in seen["second"]


@pytest.mark.parametrize("with_database", [True, False])
def test_a_lineage_that_published_to_a_server_has_a_page_with_links_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, with_database: bool
) -> None:
    build(tmp_path / "remote", plan=(PROMOTED,), name="remote")
    published_to_a_server(tmp_path / "remote")
    if with_database:
        build(tmp_path / "addition", plan=())
    seen: dict[str, str] = {}

    def stopped(*_: object, **__: object) -> None:
        printed = capsys.readouterr().out
        assert f"remote in MLflow: {SERVER}/#/experiments/77/runs" in printed
        seen.update(shown(printed))
        raise KeyboardInterrupt

    monkeypatch.setattr(ui, "serve" if with_database else "wait_for_ctrl_c", stopped)
    ui.serve_until_stopped(tmp_path, port=0)
    assert list(seen) == [*(["addition"] if with_database else []), "remote"]
    assert f"{SERVER}/#/experiments/77/runs/r7" in seen["remote"]


def test_a_taken_port_of_mlflow_is_no_matter_where_none_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path / "remote", plan=(), name="remote")
    published_to_a_server(tmp_path / "remote")
    stopped = []
    monkeypatch.setattr(ui, "free_port", lambda _: pytest.fail("the port of MLflow was looked for"))
    monkeypatch.setattr(ui, "wait_for_ctrl_c", lambda: stopped.append(True))
    ui.serve_until_stopped(tmp_path, port=0)
    assert stopped
