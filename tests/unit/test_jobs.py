"""This program's jobs on a cluster, as its job server tells them: listed, found, followed, stopped; every wait ends."""

import http.server
import itertools
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.job_submission import JobDetails
from support.job_server import ADDRESS, RECIPE, Jobs, Several, job, serve

from bootstrap.cli.main import main
from bootstrap.cluster import job_client, jobs
from bootstrap.cluster.jobs import JobServer
from bootstrap.errors import ClusterError

AN_HOUR = 3_600_000


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.time, "sleep", lambda _: None)


def test_own_jobs_are_listed_with_their_fate_and_others_are_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = "Job entrypoint command failed with exit code 3, last logs:\nerror: the store /shared/runs is full\n"
    client = Several(
        job("late-a1", start_time=2 * AN_HOUR, status="SUCCEEDED", end_time=2 * AN_HOUR + 65_000, driver_exit_code=0),
        job("soon-a1", start_time=AN_HOUR, status="FAILED", end_time=AN_HOUR, driver_exit_code=3, message=log),
        job(
            "left-a1", start_time=3 * AN_HOUR, status="FAILED", end_time=3 * AN_HOUR, driver_exit_code=130, message=log
        ),
        job("new-a1", status="PENDING"),
        job("theirs", own=False),
        job(None, own=False),
    )
    listed, others = serve(monkeypatch, client).listed()
    assert [row["id"] for row in listed] == ["soon-a1", "late-a1", "left-a1", "new-a1"], "the newest last"
    assert [row["status"] for row in listed] == ["failed", "succeeded", "stopped", "pending"]
    assert others == 2
    soon, late, _, new = listed
    assert (new["started"], new["seconds"]) == (None, None)
    assert soon["message"] == "error: the store /shared/runs is full"
    assert (late["started"], late["ended"], late["seconds"]) == (
        "1970-01-01T02:00:00+00:00",
        "1970-01-01T02:01:05+00:00",
        65.0,
    )
    assert (late["lineage"], late["recipe"], late["store"], late["message"]) == ("tiny", "tiny", "/shared/runs", "")

    assert main(["jobs", "--address", ADDRESS]) == 0
    table = capsys.readouterr().out
    [line] = [line for line in table.splitlines() if "soon-a1" in line]
    assert "failed (3)" in line and "1970-01-01 01:00:00 UTC" in line and "error: the store" in line
    assert "theirs" not in table and "2 other jobs there: not this program's" in table

    assert main(["jobs", "--address", ADDRESS, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"address": ADDRESS, "jobs": listed, "other_jobs": 2}


def test_what_runs_has_taken_the_time_since_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    began = int(time.time() * 1000)
    ahead = job("ahead", start_time=began + AN_HOUR)
    listed, _ = serve(monkeypatch, Several(job("x", start_time=began - AN_HOUR), ahead)).listed()
    assert 3600 <= listed[0]["seconds"] < 3660
    assert listed[1]["seconds"] == 0, "another machine's clock may be ahead"


def test_a_password_in_a_jobs_last_words_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "MLflow at http://me:secret@mlflow:5000 cannot be reached"
    [row], _ = serve(monkeypatch, Jobs(job(status="FAILED", message=said))).listed()
    assert row["message"] == "MLflow at http://mlflow:5000 cannot be reached"


@pytest.mark.parametrize("command", ["attach", "stop"])
def test_an_unknown_job_is_one_error_that_names_the_list(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(monkeypatch, client := Jobs(job("x")))
    assert main([command, "y", "--address", ADDRESS]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("error: there is no job y on ") and complaint.count("\n") == 1
    assert f"`bootstrap jobs --address {ADDRESS}`" in complaint
    assert client.stops == []


@pytest.mark.parametrize("command", ["attach", "stop"])
def test_a_job_of_others_is_never_touched(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(monkeypatch, client := Jobs(job("x", own=False)))
    assert main([command, "x", "--address", ADDRESS]) == 2
    assert "is not one of this program's" in capsys.readouterr().err
    assert client.stops == []


def test_a_stopped_job_says_what_is_kept_and_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(monkeypatch, client := Jobs(job(), job(), job(status="STOPPED")))
    assert main(["stop", "x", "--address", ADDRESS]) == 0
    asked, ended = capsys.readouterr().out.splitlines()
    assert asked == "asked job x to stop; it has 60 s to save its last checkpoint"
    assert ended.startswith("job x is stopped; what it finished is kept in /shared/runs. To continue from its last ")
    assert f"`bootstrap submit RECIPE --lineage tiny --store /shared/runs --address {ADDRESS}`" in ended
    assert client.stops == ["x"]


def test_a_job_in_the_default_store_goes_on_without_naming_it(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"bootstrap.lineage": "tiny", "bootstrap.store": "~/bootstrap-runs", "bootstrap.recipe": "tiny"}
    echo: list[str] = []
    client = Jobs(job(metadata=known), job(status="STOPPED", metadata=known))
    serve(monkeypatch, client).stop("x", echo=echo.append)
    assert f"`bootstrap submit RECIPE --lineage tiny --address {ADDRESS}`" in echo[-1]


def test_a_job_that_has_ended_is_told_so_and_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(monkeypatch, client := Jobs(job(status="SUCCEEDED")))
    assert main(["stop", "x", "--address", ADDRESS]) == 0
    assert capsys.readouterr().out == "job x has ended already: succeeded\n"
    assert client.stops == []


def test_a_job_that_nobody_supervises_yet_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Jobs(job(status="PENDING"), job(), job(status="STOPPED"))
    client.heard = False
    serve(monkeypatch, client).stop("x", echo=lambda _: None)
    assert client.stops == ["x", "x"]


def test_a_job_that_ends_by_itself_meanwhile_is_not_called_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    echo: list[str] = []
    serve(monkeypatch, Jobs(job(), job(status="SUCCEEDED"))).stop("x", echo=echo.append)
    assert echo[-1] == "job x ended before it could be stopped: succeeded"


def test_a_job_that_does_not_stop_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(0, 50)
    monkeypatch.setattr(jobs, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda _: None))
    with pytest.raises(ClusterError, match=r"runs on, \d+ s after it was asked.*`bootstrap attach x --address http"):
        serve(monkeypatch, Jobs(job())).stop("x", echo=lambda _: None)


@pytest.mark.parametrize("wait", ["follow", "stop"])
def test_a_server_that_is_lost_ends_the_wait_and_not_the_job(wait: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lost(Jobs):
        def get_job_info(self, submission_id: str) -> JobDetails:
            raise ConnectionResetError(104, "Connection reset by peer")

    with pytest.raises(ClusterError, match=r"lost sight of job x .*\(Connection reset by peer\); it may well go on"):
        getattr(serve(monkeypatch, Lost(job())), wait)("x", echo=lambda _: None)


def test_leaving_the_view_names_the_commands_to_come_back_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Left(Jobs):
        def get_job_logs(self, submission_id: str) -> str:
            raise KeyboardInterrupt

    serve(monkeypatch, Left(job()))
    assert main(["attach", "x", "--address", ADDRESS]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "job x goes on without this viewer"
    assert lines[1].endswith(f"bootstrap attach x --address {ADDRESS}")
    assert lines[2].endswith(f"bootstrap stop x --address {ADDRESS}")
    assert f"ray job stop x --address {ADDRESS}" in lines[3]


def test_a_job_that_was_stopped_is_told_in_its_own_words_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(monkeypatch, Jobs(job(status="STOPPED")))
    assert main(["attach", "x", "--address", ADDRESS]) == 130
    said = capsys.readouterr()
    assert "job x was stopped; submit the recipe again" in said.out
    assert said.err == "", "the same command again would not go on"


@pytest.mark.parametrize(
    ("code", "returned", "remedy"),
    [
        (None, 5, "continue from the last checkpoint"),
        (137, 5, "continue from the last checkpoint"),
        (5, 5, "continue from the last checkpoint"),
        (7, 7, "--past-guards"),
        (2, 2, "The error is above"),
        (1, 1, "The error is above"),
    ],
)
def test_a_failed_job_is_told_with_a_remedy_that_can_help(
    monkeypatch: pytest.MonkeyPatch, code: int | None, returned: int, remedy: str
) -> None:
    echo: list[str] = []
    server = serve(monkeypatch, Jobs(job(status="FAILED", message="It broke.", driver_exit_code=code)))
    assert server.follow("x", echo=echo.append) == returned
    assert echo[-1].startswith("job x failed: It broke. ") and remedy in echo[-1]
    assert ("checkpoint" in echo[-1]) == (returned == 5)


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A job server that tells its version, and then nothing."""
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/api/version":
                # Far longer than the deadline under test.
                over.wait(60)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"version": "4", "ray_version": "2.60.0"}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_server_that_falls_silent_is_given_up(silent_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server = JobServer(silent_server)
    monkeypatch.setattr(job_client, "_REQUEST_SECONDS", 0.2)
    with pytest.raises(ClusterError, match=r"was silent for 0\.2 s"):
        server.listed()


@pytest.mark.parametrize("words", [("jobs",), ("attach", "x"), ("stop", "x"), ("submit", "tiny.yaml")])
def test_the_cluster_is_named_by_option_or_environment(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    assert main(list(words)) == 2
    complaint = capsys.readouterr().err
    assert "--address" in complaint and "RAY_API_SERVER_ADDRESS" in complaint
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert main(list(words)) == 5
    assert "no Ray job server answers at http://127.0.0.1:9 (" in capsys.readouterr().err
