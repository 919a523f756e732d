"""Notices: what is told to whom, and that neither a slow nor a missing listener delays or ends anything."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from support import lineage_factory
from support.chat_server import drip_server
from support.lineage_factory import PROMOTED, REJECTED, SETTINGS, UNGATED

from bootstrap.cli import notify
from bootstrap.cli.fork import fork_lineage
from bootstrap.cli.notify import Notifier
from bootstrap.cli.remembered import remember_recipe
from bootstrap.config.resources import Notify
from bootstrap.errors import RecipeError
from bootstrap.ledger_records import Generation
from bootstrap.store.lineage_store import LineageStore


@contextmanager
def listener(*, status: int = 200, location: str = "") -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve on loopback; yield the address and what was posted."""
    posted: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/json"
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook/s3cret", posted
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> list[Generation]:
    root = tmp_path_factory.mktemp("store") / "addition"
    return [entry.generation for entry in lineage_factory.build(root, plan=(PROMOTED, REJECTED, UNGATED))]


def tell(url: str, generations: list[Generation], *, events: tuple[str, ...] | None = None) -> list[str]:
    """Tell of generations and the end; return the warnings."""
    warnings: list[str] = []
    settings = Notify.model_validate({"url": url} if events is None else {"url": url, "events": events})
    notifier = Notifier(settings, lineage="addition", warn=warnings.append)
    for generation in generations:
        notifier.committed(generation)
    notifier.finish("the lineage has all its generations", succeeded=True)
    return warnings


def test_promotion_rejection_guard_and_end_are_told_in_order(grown: list[Generation]) -> None:
    with listener() as (url, posted):
        assert tell(url, grown) == []
    assert [notice["event"] for notice in posted] == ["promotion", "rejection", "guard", "end"]
    promotion, rejection, guard, end = posted
    assert promotion["lineage"] == "addition" and promotion["generation"] == promotion["champion"] == "gen-1"
    assert promotion["text"] == f"addition gen-1 promoted: {grown[1].decision.reason}"
    assert rejection["champion"] == "gen-1" and not rejection["reason"].startswith("rejected: ")
    assert guard["guard"] == str(grown[2].diagnostics.findings[0])
    assert end["reason"] == "the lineage has all its generations" and end["succeeded"] is True
    assert all(notice["time"].endswith("+00:00") for notice in posted)


def test_only_what_was_asked_for_is_told(grown: list[Generation]) -> None:
    with listener() as (url, posted):
        tell(url, grown, events=("rejection",))
    assert [notice["event"] for notice in posted] == ["rejection"]


def test_without_settings_nobody_is_told_and_nothing_waits(grown: list[Generation]) -> None:
    notifier = Notifier(None, lineage="addition", warn=pytest.fail)
    notifier.committed(grown[1])
    notifier.finish("done", succeeded=True)


def test_an_address_that_nobody_listens_at_is_told_once_without_its_path(grown: list[Generation]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    [warning] = tell(f"http://127.0.0.1:{port}/hook/s3cret", grown)
    assert warning == f"notices do not reach 127.0.0.1:{port}: Connection refused. The run goes on"


def test_an_answer_other_than_success_is_a_failure_and_no_redirection_is_followed(grown: list[Generation]) -> None:
    with listener() as (other, elsewhere), listener(status=307, location=other) as (url, posted):
        [warning] = tell(url, grown)
    assert "HTTP 307" in warning and "s3cret" not in warning
    assert len(posted) == 4 and elsewhere == []


def test_a_listener_that_never_answers_delays_neither_the_run_nor_its_end(
    grown: list[Generation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "END_SECONDS", 0.2)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        warnings: list[str] = []
        settings = Notify(url=f"http://127.0.0.1:{silent.getsockname()[1]}/")
        notifier = Notifier(settings, lineage="addition", warn=warnings.append)
        for _ in range(notify.WAITING + 10):
            notifier.committed(grown[1])
        assert len(warnings) == 1 and "100 notices wait already" in warnings[0]
        notifier.finish("done", succeeded=True)
        # Its thread still sends what waits.
        assert notifier._thread.is_alive()


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_listener_that_answers_byte_by_byte_is_left(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "POST_SECONDS", 0.5)
    head = b"HTTP/1.1 200 OK\r\n"
    slow = {"head": [head, b"X: "], "body": [head + b"Transfer-Encoding: chunked\r\n\r\n", b"fff\r\n"]}[part]
    raised: list[BaseException] = []

    def post(url: str) -> None:
        try:
            notify.post(url, {"event": "end"})
        except OSError as error:
            raised.append(error)

    # Each byte comes in time, and all of them would take longer than the test waits.
    with drip_server(lambda: chain(slow, repeat(b"x"))) as url:
        thread = threading.Thread(target=post, args=(url,), daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
    assert [str(error) for error in raised] == ["no answer within 0.5 s"]


def test_a_secret_address_stands_in_a_variable(monkeypatch: pytest.MonkeyPatch, grown: list[Generation]) -> None:
    settings = Notify(url_variable="HOOK")
    monkeypatch.delenv("HOOK", raising=False)
    for wrong in (None, "", "file:///etc/passwd", "ftp://host/x", "http://", "http://[/"):
        if wrong is not None:
            monkeypatch.setenv("HOOK", wrong)
        with pytest.raises(RecipeError, match=r"notify\.url_variable HOOK holds no address"):
            Notifier(settings, lineage="addition", warn=pytest.fail)
    with listener() as (url, posted):
        monkeypatch.setenv("HOOK", f"{url}?token=1")
        Notifier(settings, lineage="addition", warn=pytest.fail).finish("done", succeeded=True)
    assert len(posted) == 1


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"url": "file:///etc/passwd"}, "https?://"),
        ({"url": "http://me:secret@host/x"}, "url_variable"),
        ({"url": "http://host/x?token=1"}, "url_variable"),
        ({"url": "http:///x"}, "names no host"),
        ({}, "give either url, or url_variable"),
        ({"url": "http://host", "url_variable": "HOOK"}, "give either url, or url_variable"),
    ],
)
def test_an_address_that_cannot_serve_is_refused(settings: dict[str, str], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Notify.model_validate(settings)


def test_notices_are_no_part_of_a_lineage_and_not_remembered(tmp_path: Path) -> None:
    with_notices = SETTINGS.model_copy(update={"notify": Notify(url="http://host/hook")})
    assert with_notices.identity() == SETTINGS.identity() and with_notices.digest() == SETTINGS.digest()
    store = LineageStore(tmp_path / "addition")
    store.open("addition", identity=SETTINGS.identity())
    remember_recipe(store, with_notices, folder=tmp_path)
    assert b"hook" not in (store.root / "recipe.json").read_bytes()
    with pytest.raises(RecipeError, match=r"override notify\.url: a fork .* remembers no notify settings"):
        fork_lineage("addition@0", "other", ["notify.url=http://host/hook"], recipe_path=None, store=tmp_path)
