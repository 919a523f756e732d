"""The lineage pages of a store, on this machine only: for `bootstrap ui`, beside MLflow, full width, outside its frame.

    GET /            the lineages
    GET /<lineage>   its page, made from the ledger as it is; MLflow's pages are links where the lineage is published

Nothing else is served, and no file: a request names a lineage by a key. A request under another host's name is refused,
so that a web page elsewhere cannot read the pages through a name of its own. The browser may run the page's one script
and load nothing. Left out: the page itself (`graph.py`), MLflow's server (`server.py`). Imports no MLflow.
"""

import base64
import hashlib
import html
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from bootstrap.errors import BootstrapError, StoreError, TrackingError, system_reason
from bootstrap.lineage import graph, samples, tracking
from bootstrap.lineage.outbox import Outbox, Receipt
from bootstrap.lineage.page import inline
from bootstrap.lineage.text import visible
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
"""Names by which a browser on this machine may ask."""
SAMPLES = 6
"""Readable rollouts a generation, as on the published page."""
SAMPLED = 200
"""Newest generations whose rollouts are read from their artifacts if they are not published."""
REQUEST_SECONDS = 10.0
"""Longest wait for the rest of a request, and for a browser that takes no more of an answer."""
STOP_SECONDS = 10.0
"""Longest wait for the server to end."""


@dataclass(kw_only=True)
class Page:
    """One lineage's page."""

    store: LineageStore
    outbox: Outbox | None = None
    """Where its MLflow ids are; None for a lineage that is not published."""
    mlflow: str = ""
    """Address of the MLflow server with its pages; empty for none."""
    _made: tuple[object, bytes] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def html(self) -> bytes:
        """Return the page; made again only after a change. Raises StoreError."""
        with self._lock:
            state = (self.mlflow, _state(self.store.ledger.folder), self.outbox and _state(self.outbox.folder))
            if self._made is None or self._made[0] != state:
                self._made = (state, self._html())
            return self._made[1]

    def _html(self) -> bytes:
        entries = self.store.ledger.read()
        receipts = {} if self.outbox is None else self.outbox.receipts(entries)
        drawn = graph.lineage(
            entries,
            header=self.store.header(),
            samples=self._samples(entries, receipts),
            identifiers={
                number: {"MLflow run": receipt.run_id, "MLflow model": receipt.model_id}
                for number, receipt in receipts.items()
            },
            links={number: self._links(receipt) for number, receipt in receipts.items()} if self.mlflow else None,
        )
        return graph.to_html(drawn).encode()

    def _links(self, receipt: Receipt) -> dict[str, str]:
        return {
            "MLflow run": tracking.run_url(self.mlflow, receipt.experiment_id, receipt.run_id),
            "MLflow model": tracking.model_url(self.mlflow, receipt.experiment_id, receipt.model_id),
        }

    def _samples(
        self, entries: Sequence[Entry], receipts: Mapping[int, Receipt]
    ) -> dict[int, Sequence[Mapping[str, Any]]]:
        found: dict[int, Sequence[Mapping[str, Any]]] = {
            number: receipt.samples for number, receipt in receipts.items() if receipt.samples
        }
        for entry in entries[-SAMPLED:]:
            if entry.generation.number not in found:
                try:
                    found[entry.generation.number] = samples.readable(self.store, entry.generation, count=SAMPLES)
                except StoreError:
                    # Its artifacts are removed or broken, which `bootstrap verify` tells; its record is whole.
                    continue
        return found


@dataclass(frozen=True, kw_only=True)
class PageServer:
    """A running server of pages, by lineage."""

    port: int
    pages: Mapping[str, Page]

    def address(self, lineage: str) -> str:
        """Return the address of a lineage's page."""
        return f"http://{HOST}:{self.port}/{quote(lineage, safe='')}"


@contextmanager
def serve_pages(pages: Mapping[str, Page], *, port: int = 0) -> Iterator[PageServer]:
    """Serve `pages`, by their lineages' names, on 127.0.0.1 until the context ends.

    `port`: 0 takes a free one. Raises TrackingError if the port is taken.
    """
    try:
        server = _Server((HOST, port), _Handler)
    except OSError as error:
        raise TrackingError(f"the lineage pages cannot listen on {HOST}:{port}: {system_reason(error)}") from error
    server.pages = pages
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield PageServer(port=server.server_port, pages=pages)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(STOP_SECONDS)


def free_port_near(port: int) -> int:
    """Return the port after `port` if it is free, else 0, which takes any; 0 for 0."""
    if not port or port + 1 > 65535:
        return 0
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port + 1))
        except OSError:
            return 0
        return port + 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    pages: Mapping[str, Page]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell a fault of ours, but not that a browser has left in the middle of a page."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_SECONDS
    server_version, sys_version = "bootstrap", ""
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(code)d %(message)s\n"

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        server = self.server
        assert isinstance(server, _Server), "it answers for a server of pages"
        if self.headers.get("Host") not in {f"{name}:{server.server_port}" for name in NAMES}:
            self._send(HTTPStatus.MISDIRECTED_REQUEST, b"ask for 127.0.0.1\n", "text/plain", with_body=with_body)
            return
        name = unquote(urlsplit(self.path).path).strip("/")
        if not name:
            self._send(HTTPStatus.OK, _index(sorted(server.pages)), "text/html", with_body=with_body)
        elif (page := server.pages.get(name)) is None:
            self._send(HTTPStatus.NOT_FOUND, b"no such lineage\n", "text/plain", with_body=with_body)
        else:
            try:
                status, body, kind = HTTPStatus.OK, page.html(), "text/html"
            except BootstrapError as error:
                status, body, kind = HTTPStatus.SERVICE_UNAVAILABLE, f"{visible(str(error))}\n".encode(), "text/plain"
            self._send(status, body, kind, with_body=with_body)

    def _send(self, status: HTTPStatus, body: bytes, kind: str, *, with_body: bool) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", _policy())
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the terminal is the reader's."""


@cache
def _policy() -> str:
    """Return the content security policy: the page's one script, its style, and nothing from anywhere."""
    digest = base64.b64encode(hashlib.sha256(inline.inlined_script().encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )


def _index(lineages: Sequence[str]) -> bytes:
    items = "".join(f'<li><a href="/{quote(name, safe="")}">{html.escape(name)}</a></li>' for name in lineages)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        "<title>Lineages</title><style>body { font: 16px system-ui, sans-serif; margin: 2em; }</style>"
        f"<h1>Lineages</h1><ul>{items}</ul></html>"
    ).encode()


def _state(folder: Path) -> tuple[object, ...]:
    """Return what changes when a file of a folder does: number of files, the newest change."""
    try:
        changes = [entry.stat().st_mtime_ns for entry in folder.iterdir()]
    except OSError:
        return ()
    return len(changes), max(changes, default=0)
