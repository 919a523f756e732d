"""A small server on loopback that speaks chat completions, so that a test decides how a judge behaves."""

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

ANSWERS = re.compile(
    r"==== (?P<mark>[0-9a-f]{16}) answer A ====\n(?P<A>.*)\n"
    r"==== (?P=mark) answer B ====\n(?P<B>.*)\n==== (?P=mark) end ====\n",
    re.DOTALL,
)


@dataclass(kw_only=True)
class Sent:
    """What the server sends back."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    after: float = 0.0
    """Seconds before it does."""


@dataclass(kw_only=True)
class Asked:
    """One request as the server saw it."""

    body: dict[str, Any]
    headers: Mapping[str, str]
    at: float

    @property
    def prompt(self) -> str:
        return self.body["messages"][0]["content"]


@dataclass(kw_only=True)
class ChatServer:
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    most_at_once: int = 0


Behaviour = Callable[[Asked, int], Sent]
"""From a request and how many came before it to what is sent."""


def says(text: str | None, *, finish: str = "stop", after: float = 0.0) -> Sent:
    """Return a chat completion with this text."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    body = json.dumps({"object": "chat.completion", "choices": [choice]}).encode()
    return Sent(body=body, headers={"Content-Type": "application/json"}, after=after)


def answers_in(prompt: str) -> tuple[str, str]:
    """Return the texts A and B of a judge's question."""
    found = ANSWERS.search(prompt)
    assert found, f"no two answers in {prompt!r}"
    return found["A"], found["B"]


def honest(*right: str) -> Behaviour:
    """Return a judge who knows all right answers."""

    def behave(asked: Asked, number: int) -> Sent:
        a, b = (text in right for text in answers_in(asked.prompt))
        return says(f"VERDICT: {'EQUAL' if a == b else 'A' if a else 'B'}")

    return behave


@contextmanager
def chat_server(behave: Behaviour) -> Iterator[ChatServer]:
    """Serve on a free port of 127.0.0.1 while the block runs."""
    seen, lock, under_way = ChatServer(), threading.Lock(), threading.Semaphore(0)
    running = 0

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            nonlocal running
            assert self.path == "/v1/chat/completions", self.path
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked = Asked(body=body, headers=dict(self.headers), at=time.monotonic())
            with lock:
                number = len(seen.asked)
                seen.asked.append(asked)
                running += 1
                seen.most_at_once = max(seen.most_at_once, running)
            sent = behave(asked, number)
            # Returns at once when the test is over, so that no slow answer outlives it.
            under_way.acquire(timeout=sent.after) if sent.after else None
            with lock:
                running -= 1
            try:
                self.send_response(sent.status)
                for name, value in {"Content-Length": str(len(sent.body)), **sent.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(sent.body)
            except OSError:
                self.close_connection = True  # The client has given up.

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    seen.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        with pytest.MonkeyPatch.context() as patch:
            # Loopback is reached directly whatever the environment says.
            patch.setenv("NO_PROXY", "127.0.0.1")
            yield seen
    finally:
        under_way.release(1000)
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def dripping(server: socket.socket, pieces: Callable[[], Iterator[bytes]], stop: threading.Event) -> None:
    """Answer every request in small pieces, one after another, until the test is over."""

    def answer(connection: socket.socket) -> None:
        with connection:
            connection.recv(65536)
            for piece in pieces():
                if stop.wait(0.1):
                    return
                try:
                    connection.sendall(piece)
                except OSError:
                    return  # The client has given up.

    while not stop.is_set():
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


@contextmanager
def drip_server(pieces: Callable[[], Iterator[bytes]]) -> Iterator[str]:
    """Serve on a free port of 127.0.0.1 what comes in pieces; yields the base address."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        thread = threading.Thread(target=dripping, args=(server, pieces, stop), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        finally:
            stop.set()
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)
