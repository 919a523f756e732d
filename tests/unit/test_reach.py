"""A tracking store that hangs or lies is noticed before MLflow loads, in bounded time, by what it did."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support import lying_servers
from support.lying_servers import Answer, lying, saying

from bootstrap.cli.publish import Publisher, sync_command
from bootstrap.errors import TrackingError
from bootstrap.lineage import reach
from bootstrap.lineage.reach import check_reachable


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "0.3")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lying_servers.silent, r"accepts connections and has not answered a call within 0.3 s"),
        (lying_servers.trickling, r"accepts connections and has not answered a call within 0.3 s"),
        (lying_servers.closing, r"accepts connections and ends them without an answer"),
        (
            saying("500 Internal Server Error", "text/html", "<html>"),
            r"answers with error 500 \(Internal Server Error\)",
        ),
        (saying("599 Odd", "text/plain", ""), r"answers with error 599 \(unknown\)"),
        (lambda connection, ended: connection.sendall(b"220 mail ready\r\n"), r"answers something that is no HTTP"),
        (lambda connection, ended: connection.sendall(b"x" * 10**6), r"accepts connections and breaks them off"),
    ],
)
def test_a_server_is_refused_by_what_it_did(answer: Answer, told: str) -> None:
    with lying(answer) as server, pytest.raises(TrackingError, match=rf"^MLflow at 127.0.0.1:\d+ {told}"):
        check_reachable(server.url)


@pytest.mark.parametrize("status", ["200 OK", "302 Found", "401 Unauthorized", "404 Not Found"])
def test_what_a_servers_answer_holds_is_mlflows_to_judge(status: str) -> None:
    with lying(saying(status, "text/html", "<html>")) as server:
        check_reachable(f"{server.url.replace('//', '//user:secret@')}/prefix/")
    assert server.requests == [b"GET /prefix/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default HTTP/1.1"]


def test_a_locked_database_is_named_and_a_free_one_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("create table runs (id)")
        before = path.read_bytes()
        check_reachable(f"sqlite:///{path}")
        database.execute("begin exclusive")
        with pytest.raises(TrackingError, match=rf"{path} is locked by another program and was not free within 0.3 s"):
            check_reachable(f"sqlite:///{path}")
        database.execute("rollback")
    check_reachable(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_setting_that_is_no_number_leaves_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "soon")
    assert reach.call_seconds() == reach.CALL_SECONDS


def test_a_server_that_never_answers_costs_a_run_two_questions_however_many_commits_wait(rich_store: Path) -> None:
    warnings: list[str] = []
    with lying(lying_servers.silent) as server:
        environment = {"MLFLOW_TRACKING_URI": server.url}
        command = sync_command(rich_store / "rich", experiment=None, sample_rollouts=1)
        with Publisher(command, warn=warnings.append, environment=environment) as publish:
            for _ in range(50):
                publish()
            assert not publish.finish()
    assert len(server.requests) == 2
    assert len(warnings) == 1 and "has not answered a call within 0.3 s" in warnings[0]
