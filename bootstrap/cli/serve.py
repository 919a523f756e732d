"""`bootstrap serve`: a generation behind OpenAI's interface, by `transformers serve`, or vLLM where it is installed.

    this process --writes--> a temporary folder with the exported model (`training/served.py`)
                 --starts--> the server there, on 127.0.0.1 (own process group) <--poll /health-- this process, bounded
                 --Ctrl-C--> SIGTERM to the group, then SIGKILL; the folder goes

Nothing is loaded by network, and the model's folder runs no code. Left out: servers for several people, which need a
reverse proxy with authentication.
"""

import importlib.util
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from bootstrap.cli.export import model_files
from bootstrap.cli.remembered import recall_recipe
from bootstrap.config.tasks import tasks_of
from bootstrap.errors import RecipeError, WaitTimeout, WorkerError
from bootstrap.lineage import samples
from bootstrap.lineage.queries import find
from bootstrap.stages.asking import sampling_of
from bootstrap.store import durable
from bootstrap.store.lineage_store import LineageStore
from bootstrap.training.served import served

HOST = "127.0.0.1"
START_SECONDS = 180.0
STOP_SECONDS = 10.0
NEEDED = ("accelerate", "fastapi", "openai", "uvicorn")
"""Packages that `transformers serve` needs beside transformers: the extra `serve`."""
Engine = Literal["auto", "transformers", "vllm"]


@dataclass(frozen=True, kw_only=True)
class ModelServer(AbstractContextManager["ModelServer"]):
    """A running server; leaving it as a context manager stops it."""

    url: str
    model: str
    process: subprocess.Popen[bytes]
    log: IO[bytes]

    def wait(self) -> None:
        """Block until the server ends."""
        self.process.wait()

    def stop(self) -> None:
        """End the server and its workers; a second call does nothing."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                os.killpg(self.process.pid, number)
                try:
                    self.process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
        self.log.close()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def tail(self) -> str:
        """Return the end of what the server has written."""
        self.log.seek(0)
        return " ".join(self.log.read().decode(errors="replace").split())[-600:]


def serve_until_stopped(
    store: LineageStore, generation: str, *, port: int, engine: Engine, sampled: bool, device: str | None
) -> None:
    """Serve a generation on 127.0.0.1 until Ctrl-C, and print its address and name.

    Raises RecipeError for a taken port or a missing package, before anything starts; WeightsFreed, StoreCorrupt;
    WorkerError when the server ends by itself, WaitTimeout.
    """
    port = free_port(port)
    chosen = engine_of(engine)
    if chosen == "vllm" and device is not None:
        raise RecipeError("vLLM chooses its device itself; leave --device out, or add --engine transformers")
    entries = store.ledger.read()
    node = find(entries, generation).generation
    recipe, level = recall_recipe(store), max((row.level for row in node.report.levels), default=1)
    limit = max(task.most_answer_tokens(level) for task in tasks_of(recipe.task).values())
    sampling = sampling_of(recipe.evaluation.sampled, max_new_tokens=limit, samples=2 if sampled else 1)
    name, files = model_files(store, generation)
    # A name that no server reads as an option, a revision or a file in a repository.
    model = re.sub(r"[^\w.-]", "-", f"{store.root.name}-{name}").lstrip("-.")
    shown = samples.greedy(store, node)
    prompt = shown[0]["prompt"] if shown else "..."
    print(f"starting {chosen} with {model} ...", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="bootstrap-serve-") as place,
            start(served(files, sampling=sampling), model, Path(place), port=port, engine=chosen, device=device) as it,
        ):
            print(f"{model}: {it.url}/v1   (Ctrl-C stops it)", flush=True)
            print(f"ask it: {example(it, prompt, limit)}", flush=True)
            it.wait()
            raise WorkerError(f"the server of {model} ended by itself: {it.tail()}")
    except KeyboardInterrupt:
        print("server stopped")


def example(server: ModelServer, prompt: str, limit: int) -> str:
    """Return a shell command that asks the server."""
    asked = {
        "model": server.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": limit,
    }
    data = shlex.quote(json.dumps(asked, ensure_ascii=True))
    return f"curl -s {server.url}/v1/chat/completions -H 'Content-Type: application/json' -d {data}"


def engine_of(wanted: Engine) -> Literal["transformers", "vllm"]:
    """Return the engine to start: vLLM where it is installed, unless another is wanted.

    Raises RecipeError when what it needs is not installed.
    """
    has_vllm = importlib.util.find_spec("vllm") is not None
    if wanted == "vllm" and not has_vllm:
        raise RecipeError("vllm is not installed; install it with pip, or leave --engine out")
    if wanted == "vllm" or (wanted == "auto" and has_vllm):
        return "vllm"
    if missing := [package for package in NEEDED if importlib.util.find_spec(package) is None]:
        raise RecipeError(
            f"transformers serve needs {', '.join(missing)}; install it with pip install 'bootstrap-lm[serve]'"
        )
    return "transformers"


def start(
    files: Mapping[str, bytes],
    model: str,
    place: Path,
    *,
    port: int,
    engine: Literal["transformers", "vllm"] = "transformers",
    device: str | None = None,
) -> ModelServer:
    """Write a model's files below the folder `place` and return its server once it answers.

    Raises WorkerError if the server ends while starting, WaitTimeout if it does not answer within `START_SECONDS`.
    """
    for folder in (place / "hub", place / "work"):
        durable.make_folder(folder)
    durable.write_folder(place / "work" / model, files)
    # Where the server looks for other models: there are none, and none come by network.
    own = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(place / "hub"), "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    log = tempfile.TemporaryFile()  # noqa: SIM115 -- the server keeps it; `stop` closes it
    process = subprocess.Popen(
        command_of(engine, model, port=port, device=device),
        cwd=place / "work",
        env={**os.environ, **own},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    server = ModelServer(url=f"http://{HOST}:{port}", model=model, process=process, log=log)
    try:
        _await_health(server)
    except BaseException:
        server.stop()
        raise
    return server


def command_of(engine: str, model: str, *, port: int, device: str | None) -> Sequence[str]:
    """Return the command that serves the folder `model` of the current folder under that name."""
    where = ("--host", HOST, "--port", str(port))
    if engine == "vllm":
        program = (sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", f"./{model}")
        return [*program, *where, "--served-model-name", model]
    program = (sys.executable, "-m", "transformers.cli.transformers", "serve", model)
    return [*program, *where, "--device", device or "auto"]


def free_port(port: int) -> int:
    """Return the port, a free one for 0. Raises RecipeError for one that is taken."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise RecipeError(
                f"port {port} on {HOST} is taken: choose another with --port, or 0 for a free one"
            ) from error
        return listener.getsockname()[1]


def _await_health(server: ModelServer) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise WorkerError(f"the server ended while starting (exit {server.process.returncode}): {server.tail()}")
        try:
            with opener.open(f"{server.url}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.2)
    raise WaitTimeout(
        f"the server {server.url} (process {server.process.pid}) has not answered for {START_SECONDS:.0f} s: "
        f"{server.tail()}"
    )
