"""Learners that share a model on Ray, with a sampler apart, grow whole generations; a killed one costs no result."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from support import tiny
from support.pretrained import small_folder, write

from bootstrap.cli.workers import make_roles
from bootstrap.cluster.pool import RayPool
from bootstrap.config.recipe import Recipe
from bootstrap.config.resources import Resources
from bootstrap.errors import RecipeError, WorkerError
from bootstrap.pool import LocalPool
from bootstrap.records import Event
from bootstrap.roles import Roles, apart
from bootstrap.store import on_disk
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.on_disk import StoredFile

pytestmark = [pytest.mark.ray, pytest.mark.torch, pytest.mark.training, pytest.mark.usefixtures("ray_cluster")]

# Two sets of processes stand beside each other on a cluster of four cores.
SHARED = Resources.model_validate(
    {
        "workers": 2,
        "shard": 2,
        "cpus_per_worker": 0.5,
        "samplers": {"processes": 1, "cpus": 0.5},
        "batch_rows": 64,
        "wait_seconds": 120,
    }
)


def shared(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"resources": SHARED})


WHOLE = shared(tiny.recipe(steps=(tiny.RL, tiny.DISTILL), count=1))


def roles_of(root: Path, recipe: Recipe = WHOLE) -> Roles:
    return make_roles(recipe, 2, local=False, root=root)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def roles(folder: Path, ray_cluster: None) -> Iterator[Roles]:
    with roles_of(folder / "tiny") as found:
        yield found


@pytest.fixture(scope="module")
def undisturbed(folder: Path, roles: Roles) -> list[Entry]:
    return tiny.grow(WHOLE, folder / "tiny", roles=roles)


def found(entries: list[Entry]) -> list[tuple[Any, ...]]:
    """Return what every generation is and how it was judged."""
    made = [entry.generation for entry in entries]
    return [(one.fingerprint, one.report, one.decision, one.accounting, one.artifacts) for one in made]


def weights(root: Path, entry: Entry) -> dict[str, Any]:
    files = LineageStore(root).artifact(entry.generation.artifacts["weights"])
    return safetensors.torch.load(files.read("model.safetensors"))


def test_two_that_share_a_model_grow_what_one_grows(undisturbed: list[Entry], folder: Path, tmp_path: Path) -> None:
    one = apart(LocalPool(1, batch_rows=64), LocalPool(1, batch_rows=64))
    alone = tiny.grow(WHOLE, tmp_path / "tiny", roles=one)
    for mine, other in zip(undisturbed, alone, strict=True):
        theirs = weights(tmp_path / "tiny", other)
        ours = weights(folder / "tiny", mine)
        assert ours.keys() == theirs.keys()
        # Sums in another order round otherwise, and a sampled token may turn on that.
        assert max(float((ours[name] - theirs[name]).abs().mean()) for name in ours) < 1e-3
        assert mine.generation.outcome == other.generation.outcome
        assert mine.generation.accounting == other.generation.accounting


def test_a_killed_learner_ends_the_run_and_the_same_run_goes_on(
    undisturbed: list[Entry], roles: Roles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As with a model that is larger than the driver may hold.
    monkeypatch.setattr(on_disk, "LARGE", 0)
    read, brought_here = StoredFile.read, list[str]()

    def told(self: StoredFile) -> bytes:
        brought_here.append(self.path.name)
        return read(self)

    monkeypatch.setattr(StoredFile, "read", told)
    root = tmp_path / "tiny"
    with roles_of(root) as doomed, pytest.raises(WorkerError, match=r"worker 1 \(process .* died during"):
        tiny.grow(WHOLE, root, roles=doomed, observe=killing(doomed, generation=1, update=3))
    left = [path.name.partition("-")[0] for path in LineageStore(root).work_folder.iterdir()]
    assert "state" in left
    assert found(tiny.grow(WHOLE, root, roles=roles)) == found(undisturbed)
    assert brought_here and not [name for name in brought_here if name.endswith(".safetensors")]


def killing(roles: Roles, *, generation: int, update: int) -> Callable[[Event], None]:
    """Return an observer that kills the second learner after an update."""
    learners = roles.learners
    assert isinstance(learners, RayPool)
    process, _ = learners.places[1]

    def observe(event: Event) -> None:
        if event.stage == "train" and event.generation == generation and event.done == update:
            os.kill(process, signal.SIGKILL)

    return observe


def test_an_adapter_with_a_critic_is_shared_over_its_shared_base(roles: Roles, tmp_path: Path) -> None:
    recipe = tiny.recipe(
        steps=({**tiny.RL, "algorithm": {"type": "ppo"}}, tiny.DISTILL),
        count=1,
        base={"model": {"type": "folder", "path": str(write(small_folder(), tmp_path / "model"))}, "steps": []},
        training={"adapter": {"type": "lora", "rank": 4, "alpha": 8}, "precision": "fp32"},
    )
    entries = tiny.grow(shared(recipe), tmp_path / "tiny", roles=roles)
    one = tiny.grow(recipe, tmp_path / "one" / "tiny")
    assert [entry.generation.accounting for entry in entries] == [entry.generation.accounting for entry in one]
    assert entries[0].generation.fingerprint == one[0].generation.fingerprint


def test_workers_that_share_a_model_are_no_objects_of_this_process(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"resources\.shard: 2\) are processes of their own; leave --local out"):
        make_roles(WHOLE, 2, local=True, root=tmp_path)
