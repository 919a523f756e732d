"""What a store says of itself after it has moved, and a port that is taken, both without MLflow."""

import json
import shutil
import socket
from pathlib import Path

import pytest
from support.lineage_factory import build

from bootstrap.cli.target import chosen, recall, remember
from bootstrap.cli.ui import serve_until_stopped
from bootstrap.config.resources import Tracking
from bootstrap.errors import TrackingError
from bootstrap.lineage import tracking
from bootstrap.store.lineage_store import LineageStore


@pytest.mark.parametrize("name", ["other.db", "100% q?z ü.db"])
def test_another_database_in_the_store_is_that_of_the_store_it_was_copied_to(tmp_path: Path, name: str) -> None:
    build(tmp_path / "old" / "addition", plan=())
    asked = f"{tracking.database_uri(tmp_path / 'old' / name)}?timeout=3"
    remember(LineageStore(tmp_path / "old" / "addition"), Tracking(), tracking_uri=asked)
    assert chosen(LineageStore(tmp_path / "old" / "addition")).uri == asked
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    found = recall(LineageStore(tmp_path / "new" / "addition"))
    assert found is not None and found.uri == f"{tracking.database_uri(tmp_path / 'new' / name)}?timeout=3"


@pytest.mark.parametrize("uri", ["sqlite:////elsewhere/mlflow.db", "http://host:5000", None])
def test_a_place_outside_the_store_stays_when_the_store_moves(tmp_path: Path, uri: str | None) -> None:
    build(tmp_path / "old" / "addition", plan=())
    own = tracking.database_uri(tmp_path / "old" / "mlflow.db")
    remember(LineageStore(tmp_path / "old" / "addition"), Tracking(), tracking_uri=uri or own)
    shutil.move(tmp_path / "old", tmp_path / "new")
    found = recall(LineageStore(tmp_path / "new" / "addition"))
    assert found is not None and found.uri == uri


def test_a_place_that_leads_out_of_the_store_by_its_name_is_not_followed(tmp_path: Path) -> None:
    build(tmp_path / "addition", plan=())
    told = {"uri": "sqlite:///../../etc/x.db", "experiment": None, "sample_rollouts": 4}
    (tmp_path / "addition" / "tracking.json").write_text(json.dumps(told))
    found = recall(LineageStore(tmp_path / "addition"))
    assert found is not None and found.uri == tracking.database_uri(tmp_path / "x.db")


def test_a_taken_port_is_told_before_anything_is_printed_or_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path / "addition", plan=())
    build(tmp_path / "remote", plan=(), name="remote")
    remember(LineageStore(tmp_path / "remote"), Tracking(), tracking_uri="http://host:5000")
    monkeypatch.setattr("bootstrap.cli.ui.serve", lambda *_, **__: pytest.fail("the server was started"))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(TrackingError, match=f"port {port} on 127.0.0.1 is taken: choose another with --port"):
            serve_until_stopped(tmp_path, port=port)
    assert capsys.readouterr().out == ""
