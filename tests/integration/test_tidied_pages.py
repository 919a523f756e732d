"""Somebody tidies up in MLflow's pages, or publishes another lineage of the same name: each lineage is shown whole."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from support.lineage_factory import PROMOTED, RECIPE, REJECTED, build, grow

from bootstrap.cli.target import own_database
from bootstrap.errors import TrackingError
from bootstrap.lineage import views
from bootstrap.lineage.publisher import publish
from bootstrap.store.lineage_store import LineageStore

pytestmark = pytest.mark.mlflow

NAME = "bootstrap/addition"


def put(root: Path, uri: str, *, experiment: str | None = None) -> list[int]:
    return publish(root, tracking_uri=uri, experiment=experiment, recipe=RECIPE, sample_rollouts=4)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Path:
    """A store with a published lineage of three generations."""
    store = tmp_path_factory.mktemp("published")
    shutil.copy(empty_database, store / "mlflow.db")
    build(store / "addition", plan=(PROMOTED, REJECTED))
    put(store / "addition", f"sqlite:///{store}/mlflow.db")
    return store


@pytest.fixture
def store(published: Path, tmp_path: Path) -> tuple[Path, str, MlflowClient]:
    """A lineage of one's own, published to a database of one's own: its folder, the database's URI, a client."""
    shutil.copytree(published / "addition", tmp_path / "addition", ignore=shutil.ignore_patterns("outbox"))
    shutil.copytree(published / "mlflow-artifacts", tmp_path / "mlflow-artifacts")
    shutil.copy(published / "mlflow.db", tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    # Known as published where it lies, as the run that published it left it.
    put(tmp_path / "addition", uri)
    return tmp_path / "addition", uri, MlflowClient(tracking_uri=uri, registry_uri=uri)


def runs(client: MlflowClient, experiment: str = NAME) -> dict[str, list]:
    found = client.get_experiment_by_name(experiment)
    by_name: dict[str, list] = {}
    for run in client.search_runs([found.experiment_id]):
        by_name.setdefault(run.info.run_name, []).append(run)
    return by_name


def gone(client: MlflowClient, run_id: str) -> None:
    """Delete a run as `mlflow gc` does after somebody deleted it."""
    client.delete_run(run_id)
    client._tracking_client.store._hard_delete_run(run_id)


def lose_marks(client: MlflowClient) -> None:
    for found in runs(client).values():
        for run in found:
            for tag in ("bootstrap.started", "bootstrap.finished"):
                client.delete_tag(run.info.run_id, tag)


def model_of(client: MlflowClient, alias: str) -> str:
    return client.get_model_version_by_alias("addition", alias).source.removeprefix("models:/")


def somebodys_own(client: MlflowClient) -> None:
    experiment = client.get_experiment_by_name(NAME).experiment_id
    [root] = runs(client)["addition"]
    client.create_run(experiment, run_name="mine", tags={"mlflow.parentRunId": root.info.run_id})


TIDYING: dict[str, Callable[[MlflowClient], None]] = {
    "the lineage's run": lambda client: client.delete_run(runs(client)["addition"][0].info.run_id),
    "the lineage's run for good": lambda client: gone(client, runs(client)["addition"][0].info.run_id),
    "a generation's run": lambda client: client.delete_run(runs(client)["gen-1"][0].info.run_id),
    "a generation's run for good": lambda client: gone(client, runs(client)["gen-1"][0].info.run_id),
    "every run": lambda client: [
        client.delete_run(run.info.run_id) for found in runs(client).values() for run in found
    ],
    "a version": lambda client: client.delete_model_version(
        "addition", client.get_model_version_by_alias("addition", "gen-1").version
    ),
    "the registered model": lambda client: client.delete_registered_model("addition"),
    "a logged model": lambda client: client.delete_logged_model(model_of(client, "gen-1")),
    "the alias of the champion": lambda client: client.delete_registered_model_alias("addition", "champion"),
    "the alias of a generation": lambda client: client.delete_registered_model_alias("addition", "gen-0"),
    "the champion's alias to another": lambda client: client.set_registered_model_alias(
        "addition", "champion", client.get_model_version_by_alias("addition", "gen-0").version
    ),
    "tags": lose_marks,
    "nothing, and added a run below": somebodys_own,
}


def assert_whole(client: MlflowClient, *, generations: int, champion: int) -> None:
    found = runs(client)
    [root] = found["addition"]
    steps = {point.step for point in client.get_metric_history(root.info.run_id, "gen/frontier")}
    assert steps == set(range(generations))
    aliases = client.get_registered_model("addition").aliases
    assert set(aliases) == {"champion", *(f"gen-{number}" for number in range(generations))}
    for number in range(generations):
        [run] = found[f"gen-{number}"]
        version = client.get_model_version_by_alias("addition", f"gen-{number}")
        assert run.data.tags["mlflow.parentRunId"] == root.info.run_id
        assert (version.run_id, version.tags["bootstrap.generation"]) == (run.info.run_id, str(number))
        model = version.source.removeprefix("models:/")
        assert client.get_logged_model(model).source_run_id == run.info.run_id
        whole = client.get_run(run.info.run_id)
        assert model in {output.model_id for output in whole.outputs.model_outputs}
        assert whole.data.metrics["eval/frontier"] > 0 and whole.data.params
    assert aliases["champion"] == aliases[f"gen-{champion}"]


@pytest.mark.parametrize("what", TIDYING)
@pytest.mark.parametrize("grown", [True, False], ids=["the next generation", "nothing new"])
def test_whatever_somebody_deletes_the_lineage_is_shown_whole(
    store: tuple[Path, str, MlflowClient], what: str, grown: bool
) -> None:
    root, uri, client = store
    TIDYING[what](client)
    if grown:
        grow(LineageStore(root), outcome=PROMOTED)
    put(root, uri)
    assert_whole(client, generations=4 if grown else 3, champion=3 if grown else 1)
    assert put(root, uri) == [], "and is left in peace afterwards"


def test_a_model_made_anew_goes_into_the_runs_of_its_children(store: tuple[Path, str, MlflowClient]) -> None:
    root, uri, client = store
    before = model_of(client, "gen-1")
    client.delete_logged_model(before)
    assert put(root, uri) == [1, 2], "with what was made from it"
    after = model_of(client, "gen-1")
    [child] = runs(client)["gen-2"]
    assert after != before
    assert after in {item.model_id for item in client.get_run(child.info.run_id).inputs.model_inputs}


def test_a_deleted_experiment_takes_the_lineage_off_and_the_way_back_is_told(
    store: tuple[Path, str, MlflowClient],
) -> None:
    root, uri, client = store
    found = client.get_experiment_by_name(NAME)
    client.delete_experiment(found.experiment_id)
    with pytest.raises(TrackingError, match=f"mlflow experiments restore -x {found.experiment_id}"):
        put(root, uri)
    client.restore_experiment(found.experiment_id)
    grow(LineageStore(root), outcome=PROMOTED)
    put(root, uri)
    assert_whole(client, generations=4, champion=3)


def other(folder: Path, *, seed: int = 8) -> Path:
    """Return another lineage of the same name: its base has another seed."""
    root = folder / "elsewhere" / "addition"
    with pytest.MonkeyPatch.context() as patch:
        settings = {**RECIPE, "seed": seed}
        from support import lineage_factory

        patch.setattr(lineage_factory, "SETTINGS", lineage_factory.Recipe.model_validate(settings))
        build(root, plan=(PROMOTED, PROMOTED))
    return root


def aliases(client: MlflowClient, name: str) -> dict[str, str]:
    return {
        alias: client.get_model_version(name, version).run_id
        for alias, version in client.get_registered_model(name).aliases.items()
    }


@pytest.mark.parametrize("experiment", [None, "another"])
def test_two_lineages_of_one_name_keep_their_own_aliases(
    store: tuple[Path, str, MlflowClient], tmp_path: Path, experiment: str | None
) -> None:
    root, uri, client = store
    first = aliases(client, "addition")
    second = other(tmp_path)
    assert put(second, uri, experiment=experiment) == [0, 1, 2]
    assert aliases(client, "addition") == first
    [name] = {model.name for model in client.search_registered_models()} - {"addition"}
    assert name.startswith("addition-")
    assert set(aliases(client, name)) == {"gen-0", "gen-1", "gen-2", "champion"}
    assert not set(aliases(client, name).values()) & set(first.values())
    for one in (root, second):
        assert put(one, uri, experiment=experiment if one is second else None) == []
    grow(LineageStore(root), outcome=PROMOTED)
    assert put(root, uri) == [3]
    assert set(aliases(client, name)) == {"gen-0", "gen-1", "gen-2", "champion"}
    assert client.get_model_version_by_alias("addition", "champion").tags["bootstrap.generation"] == "3"
    assert name in {found[0].info.run_name for found in runs(client, experiment or NAME).values()}


def test_a_lineage_published_before_names_had_owners_keeps_its_name(store: tuple[Path, str, MlflowClient]) -> None:
    root, uri, client = store
    client.delete_registered_model_tag("addition", "bootstrap.run_key")
    assert put(root, uri) == []
    second = other(root.parent)
    put(second, uri)
    grow(LineageStore(root), outcome=PROMOTED)
    put(root, uri)
    assert client.get_registered_model("addition").tags["bootstrap.run_key"].startswith("addition/")
    assert len(client.search_registered_models()) == 2
    assert client.get_model_version_by_alias("addition", "champion").tags["bootstrap.generation"] == "3"


def test_a_registered_model_of_somebody_elses_is_left_alone(tmp_path: Path, empty_database: Path) -> None:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    run = client.create_run(client.create_experiment("own")).info.run_id
    client.create_registered_model("addition")
    client.create_model_version("addition", source="file:///nowhere", run_id=run)
    client.set_registered_model_alias("addition", "champion", "1")
    build(tmp_path / "addition", plan=())
    put(tmp_path / "addition", uri)
    assert aliases(client, "addition") == {"champion": run}
    assert len(client.search_registered_models()) == 2


def test_a_copy_that_went_on_otherwise_is_a_lineage_of_its_own(
    store: tuple[Path, str, MlflowClient], tmp_path: Path
) -> None:
    root, uri, client = store
    copied = tmp_path / "elsewhere" / "addition"
    shutil.copytree(root, copied, ignore=shutil.ignore_patterns("outbox"))
    grow(LineageStore(root), outcome=PROMOTED)
    put(root, uri)
    # The copy is behind: all of it is shown already, and the champion stays the newer one's.
    assert put(copied, uri) == []
    assert client.get_model_version_by_alias("addition", "champion").tags["bootstrap.generation"] == "3"
    grow(LineageStore(copied), outcome=REJECTED)
    assert put(copied, uri) == [0, 1, 2, 3]
    [name] = {model.name for model in client.search_registered_models()} - {"addition"}
    assert client.get_model_version_by_alias(name, "champion").tags["bootstrap.generation"] == "1"
    assert client.get_model_version_by_alias("addition", "champion").tags["bootstrap.generation"] == "3"
    assert (put(root, uri), put(copied, uri)) == ([], [])
    assert len(runs(client)["gen-0"]) == 2, "each has runs of its own, those that they share included"


def test_a_copy_that_is_equal_shows_on_the_same_pages(store: tuple[Path, str, MlflowClient], tmp_path: Path) -> None:
    root, uri, _ = store
    copied = tmp_path / "elsewhere" / "addition"
    shutil.copytree(root, copied, ignore=shutil.ignore_patterns("outbox"))
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database:
        before = database.execute("select count(*) from runs").fetchone()
        assert put(copied, uri) == [0, 1, 2], "its own markers are written"
        assert database.execute("select count(*) from runs").fetchone() == before


@pytest.mark.parametrize("name", ["feature%2Fx", "q?z", "100% a#b 'c' ü"])
def test_a_lineage_is_published_whole_whatever_its_folder_is_called(
    tmp_path: Path, empty_database: Path, name: str
) -> None:
    store = tmp_path / name
    root, uri = store / "addition", own_database(store)
    build(root, plan=())
    shutil.copy(empty_database, store / "mlflow.db")
    assert put(root, uri) == [0]
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    version = client.get_model_version_by_alias("addition", "champion")
    model = client.get_logged_model(version.source.removeprefix("models:/"))
    files = {path.name for path in (store / "mlflow-artifacts").rglob("*")}
    assert {"model.safetensors", "lineage.html"} <= files
    assert "model.safetensors" in {
        Path(file.path).name for file in client.list_logged_model_artifacts(model.model_id, "model")
    }


def test_the_same_lineage_in_two_experiments_has_a_model_and_aliases_in_each(
    store: tuple[Path, str, MlflowClient], tmp_path: Path
) -> None:
    root, uri, client = store
    first = aliases(client, "addition")
    copied = tmp_path / "elsewhere" / "addition"
    shutil.copytree(root, copied, ignore=shutil.ignore_patterns("outbox"))
    assert put(copied, uri, experiment="another") == [0, 1, 2]
    assert aliases(client, "addition") == first
    [name] = {model.name for model in client.search_registered_models()} - {"addition"}
    assert not set(aliases(client, name).values()) & set(first.values())
    grow(LineageStore(copied), outcome=PROMOTED)
    assert put(copied, uri, experiment="another") == [3]
    assert aliases(client, "addition") == first
    assert (put(root, uri), put(copied, uri, experiment="another")) == ([], [])


def test_a_model_from_before_experiments_owned_them_stays_that_of_its_versions(
    store: tuple[Path, str, MlflowClient], tmp_path: Path
) -> None:
    root, uri, client = store
    client.delete_registered_model_tag("addition", "bootstrap.experiment_id")
    first = aliases(client, "addition")
    copied = tmp_path / "elsewhere" / "addition"
    shutil.copytree(root, copied, ignore=shutil.ignore_patterns("outbox"))
    put(copied, uri, experiment="another")
    assert aliases(client, "addition") == first
    grow(LineageStore(root), outcome=PROMOTED)
    put(root, uri)
    own = client.get_experiment_by_name(NAME).experiment_id
    assert client.get_registered_model("addition").tags["bootstrap.experiment_id"] == own


def test_the_name_is_free_again_once_the_experiment_is_gone_for_good(store: tuple[Path, str, MlflowClient]) -> None:
    root, uri, client = store
    client.set_registered_model_tag("addition", "bootstrap.experiment_id", "987654")
    grow(LineageStore(root), outcome=PROMOTED)
    assert put(root, uri) == [3]
    assert [model.name for model in client.search_registered_models()] == ["addition"]
    assert_whole(client, generations=4, champion=3)


def test_an_empty_registered_model_of_a_persons_is_not_taken(tmp_path: Path, empty_database: Path) -> None:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.create_registered_model("addition", description="mine")
    build(tmp_path / "addition", plan=())
    put(tmp_path / "addition", uri)
    assert not client.get_registered_model("addition").aliases
    assert client.get_registered_model("addition").tags == {}


def test_a_name_that_another_lineage_takes_at_the_same_moment_stays_the_others(
    tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    build(tmp_path / "addition", plan=())
    create = MlflowClient.create_registered_model

    def beaten(client: MlflowClient, name: str, **settings: Any) -> Any:
        if name == "addition":
            create(client, name, tags={"bootstrap.run_key": "addition/another", "bootstrap.experiment_id": "0"})
        return create(client, name, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_registered_model", beaten)
        assert put(tmp_path / "addition", uri) == [0]
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    assert client.get_registered_model("addition").tags["bootstrap.run_key"] == "addition/another"
    assert not client.get_registered_model("addition").aliases
    [name] = {model.name for model in client.search_registered_models()} - {"addition"}
    assert set(aliases(client, name)) == {"gen-0", "champion"}
    assert put(tmp_path / "addition", uri) == []


def test_runs_of_a_killed_publication_do_not_stay_running(store: tuple[Path, str, MlflowClient]) -> None:
    root, uri, client = store
    experiment = client.get_experiment_by_name(NAME).experiment_id
    [top] = runs(client)["addition"]
    client.update_run(top.info.run_id, status="RUNNING")
    client.update_run(runs(client)["gen-2"][0].info.run_id, status="RUNNING")
    recently = datetime.now(UTC).isoformat()

    def left(finished: str | None, **more: str) -> str:
        """Return a run of another lineage of this name, whose store is gone; without a time, a person's own."""
        marks = {} if finished is None else {"bootstrap.finished": finished, "bootstrap.lineage": "addition"}
        return client.create_run(experiment, run_name="left", tags={**marks, **more}).info.run_id

    old = left("2026-01-01T00:00:00+00:00", **{"bootstrap.run_key": "addition/0123"})
    living = left(recently, **{"bootstrap.run_key": "addition/4567"})
    own, torn = left(None), left("yesterday")
    assert put(root, uri) == []
    states = {run_id: client.get_run(run_id).info.status for run_id in (old, living, own, torn)}
    assert states == {old: "KILLED", living: "RUNNING", own: "RUNNING", torn: "RUNNING"}
    assert client.get_run(top.info.run_id).info.status == "FINISHED"
    assert runs(client)["gen-2"][0].info.status == "FINISHED"


@pytest.mark.parametrize("name", ["a;b -- 'c' `d`", 'x "y" % _ [z]*', "über\\日本 and or", "q' OR 1=1"])
def test_a_lineage_is_found_again_whatever_it_is_called(tmp_path: Path, empty_database: Path, name: str) -> None:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    uri, root = f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "lineage"
    build(root, plan=(), name=name)
    assert put(root, uri) == [0]
    grow(LineageStore(root), outcome=PROMOTED, name=name)
    assert put(root, uri) == [1]
    assert put(root, uri) == []
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    assert sorted(runs(client, f"bootstrap/{name}")) == sorted([name, "gen-0", "gen-1"])


def test_the_experiments_line_and_views_name_no_lineage_that_is_gone(store: tuple[Path, str, MlflowClient]) -> None:
    root, uri, client = store
    for name in ("lost", "thrown"):
        build(root.parent / name, plan=(), name=name)
        put(root.parent / name, uri, experiment=NAME)
    ids = {name: runs(client)[name][0].info.run_id for name in ("lost", "thrown", "addition")}

    def shown() -> tuple[str, set[str]]:
        kept = client.get_experiment_by_name(NAME).tags
        return kept["mlflow.note.content"], {name for name, run_id in ids.items() if views.key(run_id) in kept}

    assert all(name in shown()[0] for name in ids) and shown()[1] == set(ids)
    gone(client, ids["lost"])
    client.delete_run(ids["thrown"])
    grow(LineageStore(root), outcome=PROMOTED)
    put(root, uri)
    line, kept = shown()
    assert "addition" in line and "lost" not in line and "thrown" not in line
    assert kept == {"addition", "thrown"}, "a run in the trash can be restored, and has its view then"
