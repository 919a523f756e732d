"""The divergence between two models: against a float64 reference, and whatever the number of workers and passes."""

import numpy as np
import pytest
import torch
from support import pretrained
from transformers import AutoModelForCausalLM

from bootstrap.config.base_model import ScratchModel
from bootstrap.errors import FingerprintMismatch
from bootstrap.pool import LocalPool
from bootstrap.records import Checkpoint, Example
from bootstrap.store.fingerprint import fingerprint_model
from bootstrap.training import model as models

pytestmark = pytest.mark.torch

SMALL = ScratchModel(hidden_size=32, intermediate_size=48, num_layers=2, num_heads=2)
CHARACTERS = "0123456789+="


def examples(count: int) -> list[Example]:
    rng = np.random.default_rng(0)
    found = []
    for index in range(count):
        prompt, completion = int(rng.integers(1, 7)), int(rng.integers(1, 9))
        tokens = tuple(int(token) for token in rng.integers(4, 16, prompt + completion))
        found.append(Example(source=f"e{index}", tokens=tokens, num_prompt_tokens=prompt))
    return found


def made(seed: int) -> Checkpoint:
    pool = LocalPool(1, batch_rows=8)
    pool.build(SMALL, CHARACTERS, seed=seed)
    return pool.export()


def reference(mine: Checkpoint, other: Checkpoint, shown: list[Example]) -> float:
    """Sum of p (log p - log q) over the vocabulary and the completion tokens, one sequence at a time, in float64."""
    total = 0.0
    for example in shown:
        logprobs = []
        for checkpoint in (mine, other):
            model: AutoModelForCausalLM = models.load(checkpoint.files)[0].double().eval()
            with torch.no_grad():
                logits = model(torch.tensor([example.tokens])).logits[0, example.num_prompt_tokens - 1 : -1]
            logprobs.append(torch.log_softmax(logits, dim=-1).numpy())
        p, q = logprobs
        total += float((np.exp(p) * (p - q)).sum())
    return total


def test_the_divergence_is_that_of_the_whole_vocabulary_at_every_completion_token() -> None:
    mine, other, shown = made(1), made(2), examples(9)
    pool = LocalPool(1, batch_rows=4)
    pool.hold(mine)
    found = pool.divergence(shown, to=other)
    assert found.nats == pytest.approx(reference(mine, other, shown), rel=1e-4)
    assert found.num_tokens == sum(len(e.tokens) - e.num_prompt_tokens for e in shown)
    assert found.per_token == found.nats / found.num_tokens
    assert found.flops > 0


def test_a_model_does_not_diverge_from_itself_and_the_two_directions_differ() -> None:
    mine, other, shown = made(1), made(2), examples(9)
    pool = LocalPool(1, batch_rows=64)
    pool.hold(mine)
    assert pool.divergence(shown, to=mine).nats == pytest.approx(0.0, abs=1e-5)
    there = pool.divergence(shown, to=other).nats
    pool.hold(other)
    assert pool.divergence(shown, to=mine).nats != pytest.approx(there, rel=1e-3)


def test_the_number_of_workers_does_not_matter() -> None:
    mine, other, shown = made(1), made(2), examples(9)
    found = []
    for size in (1, 2, 12):
        pool = LocalPool(size, batch_rows=3)
        pool.hold(mine)
        found.append(pool.divergence(shown, to=other))
    assert [one.nats for one in found] == pytest.approx([found[0].nats] * 3, rel=1e-5)
    assert len({(one.num_tokens, one.flops) for one in found}) == 1


def test_padding_of_one_of_the_output_matrices_plays_no_part() -> None:
    mine, other, shown = made(1), made(2), examples(9)
    wide = pretrained.padded(dict(other.files), by=5)
    other_wide = Checkpoint(fingerprint=fingerprint_model(wide), files=wide)
    pool = LocalPool(1, batch_rows=64)
    pool.hold(mine)
    assert pool.divergence(shown, to=other_wide).nats == pytest.approx(pool.divergence(shown, to=other).nats, rel=1e-5)
    pool.hold(other)
    there = pool.divergence(shown, to=mine).nats
    pool.hold(other_wide)
    assert pool.divergence(shown, to=mine).nats == pytest.approx(there, rel=1e-5)
    # What the wider one has drawn of its padding, the other reads as some token of its own.
    drawn = Example(source="padding", tokens=(1, 5, 18, 6), num_prompt_tokens=2)
    assert pool.divergence([drawn], to=mine).nats > 0


def test_weights_that_are_not_what_they_claim_are_refused() -> None:
    mine, other = made(1), made(2)
    pool = LocalPool(1, batch_rows=8)
    pool.hold(mine)
    with pytest.raises(FingerprintMismatch):
        pool.divergence(examples(2), to=Checkpoint(fingerprint=mine.fingerprint, files=other.files))
