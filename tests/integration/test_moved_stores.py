"""A store that was moved or copied publishes into itself, and the original keeps every byte."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from mlflow import MlflowClient
from support.lineage_factory import PROMOTED, REJECTED, build, grow

from bootstrap.cli.export import export_generation
from bootstrap.cli.sync import newest_receipt, sync_lineage
from bootstrap.cli.target import own_database
from bootstrap.errors import TrackingError
from bootstrap.lineage import tracking
from bootstrap.lineage.comparison import show_in_lineage
from bootstrap.store.lineage_store import LineageStore

pytestmark = pytest.mark.mlflow

NAME = "bootstrap/addition"


def sync(store: Path) -> str:
    return sync_lineage(LineageStore(store / "addition"), tracking_uri=None, experiment=None, sample_rollouts=4)


def files(store: Path) -> dict[str, str]:
    """Return the digest of every file in a store, its database included."""
    return {
        str(path.relative_to(store)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file()
    }


def client_of(store: Path) -> MlflowClient:
    return MlflowClient(tracking_uri=own_database(store), registry_uri=own_database(store))


def page_of(store: Path) -> Path:
    """Return the lineage page's file, found by the address that MLflow has of it."""
    client = client_of(store)
    [root] = client.search_runs(
        [client.get_experiment_by_name(NAME).experiment_id], "tags.`bootstrap.kind` = 'lineage'"
    )
    return Path(root.info.artifact_uri.removeprefix("file://")) / tracking.HTML_PATH


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Path:
    store = tmp_path_factory.mktemp("published") / "runs"
    build(store / "addition", plan=(PROMOTED, REJECTED))
    shutil.copy(empty_database, store / "mlflow.db")
    sync(store)
    return store


@pytest.fixture
def original(published: Path, tmp_path: Path) -> Path:
    shutil.copytree(published, tmp_path / "original")
    sync(tmp_path / "original")
    return tmp_path / "original"


def test_a_copy_publishes_into_itself_and_the_original_keeps_every_byte(
    published: Path, original: Path, tmp_path: Path
) -> None:
    shutil.copytree(original, tmp_path / "copy")
    before, first = files(original), files(published)
    grow(LineageStore(tmp_path / "copy" / "addition"), outcome=PROMOTED)
    sync(tmp_path / "copy")
    assert (files(original), files(published)) == (before, first), "even where one process published all three"
    page = page_of(tmp_path / "copy")
    newest = LineageStore(tmp_path / "copy" / "addition").ledger.read()[-1].hash
    assert page.is_relative_to(tmp_path / "copy") and newest in page.read_text()
    assert newest not in page_of(original).read_text()
    client = client_of(tmp_path / "copy")
    for alias in ("gen-0", "gen-3", "champion"):
        version = client.get_model_version_by_alias("addition", alias)
        place = client.get_model_version_download_uri("addition", version.version)
        assert Path(place.removeprefix("file://")).is_relative_to(tmp_path / "copy"), place
        model = client.get_logged_model(version.source.removeprefix("models:/"))
        assert Path(model.params["weights_path"]).is_relative_to(tmp_path / "copy")
        [kept] = client.list_logged_model_artifacts(model.model_id)
        assert kept.path == "model"
    grow(LineageStore(original / "addition"), outcome=REJECTED)
    copied = files(tmp_path / "copy")
    sync(original)
    assert (files(tmp_path / "copy"), files(published)) == (copied, first)
    assert client_of(original).get_model_version_by_alias("addition", "gen-3").tags["bootstrap.gate"] == "rejected"


def test_a_copy_that_has_nothing_new_is_up_to_date_at_once(original: Path, tmp_path: Path) -> None:
    shutil.copytree(original, tmp_path / "copy")
    found = LineageStore(tmp_path / "copy" / "addition")
    receipt = newest_receipt(found, found.ledger.read(), tracking_uri=own_database(tmp_path / "copy"), experiment=None)
    assert receipt is not None, "what was published is known before the first publication from there"
    before = files(original)
    tables = sorted(path for path in files(tmp_path / "copy") if path.endswith("000002.json"))
    sync(tmp_path / "copy")
    assert sorted(path for path in files(tmp_path / "copy") if path.endswith("000002.json")) == tables
    assert files(original) == before


def test_a_moved_store_shows_its_files_from_where_it_is(original: Path, tmp_path: Path) -> None:
    original.rename(tmp_path / "moved")
    grow(LineageStore(tmp_path / "moved" / "addition"), outcome=PROMOTED)
    sync(tmp_path / "moved")
    assert not original.exists(), "nothing is made anew at the old place"
    newest = LineageStore(tmp_path / "moved" / "addition").ledger.read()[-1].hash
    assert newest in page_of(tmp_path / "moved").read_text()
    client = client_of(tmp_path / "moved")
    experiment = client.get_experiment_by_name(NAME)
    assert experiment.artifact_location == f"file://{tmp_path}/moved/mlflow-artifacts"
    run = client.get_run(client.get_model_version_by_alias("addition", "gen-2").run_id)
    assert [kept.path for kept in client.list_artifacts(run.info.run_id, "samples")] == ["samples/gen-2.json"]
    sources = [json.loads(item.dataset.source)["uri"] for item in run.inputs.dataset_inputs]
    assert sources and all(source.startswith(f"file://{tmp_path}/moved/addition") for source in sources)


def test_export_from_a_copy_touches_neither_store(original: Path, tmp_path: Path) -> None:
    shutil.copytree(original, tmp_path / "copy")
    before = files(original), files(tmp_path / "copy")
    export_generation(LineageStore(tmp_path / "copy" / "addition"), "gen-1", tmp_path / "model")
    assert (files(original), files(tmp_path / "copy")) == before


def test_a_database_that_was_copied_without_its_files_is_refused_and_can_be_made_again(
    original: Path, tmp_path: Path, empty_database: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(original, copy, ignore=shutil.ignore_patterns(tracking.ARTIFACTS_FOLDER))
    before = files(original)
    grow(LineageStore(copy / "addition"), outcome=PROMOTED)
    told = "outside the store, where nothing is written"
    with pytest.raises(TrackingError, match=told):
        sync(copy)
    client = client_of(copy)
    [root] = client.search_runs(
        [client.get_experiment_by_name(NAME).experiment_id], "tags.`bootstrap.kind` = 'lineage'"
    )
    with pytest.raises(TrackingError, match=told):
        show_in_lineage(root.info.run_id, Figure(), "{}", tracking_uri=own_database(copy), store=copy)
    assert files(original) == before
    # As after removing it; within one process MLflow keeps the removed file open.
    shutil.copy(empty_database, copy / "mlflow.db")
    sync(copy)
    assert files(original) == before
    assert page_of(copy).is_relative_to(copy)


def test_a_copy_whose_artifacts_are_a_link_into_the_original_is_refused(original: Path, tmp_path: Path) -> None:
    shutil.copytree(original, tmp_path / "copy", ignore=shutil.ignore_patterns(tracking.ARTIFACTS_FOLDER))
    (tmp_path / "copy" / tracking.ARTIFACTS_FOLDER).symlink_to(original / tracking.ARTIFACTS_FOLDER)
    grow(LineageStore(tmp_path / "copy" / "addition"), outcome=PROMOTED)
    before = files(original)
    with pytest.raises(TrackingError, match=r"which leads to .*outside the store, where nothing is written"):
        sync(tmp_path / "copy")
    assert files(original) == before


def test_a_new_database_beside_such_a_link_is_refused_too(tmp_path: Path, empty_database: Path) -> None:
    build(tmp_path / "runs" / "addition", plan=())
    shutil.copy(empty_database, tmp_path / "runs" / "mlflow.db")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "runs" / tracking.ARTIFACTS_FOLDER).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TrackingError, match="outside the store"):
        sync(tmp_path / "runs")
    assert list((tmp_path / "elsewhere").iterdir()) == []
