"""The judge against a real `transformers serve` on loopback, with tiny models that are made here."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import torch
from support import classifiers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bootstrap.config.models import Endpoint, JudgeVerifier
from bootstrap.errors import VerifierError
from bootstrap.records import Status
from bootstrap.scoring.judge import Judge
from bootstrap.scoring.verifier import Answer, Judgement, Tools

pytestmark = [pytest.mark.torch, pytest.mark.training]

START_SECONDS = 600
VERDICT = ("VERDICT:", " EQUAL")
"""The reply that is taught, one token each."""
ANSWER = Answer(prompt="2+2=", text="four", reference="4")


@dataclass(frozen=True, kw_only=True)
class Server:
    url: str
    decided: str
    """A model that ends every conversation with `VERDICT: EQUAL`."""
    noisy: str
    """A model with random weights."""


def random_model(words: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=4096,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    return LlamaForCausalLM(config)


def decided_model(words: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Return a model that was taught one reply; without attention, it gives it whatever it is asked."""
    model = random_model(words)
    attention = model.model.layers[0].self_attn.o_proj
    attention.weight.data.zero_()
    attention.requires_grad_(False)
    reply = words.convert_tokens_to_ids(["<|assistant|>", *VERDICT, "</s>"])
    tokens_BT = torch.tensor([reply])
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    for _ in range(40):
        loss = model(input_ids=tokens_BT, labels=tokens_BT).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05, f"the reply was not learnt, loss {loss.item():.3f}"
    return model


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    program = Path(sys.executable).with_name("transformers")
    with socket.socket() as benchmark:
        benchmark.bind(("127.0.0.1", 0))
        port = benchmark.getsockname()[1]
    log = folder / "serve.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [program, "serve", "--host=127.0.0.1", f"--port={port}", "--device=cpu"],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HF_HOME": str(folder / "hub")},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        # Models are loaded when they are first asked for, so they can be made while the server starts.
        words = classifiers.tokenizer(words=VERDICT)
        noisy = classifiers.save(folder / "noisy", random_model(words), words)
        decided = classifiers.save(folder / "decided", decided_model(words), words)
        await_health(f"http://127.0.0.1:{port}/health", process, log)
        yield Server(url=f"http://127.0.0.1:{port}/v1", decided=str(decided), noisy=str(noisy))
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def await_health(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    session = requests.Session()
    session.trust_env = False
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended:\n{log.read_text()}"
        try:
            if session.get(url, timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.2)
    pytest.fail(f"the server was not ready in {START_SECONDS} s:\n{log.read_text()}")


def judged(server: Server, model: str, *, cache: Path | None = None, **changes: Any) -> list[Judgement]:
    endpoint = Endpoint(url=server.url, model=model, timeout_seconds=60, retries=0, concurrency=2)
    settings = JudgeVerifier(**{"model": endpoint, "rubric": "The number is right.", **changes})
    return Judge(settings, Tools(cache=cache)).judge([ANSWER])


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_a_served_model_that_gives_a_verdict_decides(server: Server, tmp_path: Path) -> None:
    [found] = judged(server, server.decided, cache=tmp_path)
    assert (found.status, found.reason) == (Status.PASS, "equal to the reference: 2 of 2 votes")
    elsewhere = Server(url="http://127.0.0.1:9/v1", decided=server.decided, noisy=server.noisy)
    assert judged(elsewhere, server.decided, cache=tmp_path) == [found], "what is known needs no server"


def test_a_verdict_that_the_length_limit_cuts_decides_nothing(server: Server) -> None:
    [found] = judged(server, server.decided, max_tokens=2)
    assert found.status is Status.UNVERIFIABLE


def test_a_served_models_noise_is_no_verdict(server: Server) -> None:
    [found] = judged(server, server.noisy)
    assert found.status is Status.UNVERIFIABLE
    assert "2 no readable verdict" in found.reason


def test_sampled_votes_are_understood_by_the_server(server: Server) -> None:
    [found] = judged(server, server.decided, votes=3, temperature=0.5)
    assert found.reason == "equal to the reference: 3 of 3 votes"


def test_a_model_that_the_server_does_not_have_is_no_verdict_about_the_answer(server: Server) -> None:
    try:
        [found] = judged(server, "no-such-model")
    except VerifierError as error:
        assert "no-such-model" in str(error)
    else:
        assert found.status is Status.UNVERIFIABLE
