"""Learners and samplers in processes of their own grow what workers in both roles grow."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny

from bootstrap.config.base_model import ScratchModel
from bootstrap.config.optimizers import AdamW
from bootstrap.config.resources import Resources, SamplerProcesses
from bootstrap.config.training import Training
from bootstrap.errors import FingerprintMismatch, UpdateFault
from bootstrap.learner_records import Version
from bootstrap.pool import LocalPool
from bootstrap.records import Batch, Checkpoint, Example, Normalizers
from bootstrap.roles import Roles, apart
from bootstrap.stages.limits import settle
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

pytestmark = [pytest.mark.torch, pytest.mark.training]

BATCH = Batch(
    examples=[Example(source="s", tokens=(1, 4, 5, 6, 7, 2), num_prompt_tokens=2, ce_weight=1.0)],
    normalizers=Normalizers(ce=4.0),
)


def both(*, samplers: int = 1) -> Roles:
    return apart(LocalPool(1, batch_rows=64), LocalPool(samplers, batch_rows=64))


def found(entries: list[Entry]) -> list[tuple[Any, ...]]:
    """Return what every generation is and how it was judged."""
    made = [entry.generation for entry in entries]
    return [(one.fingerprint, one.report, one.decision, one.accounting, one.compute) for one in made]


def test_a_lineage_is_the_same_whether_learners_or_samplers_answer(tmp_path: Path) -> None:
    recipe = tiny.recipe(steps=(tiny.RL,), count=1)
    assert found(tiny.grow(recipe, tmp_path / "apart", roles=both())) == found(tiny.grow(recipe, tmp_path / "tiny"))


class Stale(LocalPool):
    """Samplers whose output matrix stays what it was, whatever weights they are given."""

    def hold(self, checkpoint: Checkpoint) -> None:
        super().hold(checkpoint)
        with torch.no_grad():
            self.workers[0].model.lm_head.weight.mul_(1.5)


def test_no_answer_is_evaluated_of_samplers_that_have_other_weights_than_they_say(tmp_path: Path) -> None:
    roles = apart(LocalPool(1, batch_rows=64), Stale(1, batch_rows=64))
    with pytest.raises(UpdateFault, match=r"a sampler that took the weights .* answers with others"):
        tiny.grow(tiny.recipe(count=0), tmp_path / "tiny", roles=roles)
    assert not LineageStore(tmp_path / "tiny").artifact_folders("evaluate")


class Spoilt(LocalPool):
    """Samplers that hold other weights than they say after they have taken the third version."""

    taken = 0

    def take(self, version: Version) -> None:
        super().take(version)
        self.taken += 1
        if self.taken == 3:
            with torch.no_grad():
                self.workers[0].model.lm_head.weight.mul_(1.5)


def test_samplers_that_answer_with_other_weights_than_they_say_are_found_and_take_them_anew(tmp_path: Path) -> None:
    recipe, warnings = tiny.recipe(steps=(tiny.RL,), count=1), list[str]()
    recipe = recipe.model_copy(update={"resources": Resources(batch_rows=64, samplers=SamplerProcesses())})
    undisturbed = tiny.grow(recipe, tmp_path / "undisturbed", roles=both())
    roles = apart(LocalPool(1, batch_rows=64), Spoilt(1, batch_rows=64))
    again = tiny.grow(recipe, tmp_path / "tiny", roles=roles, observe=lambda e: warnings.append(e.warning))
    assert [entry.hash for entry in again] == [entry.hash for entry in undisturbed]
    [told] = [warning for warning in warnings if "once more" in warning]
    assert "answers with others" in told


def test_memory_of_one_machine_is_shared_by_both_roles(tmp_path: Path) -> None:
    learners, samplers = LocalPool(1, batch_rows=8), LocalPool(3, batch_rows=8)
    (tmp_path / "x").mkdir()
    recipe = tiny.recipe(count=0)
    settle(recipe, LineageStore(tmp_path / "x"), apart(learners, samplers), generation=0, observe=tiny.unwatched)
    (_, all_of_it), *_ = learners.free_memory()
    for limits in (learners.limits, samplers.limits):
        assert limits.memory is not None and 4 * limits.memory <= all_of_it * 1.2


@pytest.mark.parametrize("adapter", [False, True])
def test_samplers_take_the_weights_of_each_update_and_refuse_others(adapter: bool) -> None:
    roles = both(samplers=2)
    learners, samplers = roles.learners, roles.samplers
    assert isinstance(learners, LocalPool) and isinstance(samplers, LocalPool)
    roles.configure(Training.model_validate({"precision": "fp32", "adapter": {"rank": 2} if adapter else None}))
    learners.build(ScratchModel.model_validate(tiny.MODEL), "abcd", seed=0)
    if adapter:
        roles.provide(learners.export())
        learners.adapt(seed=0)
    learners.begin(AdamW(lr=0.01))
    versions = list[Version]()
    for _ in range(2):
        samplers.take(learners.publish())
        model = samplers.workers[0].model
        learners.metrics(learners.update(BATCH, lr_factor=1.0, grad_clip=1.0))
        versions.append(learners.publish())
        samplers.take(versions[-1])
        assert samplers.broadcast("fingerprint") == [versions[-1].fingerprint] * 2
        assert adapter or samplers.workers[0].model is model, "the weights are replaced in place"
    assert versions[0] != versions[1]
    with pytest.raises(FingerprintMismatch):
        samplers.take(versions[0])
    with torch.no_grad():
        next(p for p in samplers.workers[1].model.parameters() if not adapter or p.requires_grad).add_(1)
    with pytest.raises(FingerprintMismatch, match="sampler 1 holds"):
        samplers.prove(versions[-1].fingerprint)
