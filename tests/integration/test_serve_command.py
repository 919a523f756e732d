"""`serve` answers by OpenAI's interface what the evaluation recorded, and tells a taken port before anything starts."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from support import tiny

from bootstrap.cli import serve
from bootstrap.cli.main import main
from bootstrap.lineage import samples
from bootstrap.store.lineage_store import LineageStore

pytestmark = [pytest.mark.torch, pytest.mark.training]

START_SECONDS = 600


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LineageStore:
    return tiny.lineage(tmp_path_factory.mktemp("runs"), count=0)


def posted(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        return json.loads(answer.read())


def test_the_server_gives_the_recorded_answers_and_ends_with_ctrl_c(store: LineageStore, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bootstrap", "serve", "base", "--port", "0", "--device", "cpu"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    log = tmp_path / "out.txt"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--store", str(store.root.parent)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            # A test suite started in the background ignores Ctrl-C, and its children would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while "ask it: " not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        [line] = [line for line in log.read_text().splitlines() if line.startswith("tiny-gen-0: ")]
        url = line.removeprefix("tiny-gen-0: ").split()[0]
        assert url.startswith("http://127.0.0.1:")
        rows = samples.greedy(store, store.ledger.read()[0].generation)[:6]
        for row in rows:
            body = {"model": "tiny-gen-0", "messages": [{"role": "user", "content": row["prompt"]}], "max_tokens": 12}
            [choice] = posted(f"{url}/chat/completions", body)["choices"]
            assert choice["message"]["content"] == row["answer"]
        body = {"model": "tiny-gen-0", "prompt": rows[0]["prompt"], "max_tokens": 12}
        [choice] = posted(f"{url}/completions", body)["choices"]
        assert choice["text"] == rows[0]["answer"]
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=60)
    assert code == 0 and "server stopped" in log.read_text()
    assert not list(tmp_path.glob("bootstrap-serve-*"))


def test_a_taken_port_is_told_before_anything_starts(
    store: LineageStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "model_files", lambda *_: pytest.fail("the model was read"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", "base", "--port", str(port), "--store", str(store.root.parent)]) == 2
    assert f"port {port} on 127.0.0.1 is taken" in capsys.readouterr().err


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(serve.RecipeError, match=r"accelerate, fastapi, openai, uvicorn.*bootstrap-lm\[serve\]"):
        serve.engine_of("auto")
    with pytest.raises(serve.RecipeError, match="vllm is not installed"):
        serve.engine_of("vllm")


def test_vllm_is_taken_where_it_is_installed_under_the_same_name_and_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve.importlib.util, "find_spec", lambda name: object())
    assert (serve.engine_of("auto"), serve.engine_of("transformers")) == ("vllm", "transformers")
    command = serve.command_of("vllm", "tiny-gen-0", port=8001, device=None)
    assert command[-1] == "tiny-gen-0" and command[-2] == "--served-model-name"
    assert [*command][-6:-2] == ["--host", "127.0.0.1", "--port", "8001"]


def test_a_server_that_ends_while_starting_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import sys; print('out of luck'); sys.exit(7)"
    monkeypatch.setattr(serve, "command_of", lambda *_, **__: [sys.executable, "-c", program])
    with pytest.raises(serve.WorkerError, match=r"exit 7\): out of luck"):
        serve.start({"config.json": b"{}"}, "tiny-gen-0", tmp_path, port=1)


def test_the_wait_for_the_first_answer_is_as_long_as_asked_for(
    store: LineageStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "command_of", lambda *_, **__: [sys.executable, "-c", "import time; time.sleep(600)"])
    monkeypatch.setattr(serve, "engine_of", lambda _: "transformers")
    handler = signal.getsignal(signal.SIGTERM)
    try:
        assert main(["serve", "base", "--port", "0", "--wait", "1", "--store", str(store.root.parent)]) == 5
    finally:
        signal.signal(signal.SIGTERM, handler)
    told = capsys.readouterr().err
    assert "has not answered for 1 s" in told and "--wait SECONDS" in told
