"""MLflow servers that hang, lie or refuse: a run is not slowed, ends well with one warning, and is synced later."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks.faults.scene import NOWHERE, Ending, Outcome, Scene

PATIENCE_SECONDS = 45.0
"""What a run may take longer than the undisturbed one, whose own time the noise of a machine changes as well."""
SLEEP_SECONDS = 5.0


class Answer(BaseHTTPRequestHandler):
    """Answers every request alike, as the server's `give` says: status, type and body, after some seconds."""

    def _answer(self) -> None:
        seconds, status, kind, body = self.server.give  # type: ignore[attr-defined]
        time.sleep(seconds)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


SERVERS = {
    "accepts and never answers": (3600.0, 200, "application/json", b"{}"),
    "answers 500": (0.0, 500, "text/plain", b"Internal Server Error"),
    "answers a page of HTML": (0.0, 200, "text/html", b"<html><body>Sign in</body></html>"),
    "answers {}": (0.0, 200, "application/json", b"{}"),
    "takes 5 s for each answer": (SLEEP_SECONDS, 200, "application/json", b"{}"),
}


def faults() -> Iterator[tuple[str, Callable[[Scene], Outcome]]]:
    """Yield each fault's name with what brings it about."""
    yield "MLflow refuses connections", lambda scene: _outlived(scene, NOWHERE)
    for name, give in SERVERS.items():
        yield f"MLflow {name}", lambda scene, give=give: _served(scene, give)
    yield "MLflow's database is locked by another process", _locked
    yield "MLflow's artifact folder is a file", _no_folder


@contextmanager
def serving(give: tuple[float, int, str, bytes]) -> Iterator[str]:
    """Serve one answer to everything on loopback; yield the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    server.block_on_close = False
    server.give = give  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def _served(scene: Scene, give: tuple[float, int, str, bytes]) -> Outcome:
    with serving(give) as address:
        return _outlived(scene, address)


def _outlived(scene: Scene, uri: str, store: Path | None = None, *, mend: Callable[[], None] = lambda: None) -> Outcome:
    """Grow with such a server; then mend what was wrong, and sync to a sound one."""
    store = scene.store("served") if store is None else store
    # A database is published to, which takes its time; a server that fails is not.
    sound = f"sqlite:///{scene.folder}/quiet.db" if uri.startswith("sqlite") else NOWHERE
    quiet = scene.grow(scene.store("quiet"), MLFLOW_TRACKING_URI=sound)
    ending = scene.grow(store, MLFLOW_TRACKING_URI=uri)
    mend()
    return _judged(scene, store, ending, quiet)


def _judged(scene: Scene, store: Path, ending: Ending, quiet: Ending) -> Outcome:
    equal = scene.is_equal(store)
    more = ending.seconds - quiet.seconds
    sound = {"MLFLOW_TRACKING_URI": f"sqlite:///{store}/sound.db"}
    repaired = scene.start("lineage", "--sync", "--store", str(store), **sound).end()
    if ending.code or not ending.is_clear or not equal or "warning:" not in ending.text:
        return Outcome("FAILED", ending, is_equal=equal)
    if more > PATIENCE_SECONDS:
        return Outcome(f"SLOWED by {more:.0f} s", ending, is_equal=equal)
    if repaired.code:
        return Outcome("NOT REPAIRED", repaired, is_equal=equal)
    return Outcome("survived", ending, lost=0.0, is_equal=equal)


def _locked(scene: Scene) -> Outcome:
    store = scene.copy("locked")
    uri = f"sqlite:///{scene.folder}/locked.db"
    scene.start("lineage", "--sync", "--store", str(store), MLFLOW_TRACKING_URI=uri).end()
    holder = sqlite3.connect(scene.folder / "locked.db", isolation_level=None)
    try:
        holder.execute("BEGIN EXCLUSIVE")
        return _outlived(scene, uri)
    finally:
        holder.close()


def _no_folder(scene: Scene) -> Outcome:
    store = scene.store("unwritable")
    store.mkdir()
    in_the_way = store / "mlflow-artifacts"
    in_the_way.write_text("not a folder")
    return _outlived(scene, f"sqlite:///{store}/mlflow.db", store, mend=in_the_way.unlink)
