"""Numbers that no honest update has: which are refused, and what becomes of the step."""

import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import tiny

from bootstrap.config.base_model import ScratchModel
from bootstrap.config.training import Training, UpdateBounds
from bootstrap.errors import FingerprintMismatch, MissingRollout, UpdateFault
from bootstrap.learner_records import UpdateMetrics
from bootstrap.pool import STAGE, LocalPool
from bootstrap.records import Event
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.training import group
from bootstrap.training.bounds import NORMS, UpdateWatch
from bootstrap.training.precision import matrices

pytestmark = [pytest.mark.torch, pytest.mark.training]

RECIPE = tiny.recipe(steps=(tiny.RL,), count=1)


def numbers(norm: float = 1.0, **losses: float) -> UpdateMetrics:
    values = {"loss": 0.0, "rl_loss": 0.0, "ce_loss": 1.0, "kl_loss": 0.0, "value_loss": 0.0} | losses
    return UpdateMetrics(grad_norm=norm, ratio_max=1.0, clip_fraction=0.0, num_tokens=1, flops=1.0, **values)


def fed(*updates: UpdateMetrics, bounds: UpdateBounds | None = None) -> UpdateWatch:
    watch = UpdateWatch(bounds or UpdateBounds())
    for number, metrics in enumerate(updates):
        watch.check(number, metrics, difference=None)
    return watch


@pytest.mark.parametrize("place", [0, 1, 2, 3, 9])
def test_a_gradient_a_million_times_too_large_is_refused_wherever_it_stands(place: int) -> None:
    updates = [numbers(0.5)] * 10
    updates[place] = numbers(0.5e6)
    with pytest.raises(
        UpdateFault, match=rf"update {place} has a grad_norm of 5e\+05, .* \(training.bounds.grad_norm\)"
    ):
        fed(*updates)
    fed(*updates, bounds=UpdateBounds(grad_norm=None))


def test_honest_extremes_are_within_bounds() -> None:
    """The largest ratios of the lineages that `docs/recipes.md` counts, and a gradient among those of a master."""
    watch = fed(*[numbers(0.56)] * 5, numbers(16.6), *[numbers(1e-4, ce_loss=3e-6)] * 20, numbers(1.25, ce_loss=0.005))
    assert watch.peaks == {"grad_norm_ratio": 16.6, "loss_ratio": 1.0}


@pytest.mark.parametrize("name", ["rl_loss", "ce_loss", "kl_loss", "value_loss"])
def test_each_loss_is_finite_and_keeps_to_its_median(name: str) -> None:
    with pytest.raises(UpdateFault, match=f"update 3 has a {name} that is not finite"):
        fed(*[numbers()] * 3, numbers(**{name: nan}))
    with pytest.raises(UpdateFault, match=rf"update 3 has a {name} of 500, .* \(training.bounds.loss\)"):
        fed(*[numbers(**{name: 2.0})] * 3, numbers(**{name: -500.0}))


@pytest.mark.parametrize("difference", [2.1, inf, nan])
def test_log_probabilities_of_sampling_and_training_agree(difference: float) -> None:
    watch = fed()
    watch.check(0, numbers(), difference=0.1)
    with pytest.raises(UpdateFault, match="sampling and training"):
        watch.check(1, numbers(), difference=difference)


def test_medians_go_on_from_the_updates_of_earlier_parts() -> None:
    watch = UpdateWatch(UpdateBounds())
    watch.resume(fed(*[numbers(20.0)] * 3).added())
    watch.check(3, numbers(2000.0), difference=None)
    assert watch.added()["grad_norm"] == [2000.0], "each part keeps its own values"
    with pytest.raises(UpdateFault):
        watch.check(4, numbers(20_001.0), difference=None)


def of(name: str, norm: float, *, source: float) -> UpdateMetrics:
    """An update of one gradient, the policy's or the critic's, and of the gradient which it is computed from."""
    return replace(numbers(0.0), **{name: norm, NORMS[name]: source})


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e-12])
def test_a_gradient_a_million_times_too_large_is_refused_at_every_scale(name: str, scale: float) -> None:
    honest = of(name, scale, source=scale / 50)
    with pytest.raises(UpdateFault, match=r"1e\+06 times the median .* \(training.bounds.grad_norm\)"):
        fed(*[honest] * 3, replace(honest, **{name: scale * 1e6}))


@pytest.mark.parametrize("name", NORMS)
def test_batches_that_teach_nothing_or_next_to_nothing_are_no_fault_of_the_next_one(name: str) -> None:
    nothing, noise, signal = of(name, 0.0, source=0.0), of(name, 1e-9, source=1e-11), of(name, 16.6, source=0.3)
    watch = fed(*[nothing] * 5, *[noise] * 5, signal, *[nothing] * 9, *[noise] * 20, signal)
    assert all(ratio < 17 for ratio in watch.peaks.values())


class Faulty(LocalPool):
    """A pool in which some calls of a method, by their numbers from 1, give something else."""

    def __init__(self, method: str, change: Callable[[Any], Any], *, calls: Collection[int], size: int = 1) -> None:
        super().__init__(size, batch_rows=64)
        self.method, self.change, self.wrong_calls = method, change, calls
        self.calls = 0

    def start(self, worker: int, method: str, *args: Any) -> Any:
        found = super().start(worker, method, *args)
        if method != self.method:
            return found
        self.calls += 1
        return self.change(found) if self.calls in self.wrong_calls else found


def scaled(gradient: Any) -> Any:
    return replace(gradient, flat=gradient.flat * np.float32(1e6))


def no_number(gradient: Any) -> Any:
    return replace(gradient, flat=gradient.flat * np.float32(nan))


def off_by(amount: float) -> Callable[[Any], Any]:
    return lambda rollouts: [replace(r, logprobs=tuple(x + amount for x in r.logprobs)) for r in rollouts]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    return tiny.grow(RECIPE, tmp_path_factory.mktemp("undisturbed") / "tiny")


@pytest.fixture
def root(undisturbed: list[Entry], tmp_path: Path) -> Path:
    """A store with generation 0 alone."""
    tiny.grow(tiny.recipe(steps=(tiny.RL,), count=0), tmp_path / "tiny")
    return tmp_path / "tiny"


def hashes(entries: list[Entry]) -> list[str]:
    return [entry.hash for entry in entries]


ONCE = [("gradient", scaled), ("gradient", no_number), ("generate", off_by(-3.0)), ("generate", off_by(nan))]


@pytest.mark.parametrize(("method", "change"), ONCE)
def test_an_update_beyond_belief_is_done_once_more_and_leaves_no_trace(
    method: str, change: Callable[[Any], Any], root: Path, undisturbed: list[Entry]
) -> None:
    redone_once(Faulty(method, change, calls={4}), root, undisturbed)


def test_a_gradient_that_changes_between_workers_is_no_update(
    root: Path, undisturbed: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    true, exchanges = group.dealt, itertools.count(1)

    def flipping(sent: Sequence[Sequence[torch.Tensor]]) -> list[Sequence[torch.Tensor]]:
        """Flip one bit of one entry's exponent in the fourth gradient."""
        if sent and sent[0][0].dtype is torch.float32 and next(exchanges) == 4:
            sent = [[piece.clone() for piece in pieces] for pieces in sent]
            sent[0][0][:1].view(torch.int32).bitwise_xor_(1 << 24)
        return true(sent)

    monkeypatch.setattr(group, "dealt", flipping)
    redone_once(LocalPool(1, batch_rows=64), root, undisturbed)


def redone_once(pool: LocalPool, root: Path, undisturbed: list[Entry]) -> None:
    """Grow the lineage; one part is done once more, with one warning, and all is as if undisturbed."""
    warnings = list[str]()

    def watch(event: Event) -> None:
        warnings.extend([event.warning] if "once more" in event.warning else [])

    found = tiny.grow(RECIPE, root, pool=pool, observe=watch)
    assert hashes(found) == hashes(undisturbed)
    assert len(warnings) == 1 and found[1].annotations.checks["num_redone"] == 1
    assert "num_redone" not in undisturbed[1].annotations.checks


def test_a_second_time_ends_the_run_by_name_and_the_same_command_goes_on_rightly(
    root: Path, undisturbed: list[Entry]
) -> None:
    # Two rounds a part: the second call of the second part, and the same call of its repetition.
    with pytest.raises(UpdateFault, match="not finite") as told:
        tiny.grow(RECIPE, root, pool=Faulty("gradient", no_number, calls={4, 6}))
    message = str(told.value)
    assert told.value.exit_code == 5
    assert message.index("the same command again") < message.index("a new lineage")
    assert hashes(tiny.grow(RECIPE, root, fresh=True)) == hashes(undisturbed)


def test_a_lost_rollout_is_a_named_error(root: Path, undisturbed: list[Entry]) -> None:
    with pytest.raises(MissingRollout, match=r"no rollouts for 1 of 16 sequences, as g1\.s0") as told:
        tiny.grow(RECIPE, root, pool=Faulty("generate", lambda rollouts: rollouts[1:], calls={2}))
    assert told.value.exit_code == 5
    assert hashes(tiny.grow(RECIPE, root, fresh=True)) == hashes(undisturbed)


class Decaying(LocalPool):
    """Two workers, of which the second has another weight from the moment that the last evaluation begins."""

    def generate(self, requests: Any, sampling: Any, *, by: str | None = None) -> Any:
        if requests[0].id.startswith("greedy.l5") and STAGE.get() == "evaluate":
            next(iter(self.workers[1].model.parameters())).data[0, 0] += 1.0
        return super().generate(requests, sampling, by=by)


def test_weights_that_change_between_fingerprint_and_evaluation_are_not_committed(tmp_path: Path) -> None:
    only = tiny.recipe(count=0, base={"model": tiny.MODEL, "steps": [{"type": "sft", "updates": 1, "batch_size": 8}]})
    with pytest.raises(FingerprintMismatch, match=r"worker 1 holds .* Run the same command again") as told:
        tiny.grow(only, tmp_path / "tiny", pool=Decaying(2, batch_rows=64))
    assert told.value.exit_code == 5 and "worker 0" not in str(told.value)
    store = LineageStore(tmp_path / "tiny")
    assert not store.ledger.read() and not store.artifact_folders("evaluate")
    (base,) = tiny.grow(only, tmp_path / "tiny", pool=LocalPool(2, batch_rows=64))
    assert base.generation.report.fingerprint == base.generation.fingerprint


def test_bounds_are_no_part_of_a_lineage_and_change_nothing_within_them(root: Path, undisturbed: list[Entry]) -> None:
    other = RECIPE.model_copy(update={"training": RECIPE.training.model_copy(update={"bounds": UpdateBounds(loss=50)})})
    assert other.digest() == RECIPE.digest()
    assert hashes(tiny.grow(other, root, fresh=True)) == hashes(undisturbed)


def test_a_base_that_changes_under_its_adapter_is_found() -> None:
    pool = LocalPool(1, batch_rows=8)
    pool.configure(Training.model_validate({"adapter": {"rank": 2}}))
    pool.build(ScratchModel.model_validate(tiny.MODEL), "ab", seed=0)
    base = pool.export()
    pool.provide(base)
    fingerprint = pool.adapt(seed=0)
    pool.prove(fingerprint)
    pool.workers[0].bases[base.fingerprint].tensors[1].view(torch.int32)[0] ^= 1
    with pytest.raises(FingerprintMismatch, match="worker 0 holds another base under its adapter"):
        pool.prove(fingerprint)


def test_a_bf16_copy_that_is_not_the_weights_is_found() -> None:
    pool = LocalPool(1, batch_rows=8)
    pool.configure(Training(precision="bf16"))
    fingerprint = pool.build(ScratchModel.model_validate(tiny.MODEL), "ab", seed=0)
    pool.prove(fingerprint)
    copy = pool.workers[0].inference_copy
    assert copy is not None
    next(iter(matrices(copy.model).values())).weight.data[0, 0] += 1
    with pytest.raises(FingerprintMismatch, match="worker 0"):
        pool.prove(fingerprint)


def test_a_wild_first_update_is_in_no_part_however_often_parts_are_stored(tmp_path: Path) -> None:
    steps = ({**tiny.RL, "checkpoint_every": 1},)
    undisturbed = tiny.grow(tiny.recipe(steps=steps, count=1), tmp_path / "undisturbed" / "tiny")
    tiny.grow(tiny.recipe(steps=steps, count=0), tmp_path / "tiny")
    pool = Faulty("gradient", scaled, calls={1})
    found = tiny.grow(tiny.recipe(steps=steps, count=1), tmp_path / "tiny", pool=pool)
    assert hashes(found) == hashes(undisturbed)
    assert found[1].annotations.checks["num_redone"] == 1
