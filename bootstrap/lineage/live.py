"""The generation in progress as an MLflow run, which becomes the generation's own when that is published.

    cli/live.py (child of the run) --- LiveRuns.post ---> run `gen-N`, RUNNING, tag bootstrap.live, metrics live/*
    publisher ----------------------- adopt ------------> the same run, with the generation's key: its page stays
    `lineage --sync` after a kill --- settle -----------> the same run, KILLED; the next run of the lineage takes it up
                                                          a run that the store has no note of, KILLED once it is stale

A run is found by the note that the store keeps of it (`live_state.py`), so lineages of one name on one server never
meet. A copied store has a copy of that note: on a server that both share, a run is its origin's, as a tag says; a
database inside the store is copied too, and all in it is the copy's. Importing this module imports MLflow, which takes
seconds.
"""

import socket
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Run, RunTag
from mlflow.exceptions import MlflowException

from bootstrap.errors import LineageLocked
from bootstrap.lineage import bar, live_state, places, tags, tracking
from bootstrap.lineage.connection import active_experiment, connected
from bootstrap.lineage.live_state import Shown, Snapshot
from bootstrap.lineage.outbox import Outbox
from bootstrap.lineage.text import plain
from bootstrap.store import durable, index
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.lock import lineage_lock

NOTE = "mlflow.note.content"
KILLED = "Stopped: its run was killed; the next one goes on from its last checkpoint"
STALE_SECONDS = 3600.0
"""Time without a post after which a run of a store that has moved, or one without a note, counts as killed."""
_MOST = 1000
"""Runs in progress that are looked through in one experiment, the newest first."""


class LiveRuns:
    """Posts the snapshots of one lineage's run: to the generation in progress, and to the lineage's own run."""

    def __init__(self, root: Path, *, tracking_uri: str, experiment: str | None) -> None:
        """`root`: the lineage's folder. `experiment`: None names it after the lineage."""
        self._store = LineageStore(root)
        self._name = tracking.experiment_name(root.name, experiment)
        self._location = tracking.artifact_location(tracking_uri, root.absolute().parent)
        self._outbox = Outbox(root, tracking_uri=tracking_uri, experiment=self._name)
        self._client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
        self._run: Shown | None = None
        self._lineage_run: str | None = None

    def post(self, snapshot: Snapshot) -> None:
        """Show a snapshot. Raises what MLflow's client raises; the next call tries everything again."""
        run = self._run_of(snapshot)
        if self._lineage_run is None:
            self._find_lineage()
        at = round(time.time() * 1000)
        found = None if run is None else _found(self._client, run.run_id)
        if found is None:
            # Somebody has deleted it: the next post makes another.
            self._run = None
        if run is not None and found is not None and _is_in_progress(found):
            points = {name: value for name, value in snapshot.metrics.items() if name in live_state.METRICS}
            points["progress"] = snapshot.done / snapshot.total if snapshot.total else 0.0
            self._client.log_batch(
                run.run_id,
                metrics=[Metric(f"live/{name}", value, at, int(snapshot.seconds)) for name, value in points.items()],
                tags=[*_tags(snapshot), RunTag(NOTE, self._note(snapshot, run)), RunTag("gate", snapshot.stage)],
            )
        if self._lineage_run is not None:
            self._client.log_batch(self._lineage_run, tags=_tags(snapshot))

    def _note(self, snapshot: Snapshot, run: Shown) -> str:
        said = f"In progress: {plain(snapshot.sentence)}"
        if self._lineage_run is None:
            return said
        picture = tracking.lineage_url("", run.experiment_id, self._lineage_run)
        rest = tracking.experiment_url("", run.experiment_id, self._lineage_run)
        return f"{said}{bar.BREAK}{bar.link('lineage', picture)} · {bar.link('all generations', rest)}"

    def end(self, snapshot: Snapshot) -> None:
        """Show that the run has ended, for which reason; a generation that is not committed ends as KILLED."""
        shown = live_state.recall(self._outbox.folder, snapshot.generation)
        if shown is not None and snapshot.generation >= snapshot.committed:
            _end(self._client, shown.run_id, f"Stopped: {plain(snapshot.ended)}", more=_tags(snapshot))
        self._find_lineage()
        if self._lineage_run is not None:
            self._client.log_batch(self._lineage_run, tags=_tags(snapshot))

    def _run_of(self, snapshot: Snapshot) -> Shown | None:
        """Return the run of the snapshot's generation, made if there is none; None once that is committed."""
        if snapshot.generation < snapshot.committed:
            return None
        if self._run is None or self._run.generation != snapshot.generation:
            self._find_lineage()
            self._run = self._taken_up(snapshot) or self._made(snapshot)
        return self._run

    def _taken_up(self, snapshot: Snapshot) -> Shown | None:
        """Return the run that an earlier, stopped run of the lineage left for this generation, RUNNING again."""
        shown = live_state.recall(self._outbox.folder, snapshot.generation)
        run = None if shown is None else _found(self._client, shown.run_id)
        if shown is None or run is None or not _is_own(run, self._client, self._store.root):
            return None
        # A killed one goes on.
        self._client.update_run(shown.run_id, status="RUNNING")
        return shown

    def _made(self, snapshot: Snapshot) -> Shown:
        # Made first: `settle` asks MLflow where there is an outbox, and a kill may leave a run without its note.
        durable.make_folder(self._outbox.folder)
        experiment = active_experiment(self._client, self._name)
        kind = {"mlflow.experimentKind": "custom_model_development"}
        experiment_id = (
            self._client.create_experiment(self._name, artifact_location=self._location, tags=kind)
            if experiment is None
            else experiment.experiment_id
        )
        above = {} if self._lineage_run is None else {"mlflow.parentRunId": self._lineage_run}
        run = self._client.create_run(
            experiment_id,
            run_name=f"gen-{snapshot.generation}",
            # MLflow lists tags as they were made; those that people read get their values later.
            tags={
                **dict.fromkeys(tags.SHOWN, "-"),
                "bootstrap.kind": "generation",
                "bootstrap.lineage": snapshot.lineage,
                "bootstrap.generation": str(snapshot.generation),
                live_state.ORIGIN: _origin(self._store.root),
                **above,
            },
        )
        # The list of generations is sorted by it, the newest at the top.
        self._client.log_metric(run.info.run_id, tags.ORDER, snapshot.generation)
        shown = Shown(generation=snapshot.generation, experiment_id=experiment_id, run_id=run.info.run_id)
        live_state.remember(self._outbox.folder, shown)
        return shown

    def _find_lineage(self) -> None:
        """Look up the lineage's own run, which the first publication makes."""
        newest = self._outbox.published(index.recall(self._store)).newest()
        self._lineage_run = None if newest is None else newest.lineage_run_id


def adopt(client: MlflowClient, root: Path, outbox: Path, *, name: str, own: Mapping[str, str]) -> Run | None:
    """Make the run that shows a generation in progress that generation's own; None if no run shows it.

    `root`: the lineage's folder; `outbox`: the outbox's folder of the target; `own`: the tags that the generation's run
    is made with.
    """
    if (number := own.get("bootstrap.generation")) is None:
        return None
    shown = live_state.recall(outbox, int(number))
    run = None if shown is None else _found(client, shown.run_id)
    if shown is None or run is None or not _is_own(run, client, root):
        return None
    client.log_batch(shown.run_id, tags=[RunTag(key, value) for key, value in own.items()])
    client.update_run(shown.run_id, status="RUNNING", name=name)
    for key in {live_state.TAG, live_state.ORIGIN} & run.data.tags.keys():
        client.delete_tag(shown.run_id, key)
    live_state.forget(outbox, shown.generation)
    return client.get_run(shown.run_id)


def settle(root: Path, *, tracking_uri: str, experiment: str | None) -> None:
    """End the run of a generation that nobody grows any more, and remove one that its generation has no need of.

    Raises TrackingError, StoreError. Costs nothing where the lineage has shown nothing in this place.
    """
    store, name = LineageStore(root), tracking.experiment_name(root.name, experiment)
    outbox = Outbox(root, tracking_uri=tracking_uri, experiment=name)
    if not outbox.folder.is_dir():
        return
    left = live_state.recall_all(outbox.folder)
    entries = index.recall(store)
    published, is_driven = outbox.published(entries), _is_driven(root)
    with connected(tracking_uri):
        client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
        for shown in left:
            run = _found(client, shown.run_id)
            if run is None or not _is_in_progress(run):
                live_state.forget(outbox.folder, shown.generation)
            elif not _is_own(run, client, root) and not _is_stale(run):
                continue
            elif shown.generation in published:
                # It was published onto a run of its own: by another machine, or before this one was made.
                client.delete_run(shown.run_id)
                live_state.forget(outbox.folder, shown.generation)
            elif shown.generation >= len(entries) and run.info.status == "RUNNING" and not is_driven:
                _end(client, shown.run_id, KILLED)
        for run in _without_note(client, name, root, noted={shown.run_id for shown in left}):
            number = run.data.tags.get("bootstrap.generation", "")
            if number.isdecimal() and int(number) in published:
                client.delete_run(run.info.run_id)
            else:
                _end(client, run.info.run_id, KILLED)


def _without_note(client: MlflowClient, experiment: str, root: Path, *, noted: Collection[str]) -> list[Run]:
    """Return the stale runs of this lineage's generations in progress that the store has no note of.

    A kill between making one and noting it leaves such a run, and so does an outbox that somebody removes.
    """
    found = client.get_experiment_by_name(experiment)
    if found is None or found.lifecycle_stage != "active":
        return []
    running = client.search_runs([found.experiment_id], "attributes.status = 'RUNNING'", max_results=_MOST)
    return [
        run
        for run in running
        if run.info.run_id not in noted
        # Without this tag it is a person's own; an experiment may hold several lineages.
        and live_state.ORIGIN in run.data.tags
        and run.data.tags.get("bootstrap.lineage") == root.name
        and _is_own(run, client, root)
        and _is_stale(run)
    ]


def _end(client: MlflowClient, run_id: str, note: str, *, more: Sequence[RunTag] = ()) -> None:
    """End the run of a generation that is not committed as KILLED."""
    if (run := _found(client, run_id)) is not None and _is_in_progress(run):
        client.log_batch(run_id, tags=[RunTag(NOTE, note), RunTag("gate", "stopped"), *more])
        client.set_terminated(run_id, "KILLED")


def _found(client: MlflowClient, run_id: str) -> Run | None:
    """Return a run that is not deleted; None where there is none."""
    run = look_up(client, run_id)
    return run if run is not None and run.info.lifecycle_stage == "active" else None


def look_up(client: MlflowClient, run_id: str) -> Run | None:
    """Return a run, deleted or not; None once it is deleted for good."""
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _is_in_progress(run: Run) -> bool:
    """Whether a run still shows a generation in progress, and is not a published one's own."""
    return tags.RUN_KEY not in run.data.tags


def _is_own(run: Run, client: MlflowClient, root: Path) -> bool:
    """Whether a run shows a generation in progress of the lineage in this folder, and of none that it is a copy of."""
    is_inside = places.lies_in(client.tracking_uri, root.absolute().parent)
    return _is_in_progress(run) and (is_inside or run.data.tags.get(live_state.ORIGIN) == _origin(root))


def _is_stale(run: Run) -> bool:
    """Whether a run has shown nothing new for so long that nobody grows its generation, wherever its store is now."""
    snapshot = live_state.snapshot_of(run.data.tags)
    last = run.info.start_time if snapshot is None else snapshot.at
    return time.time() - last / 1000 > STALE_SECONDS


def _is_driven(root: Path) -> bool:
    """Whether a driver holds the lineage."""
    try:
        with lineage_lock(root):
            return False
    except LineageLocked:
        return True


def _origin(root: Path) -> str:
    return f"{socket.gethostname()}:{root.absolute()}"


def _tags(snapshot: Snapshot) -> list[RunTag]:
    return [RunTag(live_state.TAG, snapshot.model_dump_json())]
