"""An imported lineage is grown, forked and published as if it had been made where it is."""

import shutil
from pathlib import Path

import pytest
from support import tiny

from bootstrap.cli.export_lineage import export_whole
from bootstrap.cli.fork import fork_lineage
from bootstrap.cli.import_lineage import import_whole
from bootstrap.cli.main import main
from bootstrap.cli.remembered import FILE_NAME, remember_recipe
from bootstrap.config.load import load_recipe
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.verify import verify

pytestmark = [pytest.mark.torch, pytest.mark.training]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a lineage `tiny` of one generation beyond the base, and its copy."""
    store = tmp_path_factory.mktemp("here")
    settings = tiny.recipe(generations={"count": 1, "curriculum": {"type": "fixed"}, "steps": [tiny.RL]})
    tiny.grow(settings, store / "tiny")
    remember_recipe(LineageStore(store / "tiny"), settings, folder=store)
    export_whole(LineageStore(store / "tiny"), store / "tiny.tar")
    return store


@pytest.fixture
def there(here: Path, tmp_path: Path) -> Path:
    """Another store, which has imported the lineage."""
    import_whole(here / "tiny.tar", tmp_path / "there")
    return tmp_path / "there"


def grown(store: Path, name: str, *, count: int) -> list[Entry]:
    """Grow a lineage by the recipe that it remembers, to so many generations."""
    return tiny.grow(load_recipe(store / name / FILE_NAME, [f"generations.count={count}"]), store / name)


def test_a_run_that_goes_on_after_the_import_gives_the_same_records(here: Path, there: Path, tmp_path: Path) -> None:
    shutil.copytree(here / "tiny", tmp_path / "original" / "tiny")
    stayed, moved = (grown(store, "tiny", count=2) for store in (tmp_path / "original", there))
    assert len(moved) == 3 and [entry.hash for entry in moved] == [entry.hash for entry in stayed]
    assert verify(there / "tiny").is_clean


def test_a_fork_of_an_imported_lineage_grows_and_travels_without_its_origin(there: Path, tmp_path: Path) -> None:
    fork_lineage("tiny@gen-1", "wider", (), recipe_path=None, store=there)
    (base,) = grown(there, "wider", count=0)
    assert "inherited" in base.generation.artifacts
    export_whole(LineageStore(there / "wider"), tmp_path / "wider.tar")
    told = import_whole(tmp_path / "wider.tar", tmp_path / "third")
    assert "not proved: tiny@gen-1 is not in this store" in told
    stayed, moved = (grown(store, "wider", count=1) for store in (there, tmp_path / "third"))
    assert len(moved) == 2 and [entry.hash for entry in moved] == [entry.hash for entry in stayed]
    assert verify(tmp_path / "third" / "wider").is_clean


@pytest.mark.mlflow
def test_an_imported_lineage_is_published_from_its_own_store(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mlflow import MlflowClient

    assert main(["lineage", "--sync", "--store", str(there)]) == 0
    told = capsys.readouterr().err
    assert "MLflow is up to date at" in told and str(there) in told
    client = MlflowClient(tracking_uri=f"sqlite:///{there}/mlflow.db")
    assert len(client.search_model_versions("name='tiny'")) == 2
