"""Notices of a run to an address: a POST of a small JSON at promotion, rejection, a broken guard and the end.

    run --- committed, ended ---> Notifier (a queue) --- its thread ---> POST, at most `POST_SECONDS` each

    {"event": "promotion", "lineage": "quickstart", "generation": "gen-3", "reason": "...", "champion": "gen-3",
     "frontier": 7, "time": "2026-01-01T10:00:00+00:00", "text": "quickstart gen-3 promoted: ..."}

`text` is the whole in one line, the key that chats show. Nothing here delays the run or ends it; a failure is told
once.
"""

import functools
import http.client
import json
import os
import queue
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from bootstrap.config.resources import Notify
from bootstrap.errors import RecipeError, system_reason
from bootstrap.ledger_records import Generation, GenerationOutcome
from bootstrap.lineage.text import visible
from bootstrap.telemetry import Telemetry

POST_SECONDS = 5.0
"""Longest time for one notice, however slowly its server answers; connecting has as long for each of its addresses."""
END_SECONDS = 10.0
"""Longest wait at the end of a run for notices that are still to be sent."""
WAITING = 100
"""Most notices that wait; further ones are dropped."""
_EVENTS = {GenerationOutcome.PROMOTED: "promotion", GenerationOutcome.REJECTED: "rejection"}


class Notifier(Telemetry):
    """Sends notices of one lineage's run; without settings, none."""

    def __init__(self, settings: Notify | None, *, lineage: str, warn: Callable[[str], None]) -> None:
        """Raises RecipeError if the variable that is to hold the address holds none."""
        self._events, self._lineage, self._warn = settings.events if settings else (), lineage, warn
        self._url = address(settings) if settings else ""
        self._queue: queue.Queue[Mapping[str, Any] | None] = queue.Queue(WAITING)
        self._told = False
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)
        if settings:
            self._thread.start()

    def committed(self, generation: Generation) -> None:
        facts = {
            "generation": generation.name,
            "reason": generation.decision.reason.removeprefix("rejected: "),
            "champion": f"gen-{generation.champion}",
            "frontier": generation.report.frontier,
        }
        if (event := _EVENTS.get(generation.outcome)) is not None:
            self._put(event, f"{generation.name} {generation.outcome.value}: {facts['reason']}", facts)
        for finding in generation.diagnostics.findings:
            self._put("guard", f"guard of {generation.name}: {finding}", {**facts, "guard": str(finding)})

    def finish(self, why: str, *, succeeded: bool, seconds: float | None = None) -> None:
        """Tell the end of the run, and wait at most `seconds` for what is to be sent (None: `END_SECONDS`)."""
        patience = END_SECONDS if seconds is None else seconds
        self._put("end", why, {"reason": why, "succeeded": succeeded})
        if self._thread.is_alive():
            try:
                self._queue.put(None, timeout=patience)
            except queue.Full:
                return
            self._thread.join(patience)

    def _put(self, event: str, text: str, facts: Mapping[str, Any]) -> None:
        if event not in self._events:
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        notice = {"event": event, "lineage": self._lineage, **facts, "time": now, "text": f"{self._lineage} {text}"}
        # Chats show it, and a reason may hold text of a model.
        told = {name: visible(value, keep="") if isinstance(value, str) else value for name, value in notice.items()}
        try:
            self._queue.put_nowait(told)
        except queue.Full:
            self._failed(f"{WAITING} notices wait already")

    def _run(self) -> None:
        while (notice := self._queue.get()) is not None:
            try:
                post(self._url, notice)
            except (OSError, UnicodeError, http.client.HTTPException) as error:
                self._failed(_reason(error))

    def _failed(self, reason: str) -> None:
        if not self._told:
            self._told = True
            # Without the path, which may be a secret.
            host = urlsplit(self._url).netloc.rpartition("@")[2]
            self._warn(f"notices do not reach {host}: {reason}. The run goes on")


def address(settings: Notify) -> str:
    """Return where notices go. Raises RecipeError if its variable holds no address of a web server."""
    if settings.url is not None:
        return settings.url
    assert settings.url_variable is not None, "settings name an address or a variable"
    url = os.environ.get(settings.url_variable, "")
    try:
        is_web = urlsplit(url).scheme in ("http", "https") and bool(urlsplit(url).hostname)
    except ValueError:
        is_web = False
    if not is_web:
        raise RecipeError(
            f"notify.url_variable {settings.url_variable} holds no address; set that variable to http(s)://HOST/PATH "
            "where the run starts, or remove notify"
        )
    return url


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: the recipe names the address."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None


class _Connection(http.client.HTTPConnection):
    """A connection that is cut after `POST_SECONDS`: a time-out alone bounds each wait for a byte, not their sum."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.is_cut = False
        self._own: socket.socket | None = None
        self._timer = threading.Timer(POST_SECONDS, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def connect(self) -> None:
        super().connect()
        # TLS takes the socket's descriptor over, and its handshake waits for bytes too.
        self._own = self.sock.dup()
        if self.is_cut:
            raise TimeoutError

    def end(self) -> None:
        """Stop the clock."""
        self._timer.cancel()
        if self._own is not None:
            self._own.close()

    def _cut(self) -> None:
        self.is_cut = True
        # While a proxy is asked for a tunnel, there is no copy yet.
        found = self._own or self.sock
        if found is not None:
            with suppress(OSError):
                found.shutdown(socket.SHUT_RDWR)


class _SecureConnection(http.client.HTTPSConnection, _Connection):
    """The same with TLS, which begins once `_Connection` is connected."""


class _Http(urllib.request.HTTPHandler):
    """Makes connections that are cut, and adds them to `made`."""

    def __init__(self, made: list[_Connection]) -> None:
        super().__init__()
        self._made = made

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(functools.partial(_kept, self._made, _Connection), req)


class _Https(urllib.request.HTTPSHandler):
    """The same with TLS."""

    def __init__(self, made: list[_Connection]) -> None:
        super().__init__()
        self._made = made

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(functools.partial(_kept, self._made, _SecureConnection), req)


def _kept(made: list[_Connection], kind: type[_Connection], *args: Any, **settings: Any) -> _Connection:
    made.append(kind(*args, **settings))
    return made[-1]


def post(url: str, notice: Mapping[str, Any]) -> None:
    """Send one notice within `POST_SECONDS`.

    Raises OSError (HTTPError for an answer other than 2xx), HTTPException, UnicodeError.
    """
    body = json.dumps(notice, ensure_ascii=False).encode()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"}, method="POST")
    made: list[_Connection] = []
    opener = urllib.request.build_opener(_NoRedirect, _Http(made), _Https(made))
    try:
        with opener.open(request, timeout=POST_SECONDS) as answer:
            answer.read(1024)
    except (OSError, http.client.HTTPException):
        if not any(connection.is_cut for connection in made):
            raise
    finally:
        for connection in made:
            connection.end()
    # Outside of the block, so that the broken connection is no part of the reason.
    if any(connection.is_cut for connection in made):
        raise TimeoutError(f"no answer within {POST_SECONDS:g} s")


def _reason(error: Exception) -> str:
    return f"HTTP {error.code}" if isinstance(error, urllib.error.HTTPError) else system_reason(error)
