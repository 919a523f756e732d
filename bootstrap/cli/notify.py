"""Notices of a run to an address: a POST of a small JSON at promotion, rejection, a broken guard and the end.

    run --- committed, ended ---> Notifier (a queue) --- its thread ---> POST, at most `POST_SECONDS` each

    {"event": "promotion", "lineage": "quickstart", "generation": "gen-3", "reason": "...", "champion": "gen-3",
     "frontier": 7, "time": "2026-01-01T10:00:00+00:00", "text": "quickstart gen-3 promoted: ..."}

`text` is the whole in one line, the key that chats show. Nothing here delays the run or ends it; a failure is told
once.
"""

import http.client
import json
import os
import queue
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from bootstrap.config.resources import Notify
from bootstrap.errors import RecipeError, system_reason
from bootstrap.ledger_records import Generation, GenerationOutcome
from bootstrap.telemetry import Telemetry

POST_SECONDS = 5.0
"""Longest time for one notice."""
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
        try:
            self._queue.put_nowait(notice)
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


def post(url: str, notice: Mapping[str, Any]) -> None:
    """Send one notice. Raises OSError (HTTPError for an answer other than 2xx), HTTPException, UnicodeError."""
    body = json.dumps(notice, ensure_ascii=False).encode()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"}, method="POST")
    with urllib.request.build_opener(_NoRedirect).open(request, timeout=POST_SECONDS) as answer:
        answer.read(1024)


def _reason(error: Exception) -> str:
    return f"HTTP {error.code}" if isinstance(error, urllib.error.HTTPError) else system_reason(error)
