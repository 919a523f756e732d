"""`bootstrap serve`: a generation behind OpenAI's interface, by `transformers serve`, or vLLM where it is installed.

    this process --writes--> a temporary folder with the exported model (`training/served.py`)
                 --starts--> the server there, on 127.0.0.1 (`local_server.py`)
                 --Ctrl-C--> the server ends; the folder goes

Nothing is loaded by network, and the model's folder runs no code.
"""

import importlib.util
import json
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from bootstrap import local_server
from bootstrap.cli.export import model_files
from bootstrap.cli.remembered import recall_recipe
from bootstrap.cli.render import say
from bootstrap.cli.signals import end_as_on_ctrl_c
from bootstrap.config.tasks import tasks_of
from bootstrap.errors import RecipeError, WorkerError
from bootstrap.lineage import samples
from bootstrap.lineage.queries import find
from bootstrap.local_server import HOST, LocalServer
from bootstrap.stages.asking import sampling_of
from bootstrap.store import durable
from bootstrap.store.lineage_store import LineageStore
from bootstrap.training.served import served

START_SECONDS = 180.0
"""Longest wait for the server's first answer, unless `--wait` says otherwise."""
NEEDED = ("accelerate", "fastapi", "openai", "uvicorn")
"""Packages that `transformers serve` needs beside transformers: the extra `serve`."""
Engine = Literal["auto", "transformers", "vllm"]


def serve_until_stopped(
    store: LineageStore,
    generation: str,
    *,
    port: int,
    engine: Engine,
    sampled: bool,
    device: str | None,
    seconds: float = START_SECONDS,
) -> None:
    """Serve a generation on 127.0.0.1 until Ctrl-C, and print its address and name.

    `seconds`: longest wait for the server's first answer.
    Raises RecipeError for a taken port or a missing package, before anything starts; WeightsFreed, StoreCorrupt;
    WorkerError when the server ends by itself, WaitTimeout.
    """
    port = local_server.free_port(port, error=RecipeError)
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
    say(f"starting {chosen} with {model} ...")
    end_as_on_ctrl_c()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="bootstrap-serve-") as place,
            start(
                served(files, sampling=sampling),
                model,
                Path(place),
                port=port,
                engine=chosen,
                device=device,
                seconds=seconds,
            ) as it,
        ):
            say(f"{model}: {it.url}/v1   (Ctrl-C stops it)")
            say(f"ask it: {example(it.url, model, prompt, limit)}")
            it.wait()
            raise WorkerError(f"the server of {model} ended by itself: {it.tail()}")
    except KeyboardInterrupt:
        say("server stopped")


def example(url: str, model: str, prompt: str, limit: int) -> str:
    """Return a shell command that asks the server."""
    asked = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": limit,
    }
    data = shlex.quote(json.dumps(asked, ensure_ascii=True))
    return f"curl -s {url}/v1/chat/completions -H 'Content-Type: application/json' -d {data}"


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
    seconds: float = START_SECONDS,
) -> LocalServer:
    """Write a model's files below the folder `place` and return its server once it answers.

    Raises WorkerError if the server ends while starting, WaitTimeout if it does not answer within `seconds`.
    """
    for folder in (place / "hub", place / "work"):
        durable.make_folder(folder)
    durable.write_folder(place / "work" / model, files)
    # Where the server looks for other models: there are none, and none come by network.
    own = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(place / "hub"), "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    return local_server.start(
        command_of(engine, model, port=port, device=device),
        port=port,
        name="server",
        error=WorkerError,
        environment={**os.environ, **own},
        seconds=seconds,
        folder=place / "work",
        remedy="a large model takes longer: give it time with --wait SECONDS",
    )


def command_of(engine: str, model: str, *, port: int, device: str | None) -> Sequence[str]:
    """Return the command that serves the folder `model` of the current folder under that name."""
    where = ("--host", HOST, "--port", str(port))
    if engine == "vllm":
        program = (sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", f"./{model}")
        return [*program, *where, "--served-model-name", model]
    program = (sys.executable, "-m", "transformers.cli.transformers", "serve", model)
    return [*program, *where, "--device", device or "auto"]
