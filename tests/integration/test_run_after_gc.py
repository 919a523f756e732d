"""After `gc` a run goes on, and a lineage is published, as if nothing had been freed."""

import shutil
from pathlib import Path

import pytest
from support import tiny

from bootstrap.cli.main import main
from bootstrap.cli.remembered import remember_recipe
from bootstrap.errors import WeightsFreed
from bootstrap.store import gc
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.verify import verify

pytestmark = [pytest.mark.torch, pytest.mark.training, pytest.mark.mlflow]


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a lineage of three generations, its recipe remembered."""
    root = tmp_path_factory.mktemp("runs") / "tiny"
    recipe = tiny.recipe(count=2)
    tiny.grow(recipe, root)
    remember_recipe(LineageStore(root), recipe, folder=root)
    return root


@pytest.fixture
def store(grown: Path, tmp_path: Path) -> LineageStore:
    shutil.copytree(grown, tmp_path / "runs" / "tiny")
    return LineageStore(tmp_path / "runs" / "tiny")


def freed(store: LineageStore) -> list[int]:
    return [number for number, size in gc.sizes(store, store.ledger.read()).items() if size.is_freed]


def test_a_run_goes_on_after_gc_as_it_would_have(store: LineageStore, grown: Path, tmp_path: Path) -> None:
    other = LineageStore(tmp_path / "other" / "tiny")
    shutil.copytree(grown, other.root)
    assert main(["gc", "--keep", "champion", "--yes", "--store", str(store.root.parent)]) == 0
    assert freed(store)
    found = [entry.hash for entry in tiny.grow(tiny.recipe(count=3), store.root)]
    assert found == [entry.hash for entry in tiny.grow(tiny.recipe(count=3), other.root)]
    assert verify(store.root).is_clean


def test_a_run_without_weights_that_it_needs_names_them(store: LineageStore) -> None:
    entries = store.ledger.read()
    champion = entries[-1].generation.champion
    held = gc.weights_of_lineage(store, entries, {})
    gc.free(store, [one for one in held if champion in one.generations])
    with pytest.raises(WeightsFreed, match=f"gen-{champion} of lineage tiny were freed"):
        tiny.grow(tiny.recipe(count=3), store.root)


def test_published_copies_give_freed_weights_back(store: LineageStore, capsys: pytest.CaptureFixture[str]) -> None:
    place = str(store.root.parent)
    uri = f"sqlite:///{place}/mlflow.db"
    assert main(["lineage", "--sync", "--tracking-uri", uri, "--store", place]) == 0
    capsys.readouterr()
    assert main(["gc", "--keep", "champion", "--yes", "--store", place]) == 0
    assert "publishing has copied" in capsys.readouterr().out
    assert freed(store)
    assert main(["gc", "--restore", place, "--store", place]) == 0
    assert freed(store) == [] and verify(store.root).is_clean


def test_a_lineage_with_freed_weights_is_published(store: LineageStore, tmp_path: Path) -> None:
    assert main(["gc", "--keep", "champion", "--yes", "--store", str(store.root.parent)]) == 0
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert main(["lineage", "--sync", "--tracking-uri", uri, "--store", str(store.root.parent)]) == 0
