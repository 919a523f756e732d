"""Places in a database of MLflow's, which follow it when its store moves; the tables are made without MLflow."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bootstrap.canonical import sha256
from bootstrap.errors import TrackingError
from bootstrap.lineage import places, tracking
from bootstrap.lineage.reach import check_reachable

TABLES = """
    create table experiments (experiment_id integer, name text, artifact_location text);
    create table experiment_tags (experiment_id integer, key text, value text);
    create table runs (run_uuid text, experiment_id integer, artifact_uri text);
    create table tags (key text, value text, run_uuid text);
    create table params (key text, value text, run_uuid text);
    create table logged_models (model_id text, artifact_location text);
    create table logged_model_params (model_id text, param_key text, param_value text);
    create table model_versions (name text, source text, storage_location text);
    create table datasets (dataset_uuid text, dataset_source text);
"""


def make(store: Path, *, files: bool = True, location: str | None = None) -> str:
    """Write a store with one published run into the folder `store`; return its database's URI."""
    artifacts = store / "mlflow-artifacts"
    (artifacts / "r1" / "artifacts").mkdir(parents=True)
    if files:
        (artifacts / "r1" / "artifacts" / "lineage.html").write_text("the original")
    (store / "quickstart" / "artifacts").mkdir(parents=True)
    uri = tracking.database_uri(store / "mlflow.db")
    name = sha256(f"{uri}\nbootstrap/quickstart".encode())[:16]
    (store / "quickstart" / "outbox" / name).mkdir(parents=True)
    (store / "quickstart" / "outbox" / name / "000000.json").write_text("{}")
    rows: dict[str, list[tuple[Any, ...]]] = {
        "experiments": [
            (0, "Default", "/elsewhere/mlruns/0"),
            (1, "bootstrap/quickstart", location or artifacts.as_uri()),
        ],
        "experiment_tags": [(1, "bootstrap.schema", "2"), (1, "mlflow.note.content", "a note")],
        "runs": [("r1", 1, f"{artifacts.as_uri()}/r1/artifacts"), ("r0", 0, "/elsewhere/mlruns/0/r0/artifacts")],
        "tags": [("bootstrap.gate.reason", f"it said {store}", "r1"), ("bootstrap.seed", "7", "r1")],
        "params": [("base.path", str(store / "quickstart"), "r1")],
        "logged_models": [("m1", f"{artifacts.as_uri()}/models/m1/artifacts")],
        "logged_model_params": [("m1", "weights_path", str(store / "quickstart" / "artifacts" / "weights-1"))],
        "model_versions": [("quickstart", "models:/m1", f"{artifacts.as_uri()}/models/m1/artifacts")],
        "datasets": [
            ("d1", json.dumps({"uri": (store / "quickstart" / "artifacts" / "x.parquet").as_uri()})),
            ("d2", json.dumps({"uri": (store / "mine.csv").as_uri()})),
            ("d3", json.dumps({"uri": store.as_uri() + "-other/x.parquet"})),
            ("d4", "{torn"),
        ],
    }
    with closing(sqlite3.connect(store / "mlflow.db")) as database, database:
        database.executescript(TABLES)
        for table, values in rows.items():
            database.executemany(f"insert into {table} values ({', '.join('?' * len(values[0]))})", values)
    return uri


def dump(store: Path) -> list[str]:
    with closing(sqlite3.connect(store / "mlflow.db")) as database:
        return list(database.iterdump())


def rows(store: Path) -> list[tuple[Any, ...]]:
    """Return the rows of every table."""
    tables = all_of(store, "select name from sqlite_master order by name")
    return [(table, *row) for (table,) in tables for row in all_of(store, f"select * from {table}")]


def all_of(store: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(store / "mlflow.db")) as database:
        return database.execute(query).fetchall()


@pytest.mark.parametrize("name", ["runs", "100% a#b 'c' ü?", "feature%2Fx"])
@pytest.mark.parametrize("way", ["move", "copy"])
def test_every_place_in_the_store_follows_it_and_no_other_does(tmp_path: Path, name: str, way: str) -> None:
    old, new = tmp_path / f"old {name}", tmp_path / "new" / name
    make(new)
    expected = rows(new)
    shutil.rmtree(new)
    make(old)
    original = rows(old)
    (shutil.move if way == "move" else shutil.copytree)(old, new)
    before = dump(old) if way == "copy" else None
    places.follow(tracking.database_uri(new / "mlflow.db"))
    # The recipe's params and texts that only mention a folder stay; so do files that did not come along.
    stays = [
        was for was in original if any(word in str(was) for word in ("base.path", "it said", "mine.csv", "-other"))
    ]
    assert len(stays) == 4
    assert rows(new) == [was if was in stays else row for was, row in zip(original, expected, strict=True)]
    if before is not None:
        assert dump(old) == before
    again = dump(new)
    places.follow(tracking.database_uri(new / "mlflow.db"))
    assert dump(new) == again


def test_the_markers_of_what_is_published_follow_too(tmp_path: Path) -> None:
    make(tmp_path / "old")
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    uri = tracking.database_uri(tmp_path / "new" / "mlflow.db")
    places.follow(uri)
    [marker] = (tmp_path / "new").glob("quickstart/outbox/*/000000.json")
    assert marker.parent.name == sha256(f"{uri}\nbootstrap/quickstart".encode())[:16]


def test_a_store_that_is_opened_through_a_link_has_not_moved(tmp_path: Path) -> None:
    make(tmp_path / "store")
    (tmp_path / "link").symlink_to(tmp_path / "store")
    before = dump(tmp_path / "store")
    places.follow(tracking.database_uri(tmp_path / "link" / "mlflow.db"))
    assert dump(tmp_path / "store") == before


def test_a_database_that_was_copied_alone_still_names_the_files_where_they_are(tmp_path: Path) -> None:
    make(tmp_path / "old")
    (tmp_path / "new").mkdir()
    shutil.copy(tmp_path / "old" / "mlflow.db", tmp_path / "new")
    uri = tracking.database_uri(tmp_path / "new" / "mlflow.db")
    places.follow(uri)
    assert dump(tmp_path / "new") == dump(tmp_path / "old")
    [(location,)] = all_of(tmp_path / "new", "select artifact_location from experiments where experiment_id = 1")
    with pytest.raises(TrackingError, match="outside the store, where nothing is written"):
        places.check_inside(location, uri, store=tmp_path / "new", what="the experiment")
    places.check_inside(location, uri, store=tmp_path / "another", what="the experiment")


def test_files_that_a_person_keeps_elsewhere_stay_there(tmp_path: Path) -> None:
    make(tmp_path / "store", location=(tmp_path / "disk" / "art").as_uri())
    before = dump(tmp_path / "store")
    places.follow(tracking.database_uri(tmp_path / "store" / "mlflow.db"))
    assert dump(tmp_path / "store") == before


@pytest.mark.parametrize(
    "place", ["s3://bucket/x", "file:///etc", "/etc", "file://{store}/../x", "mlflow-artifacts:/1"]
)
def test_a_database_in_the_store_that_leads_out_of_it_is_refused(tmp_path: Path, place: str) -> None:
    uri = tracking.database_uri(tmp_path / "mlflow.db")
    with pytest.raises(TrackingError, match="outside the store"):
        places.check_inside(place.format(store=tmp_path), uri, store=tmp_path, what="the run gen-1")
    places.check_inside(f"file://{tmp_path}/mlflow-artifacts/x", uri, store=tmp_path, what="the run gen-1")
    places.check_inside(place, "http://127.0.0.1:5000", store=tmp_path, what="the run gen-1")


def test_what_is_no_database_of_ours_is_left_to_mlflow(tmp_path: Path) -> None:
    places.follow("http://127.0.0.1:5000")
    places.follow(tracking.database_uri(tmp_path / "absent.db"))
    assert not (tmp_path / "absent.db").exists()
    (tmp_path / "empty.db").touch()
    places.follow(tracking.database_uri(tmp_path / "empty.db"))
    assert (tmp_path / "empty.db").stat().st_size == 0


def test_a_database_that_cannot_be_changed_is_told_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "old")
    os.rename(tmp_path / "old", tmp_path / "new")
    before = dump(tmp_path / "new")
    monkeypatch.setattr(places, "WAIT_SECONDS", 0.1)
    with closing(sqlite3.connect(tmp_path / "new" / "mlflow.db", isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(TrackingError, match="end other programs that use it"):
            places.follow(tracking.database_uri(tmp_path / "new" / "mlflow.db"))
    assert dump(tmp_path / "new") == before


@pytest.mark.parametrize("link", ["mlflow-artifacts", "mlflow-artifacts/r1"])
def test_a_link_out_of_the_store_leads_out_of_it(tmp_path: Path, link: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "store" / link).parent.mkdir(parents=True)
    (tmp_path / "store" / link).symlink_to(tmp_path / "elsewhere")
    place = f"file://{tmp_path}/store/mlflow-artifacts/r1/artifacts"
    uri = tracking.database_uri(tmp_path / "store" / "mlflow.db")
    with pytest.raises(TrackingError, match=f"leads to {tmp_path}/elsewhere.*outside the store.*move the whole store"):
        places.check_inside(place, uri, store=tmp_path / "store", what="the run gen-1")


@pytest.mark.parametrize("written", ["{}/store/x/../mlflow.db", "{}/link/mlflow.db", "{}/store/./mlflow.db"])
def test_a_database_in_the_store_is_in_it_however_its_path_is_written(tmp_path: Path, written: str) -> None:
    (tmp_path / "store" / "x").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "store")
    uri = f"sqlite:///{written.format(tmp_path)}"
    assert places.lies_in(uri, tmp_path / "store") and places.lies_in(uri, tmp_path / "link")
    with pytest.raises(TrackingError, match="outside the store"):
        places.check_inside(f"file://{tmp_path}/other/x", uri, store=tmp_path / "store", what="the run gen-1")
    places.check_inside(f"file://{tmp_path}/link/mlflow-artifacts/x", uri, store=tmp_path / "store", what="the run")


def test_the_database_of_the_original_behind_a_copys_link_stays_as_it_is(tmp_path: Path) -> None:
    make(tmp_path / "old")
    before = dump(tmp_path / "old")
    shutil.copytree(tmp_path / "old", tmp_path / "new", ignore=shutil.ignore_patterns("mlflow.db"))
    (tmp_path / "new" / "mlflow.db").symlink_to(tmp_path / "old" / "mlflow.db")
    uri = tracking.database_uri(tmp_path / "new" / "mlflow.db")
    with pytest.raises(TrackingError, match=f"is a link to {tmp_path}/old/mlflow.db"):
        places.follow(uri)
    assert dump(tmp_path / "old") == before
    [(location,)] = all_of(tmp_path / "old", "select artifact_location from experiments where experiment_id = 1")
    with pytest.raises(TrackingError, match="outside the store"):
        places.check_inside(location, uri, store=tmp_path / "new", what="the experiment")


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
def test_what_is_no_database_is_refused_and_not_waited_for(tmp_path: Path, make) -> None:
    make(tmp_path / "mlflow.db")
    with pytest.raises(TrackingError, match="is no regular file"):
        places.follow(tracking.database_uri(tmp_path / "mlflow.db"))


@pytest.mark.parametrize("ending", ["", "-journal", "-wal", "-shm"])
@pytest.mark.parametrize("opening", [places.follow, check_reachable])
def test_a_pipe_in_the_place_of_a_file_of_the_database_s_is_not_waited_for(
    tmp_path: Path, ending: str, opening: Callable[[str], None]
) -> None:
    make(tmp_path)
    pipe = tmp_path / f"mlflow.db{ending}"
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    with pytest.raises(TrackingError, match=rf"mlflow.db{ending} is no regular file"):
        opening(tracking.database_uri(tmp_path / "mlflow.db"))


@pytest.mark.parametrize("opening", [places.follow, check_reachable])
@pytest.mark.parametrize(
    "program",
    [
        "create view v as select 1",
        "create trigger prevent_secrets_aad_mutation after update on runs begin select 1; end",
    ],
)
def test_a_database_with_programs_that_are_not_mlflow_s_is_refused(
    tmp_path: Path, program: str, opening: Callable[[str], None]
) -> None:
    make(tmp_path)
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute(program)
    with pytest.raises(TrackingError, match=r"that MLflow does not make \(\w+\)"):
        opening(tracking.database_uri(tmp_path / "mlflow.db"))
