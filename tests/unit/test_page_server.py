"""The server of lineage pages: the page as the ledger has it, to this machine's browser alone, and nothing else."""

import base64
import hashlib
import http.client
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.lineage_factory import NASTY, PROMOTED, REJECTED, build, grow

from bootstrap.errors import TrackingError
from bootstrap.lineage import page_server
from bootstrap.lineage.outbox import Outbox, Receipt
from bootstrap.lineage.page_server import Page, PageServer, free_port_near, serve_pages
from bootstrap.store.lineage_store import LineageStore

URI, EXPERIMENT = "sqlite:////nowhere/mlflow.db", "bootstrap/addition"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[PageServer]:
    root = tmp_path / "addition"
    build(root, plan=(PROMOTED, REJECTED))
    outbox = Outbox(root, tracking_uri=URI, experiment=EXPERIMENT)
    with serve_pages({"addition": Page(store=LineageStore(root), outbox=outbox)}) as running:
        yield running


def ask(
    running: PageServer, path: str, *, method: str = "GET", host: str | None = None
) -> tuple[int, Mapping[str, str], str]:
    """Return status, headers and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    found = answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read().decode()
    connection.close()
    return found


def data(body: str) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', body, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_a_lineages_page_has_its_generations_and_some_of_their_answers(served: PageServer) -> None:
    status, headers, body = ask(served, "/addition")
    assert status == 200 and headers["content-type"] == "text/html; charset=utf-8"
    shown = data(body)
    assert shown["lineage"] == "addition" and shown["columns"]["number"] == [0, 1, 2]
    answers = {row[3] for detail in shown["details"].values() for row in detail["samples"]}
    assert NASTY in answers and "<img" not in body
    assert served.address("addition") == f"http://127.0.0.1:{served.port}/addition"


def test_the_browser_may_run_the_pages_script_alone_and_load_nothing(served: PageServer) -> None:
    _, headers, body = ask(served, "/addition")
    [script] = re.findall(r"<script>(.*?)</script>", body, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert rules["default-src"] == "'none'" and rules["script-src"] == f"'sha256-{digest}'"
    assert rules["frame-ancestors"] == "'none'" and "connect-src" not in rules


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "", "127.0.0.1", "127.0.0.1.evil.example"])
def test_a_request_under_another_hosts_name_is_refused(served: PageServer, host: str) -> None:
    status, _, body = ask(served, "/addition", host=host)
    assert status == 421 and "addition" not in body
    assert ask(served, "/addition", host=f"localhost:{served.port}")[0] == 200


@pytest.mark.parametrize(
    "path", ["/other", "/addition/ledger/000000.json", "/../addition", "/%2e%2e%2fetc", "/addition%00"]
)
def test_nothing_but_a_lineages_page_is_served(served: PageServer, path: str) -> None:
    assert ask(served, path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_changed(served: PageServer, method: str) -> None:
    status, headers, _ = ask(served, "/addition", method=method)
    assert status == 501 and headers["content-security-policy"].startswith("default-src 'none'")


def test_a_request_for_the_head_gets_no_body(served: PageServer) -> None:
    status, headers, body = ask(served, "/addition", method="HEAD")
    assert status == 200 and int(headers["content-length"]) > 10_000 and body == ""


def test_the_first_page_links_the_lineages(served: PageServer) -> None:
    status, _, body = ask(served, "/")
    assert status == 200 and '<a href="/addition">addition</a>' in body


def test_the_page_shows_a_generation_as_soon_as_it_is_committed(served: PageServer) -> None:
    before = ask(served, "/addition")[2]
    assert ask(served, "/addition")[2] == before
    grow(served.pages["addition"].store, outcome=PROMOTED)
    assert data(ask(served, "/addition")[2])["champion"] == 3


def test_a_published_lineages_page_links_mlflows_pages_of_a_running_server(served: PageServer) -> None:
    page = served.pages["addition"]
    assert page.outbox is not None
    receipt = Receipt(
        hash=page.store.ledger.read()[1].hash,
        experiment_id="7",
        lineage_run_id="root",
        run_id="r1",
        model_id="m-1",
        version="2",
    )
    page.outbox.mark(1, receipt)
    assert "http://" not in ask(served, "/addition")[2].replace("http://www.w3.org", "")
    page.mlflow = "http://127.0.0.1:5000"
    links = data(ask(served, "/addition")[2])["columns"]["links"]
    run = "http://127.0.0.1:5000/#/experiments/7/runs/r1?workflowType=machine_learning"
    assert [one.get("MLflow run") for one in links] == [None, run, None]


def test_a_broken_ledger_is_told_and_not_drawn(served: PageServer) -> None:
    path = served.pages["addition"].store.ledger.path(1)
    path.chmod(0o644)
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "hash": "\x9b2J"}))
    status, headers, body = ask(served, "/addition")
    assert status == 503 and "000001.json" in body and headers["content-type"].startswith("text/plain")
    assert "found \\x9b2J" in body and body.removesuffix("\n").isprintable(), "a terminal would act on it"


def test_answers_that_are_removed_leave_the_rest_of_the_page(served: PageServer) -> None:
    store = served.pages["addition"].store
    for ref in store.ledger.read()[1].generation.steps.values():
        for file in (store.root / ref.path).iterdir():
            file.unlink()
    status, _, body = ask(served, "/addition")
    details = data(body)["details"]
    assert status == 200 and "samples" not in details["1"] and "samples" in details["2"]


def test_a_taken_port_is_told_and_the_next_one_is_offered_only_if_it_is_free() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port_near(port - 1) == 0 and free_port_near(0) == free_port_near(65535) == 0
        with pytest.raises(TrackingError, match=f"cannot listen on 127.0.0.1:{port}"), serve_pages({}, port=port):
            pass


def test_a_marker_with_odd_samples_leaves_the_page_whole(served: PageServer) -> None:
    page = served.pages["addition"]
    assert page.outbox is not None
    ids: Any = {"experiment_id": "7", "lineage_run_id": "root", "run_id": "r1", "model_id": "m-1", "version": "2"}
    odd = {"rollout": "r", "reward": {"x" * 700: 1}}
    page.outbox.mark(1, Receipt(hash=page.store.ledger.read()[1].hash, **ids, samples=(odd,)))
    status, _, body = ask(served, "/addition")
    assert status == 200 and len(data(body)["details"]["1"]["samples"]) > 1, "they come from the artifacts"


def test_a_browser_that_leaves_in_the_middle_of_a_page_is_no_fault_to_tell(
    served: PageServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    has_left, ended = threading.Event(), threading.Event()
    shut = page_server._Server.shutdown_request

    def shutdown(self: page_server._Server, request: Any) -> None:
        shut(self, request)
        ended.set()

    monkeypatch.setattr(page_server._Server, "shutdown_request", shutdown)
    # More than the buffers between the two hold.
    monkeypatch.setattr(served.pages["addition"], "html", lambda: has_left.wait(30) and bytes(2**26))
    with socket.create_connection(("127.0.0.1", served.port)) as browser:
        browser.sendall(f"GET /addition HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n\r\n".encode())
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    has_left.set()
    assert ended.wait(30)
    assert capsys.readouterr().err == ""


def test_a_fault_of_ours_is_told(
    served: PageServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(served.pages["addition"], "html", lambda: 1 // 0)
    with pytest.raises(http.client.RemoteDisconnected):
        ask(served, "/addition")
    assert "ZeroDivisionError" in capsys.readouterr().err
