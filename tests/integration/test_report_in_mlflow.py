"""`bootstrap report` in a real MLflow database: a lineage's picture in its own run, a comparison's in one for it."""

import json
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient
from support.lineage_factory import PROMOTED, RECIPE, build

from bootstrap.cli.main import main
from bootstrap.lineage import comparison
from bootstrap.lineage.outbox import Outbox
from bootstrap.lineage.publisher import publish
from bootstrap.store.lineage_store import LineageStore

pytestmark = [pytest.mark.mlflow, pytest.mark.training]

NAMES = ("addition", "reports")
"""The second has the name that a folder or an experiment for reports might have."""
PICTURE, NUMBERS = "report/compute-vs-quality.png", "report/report.json"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two lineages in its own database."""
    store = tmp_path_factory.mktemp("runs")
    for name in NAMES:
        build(store / name, plan=(PROMOTED,), name=name)
        publish(store / name, tracking_uri=uri(store), experiment=None, recipe=RECIPE, sample_rollouts=2)
    return store


@pytest.fixture
def store(published: Path) -> Path:
    """The store as it was published, without a report in MLflow or in its folder."""
    client = MlflowClient(tracking_uri=uri(published))
    if (found := client.get_experiment_by_name(comparison.EXPERIMENT)) is not None:
        for run in client.search_runs([found.experiment_id]):
            client.delete_run(run.info.run_id)
    shutil.rmtree(published / ".reports", ignore_errors=True)
    return published


def uri(store: Path) -> str:
    return f"sqlite:///{store / 'mlflow.db'}"


def report(store: Path, *names: str) -> int:
    return main(["report", *names, "--store", str(store)])


def runs(store: Path, experiment: str) -> dict[str, str]:
    """Return name -> id of the runs of an experiment; none where there is no such experiment."""
    client = MlflowClient(tracking_uri=uri(store))
    found = client.get_experiment_by_name(experiment)
    return {run.info.run_name: run.info.run_id for run in client.search_runs([found.experiment_id])} if found else {}


def put_into(store: Path, run: str, folder: Path) -> tuple[bytes, dict]:
    """Return picture and numbers among the artifacts of a run."""
    client = MlflowClient(tracking_uri=uri(store))
    picture, numbers = (client.download_artifacts(run, name, str(folder)) for name in (PICTURE, NUMBERS))
    return Path(picture).read_bytes(), json.loads(Path(numbers).read_text())


def test_the_picture_of_one_lineage_and_its_numbers_are_in_the_lineages_own_run(store, tmp_path, capsys):
    assert report(store, "addition") == 0
    told = capsys.readouterr()
    entries = LineageStore(store / "addition").ledger.read()
    receipts = Outbox(store / "addition", tracking_uri=uri(store), experiment="bootstrap/addition").receipts(entries)
    run = receipts[1].lineage_run_id
    assert run in "".join(told.out.split()) and "not in MLflow" not in told.err
    picture, numbers = put_into(store, run, tmp_path)
    assert picture.startswith(b"\x89PNG")
    [found] = numbers["lineages"]
    assert found["lineage"] == "addition"
    assert [point["generation"] for point in found["points"]] == [0, 1]
    assert found["points"][1]["total"] == entries[1].generation.compute.total_flops
    assert not runs(store, comparison.EXPERIMENT), "one lineage is no comparison"


def test_lineages_have_one_run_together_however_often_and_in_whatever_order_they_are_compared(store, tmp_path, capsys):
    assert report(store, "addition", "reports") == 0
    first = runs(store, comparison.EXPERIMENT)
    assert list(first) == ["addition, reports"]
    assert report(store, "reports", "addition") == report(store, "addition", "reports") == 0
    assert runs(store, comparison.EXPERIMENT) == first
    assert "not in MLflow" not in capsys.readouterr().err
    [run] = first.values()
    picture, numbers = put_into(store, run, tmp_path)
    assert picture.startswith(b"\x89PNG")
    assert [found["lineage"] for found in numbers["lineages"]] == list(NAMES)
    assert MlflowClient(tracking_uri=uri(store)).get_run(run).info.status == "FINISHED"


def test_a_lineage_called_reports_keeps_its_experiment_and_its_folder_to_itself(store):
    before = runs(store, "bootstrap/reports"), sorted(path.name for path in (store / "reports").iterdir())
    assert before[0], "the lineage is published"
    assert report(store, "addition", "reports") == report(store, "reports") == 0
    assert (runs(store, "bootstrap/reports"), sorted(p.name for p in (store / "reports").iterdir())) == before
    assert sorted(path.name for path in (store / ".reports").iterdir()) == ["addition-vs-reports.png", "reports.png"]


def test_a_lineage_that_is_not_published_is_told_with_the_command_that_does(tmp_path, capsys):
    build(tmp_path / "runs" / "addition", plan=(PROMOTED,))
    assert report(tmp_path / "runs", "addition", "--json") == 0
    told = capsys.readouterr()
    sync = f"lineage --sync --store {tmp_path / 'runs'} --lineage addition"
    assert "addition is not in MLflow yet; publish it with:" in told.err and sync in " ".join(told.err.split())
    assert json.loads(told.out)["metric"] == "frontier (level)"


def test_a_deleted_experiment_costs_a_warning_with_the_command_that_restores_it(store, capsys):
    assert report(store, *NAMES) == 0
    client = MlflowClient(tracking_uri=uri(store))
    found = client.get_experiment_by_name(comparison.EXPERIMENT)
    client.delete_experiment(found.experiment_id)
    capsys.readouterr()
    assert report(store, *NAMES, "--table") == 0
    told = capsys.readouterr()
    client.restore_experiment(found.experiment_id)
    assert "warning: the report is not in MLflow" in told.err
    assert f"mlflow experiments restore -x {found.experiment_id}" in told.err
    assert told.out and all(line.startswith("|") for line in told.out.splitlines())
