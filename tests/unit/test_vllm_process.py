"""The process that holds vLLM, and its engine, with a double in vLLM's place (`tests/with_vllm` has the real one)."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import bootstrap
from bootstrap.config.training import LoraAdapter
from bootstrap.errors import FingerprintMismatch, RecipeError, WaitTimeout, WorkerError
from bootstrap.records import Finish, Prompt, Request, Sampling, Split
from bootstrap.rollouts.vllm_process import VllmProcess
from bootstrap.rollouts.vllm_shapes import adapter_bound, head_size, require_head_size

TESTS = Path(__file__).parents[1]
DOUBLE = "support.vllm_double"


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[VllmProcess]:
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    made = VllmProcess(program=DOUBLE, wait_seconds=60)
    yield made
    made.close()


@pytest.mark.slow
def test_files_arrive_as_they_are_and_a_killed_process_is_named_with_its_signal(process: VllmProcess) -> None:
    sent = {"config.json": b"{}", "model.safetensors": bytes(3 * 2**20)}
    assert process.call("start", sent, fingerprint="f")["sizes"] == [2, 3 * 2**20]
    os.kill(process.process.pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match=r"the process of vLLM ended \(exit code -9\) when asked to which"):
        process.call("which")
    process.close()
    with pytest.raises(WorkerError, match="asked to which after it was closed"):
        process.call("which")


@pytest.mark.slow
def test_a_process_that_ends_says_why_and_one_that_hangs_is_waited_for_with_a_bound(process: VllmProcess) -> None:
    process.wait_seconds = 0.1
    with pytest.raises(WaitTimeout, match=f"waited 0.1 s for vLLM to hang .process {process.process.pid}"):
        process.call("hang")
    process.close()
    deaf = VllmProcess(program=DOUBLE, wait_seconds=1)
    deaf.send("hang")
    with pytest.raises(WaitTimeout, match="waited 1 s for vLLM to start"):
        deaf.send("start", {"model.safetensors": bytes(2**26)})
    assert deaf.process.poll() is not None
    again = VllmProcess(program=DOUBLE)
    with pytest.raises(WorkerError, match=r"ended \(exit code 1\) when asked to fail: the reason"):
        again.call("fail")
    again.close()


@pytest.mark.slow
def test_no_process_outlives_the_one_that_asks_it() -> None:
    code = (
        "import time\nfrom bootstrap.rollouts.vllm_process import VllmProcess\n"
        f"p = VllmProcess(program={DOUBLE!r})\nprint(p.call('which'), flush=True)\np.send('hang')\ntime.sleep(600)"
    )
    paths = os.pathsep.join([str(Path(bootstrap.__file__).parents[1]), str(TESTS)])
    parent = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    # An init process that collects nothing leaves a zombie.
    deadline = time.monotonic() + 60
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.05)


@pytest.mark.slow
def test_an_interpreter_without_vllm_is_named() -> None:
    process = VllmProcess()
    with pytest.raises(WorkerError, match=r"vLLM is not installed for .*pip install 'bootstrap-lm\[vllm\]'"):
        process.call("start", {}, fingerprint="f", dtype="float32", rows=4, adapter_rank=0)
    process.close()


@pytest.mark.torch
def test_tokens_after_a_stop_text_are_dropped_and_other_weights_answer_nothing(process: VllmProcess) -> None:
    from support.vllm_models import CHARACTERS

    from bootstrap.rollouts.answers import AnswerTexts
    from bootstrap.rollouts.vllm_engine import VllmEngine
    from bootstrap.training.model import character_tokenizer

    tokenizer = character_tokenizer(CHARACTERS, max_length=64)
    process.call("start", {}, fingerprint="f")
    requests = [
        Request(
            id=f"g0.s0.u0.p0.k{k}",
            prompt=Prompt(id="0", task="addition", level=1, text="1+2=", split=Split.TRAIN),
            seed=k,
        )
        for k in range(2)
    ]

    def asked(stop: tuple[str, ...]) -> VllmEngine:
        return VllmEngine(process, AnswerTexts(tokenizer, ends=[2], rows=16, stop=stop), max_length=64)

    for stop, tokens, text, finish in (
        (("7777",), 4, "", Finish.STOP),
        ((), 9, "7" * 9, Finish.LENGTH),
    ):
        for rollout in asked(stop).generate(requests, Sampling(temperature=1, max_new_tokens=9), policy="f"):
            assert (len(rollout.tokens), rollout.text, rollout.finish) == (tokens, text, finish)
            assert (rollout.policy, rollout.entropies, rollout.logprobs) == ("f", (), (-0.5,) * tokens)
    with pytest.raises(FingerprintMismatch, match="vLLM holds weights f, the plan names g"):
        asked(()).generate(requests, Sampling(temperature=1, max_new_tokens=9), policy="g")
    with pytest.raises(RecipeError, match=r"a prompt of 5 tokens and an answer of up to 60 exceed the 64 positions"):
        asked(()).generate(requests, Sampling(temperature=1, max_new_tokens=60), policy="f")


@pytest.mark.torch
def test_a_sampler_whose_process_died_starts_another_with_the_next_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    from support.vllm_models import scratch

    from bootstrap.config.training import Training
    from bootstrap.vllm_sampler import VllmSampler

    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    sampler = VllmSampler(batch_rows=4, training=Training(), program=DOUBLE, wait_seconds=60)
    policy = sampler.load(scratch(1), None)
    asked = Request(
        id="g0.s0.u0.p0.k0",
        prompt=Prompt(id="0", task="addition", level=1, text="1+2=", split=Split.TRAIN),
        seed=1,
    )
    how = Sampling(temperature=1, max_new_tokens=3)
    assert sampler.process is not None
    first = sampler.process.process
    first.kill()
    first.wait()
    with pytest.raises(WorkerError, match=r"exit code -9"):
        sampler.generate([asked], how)
    sampler.load(scratch(1), policy)
    assert sampler.process.process.pid != first.pid
    assert [rollout.policy for rollout in sampler.generate([asked], how)] == [policy]
    with pytest.raises(FingerprintMismatch, match="a sampler got weights"):
        sampler.load(scratch(1), "f" * 64)
    sampler.close()


def test_models_and_adapters_that_vllm_lacks_are_refused_with_a_remedy() -> None:
    assert head_size({"hidden_size": 96, "num_attention_heads": 4}) == 24
    assert head_size({"text_config": {"hidden_size": 96, "num_attention_heads": 4, "head_dim": 64}}) == 64
    with pytest.raises(RecipeError, match=r"this model's have 24 .* hidden_size: 128 with num_heads: 4"):
        require_head_size(24, device="cpu")
    require_head_size(24, device="cuda")
    require_head_size(head_size({"n_embd": 96}), device="cpu")
    assert [adapter_bound(None), adapter_bound(LoraAdapter(rank=4)), adapter_bound(LoraAdapter(rank=64))] == [0, 8, 64]
    with pytest.raises(RecipeError, match=r"serves no DoRA; set training\.adapter\.dora: false"):
        adapter_bound(LoraAdapter(dora=True))
    with pytest.raises(RecipeError, match=r"training\.adapter\.rank is 1000"):
        adapter_bound(LoraAdapter(rank=1000))
