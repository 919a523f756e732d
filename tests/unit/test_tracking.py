"""The tracking store's address, found without MLflow."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bootstrap.errors import RecipeError, TrackingError
from bootstrap.lineage import tracking


@pytest.fixture(autouse=True)
def no_address_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_without_a_setting_the_database_lies_in_the_store(tmp_path: Path) -> None:
    uri = tracking.resolve_tracking_uri(None, tmp_path)
    assert uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert tracking.artifact_location(uri, tmp_path) == f"file://{tmp_path}/mlflow-artifacts"


def test_the_environment_fills_a_missing_setting_but_not_a_given_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://example.org:5000")
    assert tracking.resolve_tracking_uri(None, tmp_path) == "http://example.org:5000"
    assert tracking.resolve_tracking_uri("sqlite:////x/y.db", tmp_path) == "sqlite:////x/y.db"


def test_relative_addresses_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert tracking.resolve_tracking_uri(None, Path("runs")) == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert tracking.resolve_tracking_uri("sqlite:///own.db", Path("runs")) == f"sqlite:///{tmp_path}/own.db"
    assert (
        tracking.artifact_location(f"sqlite:///{tmp_path}/own.db", Path("runs"))
        == f"file://{tmp_path}/mlflow-artifacts"
    )


@pytest.mark.parametrize("uri", ["./mlruns", "file:///tmp/mlruns", "mlflow", "ftp://example.org"])
def test_an_address_without_a_store_is_refused_with_the_remedy(uri: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"sqlite:///PATH/mlflow\.db"):
        tracking.resolve_tracking_uri(uri, tmp_path)


def test_a_server_that_nobody_runs_is_noticed_at_once() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    begun = time.monotonic()
    with pytest.raises(TrackingError, match=f"127.0.0.1:{port} cannot be reached"):
        tracking.check_reachable(f"http://127.0.0.1:{port}")
    assert time.monotonic() - begun < tracking.REACH_SECONDS + 1
    tracking.check_reachable("sqlite:////nowhere/mlflow.db")


def test_links_open_mlflow_in_model_training_mode() -> None:
    assert (
        tracking.experiment_url("http://h:1/", "3") == "http://h:1/#/experiments/3/runs?workflowType=machine_learning"
    )
    page = tracking.lineage_url("http://h:1", "3", "abc")
    assert page == "http://h:1/#/experiments/3/runs/abc/artifacts/lineage/lineage.html?workflowType=machine_learning"
    assert tracking.version_url("", "a b", "2").startswith("/#/models/a%20b/versions/2?")


def test_asking_the_ledger_and_finding_the_store_load_no_mlflow() -> None:
    program = (
        "import sys; import bootstrap.lineage.queries, bootstrap.lineage.graph, bootstrap.lineage.outbox, "
        "bootstrap.lineage.tracking, bootstrap.lineage.server; assert 'mlflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
