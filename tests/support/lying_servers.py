"""Servers that are no MLflow: they accept and never answer, break off, or answer nonsense. Each on 127.0.0.1."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Answer = Callable[[socket.socket, threading.Event], None]
"""What a server does with a connection on which a request has come; the event is set once the server ends."""


@dataclass
class Lying:
    """A running server."""

    url: str
    requests: list[bytes] = field(default_factory=list)
    """The first line of each request."""


@contextmanager
def lying(answer: Answer) -> Iterator[Lying]:
    """Serve until the block ends."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Lying(f"http://127.0.0.1:{listener.getsockname()[1]}")

        def serve(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                asked = b""
                while b"\r\n\r\n" not in asked and (part := connection.recv(65536)):
                    asked += part
                if asked:
                    server.requests.append(asked.partition(b"\r\n")[0])
                    answer(connection, ended)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=serve, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def silent(connection: socket.socket, ended: threading.Event) -> None:
    """Never answer."""
    ended.wait()


def trickling(connection: socket.socket, ended: threading.Event) -> None:
    """Answer a letter at a time, without an end."""
    while not ended.wait(0.05):
        connection.sendall(b"H")


def closing(connection: socket.socket, ended: threading.Event) -> None:
    """End the connection without an answer."""


def saying(status: str, content: str, body: str) -> Answer:
    """Return what answers every request with this status, content type and body."""

    def answer(connection: socket.socket, ended: threading.Event) -> None:
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: {content}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        connection.sendall(f"{head}{body}".encode())

    return answer
