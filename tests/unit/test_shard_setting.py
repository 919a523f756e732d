"""How many workers hold a model together: what a recipe and the command line may ask for, and what a record says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from support import tiny
from support.lineage_factory import PROMOTED, SETTINGS, build

from bootstrap.cli.run import environment, num_workers
from bootstrap.config.optimizers import AdamW
from bootstrap.config.recipe import Recipe
from bootstrap.config.resources import Resources
from bootstrap.errors import RecipeError, StoreCorrupt
from bootstrap.pool import OPTIMIZER_STATE, LocalPool
from bootstrap.reproduction import as_recorded
from bootstrap.sharded_pool import FOLDER, ShardedPool
from bootstrap.store.on_disk import FolderFiles, StoredFile


class Told(ShardedPool):
    """A pool that keeps the names of its calls."""

    size = 2

    def __init__(self) -> None:
        super().__init__()
        self.calls = list[str]()

    def broadcast(self, method: str, *args: Any) -> list[Any]:
        self.calls.append(method)
        return ["weights"] * self.size

    def start(self, worker: int, method: str, *args: Any) -> Any:
        raise AssertionError("every call is one to all")

    wait = share = close = step = start


def shared(**resources: object) -> Resources:
    return Resources.model_validate({"samplers": {"processes": 1}, "shard": 4, **resources})


def recipe(**resources: object) -> Recipe:
    return tiny.recipe().model_copy(update={"resources": shared(**resources)})


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"samplers": None}, r"cannot answer; give resources\.samplers, as \{processes: 1\}, or set shard: 1"),
        ({"workers": 6}, r"workers 6 is no multiple of shard 4; set workers to 8"),
        ({"shard": 0}, r"greater than or equal to 1"),
    ],
)
def test_workers_that_cannot_share_a_model_are_refused(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        shared(**wrong)


def test_the_number_of_workers_is_a_multiple(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(7))
    assert num_workers(recipe(), None, local=False) == 4
    assert num_workers(recipe(shard=8), None, local=False) == 8
    assert num_workers(recipe(workers=12), None, local=False) == 12
    assert num_workers(recipe(), 8, local=False) == 8
    with pytest.raises(RecipeError, match=r"--workers 6 is no multiple of resources\.shard 4: .*; give --workers 8"):
        num_workers(recipe(), 6, local=False)


def test_a_record_says_how_many_shared_a_model_and_is_made_again_so(tmp_path: Path) -> None:
    assert environment(recipe())["shard"] == "4" and "shard" not in environment(recipe(shard=1))
    entry = build(tmp_path / "addition", plan=(PROMOTED,))[-1]
    generation = entry.generation.model_copy(update={"num_workers": 4})

    def recorded(**told: str) -> Resources:
        annotations = entry.annotations.model_copy(update={"environment": told})
        return as_recorded(SETTINGS, replace(entry, generation=generation, annotations=annotations)).resources

    assert recorded().shard == 1
    assert recorded(samplers="1 with transformers", shard="2").shard == 2
    for wrong in ("x", "0", "8"):
        with pytest.raises(StoreCorrupt, match=f"says that {wrong} of its 4 workers held a model together"):
            recorded(shard=wrong)


@pytest.mark.torch
def test_a_step_goes_on_from_what_its_workers_saved_even_nothing(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"1")
    for state, restored in (
        (FolderFiles({}), []),
        (FolderFiles({f"{FOLDER}one": StoredFile(tmp_path / "one", 1)}), ["restore"]),
    ):
        pool = Told()
        assert pool.restore({}, state, AdamW(), None) == "weights"
        assert pool.calls == ["load", "begin", *restored]
    with pytest.raises(RecipeError, match=r"each hold the whole model; set resources\.shard to 1 to go on"):
        Told().restore({}, {OPTIMIZER_STATE: b""}, AdamW(), None)
    with pytest.raises(RecipeError, match=r"shared one model; set resources\.shard above 1 to go on"):
        LocalPool(1, batch_rows=1).restore({}, {f"{FOLDER}one": b"1"}, AdamW(), None)
