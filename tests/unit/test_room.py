"""Limits of memory at work: passes keep to them, a shortage halves them once for all workers, and results stay."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import pretrained, tiny
from test_learner import mixed_batch, pool_of

from bootstrap.config.resources import Resources
from bootstrap.errors import WorkerError
from bootstrap.memory import MemoryLimits, Shortage
from bootstrap.pool import LocalPool
from bootstrap.records import Event, Prompt, Request, Rollout, Sampling, Split
from bootstrap.roles import colocated
from bootstrap.rollouts.engine import TransformersEngine
from bootstrap.room import ModelRoom, WorkerBounds, work_of
from bootstrap.stages.limits import FILE_NAME, settle
from bootstrap.store.fingerprint import fingerprint_model
from bootstrap.store.lineage_store import LineageStore
from bootstrap.training.batch import micro_batches
from bootstrap.training.learner import Learner
from bootstrap.training.update import Updater

pytestmark = pytest.mark.torch

SAMPLING = Sampling(temperature=1.0, max_new_tokens=6)
GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
CPU = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")


def requests(count: int = 8, samples: int = 4) -> list[Request]:
    prompts = [Prompt(id=f"p{i}", task="x", level=1, text=f"{10**i}+1=", split=Split.TRAIN) for i in range(count)]
    return [
        Request(id=f"g1.s0.u0.{prompt.id}.k{k}", prompt=prompt, seed=100 * i + k)
        for i, prompt in enumerate(prompts)
        for k in range(samples)
    ]


def batches_of(monkeypatch: pytest.MonkeyPatch, *, fails_above: int | None = None, error: Exception = CPU) -> list[int]:
    """Return a list that gets the number of rows of every batch that is decoded."""
    found: list[int] = []
    decode = TransformersEngine._decode

    def counted(self: TransformersEngine, batch: list[Request], *args: Any) -> list[Rollout]:
        found.append(len(batch))
        if fails_above is not None and len(batch) > fails_above:
            raise error
        return decode(self, batch, *args)

    monkeypatch.setattr(TransformersEngine, "_decode", counted)
    return found


def passes_of(monkeypatch: pytest.MonkeyPatch, *, fails_above: int | None = None, error: Exception = CPU) -> list[int]:
    """Return a list that gets the number of tokens of every training pass."""
    found: list[int] = []
    completion = Learner._completion

    def counted(self: Learner, micro: Any) -> tuple[torch.Tensor, torch.Tensor]:
        found.append(micro.tokens_BT.numel())
        if fails_above is not None and micro.tokens_BT.numel() > fails_above:
            raise error
        return completion(self, micro)

    monkeypatch.setattr(Learner, "_completion", counted)
    return found


def heard(pool: LocalPool) -> list[str]:
    told: list[str] = []
    pool.on_shortage = lambda worker, shortage: told.append(shortage.told(worker))  # pyright: ignore[reportAttributeAccessIssue]
    return told


def test_no_more_rows_are_decoded_together_than_the_limit_and_results_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = pool_of(1)
    expected = pool.generate(requests(), SAMPLING)
    pool.limit(MemoryLimits(rollout_rows=5))
    counts = batches_of(monkeypatch)
    found = pool.generate(requests(), SAMPLING)
    assert counts == [5] * 6 + [2]
    assert [r.tokens for r in found] == [r.tokens for r in expected]


def test_rows_follow_from_memory_and_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = pool_of(1)
    worker = pool.workers[0]
    work = work_of(worker.model, worker.training, device="cpu")
    assert work is not None
    room = work.sampling(rows=12, prompts=3, prompt_length=7, new_tokens=6)
    pool.limit(MemoryLimits(memory=work.state + room))
    counts = batches_of(monkeypatch)
    pool.generate(requests(), SAMPLING)
    # Prompts grow by a token each.
    assert counts[0] >= 12 and counts[:-1] == sorted(counts[:-1], reverse=True) and counts[-2] < 12
    pool.limit(MemoryLimits(memory=1))
    counts.clear()
    pool.generate(requests(2, 2), SAMPLING)
    assert counts == [1] * 4


def test_a_training_pass_has_no_more_tokens_than_the_limit() -> None:
    examples = mixed_batch().examples
    for limit in (12, 30, 100):
        parts = [micro for _, micro in micro_batches(examples, pad=0, max_rows=64, max_tokens=limit)]
        assert all(micro.tokens_BT.numel() <= limit for micro in parts)
        assert sum(len(micro.lengths) for micro in parts) == len(examples)
    alone = [micro for _, micro in micro_batches(examples, pad=0, max_rows=64, max_tokens=1)]
    assert [len(micro.lengths) for micro in alone] == [1] * len(examples)


def test_gradients_do_not_depend_on_the_limit() -> None:
    pool = pool_of(1)
    whole = pool.workers[0].gradient(mixed_batch()).flat
    pool.limit(MemoryLimits(train_tokens=15))
    assert np.allclose(pool.workers[0].gradient(mixed_batch()).flat, whole, atol=1e-6)


def test_tokens_follow_from_memory_and_teachers() -> None:
    pool = pool_of(1)
    worker = pool.workers[0]
    work = work_of(worker.model, worker.training, device="cpu")
    assert work is not None and worker.room.tokens() is None
    pool.limit(MemoryLimits(memory=work.state + 100 * work.per_token))
    alone = worker.room.tokens()
    assert alone is not None and 50 < alone <= 100
    files = pool.export()
    worker.load_teacher(dict(files.files), files.fingerprint)
    taught = worker.room.tokens()
    assert taught is not None and taught < alone
    worker.drop_teachers()
    assert worker.room.tokens() == alone


@pytest.mark.parametrize("error", [GPU, CPU, MemoryError()])
@pytest.mark.parametrize("size", [1, 2])
def test_sampling_goes_on_with_half_after_a_shortage(
    size: int, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = pool_of(size)
    expected, told = pool.generate(requests(), SAMPLING), heard(pool)
    first = 32 // size
    counts = batches_of(monkeypatch, fails_above=first // 2, error=error)
    found = pool.generate(requests(), SAMPLING)
    assert [r.tokens for r in found] == [r.tokens for r in expected]
    assert counts == [first, first // 2, first // 2] * size
    assert told[0].startswith(f"worker 0 ran out of memory sampling {first} sequences together; all workers go on")
    # All workers have the lower limit for what follows.
    counts.clear()
    pool.generate(requests(), SAMPLING)
    assert sum(counts) == 32 and max(counts) <= first // 2 and len(told) == size
    assert {worker.bounds.limits.most("rollout_rows") for worker in pool.workers} == {first // 2}


@pytest.mark.parametrize("error", [GPU, CPU])
@pytest.mark.parametrize("size", [1, 2])
def test_training_goes_on_with_half_after_a_shortage(
    size: int, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = pool_of(size)
    expected.metrics(expected.update(mixed_batch(), lr_factor=1.0, grad_clip=1.0))
    pool = pool_of(size)
    told = heard(pool)
    with monkeypatch.context() as patch:
        largest = passes_of(patch)
        pool_of(size).update(mixed_batch(), lr_factor=1.0, grad_clip=1.0)
        most = max(largest)
    counts = passes_of(monkeypatch, fails_above=most // 2, error=error)
    pool.metrics(pool.update(mixed_batch(), lr_factor=1.0, grad_clip=1.0))
    assert max(counts) == most and told and "(resources.train_tokens)" in told[0]
    limits = {worker.bounds.limits.most("train_tokens") for worker in pool.workers}
    assert limits == {pool.limits.most("train_tokens")} and max(counts[-2:]) <= most // 2
    one, other = (
        torch.cat([p.detach().flatten() for p in found.workers[0].model.parameters()]) for found in (expected, pool)
    )
    assert torch.allclose(one, other, atol=1e-5)


def test_a_second_shortage_ends_with_one_error_that_names_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = pool_of(1)
    with monkeypatch.context() as patch:
        batches_of(patch, fails_above=3)
        with pytest.raises(
            WorkerError, match=r"decode 16 sequence\(s\) together, .* once; lower resources.rollout_rows"
        ):
            pool.generate(requests(), SAMPLING)
    passes_of(monkeypatch, fails_above=3)
    with pytest.raises(WorkerError, match=r"train \d+ token\(s\) in one pass, .*; lower resources.train_tokens"):
        pool.update(mixed_batch(), lr_factor=1.0, grad_clip=1.0)


def test_a_single_sequence_is_not_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = pool_of(1)
    told = heard(pool)
    batches_of(monkeypatch, fails_above=0)
    passes_of(monkeypatch, fails_above=0)
    with pytest.raises(WorkerError, match=r"a single sequence of up to \d+ tokens; lower the lengths"):
        pool.generate(requests(1, 1), SAMPLING)
    batch = mixed_batch()
    with pytest.raises(WorkerError, match=r"train a single sequence of \d+ token\(s\); lower the lengths"):
        pool.workers[0].gradient(replace(batch, examples=batch.examples[:1]))
    assert pool.workers[0].bounds.limits == MemoryLimits() and not pool.workers[0].bounds.shortages and not told


def test_a_shortage_that_is_not_told_yet_outlives_another_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = pool_of(1).workers[0]
    with monkeypatch.context() as patch:
        batches_of(patch, fails_above=16)
        worker.generate(requests(), SAMPLING)
    most = worker.bounds.limits.most("rollout_rows")
    worker.lower(MemoryLimits().halve(Shortage("train_tokens", 90)))
    assert worker.bounds.limits.halved == {"rollout_rows": most, "train_tokens": 45}
    # Its second shortage is not taken for the first.
    batches_of(monkeypatch, fails_above=1)
    with pytest.raises(WorkerError, match="halved once"):
        worker.generate(requests(), SAMPLING)


def test_what_a_failed_pass_held_is_given_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, given = pool_of(1), list[str]()
    monkeypatch.setattr("bootstrap.room.give_back", lambda: given.append("x"))
    with monkeypatch.context() as patch:
        batches_of(patch, fails_above=16)
        pool.generate(requests(), SAMPLING)
    assert given == ["x"]
    with monkeypatch.context() as patch:
        largest = passes_of(patch)
        pool.workers[0].gradient(mixed_batch())
    passes_of(monkeypatch, fails_above=max(largest) // 2)
    pool.workers[0].gradient(mixed_batch())
    assert given == ["x", "x"]


def test_models_held_beside_the_weights_in_training_leave_less_room() -> None:
    pool = pool_of(1)
    worker, files = pool.workers[0], pool.export()
    size = sum(p.nbytes for p in worker.model.parameters())
    other = pretrained.small_folder(seed=5)
    pool.load_frozen_sampler(files)
    pool.load_frozen_sampler(files)
    assert worker.bounds.held == size
    alone, before = worker.room.tokens(), worker.bounds.held
    worker.load_frozen_sampler(other, fingerprint_model(other))
    worker.load_teacher(dict(files.files), files.fingerprint)
    worker.load_teacher(dict(files.files), files.fingerprint)
    grown = worker.bounds.held - before - size
    assert alone is None and grown == sum(
        p.nbytes for p in worker.frozen_samplers[fingerprint_model(other)].model.parameters()
    )
    pool.drop_frozen_sampler(files.fingerprint)
    worker.drop_teachers()
    assert worker.bounds.held == grown
    pool.limit(MemoryLimits(memory=worker.bounds.state + grown + 2**20))
    beside = worker.room.tokens()
    pool.drop_frozen_sampler(fingerprint_model(other))
    free = worker.room.tokens()
    assert beside is not None and free is not None and beside < free


@pytest.mark.parametrize("method", ["load", "provide", "load_teacher", "load_frozen_sampler", "export"])
def test_a_model_without_memory_names_a_remedy(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*args: Any, **how: Any) -> None:
        raise CPU

    pool = pool_of(1)
    files = pool.export()
    monkeypatch.setattr("bootstrap.training.model.load", short)
    monkeypatch.setattr("bootstrap.training.model.export", short)
    arguments = () if method == "export" else (dict(files.files), files.fingerprint)
    with pytest.raises(WorkerError, match=r"memory does not suffice for .*; train an adapter .*run the same command"):
        getattr(pool.workers[0], method)(*arguments)


def test_a_defect_is_no_shortage(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = pool_of(1)
    batches_of(monkeypatch, fails_above=3, error=RuntimeError("shapes do not match"))
    passes_of(monkeypatch, fails_above=3, error=ValueError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        pool.generate(requests(), SAMPLING)
    with pytest.raises(ValueError, match="shapes do not match"):
        pool.update(mixed_batch(), lr_factor=1.0, grad_clip=1.0)
    assert pool.limits == MemoryLimits()


def test_an_optimizer_step_without_memory_names_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*args: Any, **how: Any) -> None:
        raise CPU

    pool = pool_of(1)
    monkeypatch.setattr(Updater, "apply", short)
    with pytest.raises(WorkerError, match=r"optimizer's step; train an adapter \(training.adapter\)"):
        pool.update(mixed_batch(), lr_factor=1.0, grad_clip=1.0)


def test_a_model_of_another_family_has_no_automatic_limits() -> None:
    room = ModelRoom(WorkerBounds(), None)
    assert room.fits(rows=10**9, prompts=1, prompt_length=10**9, new_tokens=1) and room.tokens() is None


def test_work_is_counted_while_it_goes_on() -> None:
    pool = pool_of(1)
    bounds, before = pool.workers[0].bounds, pool.workers[0].bounds.beats
    pool.generate(requests(), SAMPLING)
    sampled, answered = bounds.beats, bounds.answered
    assert 0 < answered <= 32
    pool.workers[0].gradient(mixed_batch())
    assert before < sampled < bounds.beats


def test_workers_on_one_device_share_its_memory() -> None:
    one, two = (LocalPool(size, batch_rows=8).memory() for size in (1, 2))
    assert 0.9 * one < 2 * two <= 1.1 * one


def test_grouped_heads_of_a_loaded_model_are_read() -> None:
    pool = LocalPool(1, batch_rows=8)
    pool.load_unverified(pretrained.small_folder())
    worker = pool.workers[0]
    work = work_of(worker.model, worker.training, device="cpu")
    assert work is not None and (work.sizes.heads, work.sizes.kv, work.sizes.tied) == (32, 16, True)


# --- in a lineage ------------------------------------------------------------------------------------------------


class Short(LocalPool):
    """A pool that runs out of memory once, in its first batch of more than `most` rows."""

    def __init__(self, size: int, *, most: int) -> None:
        super().__init__(size, batch_rows=64)
        self.most, self.decoded, self.failed = most, list[int](), False
        for worker in self.workers:
            install = worker._install

            def limited(*args: Any, install: Any = install, worker: Any = worker, **how: Any) -> str:
                found = install(*args, **how)
                decode = worker.engine._decode

                def checked(batch: list[Request], *rest: Any) -> list[Rollout]:
                    self.decoded.append(len(batch))
                    if len(batch) > self.most and not self.failed:
                        self.failed = True
                        raise CPU
                    return decode(batch, *rest)

                worker.engine._decode = checked
                return found

            worker._install = limited


def test_a_lineage_keeps_and_tells_what_was_halved_and_goes_on_with_it(tmp_path: Path) -> None:
    warnings: list[str] = []
    recipe, pool = tiny.recipe(count=1), Short(1, most=12)
    entries = tiny.grow(recipe, tmp_path / "short", pool=pool, observe=lambda e: warnings.append(e.warning))
    told = [line for line in warnings if "memory" in line]
    assert len(told) == 1 and "(resources.rollout_rows)" in told[0]
    kept = json.loads((tmp_path / "short" / FILE_NAME).read_text())
    half = kept["halved"]["rollout_rows"]
    assert half >= 6 and kept["workers"] == 1 and kept["memory"] > 0
    environment = entries[-1].annotations.environment
    assert environment["rollout_rows"] == str(half) and environment["memory"] == str(kept["memory"])
    # A run with memory enough has the same base and draws as much: splits of sampling change rounding alone.
    plain = tiny.grow(recipe, tmp_path / "plain", fresh=True)
    assert entries[0].generation.fingerprint == plain[0].generation.fingerprint
    counts = [
        (e.generation.accounting.prompts_drawn, e.generation.accounting.rollouts) for e in (entries[-1], plain[-1])
    ]
    assert counts[0] == counts[1]
    # A run that goes on begins with the lower limit.
    again = Short(1, most=64)
    tiny.grow(tiny.recipe(count=2), tmp_path / "short", pool=again)
    assert again.decoded and max(again.decoded) <= half


@pytest.mark.parametrize(
    "change",
    [
        {"workers": 2},
        {"device": "NVIDIA H200"},
        {"device_memory": 2**50},
        {"device_memory": 2**20},
    ],
)
def test_a_lineage_that_has_moved_measures_anew_and_says_so(tmp_path: Path, change: dict[str, Any]) -> None:
    recipe, root = tiny.recipe(count=0), tmp_path / "tiny"
    tiny.grow(recipe, root)
    kept = json.loads((root / FILE_NAME).read_text())
    moved = {**kept, "memory": 2**40, "halved": {"rollout_rows": 1}, **change}
    (root / FILE_NAME).write_text(json.dumps(moved))
    warnings, pool = list[str](), LocalPool(1, batch_rows=64)
    tiny.grow(recipe, root, pool=pool, observe=lambda e: warnings.append(e.warning))
    [told] = [line for line in warnings if line]
    assert str(root / FILE_NAME) in told and "measured anew" in told
    assert pool.limits.halved == {} and pool.limits.memory != 2**40
    again = list[str]()
    tiny.grow(recipe, root, observe=lambda e: again.append(e.warning))
    assert not any(again)


@pytest.mark.parametrize(
    "damaged",
    [
        {"workers": 1, "memory": "x", "halved": [1]},
        {"halved": {"rollout_rows": 0}},
        {"halved": {"words": 3}},
        {"memory": -5},
        {"memory": 5.5},
        [1],
    ],
)
def test_a_damaged_file_is_measured_anew(tmp_path: Path, damaged: Any) -> None:
    recipe, root = tiny.recipe(count=0), tmp_path / "tiny"
    tiny.grow(recipe, root)
    kept = json.loads((root / FILE_NAME).read_text())
    (root / FILE_NAME).write_text(json.dumps({**kept, **damaged} if isinstance(damaged, dict) else damaged))
    tiny.grow(recipe, root)
    found = json.loads((root / FILE_NAME).read_text())
    # How much is free may have changed.
    assert found["memory"] > 2**20 and {**found, "memory": 0} == {**kept, "memory": 0}


def test_answers_counted_before_the_first_event_are_of_the_generation_that_comes(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    store, pool, told = LineageStore(tmp_path / "x"), LocalPool(1, batch_rows=8), list[Event]()
    settle(tiny.recipe(count=0), store, colocated(pool), generation=3, observe=told.append)
    pool.on_answers(3, 64)
    pool.on_shortage(0, Shortage("rollout_rows", 8))
    assert [event.generation for event in told] == [3, 3] and all(event.stage for event in told)
    assert str(tmp_path / "x" / FILE_NAME) in told[1].warning


def test_a_lower_setting_of_the_recipes_own_replaces_what_was_halved(tmp_path: Path) -> None:
    assert Resources().own_limits == {} and Resources(train_tokens=9).own_limits == {"train_tokens": 9}
    recipe, root = tiny.recipe(count=0), tmp_path / "tiny"
    tiny.grow(recipe, root)
    kept = json.loads((root / FILE_NAME).read_text())
    (root / FILE_NAME).write_text(json.dumps({**kept, "halved": {"rollout_rows": 30}}))
    for rows, expected in (("auto", {"rollout_rows": 30}), (40, {"rollout_rows": 30}), (20, {})):
        pool = LocalPool(1, batch_rows=64)
        own = tiny.recipe(count=0, resources={"batch_rows": 64, "rollout_rows": rows})
        tiny.grow(own, root, pool=pool)
        assert pool.limits.halved == expected
        (root / FILE_NAME).write_text(json.dumps({**kept, "halved": {"rollout_rows": 30}}))
    (root / FILE_NAME).write_text("broken")
    pool = LocalPool(1, batch_rows=64)
    tiny.grow(recipe, root, pool=pool)
    assert pool.limits.halved == {} and json.loads((root / FILE_NAME).read_text())["workers"] == 1
