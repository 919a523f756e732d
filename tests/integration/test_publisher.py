"""Publishing a lineage into a real MLflow database, once, twice and interrupted."""

import json
import os
import shutil
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.tracing.client import TracingClient
from support import lineage_factory
from support.lineage_factory import NASTY, PROMOTED, RECIPE, REJECTED, build, grow

from bootstrap.errors import StoreCorrupt, TrackingError
from bootstrap.ledger_records import Edge
from bootstrap.lineage import graph, publisher, tracking
from bootstrap.lineage.outbox import Outbox, Receipt
from bootstrap.lineage.publisher import publish
from bootstrap.store import gc
from bootstrap.store.artifacts import put_back
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.lock import lineage_lock
from bootstrap.store.pretrained import IMPORT, MAX_CHARACTERS

pytestmark = [pytest.mark.mlflow, pytest.mark.training]

PLAN = (PROMOTED, REJECTED, PROMOTED)
TABLES = (
    "experiments",
    "experiment_tags",
    "runs",
    "metrics",
    "latest_metrics",
    "params",
    "tags",
    "datasets",
    "inputs",
    "input_tags",
    "logged_models",
    "logged_model_metrics",
    "logged_model_params",
    "logged_model_tags",
    "registered_models",
    "model_versions",
    "model_version_tags",
    "registered_model_aliases",
    "trace_info",
    "trace_tags",
    "trace_request_metadata",
    "spans",
    "assessments",
)


@dataclass(frozen=True, kw_only=True)
class Published:
    """One published lineage and the means to look at it."""

    store: Path
    root: Path
    uri: str
    entries: Sequence[Entry]
    receipts: dict[int, Receipt]
    client: MlflowClient


def put(root: Path, uri: str, *, experiment: str | None = None) -> list[int]:
    return publish(root, tracking_uri=uri, experiment=experiment, recipe=RECIPE, sample_rollouts=8)


def counts(uri: str) -> dict[str, int]:
    """Return the number of rows in every table that publishing writes."""
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database:
        return {table: database.execute(f"select count(*) from {table}").fetchone()[0] for table in TABLES}


@pytest.fixture
def fresh(tmp_path: Path, empty_database: Path) -> tuple[Path, str]:
    """A grown, unpublished lineage and an empty database."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    build(tmp_path / "addition", plan=PLAN)
    return tmp_path / "addition", f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Published]:
    store = tmp_path_factory.mktemp("store")
    shutil.copy(empty_database, store / "mlflow.db")
    root, uri = store / "addition", f"sqlite:///{store}/mlflow.db"
    entries = build(root, plan=PLAN)
    assert put(root, uri) == [0, 1, 2, 3]
    receipts = Outbox(root, tracking_uri=uri, experiment="bootstrap/addition").receipts(entries)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    yield Published(store=store, root=root, uri=uri, entries=entries, receipts=receipts, client=client)


def test_every_generation_is_a_finished_run_below_the_lineages(published: Published) -> None:
    own = published.receipts[0]
    runs = published.client.search_runs([own.experiment_id])
    assert {run.info.run_name for run in runs} == {"addition", "gen-0", "gen-1", "gen-2", "gen-3"}
    assert {run.info.status for run in runs} == {"FINISHED"}
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == own.lineage_run_id]
    assert len(children) == 4
    assert published.client.get_experiment(own.experiment_id).name == "bootstrap/addition"


def test_the_parents_model_goes_in_and_the_own_model_comes_out(published: Published) -> None:
    run = published.client.get_run(published.receipts[3].run_id)
    assert {item.model_id for item in run.inputs.model_inputs} == {
        published.receipts[1].model_id,
        published.receipts[0].model_id,
    }, "gen-3 starts from gen-1 and is taught by gen-0"
    assert [item.model_id for item in run.outputs.model_outputs] == [published.receipts[3].model_id]
    model = published.client.get_logged_model(published.receipts[3].model_id)
    assert (model.name, model.status) == ("addition-gen-3", "READY")
    assert model.params["parent_model_id"] == published.receipts[1].model_id
    assert model.params["fingerprint"] == published.entries[3].generation.fingerprint
    assert model.params["method"] == "rl"


def test_the_weights_lie_in_the_model_as_safetensors(published: Published, tmp_path: Path) -> None:
    model = published.client.get_logged_model(published.receipts[3].model_id)
    folder = Path(model.artifact_location.removeprefix("file://")) / "model"
    reference = LineageStore(published.root).artifact(published.entries[3].generation.artifacts["weights"])
    assert (folder / "model.safetensors").read_bytes() == reference.read("model.safetensors")
    assert {path.name for path in folder.iterdir()} == {*reference.files, "manifest.json"}
    assert folder.is_relative_to(published.store / "mlflow-artifacts")


def test_aliases_name_each_generation_and_the_champion(published: Published) -> None:
    for number, receipt in published.receipts.items():
        version = published.client.get_model_version_by_alias("addition", f"gen-{number}")
        assert (str(version.version), version.run_id) == (receipt.version, receipt.run_id)
        assert version.source == f"models:/{receipt.model_id}"
    assert published.client.get_model_version_by_alias("addition", "champion").run_id == published.receipts[3].run_id


def test_a_rejected_generation_keeps_its_version_with_the_reason(published: Published) -> None:
    version = published.client.get_model_version_by_alias("addition", "gen-2")
    assert version.tags["bootstrap.gate"] == "rejected"
    assert "level 2 fell 0.996 -> 0.877" in version.tags["bootstrap.gate.reason"]
    assert version.description.startswith("Rejected: 6-digit addition 0.337 → 0.337 (+0.000, ")


def test_the_champions_side_of_the_gate_leads_from_its_model_to_the_child(published: Published) -> None:
    metrics = published.client.get_logged_model(published.receipts[1].model_id).metrics
    compared = {metric.run_id for metric in metrics if metric.key == "gate/parent/level_6/accuracy"}
    assert compared == {published.receipts[2].run_id, published.receipts[3].run_id}


def test_accuracy_has_its_interval_and_the_frozen_suite(published: Published) -> None:
    report = published.entries[3].generation.report
    row = report.level(6)
    data = published.client.get_run(published.receipts[3].run_id).data
    assert row is not None
    assert data.metrics["eval/level_6/accuracy"] == row.accuracy
    assert (data.metrics["eval/level_6/low"], data.metrics["eval/level_6/high"]) == (
        row.interval.low,
        row.interval.high,
    )
    assert data.metrics["gate/p_value"] == 3e-40
    metrics = published.client.get_logged_model(published.receipts[3].model_id).metrics
    suites = {metric.dataset_digest for metric in metrics if metric.key.startswith("eval/")}
    assert suites == {report.suite[:32]}


def test_the_panel_has_accuracies_bounds_and_a_curve_over_generations(published: Published) -> None:
    rejected = published.entries[2].generation
    metrics = published.client.get_run(published.receipts[2].run_id).data.metrics
    [row] = rejected.report.panel["copy"]
    assert metrics["panel/copy/accuracy"] == metrics["panel/copy/level_1/accuracy"] == row.accuracy
    assert metrics["gate/panel/copy/low"] == -0.14
    assert metrics["gate/panel/copy/delta"] == pytest.approx(-0.12)
    curve = published.client.get_metric_history(published.receipts[0].lineage_run_id, "gen/panel/copy/accuracy")
    assert [point.step for point in curve] == [0, 1, 2, 3]


def test_datasets_carry_the_hash_of_their_file(published: Published) -> None:
    generation = published.entries[3].generation
    artifact = LineageStore(published.root).artifact(generation.artifacts["step-0"])
    inputs = published.client.get_run(published.receipts[3].run_id).inputs.dataset_inputs
    by_context: dict[str, list[Any]] = {}
    for item in inputs:
        tags = {tag.key: tag.value for tag in item.tags}
        by_context.setdefault(tags["mlflow.data.context"], []).append((item.dataset.digest, tags))
    digest, tags = by_context["rollouts"][0]
    assert digest == artifact.files["rollouts.parquet"][0][:32]
    assert tags["bootstrap.sha256"] == artifact.files["rollouts.parquet"][0]
    assert tags["bootstrap.rows"] == "48"
    assert tags["bootstrap.producer_model_id"] == published.receipts[1].model_id
    assert tags["bootstrap.producer"] == "gen-1 (48)"
    assert {tag["bootstrap.from_generation"] for _, tag in by_context["replay"]} == {"0", "1"}
    assert len(by_context["training"]) == len(by_context["eval"]) == 1


def test_answers_are_tagged_with_whoever_gave_them(
    tmp_path: Path, empty_database: Path, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, base = lineage_factory._rollouts, published.entries[0].generation.fingerprint

    def by_others(number: int, *, policy: str, **named: Any) -> Any:
        rollouts, *rest = plain(number, policy=policy, **named)
        by = [base, *12 * ["endpoint:wise"], *15 * ["f" * 64], *20 * [policy]]
        mixed = [replace(rollout, policy=who) for rollout, who in zip(rollouts, by, strict=True)]
        return mixed, *rest

    def taught_by_a_server(*args: Any, **named: Any) -> tuple[Edge, ...]:
        server = Edge(role="sampler", generation=None, external="endpoint:wise", fingerprint="endpoint:wise")
        return (*edges(*args, **named), server)

    edges = lineage_factory._edges
    monkeypatch.setattr(lineage_factory, "_rollouts", by_others)
    monkeypatch.setattr(lineage_factory, "_edges", taught_by_a_server)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    root, uri = tmp_path / "addition", f"sqlite:///{tmp_path}/mlflow.db"
    entries = build(root, plan=(PROMOTED, PROMOTED))
    put(root, uri)
    receipts = Outbox(root, tracking_uri=uri, experiment="bootstrap/addition").receipts(entries)
    inputs = MlflowClient(tracking_uri=uri).get_run(receipts[2].run_id).inputs.dataset_inputs
    tagged = [{tag.key: tag.value for tag in item.tags} for item in inputs]
    [tags] = [tags for tags in tagged if tags["mlflow.data.context"] == "rollouts"]
    assert tags["bootstrap.producer"] == "gen-1 (20), gen-2 in training (15), endpoint:wise (12), gen-0 (1)"
    assert tags["bootstrap.producer_model_id"] == f"{receipts[1].model_id}, {receipts[0].model_id}"


def test_training_is_drawn_as_curves_and_generations_as_steps_of_the_lineage(published: Published) -> None:
    client = published.client
    reward = client.get_metric_history(published.receipts[3].run_id, "train/reward")
    assert [(point.step, round(point.value, 6)) for point in reward] == [(i, round(0.3 + 0.1 * i, 6)) for i in range(6)]
    cut = client.get_metric_history(published.receipts[0].lineage_run_id, "gen/diagnostics/truncated")
    assert [(m.step, m.value) for m in sorted(cut, key=lambda m: m.step)] == [(0, 0.0), (1, 0.0), (2, 0.25), (3, 0.0)]
    frontier = client.get_metric_history(published.receipts[0].lineage_run_id, "gen/frontier")
    assert [(point.step, point.value) for point in frontier] == [(0, 4), (1, 5), (2, 1), (3, 6)]
    base = client.get_run(published.receipts[0].run_id).data.metrics
    assert "train/loss" in base and "train/reward" not in base, "an absent value is no point on a curve"


def test_the_page_and_readable_samples_are_artifacts(published: Published) -> None:
    own = published.receipts[3]
    folder = published.store / "mlflow-artifacts"
    page = (folder / own.lineage_run_id / "artifacts" / tracking.HTML_PATH).read_text()
    assert all(receipt.model_id in page for receipt in published.receipts.values()) and len(published.receipts) == 4
    assert json.loads((folder / own.lineage_run_id / "artifacts/lineage/lineage.json").read_text())["champion"] == 3
    table = json.loads((folder / own.run_id / "artifacts/samples/gen-3.json").read_text())
    assert len(table["data"]) == 8
    verdicts = [dict(zip(table["columns"], row, strict=True))["verdict"] for row in table["data"]]
    assert sorted(verdicts) == ["FAIL"] * 4 + ["PASS"] * 4
    shown = json.loads(published.client.get_run(own.run_id).data.tags["mlflow.loggedArtifacts"])
    assert shown == [{"path": "samples/gen-3.json", "type": "table"}]


def test_no_secret_enters_the_database_and_model_written_text_only_what_shows_samples(published: Published) -> None:
    assert b"user:secret" not in Path(published.uri.removeprefix("sqlite:///")).read_bytes()
    assert b"user:secret" not in b"".join(path.read_bytes() for path in published.store.rglob("*.json"))
    assert "onerror" in NASTY
    with closing(sqlite3.connect(published.uri.removeprefix("sqlite:///"))) as database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        written = {
            name for name in tables for row in database.execute(f"select * from {name}") if "onerror" in str(row)
        }
    assert written == {"trace_info", "spans", "datasets"}, (
        "samples are shown in traces and data sets, which are no Markdown"
    )


def test_publishing_again_changes_nothing(published: Published) -> None:
    before = counts(published.uri)
    assert put(published.root, published.uri) == []
    shutil.rmtree(published.root / "outbox")
    assert put(published.root, published.uri) == [0, 1, 2, 3], "without markers all is looked at again"
    assert counts(published.uri) == before
    assert Outbox(published.root, tracking_uri=published.uri, experiment="bootstrap/addition").receipts(
        published.entries
    ) == (published.receipts)


def test_publishing_everything_anew_onto_existing_runs_changes_nothing(published: Published) -> None:
    before = counts(published.uri)
    for receipt in published.receipts.values():
        published.client.set_tag(receipt.run_id, "bootstrap.published", "")
    shutil.rmtree(published.root / "outbox")
    assert put(published.root, published.uri) == [0, 1, 2, 3]
    assert counts(published.uri) == before


class Breaking:
    """MLflow's writing operations, which do their work, then lose the connection when `after` of them were called."""

    OPERATIONS = (
        "create_experiment",
        "create_run",
        "create_registered_model",
        "create_logged_model",
        "log_model_artifacts",
        "finalize_logged_model",
        "create_model_version",
        "set_logged_model_tags",
        "update_model_version",
        "set_registered_model_alias",
        "log_inputs",
        "log_outputs",
        "log_batch",
        "log_text",
        "set_tag",
        "set_experiment_tag",
        "set_terminated",
    )
    OF_TRACES = ("log_spans", "start_trace")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
        self.left = after
        for owner, names in ((MlflowClient, self.OPERATIONS), (TracingClient, self.OF_TRACES)):
            for name in names:
                monkeypatch.setattr(owner, name, self._breaking(getattr(owner, name)))

    def _breaking(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*args: Any, **kwargs: Any) -> Any:
            result = real(*args, **kwargs)
            self.left -= 1
            if self.left == 0:
                raise MlflowException("the connection broke")
            return result

        return operation


def test_a_model_of_a_killed_publication_says_where_its_weights_are(
    fresh: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, uri = fresh
    store = LineageStore(root)
    kept = store.artifact(store.ledger.read()[1].generation.artifacts["weights"])
    data = kept.read_all()

    def free(number: int) -> None:
        held = gc.weights_of_lineage(store, store.ledger.read(), {})
        gc.free(store, [one for one in held if number in one.generations])

    # gen-1's weights are freed when its model is made, and back afterwards; gen-3's the other way round.
    free(1)
    for number in (1, 3):
        with monkeypatch.context() as broken:
            real = MlflowClient.create_logged_model

            def made(*args: Any, number: int = number, real: Any = real, **settings: Any) -> Any:
                found = real(*args, **settings)
                if settings["name"] == f"addition-gen-{number}":
                    raise MlflowException("the connection broke")
                return found

            broken.setattr(MlflowClient, "create_logged_model", made)
            with pytest.raises(TrackingError):
                put(root, uri)
        if number == 1:
            put_back(store.artifact(store.ledger.read()[1].generation.artifacts["weights"]), data)
    free(3)
    put(root, uri)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    receipts = Outbox(root, tracking_uri=uri, experiment="bootstrap/addition").receipts(store.ledger.read())
    for number, is_external in ((1, False), (3, True)):
        model = client.get_logged_model(receipts[number].model_id)
        assert model.status == "READY" and ("mlflow.model.isExternal" in model.tags) is is_external
        folder = Path(model.artifact_location.removeprefix("file://")) / "model"
        assert (folder / "model.safetensors").is_file() is not is_external


def test_a_publication_broken_again_and_again_ends_as_an_undisturbed_one(
    published: Published, fresh: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, uri = fresh
    breaks = 0
    for after in range(1, 100):
        with monkeypatch.context() as broken:
            Breaking(broken, after=after)
            try:
                put(root, uri)
                break
            except TrackingError as error:
                assert "the connection broke" in str(error)
                breaks += 1
    assert breaks >= 12
    assert counts(uri) == counts(published.uri)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name("bootstrap/addition").experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert client.get_model_version_by_alias("addition", "champion").tags["bootstrap.generation"] == "3"


def test_pages_about_the_lineage_that_broke_off_are_finished_by_the_next(
    fresh: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, uri = fresh
    put(root, uri)
    grow(LineageStore(root), outcome=PROMOTED)
    with monkeypatch.context() as broken:
        broken.setattr("bootstrap.lineage.graph.to_html", refuse)
        with pytest.raises(TrackingError, match="no connection"):
            put(root, uri)
    assert put(root, uri) == [], "the generation itself was published before"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    assert client.get_model_version_by_alias("addition", "champion").tags["bootstrap.generation"] == "4"


def refuse(*_: Any) -> str:
    raise MlflowException("no connection")


def test_only_what_is_new_is_published(fresh: tuple[Path, str]) -> None:
    root, uri = fresh
    assert put(root, uri) == [0, 1, 2, 3]
    grow(LineageStore(root), outcome=REJECTED)
    assert put(root, uri) == [4]
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    assert client.get_model_version_by_alias("addition", "champion").tags["bootstrap.generation"] == "3"
    grow(LineageStore(root), outcome=PROMOTED)
    assert put(root, uri) == [5]
    assert client.get_model_version_by_alias("addition", "champion").tags["bootstrap.generation"] == "5"


def test_a_run_that_no_record_stands_for_does_not_stay_running(fresh: tuple[Path, str]) -> None:
    root, uri = fresh
    put(root, uri)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.get_experiment_by_name("bootstrap/addition").experiment_id
    top = client.search_runs([experiment], "tags.`bootstrap.kind` = 'lineage'")[0].info.run_id
    tags = {"mlflow.parentRunId": top, "bootstrap.finished": "2026-01-01T00:00:00+00:00"}
    stray = client.create_run(experiment, run_name="gen-4", tags=tags).info.run_id
    grow(LineageStore(root), outcome=PROMOTED)
    put(root, uri)
    assert client.get_run(stray).info.status == "KILLED"


def test_an_unreachable_server_is_told_at_once_and_loses_nothing(fresh: tuple[Path, str]) -> None:
    root, uri = fresh
    with socket.socket() as benchmark:
        benchmark.bind(("127.0.0.1", 0))
        port = benchmark.getsockname()[1]
    with pytest.raises(TrackingError, match=r"cannot be reached \(Connection refused\)"):
        put(root, f"http://127.0.0.1:{port}")
    assert put(root, uri) == [0, 1, 2, 3]


def test_a_broken_weights_file_is_the_stores_fault_and_is_not_spread(fresh: tuple[Path, str]) -> None:
    root, uri = fresh
    entries = LineageStore(root).ledger.read()
    path = root / entries[1].generation.artifacts["weights"].path / "model.safetensors"
    path.chmod(0o644)
    path.write_bytes(bytes(reversed(path.read_bytes())))
    with pytest.raises(StoreCorrupt, match=r"model\.safetensors is corrupt"):
        put(root, uri)
    done = Outbox(root, tracking_uri=uri, experiment="bootstrap/addition").receipts(entries)
    assert set(done) == {0}


def test_of_two_publishers_one_waits_a_bounded_time_and_names_the_other(
    fresh: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, uri = fresh
    monkeypatch.setattr("bootstrap.lineage.outbox.LOCK_SECONDS", 0.3)
    outbox = Outbox(root, tracking_uri=uri, experiment="bootstrap/addition")
    with lineage_lock(outbox.folder), pytest.raises(TrackingError, match=f"waited 0.3 s.*process {os.getpid()} on"):
        put(root, uri)


def test_the_second_publisher_publishes_what_was_committed_while_it_waited(fresh: tuple[Path, str]) -> None:
    root, uri = fresh
    outbox = Outbox(root, tracking_uri=uri, experiment="bootstrap/addition")
    done: list[list[int]] = []
    second = threading.Thread(target=lambda: done.append(put(root, uri)))
    with lineage_lock(outbox.folder):
        second.start()
        second.join(1)
        assert second.is_alive()
        grow(LineageStore(root), outcome=PROMOTED)
    second.join(60)
    assert done == [[0, 1, 2, 3, 4]]


def test_a_database_that_was_deleted_is_filled_anew_although_the_markers_are_there(
    fresh: tuple[Path, str], empty_database: Path, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, uri = fresh
    put(root, uri)
    shutil.copy(empty_database, uri.removeprefix("sqlite:///"))
    with monkeypatch.context() as broken:
        # Not even the pages about the whole lineage count as there because they were in the other database.
        broken.setattr("bootstrap.lineage.graph.to_html", refuse)
        with pytest.raises(TrackingError, match="no connection"):
            put(root, uri)
    assert put(root, uri) == []
    assert counts(uri) == counts(published.uri)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    entries = LineageStore(root).ledger.read()
    for receipt in Outbox(root, tracking_uri=uri, experiment="bootstrap/addition").receipts(entries).values():
        assert client.get_logged_model(receipt.model_id).source_run_id == receipt.run_id
    assert client.get_model_version_by_alias("addition", "champion").tags["bootstrap.generation"] == "3"


def test_mlflows_own_message_is_passed_on_without_the_password(
    fresh: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_loudly(*_: Any) -> str:
        raise MlflowException("HTTPConnectionPool: http://user:secret@example.org/api refused")

    monkeypatch.setattr("bootstrap.lineage.graph.to_html", refuse_loudly)
    with pytest.raises(TrackingError, match=r"http://example\.org/api refused"):
        put(*fresh)


def test_a_teacher_outside_the_lineage_stands_in_the_runs_tags_and_the_models_params(
    tmp_path: Path, empty_database: Path
) -> None:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    root, uri = tmp_path / "addition", f"sqlite:///{tmp_path}/mlflow.db"
    entries = build(root, plan=(PROMOTED, PROMOTED), outside="/models/tutor")
    put(root, uri)
    receipt = Outbox(root, tracking_uri=uri, experiment="bootstrap/addition").receipts(entries)[2]
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    tags = client.get_run(receipt.run_id).data.tags
    assert tags["bootstrap.teachers"] == "gen-0, /models/tutor"
    assert "tutor (outside)" in tags["mlflow.note.content"]
    assert client.get_logged_model(receipt.model_id).params["teachers"] == "gen-0, /models/tutor"


def test_source_and_licence_of_a_pretrained_base_are_tags_of_lineage_generation_and_version(
    tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = {"licence": "apache-2.0\n" + 300 * "x", "source": {"type": "hub", "name": "a/b", "revision": "0123"}}
    plain = lineage_factory._model_files
    more = {IMPORT: json.dumps(facts).encode()}
    monkeypatch.setattr(lineage_factory, "_model_files", lambda weights, **named: plain(weights, **named) | more)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    root, uri = tmp_path / "addition", f"sqlite:///{tmp_path}/mlflow.db"
    entries = build(root, plan=())
    put(root, uri)
    receipt = Outbox(root, tracking_uri=uri, experiment="bootstrap/addition").receipts(entries)[0]
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    runs = (client.get_run(run_id).data for run_id in (receipt.lineage_run_id, receipt.run_id))
    for tags in (*(run.tags for run in runs), client.get_model_version("addition", receipt.version).tags):
        assert tags["bootstrap.base.source"] == "hub a/b@0123"
        assert tags["bootstrap.base.license"] == f"apache-2.0 {300 * 'x'}"[:MAX_CHARACTERS]


def test_publishing_leaves_the_environment_as_it_was(fresh: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://example.org")
    put(*fresh)
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://example.org"
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ


def test_a_torn_marker_counts_as_unpublished(fresh: tuple[Path, str]) -> None:
    root, uri = fresh
    put(root, uri)
    before = counts(uri)
    marker = next((root / "outbox").glob("*/000002.json"))
    marker.write_text(marker.read_text()[:20])
    assert put(root, uri) == [2]
    assert counts(uri) == before


def test_what_is_shown_under_another_schema_is_published_again_once(
    fresh: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, uri = fresh
    with monkeypatch.context() as patch:
        patch.setattr(graph, "SCHEMA", 1)
        patch.setattr(publisher, "SCHEMA", "1")
        assert put(root, uri) == [0, 1, 2, 3]
    for marker in (root / "outbox").glob("*/0*.json"):
        kept = json.loads(marker.read_bytes())
        assert kept.pop("shown_as") == 1
        # Markers of that time do not tell it.
        marker.write_text(json.dumps(kept))
    before = counts(uri)
    assert put(root, uri) == [0, 1, 2, 3]
    assert put(root, uri) == [] and counts(uri) == before, "onto the same pages"
    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name("bootstrap/addition").experiment_id])
    assert {run.data.tags["bootstrap.schema"] for run in runs} == {str(graph.SCHEMA)}
    shutil.rmtree(root / "outbox")
    assert put(root, uri) == [0, 1, 2, 3] and counts(uri) == before
