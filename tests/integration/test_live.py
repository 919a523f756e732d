"""A generation in progress in a real MLflow database: shown, taken over by its publication, ended after a kill."""

import io
import shutil
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from support.lineage_factory import PROMOTED, RECIPE, REJECTED, build, grow

from bootstrap.cli import live_child
from bootstrap.errors import RecipeError, TrackingError
from bootstrap.lineage import live, live_state
from bootstrap.lineage.live import NOTE, STALE_SECONDS, LiveRuns, settle
from bootstrap.lineage.live_state import TAG, Snapshot, snapshot_of
from bootstrap.lineage.outbox import Outbox
from bootstrap.lineage.publisher import publish
from bootstrap.lineage.tags import RUN_KEY, SHOWN
from bootstrap.lineage.watched import WatchedRun
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.lock import lineage_lock

NOW = round(time.time() * 1000)
pytestmark = [pytest.mark.mlflow, pytest.mark.training]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A lineage with generation 0 committed and published, and its MLflow database."""

    root: Path
    uri: str
    client: MlflowClient

    def publish(self) -> list[int]:
        return publish(self.root, tracking_uri=self.uri, experiment=None, recipe=RECIPE, sample_rollouts=0)

    def settle(self) -> None:
        settle(self.root, tracking_uri=self.uri, experiment=None)

    def live(self) -> LiveRuns:
        return LiveRuns(self.root, tracking_uri=self.uri, experiment=None)

    @property
    def outbox(self) -> Outbox:
        return Outbox(self.root, tracking_uri=self.uri, experiment="bootstrap/addition")

    def runs(self, name: str, *, deleted: bool = False) -> Sequence[Run]:
        """Return the runs of this name."""
        [experiment] = [one for one in self.client.search_experiments() if one.name == "bootstrap/addition"]
        view = ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY
        found = self.client.search_runs([experiment.experiment_id], run_view_type=view)
        return [run for run in found if run.info.run_name == name]

    def run(self, name: str) -> Run:
        [found] = self.runs(name)
        return found


@pytest.fixture
def scene(tmp_path: Path, empty_database: Path) -> Scene:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    root, uri = tmp_path / "addition", f"sqlite:///{tmp_path}/mlflow.db"
    build(root, plan=())
    made = Scene(root=root, uri=uri, client=MlflowClient(tracking_uri=uri, registry_uri=uri))
    assert made.publish() == [0]
    return made


def at(done: int, *, generation: int = 1, **more: object) -> Snapshot:
    facts = {"lineage": "addition", "generation": generation, "last": 3, "stage": "train", "done": done, "total": 60}
    figures = {"reward": done / 60, "tokens_per_second": 5230.0}
    known = {"metrics": figures, "committed": generation, "beat": done, "at": NOW, "seconds": float(done)}
    return Snapshot.model_validate({**facts, **known, **more})


def test_the_generation_in_progress_is_a_run_below_the_lineages(scene: Scene) -> None:
    shown = scene.live()
    for done in (12, 13):
        shown.post(at(done))
    run = scene.run("gen-1")
    assert run.info.status == "RUNNING"
    assert run.data.tags["mlflow.parentRunId"] == scene.run("addition").info.run_id
    said, _, links = run.data.tags[NOTE].partition("  \n")
    assert said == "In progress: train 13/60, reward 0.217, 5.23k tokens/s"
    above = f"#/experiments/{run.info.experiment_id}/runs/{scene.run('addition').info.run_id}"
    assert links.startswith(f"[lineage]({above}/artifacts/lineage/lineage.html")
    assert {key: run.data.tags[key] for key in SHOWN} == {**dict.fromkeys(SHOWN, "-"), "gate": "train"}
    points = scene.client.get_metric_history(run.info.run_id, "live/reward")
    assert [(point.step, point.value) for point in points] == [(12, 12 / 60), (13, 13 / 60)]
    assert run.data.metrics["live/progress"] == pytest.approx(13 / 60)
    assert snapshot_of(scene.run("addition").data.tags) == at(13)


def test_its_publication_takes_the_run_over(scene: Scene) -> None:
    shown = scene.live()
    shown.post(at(12))
    before = scene.run("gen-1").info.run_id
    grow(LineageStore(scene.root), outcome=PROMOTED)
    assert scene.publish() == [1]
    shown.post(at(60))
    run = scene.run("gen-1")
    assert run.info.run_id == before and run.info.status == "FINISHED"
    assert run.data.tags[RUN_KEY].startswith("addition/gen-1/") and TAG not in run.data.tags
    assert not run.data.tags[NOTE].startswith("In progress"), "a late post leaves a published run alone"
    assert run.data.tags["gate"] == "promoted" and run.data.tags["parent"] == "gen-0"
    assert live_state.recall_all(scene.outbox.folder) == []
    assert scene.publish() == [] and len(scene.runs("gen-1")) == 1
    assert scene.outbox.receipts(LineageStore(scene.root).ledger.read())[1].run_id == before


def test_the_first_generation_is_shown_before_anything_is_published(tmp_path: Path, empty_database: Path) -> None:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    root, uri = tmp_path / "addition", f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    scene = Scene(root=root, uri=uri, client=client)
    LineageStore(root).open("addition", identity={"name": "addition"})
    scene.live().post(at(3, generation=0))
    before = scene.run("gen-0")
    assert before.info.status == "RUNNING" and "mlflow.parentRunId" not in before.data.tags
    shutil.rmtree(root / "ledger")
    (root / "lineage.json").unlink()
    build(root, plan=())
    assert scene.publish() == [0]
    assert scene.run("gen-0").info.run_id == before.info.run_id
    assert scene.run("gen-0").data.tags["mlflow.parentRunId"] == scene.run("addition").info.run_id


def test_a_killed_run_is_ended_by_the_next_publication_and_taken_up_by_the_next_run(scene: Scene) -> None:
    scene.live().post(at(12))
    with lineage_lock(scene.root):
        scene.settle()
        assert scene.run("gen-1").info.status == "RUNNING", "its driver lives"
    scene.settle()
    killed = scene.run("gen-1")
    assert killed.info.status == "KILLED" and killed.data.tags[NOTE].startswith("Stopped: its run was killed")
    scene.live().post(at(20))
    again = scene.run("gen-1")
    assert (again.info.run_id, again.info.status) == (killed.info.run_id, "RUNNING")


def test_a_run_that_somebody_deletes_is_made_again(scene: Scene) -> None:
    shown = scene.live()
    shown.post(at(12))
    deleted = scene.run("gen-1").info.run_id
    scene.client.delete_run(deleted)
    for done in (13, 14):
        shown.post(at(done))
    assert scene.run("gen-1").info.run_id != deleted and scene.run("gen-1").info.status == "RUNNING"


def test_a_generation_that_has_a_run_of_its_own_needs_no_other(scene: Scene) -> None:
    grow(LineageStore(scene.root), outcome=REJECTED)
    assert scene.publish() == [1]
    own = scene.run("gen-1").info.run_id
    scene.live().post(at(60))
    assert len(scene.runs("gen-1")) == 2, "a late post of a slow process"
    scene.settle()
    assert scene.run("gen-1").info.run_id == own
    assert len(scene.runs("gen-1", deleted=True)) == 1 and live_state.recall_all(scene.outbox.folder) == []


def test_a_copy_of_the_store_leaves_the_run_alone(scene: Scene, tmp_path: Path) -> None:
    scene.live().post(at(12))
    copy = tmp_path / "elsewhere" / "addition"
    shutil.copytree(scene.root, copy)
    settle(copy, tracking_uri=scene.uri, experiment=None)
    assert scene.run("gen-1").info.status == "RUNNING"
    grow(LineageStore(copy), outcome=PROMOTED)
    publish(copy, tracking_uri=scene.uri, experiment=None, recipe=RECIPE, sample_rollouts=0)
    assert RUN_KEY not in scene.client.get_run(live_state.recall_all(scene.outbox.folder)[0].run_id).data.tags


def test_a_store_that_was_moved_and_copied_settles_what_its_own_database_shows(scene: Scene, tmp_path: Path) -> None:
    scene.live().post(at(12))
    copy = tmp_path / "elsewhere" / "addition"
    shutil.copytree(scene.root, copy)
    shutil.copy(tmp_path / "mlflow.db", copy.parent / "mlflow.db")
    uri = f"sqlite:///{copy.parent}/mlflow.db"
    own = Outbox(copy, tracking_uri=uri, experiment="bootstrap/addition").folder
    before = copy / "outbox" / scene.outbox.folder.name
    if before.exists():
        before.rename(own)
    settle(copy, tracking_uri=uri, experiment=None)
    there = MlflowClient(tracking_uri=uri)
    [shown] = live_state.recall_all(own)
    assert there.get_run(shown.run_id).info.status == "KILLED"
    assert scene.run("gen-1").info.status == "RUNNING"


def test_a_moved_store_lets_a_shared_server_forget_what_it_showed_long_ago(scene: Scene, tmp_path: Path) -> None:
    scene.live().post(at(12, at=NOW - round(2000 * STALE_SECONDS)))
    moved = tmp_path / "elsewhere" / "addition"
    shutil.copytree(scene.root, moved)
    settle(moved, tracking_uri=scene.uri, experiment=None)
    assert scene.run("gen-1").info.status == "KILLED"


def test_the_child_says_why_the_run_ended(scene: Scene) -> None:
    lines = [at(12), at(13, ended="stopped; the same command goes on from there")]
    stream = io.StringIO("".join(f"{one.model_dump_json()}\n" for one in lines[:1]))
    live_child.follow(stream, scene.root, tracking_uri=scene.uri, experiment=None)
    run = scene.run("gen-1")
    assert run.info.status == "KILLED" and run.data.tags[NOTE] == f"Stopped: {live_child.KILLED}"
    live_child.follow(
        io.StringIO(f"{lines[1].model_dump_json()}\n"), scene.root, tracking_uri=scene.uri, experiment=None
    )
    ended = snapshot_of(scene.run("addition").data.tags)
    assert ended is not None and ended.ended == "stopped; the same command goes on from there"


def test_whoever_watches_sees_it_from_any_run_of_the_lineage(scene: Scene) -> None:
    scene.live().post(at(12))
    ids = {scene.run(name).info.run_id for name in ("addition", "gen-0", "gen-1")}
    assert len(ids) == 3
    for run_id in ids:
        found = WatchedRun(run_id, tracking_uri=scene.uri).look()
        assert found.snapshot == at(12) and not found.is_over
        assert [(name, outcome) for name, outcome, _ in found.decisions] == [("gen-0", "base")]
    grow(LineageStore(scene.root), outcome=REJECTED)
    scene.publish()
    found = WatchedRun(next(iter(ids)), tracking_uri=scene.uri).look()
    assert [(name, outcome) for name, outcome, _ in found.decisions][1:] == [("gen-1", "rejected")]
    assert "is no significant improvement" in found.decisions[1][2]


def test_a_run_of_something_else_is_not_watched(scene: Scene) -> None:
    other = scene.client.create_run(scene.client.create_experiment("other"))
    with pytest.raises(RecipeError, match="is of no lineage"):
        WatchedRun(other.info.run_id, tracking_uri=scene.uri).look()


def test_where_nothing_was_left_mlflow_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path / "addition", plan=())
    monkeypatch.setattr(live, "connected", pytest.fail)
    settle(tmp_path / "addition", tracking_uri=f"sqlite:///{tmp_path}/none.db", experiment=None)


def age(scene: Scene, run_id: str) -> None:
    """Let a run have begun long ago, and never have been posted to."""
    with closing(sqlite3.connect(scene.root.parent / "mlflow.db")) as database, database:
        began = NOW - round(2000 * STALE_SECONDS)
        database.execute("update runs set start_time = ? where run_uuid = ?", (began, run_id))
        database.execute("delete from tags where key = ? and run_uuid = ?", (TAG, run_id))


def forgotten(scene: Scene) -> str:
    """Show generation 1 in progress and lose the note of it; return the run's id."""
    scene.live().post(at(12))
    live_state.forget(scene.outbox.folder, 1)
    return scene.run("gen-1").info.run_id


def test_a_run_that_was_killed_before_it_was_noted_does_not_run_for_ever(scene: Scene) -> None:
    run_id = forgotten(scene)
    scene.settle()
    assert scene.run("gen-1").info.status == "RUNNING", "it was posted to a moment ago"
    age(scene, run_id)
    scene.settle()
    assert scene.run("gen-1").info.status == "KILLED"
    assert scene.run("gen-1").data.tags[NOTE] == live.KILLED


def test_a_run_just_made_is_no_stale_one(scene: Scene) -> None:
    run_id = forgotten(scene)
    scene.client.delete_tag(run_id, TAG)
    scene.settle()
    assert scene.run("gen-1").info.status == "RUNNING"


def test_a_forgotten_run_of_a_generation_that_has_its_own_goes(scene: Scene) -> None:
    age(scene, forgotten(scene))
    grow(LineageStore(scene.root), outcome=PROMOTED)
    assert scene.publish() == [1]
    scene.settle()
    assert scene.run("gen-1").info.status == "FINISHED" and len(scene.runs("gen-1", deleted=True)) == 1


def test_what_runs_beside_it_is_left_alone(scene: Scene) -> None:
    experiment = scene.run("addition").info.experiment_id
    origin = {live_state.ORIGIN: live._origin(scene.root)}
    tags = {
        "another lineage's": {**origin, "bootstrap.lineage": "other"},
        "a person's": {"bootstrap.lineage": "addition"},
        "a published one's": {**origin, "bootstrap.lineage": "addition", RUN_KEY: "addition/gen-9"},
    }
    for name, own in tags.items():
        made = scene.client.create_run(experiment, run_name=name, tags=own)
        age(scene, made.info.run_id)
    scene.settle()
    assert [scene.run(name).info.status for name in tags] == ["RUNNING"] * 3


def test_a_generation_is_not_published_onto_a_run_that_keeps_its_files_outside_the_store(scene: Scene) -> None:
    scene.live().post(at(12))
    outside = scene.root.parent.parent / f"{scene.root.parent.name}-outside"
    with closing(sqlite3.connect(scene.root.parent / "mlflow.db")) as database, database:
        database.execute(
            "update runs set artifact_uri = ? where run_uuid = ?", (outside.as_uri(), scene.run("gen-1").info.run_id)
        )
    grow(LineageStore(scene.root), outcome=PROMOTED)
    for _ in range(2):
        with pytest.raises(TrackingError, match="outside the store, where nothing is written"):
            scene.publish()
    assert not outside.exists()
