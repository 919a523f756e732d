"""A worker on a GPU against the same worker on the CPU. Run on a machine that has one: `pytest tests/gpu`."""

import numpy as np
import pytest
import torch

from bootstrap.config.base_model import ScratchModel
from bootstrap.config.optimizers import MuonAdamW
from bootstrap.records import Batch, Example, Normalizers, Prompt, Request, Sampling, Split
from bootstrap.worker import Worker

REQUESTS = [
    Request(
        id=f"g0.s0.u0.p{place}.k{k}",
        prompt=Prompt(id=text, task="addition", level=1, text=text, split=Split.TRAIN),
        seed=100 * place + k,
    )
    for place, text in enumerate(("1+2=", "34+5=", "678+90="))
    for k in range(8)
]


@pytest.fixture
def workers() -> list[Worker]:
    assert torch.cuda.is_available(), "these tests need a GPU; they are collected only when asked for"
    made = [Worker(batch_rows=64, device=device) for device in ("cpu", "cuda")]
    for worker in made:
        worker.build(ScratchModel(), "0123456789+=", 0)
    return made


def test_both_devices_hold_the_same_weights(workers):
    assert workers[0].fingerprint() == workers[1].fingerprint()


def test_both_devices_sample_alike(workers):
    how = Sampling(temperature=1.0, max_new_tokens=10)
    pairs = list(zip(*(worker.generate(REQUESTS, how) for worker in workers), strict=True))
    same = [(a, b) for a, b in pairs if a.tokens == b.tokens]
    # Rounding may turn a draw that falls on the border of two tokens.
    assert len(same) >= 0.9 * len(pairs)
    for a, b in same:
        assert np.allclose(a.logprobs, b.logprobs, atol=1e-3)


def test_both_devices_take_the_same_update(workers):
    examples = [
        Example(source=f"e{i}", tokens=(1, 5 + i, 14, 6, 15, 7, 8, 2), num_prompt_tokens=5, ce_weight=1.0)
        for i in range(8)
    ]
    batch = Batch(examples=examples, normalizers=Normalizers(ce=24))
    before = torch.cat([p.detach().flatten() for p in workers[0].model.parameters()])
    after = []
    for worker in workers:
        worker.begin(MuonAdamW())
        worker.step(batch, 1.0, 1.0)
        after.append(torch.cat([p.detach().cpu().flatten() for p in worker.model.parameters()]))
    assert (after[1] - after[0]).norm() < 0.02 * (after[0] - before).norm()


def test_a_checkpoint_goes_from_one_device_to_the_other(workers):
    cpu, gpu = workers
    gpu.begin(MuonAdamW())
    batch = Batch(
        examples=[Example(source="e", tokens=(1, 5, 15, 7, 2), num_prompt_tokens=3, ce_weight=1.0)],
        normalizers=Normalizers(),
    )
    gpu.step(batch, 1.0, 1.0)
    checkpoint, state = gpu.export(), gpu.optimizer_state()
    cpu.load(checkpoint.files, checkpoint.fingerprint)
    cpu.begin(MuonAdamW())
    cpu.restore(state)
    assert cpu.step(batch, 1.0, 1.0).grad_norm > 0
