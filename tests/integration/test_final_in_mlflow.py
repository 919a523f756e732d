"""The final comparison on the page of the lineage's run, whenever it is made and whatever happens to the page."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from support.lineage_factory import PROMOTED, RECIPE, build, compare_finally, grow

from bootstrap.cli.main import main
from bootstrap.ledger_records import FinalComparison
from bootstrap.lineage.publisher import publish
from bootstrap.lineage.queries import final_line
from bootstrap.store.artifacts import load_artifact
from bootstrap.store.lineage_store import LineageStore

pytestmark = [pytest.mark.mlflow, pytest.mark.training]


@pytest.fixture
def store(tmp_path: Path, empty_database: Path) -> LineageStore:
    """A lineage that is published and not yet compared."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    build(tmp_path / "addition", plan=(PROMOTED,))
    found = LineageStore(tmp_path / "addition")
    assert put(found) == [0, 1]
    return found


def address(store: LineageStore) -> str:
    return f"sqlite:///{store.root.parent}/mlflow.db"


def put(store: LineageStore) -> list[int]:
    return publish(store.root, tracking_uri=address(store), experiment=None, recipe=RECIPE, sample_rollouts=2)


def own_run(store: LineageStore) -> Run:
    client = MlflowClient(tracking_uri=address(store))
    experiment = client.get_experiment_by_name("bootstrap/addition")
    assert experiment is not None
    [run] = client.search_runs([experiment.experiment_id], "tags.`bootstrap.kind` = 'lineage'")
    return run


def rows(store: LineageStore) -> list[tuple[str, float, int]]:
    with closing(sqlite3.connect(address(store).removeprefix("sqlite:///"))) as database:
        return sorted(database.execute("select key, value, step from metrics where key like 'final/%'"))


def finals(made: FinalComparison) -> list[tuple[str, float, int]]:
    assert made.difference is not None
    values = {
        "accuracy": made.accuracy,
        "base_accuracy": made.base_accuracy,
        "difference": made.accuracy - made.base_accuracy,
        "high": made.difference.high,
        "low": made.difference.low,
        "prompts": made.num_prompts,
    }
    return [(f"final/{key}", value, made.generation) for key, value in values.items()]


def test_a_comparison_made_after_the_last_commit_is_published_once(store: LineageStore) -> None:
    assert not rows(store) and "Final set" not in own_run(store).data.tags["mlflow.note.content"]
    made = compare_finally(store)
    assert put(store) == []
    assert rows(store) == finals(made)
    note = own_run(store).data.tags["mlflow.note.content"].split("\n\n")
    assert note[1] == f"F{final_line(made, store.ledger.read())[1:]}."
    before = own_run(store)
    assert put(store) == []
    assert rows(store) == finals(made) and own_run(store).to_dictionary() == before.to_dictionary()


def test_an_outbox_that_is_lost_changes_nothing_on_the_page(store: LineageStore) -> None:
    made = compare_finally(store)
    put(store)
    shutil.rmtree(store.root / "outbox")
    put(store)
    assert rows(store) == finals(made)


def test_a_lineages_run_that_is_gone_comes_back_with_its_comparison(store: LineageStore) -> None:
    made = compare_finally(store)
    put(store)
    client = MlflowClient(tracking_uri=address(store))
    client.delete_run(own_run(store).info.run_id)
    with closing(sqlite3.connect(address(store).removeprefix("sqlite:///"))) as database:
        # For good, as `mlflow gc` does.
        for table in ("metrics", "latest_metrics", "tags", "params", "runs"):
            column = "run_uuid in (select run_uuid from runs where lifecycle_stage = 'deleted')"
            database.execute(f"delete from {table} where {column}")
        database.commit()
    put(store)
    run = own_run(store)
    assert run.data.metrics["final/accuracy"] == made.accuracy
    assert "Final set, 200 prompts" in run.data.tags["mlflow.note.content"]
    assert rows(store) == finals(made)


def test_a_lineage_that_grew_on_shows_both_comparisons_and_says_the_newer(store: LineageStore) -> None:
    first = compare_finally(store)
    put(store)
    grow(store, outcome=PROMOTED)
    assert put(store) == [2]
    assert "as of gen-1." in own_run(store).data.tags["mlflow.note.content"]
    second = compare_finally(store, accuracy=0.95)
    put(store)
    assert rows(store) == sorted([*finals(first), *finals(second)])
    run = own_run(store)
    assert run.data.metrics["final/accuracy"] == 0.95
    assert "95.0 %" in run.data.tags["mlflow.note.content"] and "as of" not in run.data.tags["mlflow.note.content"]


def test_a_comparison_that_is_removed_from_the_store_leaves_the_description(store: LineageStore) -> None:
    compare_finally(store)
    put(store)
    [folder] = [folder for folder in store.artifact_folders() if folder.name.startswith("final-")]
    assert load_artifact(folder).files
    shutil.rmtree(folder)
    assert put(store) == []
    assert "Final set" not in own_run(store).data.tags["mlflow.note.content"]


def test_json_has_it_at_the_generation_it_was_made_at(store: LineageStore, capsys: pytest.CaptureFixture[str]) -> None:
    made = compare_finally(store)
    grow(store, outcome=PROMOTED)
    assert main(["lineage", "--json", "--store", str(store.root.parent)]) == 0
    told = [row["final"] for row in json.loads(capsys.readouterr().out)["addition"]]
    sentence = final_line(made, store.ledger.read())
    assert told == [None, {**made.model_dump(mode="json"), "sentence": sentence}, None]
    assert sentence.endswith("as of gen-1")
