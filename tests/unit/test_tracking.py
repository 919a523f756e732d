"""The tracking store's address, found without MLflow."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from bootstrap.errors import RecipeError, TrackingError
from bootstrap.lineage import reach, tracking
from bootstrap.lineage.server import serve


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


@pytest.mark.parametrize("uri", ["http://h:99999", "http://h:x", "http://[h", "https://", "http://:5000"])
def test_a_servers_address_without_a_host_and_a_possible_port_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="http://HOST:PORT"):
        tracking.resolve_tracking_uri(uri, tmp_path)


SECRETIVE = [
    "http://user:secret@h:5000",
    "https://secret@h",
    "http://user:p@secret@h:5000",
    "http://user:99secret/secret@h",
    "postgresql+psycopg2://user:se/secret@h/db",
    "postgresql://h/db?user=a&password=secret",
    "mssql+pyodbc:///?odbc_connect=UID%3Da%3BPWD%3Dsecret%3B",
]


@pytest.mark.parametrize("uri", SECRETIVE)
def test_no_link_and_no_message_tells_a_password(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [tracking.redact(f"refused by '{uri}': try {uri}/api, {uri}"), tracking.public(uri)]
    pages = [tracking.run_url, tracking.lineage_url, tracking.model_url, tracking.version_url]
    shown += [tracking.experiment_url(uri, "1"), *(page(uri, "1", "2") for page in pages)]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "ftp" + uri)
    with pytest.raises(RecipeError, match="MLFLOW_TRACKING_URI") as caught:
        tracking.resolve_tracking_uri(None, tmp_path)
    shown.append(str(caught.value))
    if tracking.is_remote(uri):
        with pytest.raises(TrackingError, match="is a server itself") as told:
            serve(uri)
        shown.append(str(told.value))
    assert not [text for text in shown if "secret" in text]
    assert shown[0].startswith("refused by '") and "': try " in shown[0], "the rest of the message stays"


@pytest.mark.parametrize(
    "text", ["see http://h:5000/@team/x", "models:/addition@champion", "sqlite:////a@b/m.db", "a@b"]
)
def test_what_holds_no_password_stays_as_it_is(text: str) -> None:
    assert tracking.redact(text) == text


def test_a_user_name_with_a_slash_in_the_password_is_refused_without_telling_it(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="percent-encoded") as caught:
        tracking.resolve_tracking_uri("http://user:sec/ret@host", tmp_path)
    assert "sec" not in str(caught.value) and "ret" not in str(caught.value)


def test_a_server_of_the_users_is_out_of_reach_of_these_tests(tmp_path: Path) -> None:
    # The tests' own settings, in a process whose environment names a server.
    tests = Path(__file__).parents[1]
    (tmp_path / "test_inner.py").write_text(
        "import os\ndef test_none(): assert 'MLFLOW_TRACKING_URI' not in os.environ\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, "-c", os.devnull]
    result = subprocess.run(
        [*command, "-p", "conftest", tmp_path / "test_inner.py"],
        env={**os.environ, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "PYTHONPATH": str(tests)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout


def test_a_server_that_nobody_runs_is_noticed_at_once() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # The system's own word, and not that the wait for one was over.
    with pytest.raises(TrackingError, match=rf"127.0.0.1:{port} cannot be reached \(Connection refused\)"):
        reach.check_reachable(f"http://127.0.0.1:{port}")
    reach.check_reachable("sqlite:////nowhere/mlflow.db")


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


@pytest.mark.parametrize(
    ("folder", "written"),
    [
        ("two words", "two words"),
        ("über 日本", "über 日本"),
        ("100%", "100%"),
        ("feature%2Fx", "feature%252Fx"),
        ("q?z", "q%3Fz"),
        ("a#b;c&d='e'", "a#b;c&d='e'"),
    ],
)
def test_a_databases_address_leads_to_its_file_whatever_the_folder_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, written: str
) -> None:
    uri = tracking.resolve_tracking_uri(None, tmp_path / folder)
    assert uri == f"sqlite:///{tmp_path}/{written}/mlflow.db"
    assert make_url(uri).database == str(tmp_path / folder / "mlflow.db")
    assert tracking.database_path(uri) == tmp_path / folder / "mlflow.db"
    assert tracking.artifact_location(uri, tmp_path) == (tmp_path / folder / "mlflow-artifacts").as_uri()
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)
    relative = tracking.resolve_tracking_uri("sqlite:///own%20.db?timeout=3", tmp_path)
    assert relative == f"sqlite:///{tmp_path}/{written}/own .db?timeout=3"
    assert make_url(relative).database == str(tmp_path / folder / "own .db")
    assert tracking.database_path("postgresql://h/db") is None
