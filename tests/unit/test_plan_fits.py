"""A plan counts what each role takes and sends, and refuses what the machine cannot hold with what would fit."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from support import tiny
from support.pretrained import small_folder, write
from torch import Tensor

from bootstrap.cli.plan import print_plan
from bootstrap.config.base_model import ScratchModel
from bootstrap.config.optimizers import AdamW
from bootstrap.config.recipe import Recipe
from bootstrap.errors import RecipeError
from bootstrap.planning.plan import LineagePlan, make_plan
from bootstrap.pool import LocalPool
from bootstrap.records import Batch, Example, Normalizers
from bootstrap.training import group

pytestmark = pytest.mark.torch

SAMPLERS = {"samplers": {"processes": 2}, "batch_rows": 64}


def planned(recipe: Recipe, *, workers: int = 2, memory: int | None = None) -> LineagePlan:
    return make_plan(recipe, lineage="x", workers=workers, memory=memory)


def pretrained(path: Path, *, layers: int = 2, **changes: object) -> Recipe:
    """Return a recipe for a model of wide blocks, by its configuration alone."""
    files = small_folder()
    sizes = {"intermediate_size": 8192, "num_hidden_layers": layers}
    files["config.json"] = json.dumps(json.loads(files["config.json"]) | sizes).encode()
    model = {"type": "folder", "path": str(write(files, path / "model"))}
    return tiny.recipe(steps=(tiny.RL,), base={"model": model}, **changes)


def test_it_counts_the_bytes_that_two_workers_send_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    sent, dealt = [0], group.dealt

    def counted(pieces: Sequence[Sequence[Tensor]]) -> list[Sequence[Tensor]]:
        for rank, ours in enumerate(pieces):
            sent[0] += sum(one.numel() * one.element_size() for to, one in enumerate(ours) if to != rank)
        return dealt(pieces)

    monkeypatch.setattr(group, "dealt", counted)
    pool = LocalPool(2, batch_rows=8)
    pool.build(ScratchModel.model_validate(tiny.MODEL), "abc=", seed=0)
    pool.begin(AdamW(lr=0.01))
    one = Example(source="s", tokens=(1, 4, 5, 6, 7, 2), num_prompt_tokens=2, ce_weight=1.0)
    batch = Batch(examples=[one, one], normalizers=Normalizers(ce=8.0))
    pool.metrics(pool.update(batch, lr_factor=1.0, grad_clip=1.0))
    recipe = tiny.recipe(count=0)
    assert planned(recipe, workers=1).bytes_per_update == 0
    # The vocabulary of a task differs a little from this one's.
    assert sent[0] / 2 == pytest.approx(planned(recipe).bytes_per_update, rel=0.03)


def test_it_counts_what_samplers_get_and_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = planned(tiny.recipe(count=1))
    whole = planned(tiny.recipe(count=1, resources=SAMPLERS))
    adapted = planned(pretrained(tmp_path, resources=SAMPLERS, training={"adapter": {"rank": 2}}))
    assert (one.bytes_per_sync, one.memory_bytes_per_sampler) == (0, 0)
    assert whole.bytes_per_sync == pytest.approx(4 * whole.num_parameters, rel=0.02)
    assert adapted.bytes_per_sync < 0.1 * 4 * adapted.num_parameters
    assert whole.least_memory_bytes_per_sampler < whole.least_memory_bytes_per_worker
    # Who only learns decodes nothing.
    assert whole.memory_bytes_per_worker <= one.memory_bytes_per_worker
    print_plan(whole)
    told = capsys.readouterr().out
    assert "each worker sends the others " in told and "each sampler gets " in told


def test_workers_that_share_a_model_take_a_part_of_it_and_send_its_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, shared = (
        planned(pretrained(tmp_path / str(shard), layers=16, resources={**SAMPLERS, "shard": shard}), workers=4)
        for shard in (1, 4)
    )
    assert shared.least_memory_bytes_per_worker < 0.6 * whole.least_memory_bytes_per_worker
    assert shared.least_memory_bytes_per_sampler == whole.least_memory_bytes_per_sampler
    # 2 x 4 bytes of a weight gathered and 4 of a gradient, of which each of four sends three quarters.
    assert shared.bytes_per_update == pytest.approx(9 * shared.num_parameters, rel=0.01)
    print_plan(shared)
    assert "an update of one pass, weights of the shared model and gradients" in capsys.readouterr().out


def test_sharing_a_model_is_named_where_it_would_fit(tmp_path: Path) -> None:
    recipe = pretrained(tmp_path, layers=16, resources=SAMPLERS)
    least = planned(recipe).least_memory_bytes_per_worker
    with pytest.raises(RecipeError, match=r"set resources\.shard: 2, which needs"):
        planned(recipe, workers=2, memory=int(0.7 * least))


@pytest.mark.parametrize(
    ("workers", "share", "told"),
    [
        (2, 0.6, "set resources.workers: 1, which needs"),
        (1, 0.6, r"set training.adapter: \{type: lora\}, which needs"),
        (1, 0.001, "no setting of resources.workers and training would fit"),
    ],
)
def test_what_the_machine_cannot_hold_is_refused_with_what_would_fit(
    tmp_path: Path, workers: int, share: float, told: str
) -> None:
    recipe = pretrained(tmp_path)
    least = planned(recipe).least_memory_bytes_per_worker
    planned(recipe, workers=workers, memory=least)
    with pytest.raises(RecipeError, match=f"a process needs at least .* this machine has .* for each: {told}"):
        planned(recipe, workers=workers, memory=int(share * least))


def test_what_needs_more_than_its_share_and_less_than_there_is_is_a_note(tmp_path: Path) -> None:
    recipe = pretrained(tmp_path)
    least = planned(recipe).least_memory_bytes_per_worker
    assert [one for one in planned(recipe, memory=int(0.8 * least)).notes if "a worker needs at least" in one]
