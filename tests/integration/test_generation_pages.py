"""What people read of each generation in MLflow: notes with relatives, sheets, samples as traces, data sets, views."""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Trace
from mlflow.exceptions import MlflowException
from mlflow.tracing.client import TracingClient
from mlflow.tracking._model_registry.client import ModelRegistryClient
from support import lineage_factory
from support.lineage_factory import PROMOTED, RECIPE, REJECTED, build, grow

from bootstrap.errors import TrackingError
from bootstrap.ledger_records import Generation
from bootstrap.lineage import sheets, tags, traces, tracking, views
from bootstrap.lineage.outbox import Outbox, Receipt
from bootstrap.lineage.pages import Pages
from bootstrap.lineage.publisher import publish
from bootstrap.records import Status
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

pytestmark = pytest.mark.mlflow

PLAN = (PROMOTED, REJECTED, PROMOTED)


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published lineage and the means to look at it."""

    root: Path
    uri: str
    client: MlflowClient

    def put(self, *, sample_rollouts: int = 16, experiment: str | None = None) -> list[int]:
        return publish(
            self.root, tracking_uri=self.uri, experiment=experiment, recipe=RECIPE, sample_rollouts=sample_rollouts
        )

    @property
    def entries(self) -> Sequence[Entry]:
        return LineageStore(self.root).ledger.read()

    @property
    def receipts(self) -> dict[int, Receipt]:
        name = tracking.experiment_name(self.root.name, None)
        return Outbox(self.root, tracking_uri=self.uri, experiment=name).receipts(self.entries)

    def notes(self, number: int) -> set[str]:
        """Return the notes of a generation's run, model and version."""
        own, key = self.receipts[number], "mlflow.note.content"
        run, model = self.client.get_run(own.run_id), self.client.get_logged_model(own.model_id)
        version = self.client.get_model_version("addition", own.version)
        return {run.data.tags[key], model.tags[key], version.description}

    def traces(self, number: int) -> list[Trace]:
        own = self.receipts[number]
        return list(self.client.search_traces(locations=[own.experiment_id], run_id=own.run_id, max_results=200))


def fresh(folder: Path, empty_database: Path, **how: Any) -> Published:
    shutil.copy(empty_database, folder / "mlflow.db")
    build(folder / "addition", **{"plan": PLAN, **how})
    uri = f"sqlite:///{folder}/mlflow.db"
    return Published(root=folder / "addition", uri=uri, client=MlflowClient(tracking_uri=uri, registry_uri=uri))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Published:
    made = fresh(tmp_path_factory.mktemp("store"), empty_database)
    made.put()
    return made


@pytest.fixture
def own(tmp_path: Path, empty_database: Path) -> Published:
    made = fresh(tmp_path, empty_database)
    made.put(sample_rollouts=8)
    return made


def test_run_model_and_version_of_a_generation_say_the_same(published: Published) -> None:
    for number in range(4):
        [note] = published.notes(number)
        assert "[gate](#/experiments/" in note
    assert note.startswith("Promoted: 6-digit addition 0.337 → 0.989 (+0.652, 95 % CI 0.620 to 0.682), nothing lost.")


def test_a_loss_is_significant_at_the_whole_alpha_of_the_recipe(tmp_path: Path, empty_database: Path) -> None:
    def worse(node: Generation) -> Generation:
        test = node.decision.improvement.model_copy(update={"gained": 3, "lost": 12, "p_value": 0.035, "alpha": 0.0125})
        return node.model_copy(update={"decision": node.decision.model_copy(update={"improvement": test})})

    made = fresh(tmp_path, empty_database, plan=())
    grow(LineageStore(made.root), outcome=REJECTED, change=worse)
    for alpha, said in {0.05: " significantly worse (p 0.035)", 0.01: "not significantly better (p 0.035)"}.items():
        recipe = {**RECIPE, "gate": {**RECIPE["gate"], "alpha": alpha}}
        shutil.rmtree(made.root / "outbox", ignore_errors=True)
        publish(made.root, tracking_uri=made.uri, experiment=None, recipe=recipe, sample_rollouts=0)
        [note] = made.notes(1)
        assert said in note


def test_relatives_of_a_newly_published_generation_show_it(own: Published) -> None:
    grow(LineageStore(own.root), outcome=REJECTED)
    grow(LineageStore(own.root), outcome=PROMOTED)
    assert own.put() == [4, 5]
    runs = {number: f"gen-{number}](#/experiments/1/runs/{receipt.run_id}" for number, receipt in own.receipts.items()}
    [parent], [sibling], [child] = own.notes(3), own.notes(4), own.notes(5)
    assert runs[4] in parent and runs[5] in parent and "no children yet" not in parent
    assert f"sibling [{runs[5]}" in sibling and f"parent [{runs[3]}" in sibling
    assert f"sibling [{runs[4]}" in child and "no children yet" in child


def test_notes_that_were_not_refreshed_are_by_the_next_publication(
    own: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise MlflowException("the connection broke")

    grow(LineageStore(own.root), outcome=REJECTED)
    with monkeypatch.context() as patch:
        patch.setattr(Pages, "refresh", broken)
        with pytest.raises(TrackingError, match="the connection broke"):
            own.put()
    assert "no children yet" in own.notes(3).pop()
    assert own.put() == []
    assert "child [gen-4](" in own.notes(3).pop()


def test_one_more_generation_rewrites_the_notes_of_its_relatives_alone(
    own: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    real = ModelRegistryClient.update_model_version

    def counted(self: ModelRegistryClient, name: str, version: str, description: str) -> Any:
        written.append(version)
        return real(self, name, version, description)

    grow(LineageStore(own.root), outcome=REJECTED)
    monkeypatch.setattr(ModelRegistryClient, "update_model_version", counted)
    own.put()
    assert sorted(written) == sorted(own.receipts[number].version for number in (3, 4))


def test_the_pages_behind_the_bar_are_artifacts_of_the_run(published: Published) -> None:
    for number, receipt in published.receipts.items():
        folder = published.root.parent / "mlflow-artifacts" / receipt.run_id / "artifacts"
        for path in (sheets.GATE, sheets.RESULTS, sheets.DATA, sheets.VERIFIERS, sheets.COST):
            page = (folder / path).read_text()
            assert page.startswith("# ") and f"gen-{number}" in page.splitlines()[0]
            assert f"[run](#/experiments/{receipt.experiment_id}/runs/{receipt.run_id}" in page


def test_sampled_rollouts_are_traces_with_model_group_and_verdict(published: Published) -> None:
    parent = published.receipts[1]
    found = published.traces(3)
    assert len(found) == 16
    groups = Counter(trace.info.tags["group"] for trace in found)
    assert sorted(groups.values()) == [8, 8] and all(name.startswith("g3.s0.u") for name in groups)
    for trace in found:
        info, [span] = trace.info, trace.data.spans
        assert info.trace_metadata["mlflow.modelId"] == parent.model_id, "gen-1 answered what gen-3 learnt from"
        assert (info.tags["model"], info.tags["generation"]) == ("gen-1", "gen-3")
        assert span.inputs == {"prompt": info.request_preview} and span.outputs == {"completion": info.response_preview}
        [judged] = info.assessments
        assert (judged.name, judged.source.source_type, judged.source.source_id) == ("exact", "CODE", "exact@v1")
        right = info.tags["verdict"] == Status.PASS
        assert judged.feedback.value == float(right)
        reason = "equals the reference" if right else "differs from the reference"
        assert judged.rationale == f"{info.tags['verdict']}: {reason}"


def test_the_bases_samples_are_of_its_own_model(published: Published) -> None:
    found = published.traces(0)
    assert found and {trace.info.tags["generation"] for trace in found} == {"gen-0"}


def test_a_second_publication_makes_no_trace_twice(own: Published) -> None:
    before = {number: {trace.info.trace_id for trace in own.traces(number)} for number in range(4)}
    assessed = sum(len(trace.info.assessments) for trace in own.traces(3))
    for receipt in own.receipts.values():
        own.client.set_tag(receipt.run_id, "bootstrap.published", "")
    shutil.rmtree(own.root / "outbox")
    assert own.put(sample_rollouts=8) == [0, 1, 2, 3]
    assert {number: {trace.info.trace_id for trace in own.traces(number)} for number in range(4)} == before
    assert sum(len(trace.info.assessments) for trace in own.traces(3)) == assessed == 8


@pytest.mark.parametrize(("operation", "after"), [("start_trace", 11), ("log_spans", 1)])
def test_traces_that_broke_off_are_made_whole_by_the_next_publication(
    tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch, operation: str, after: int
) -> None:
    made = fresh(tmp_path, empty_database, plan=(PROMOTED,))
    left = after
    real = getattr(TracingClient, operation)

    def broken(*args: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise MlflowException("the connection broke")
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(TracingClient, operation, broken)
        with pytest.raises(TrackingError, match="the connection broke"):
            made.put(sample_rollouts=8)
    assert made.put(sample_rollouts=8) == [1]
    assert [[len(trace.data.spans) for trace in made.traces(number)] for number in (0, 1)] == [[1] * 8] * 2
    experiment = made.receipts[0].experiment_id
    assert len(made.client.search_traces(locations=[experiment], max_results=100)) == 16


def test_what_could_not_be_judged_has_an_error_and_no_score(
    tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = lineage_factory._rollouts

    def unjudged(*args: Any, **named: Any) -> Any:
        rollouts, verdicts, selections = plain(*args, **named)
        doubtful = {"status": Status.UNVERIFIABLE, "reward": None, "breakdown": {}, "reason": "the sandbox broke"}
        return rollouts, [replace(verdict, **doubtful) for verdict in verdicts], selections

    monkeypatch.setattr(lineage_factory, "_rollouts", unjudged)
    made = fresh(tmp_path, empty_database, plan=(PROMOTED,))
    made.put(sample_rollouts=8)
    for trace in made.traces(1):
        [judged] = trace.info.assessments
        assert judged.feedback.value is None
        assert (judged.feedback.error.error_code, judged.feedback.error.error_message) == (
            "UNVERIFIABLE",
            "the sandbox broke",
        )


def test_the_parts_of_a_reward_are_assessments_of_their_own(
    tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = lineage_factory._rollouts

    def by_parts(*args: Any, **named: Any) -> Any:
        rollouts, verdicts, selections = plain(*args, **named)
        parts = {"breakdown": {"form": 0.5, "right": 1.0}}
        return rollouts, [replace(verdict, **parts) for verdict in verdicts], selections

    monkeypatch.setattr(lineage_factory, "_rollouts", by_parts)
    made = fresh(tmp_path, empty_database, plan=(PROMOTED,))
    made.put(sample_rollouts=8)
    scores = {one.name: one.feedback.value for one in made.traces(1)[0].info.assessments}
    assert set(scores) == {"exact", "exact/form", "exact/right"} and scores["exact/form"] == 0.5


def test_the_number_of_traces_is_bounded_and_so_are_the_ids_of_one_request(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: list[int] = []
    monkeypatch.setattr(TracingClient, "log_spans", lambda _, __, spans: parts.append(len(spans)))
    monkeypatch.setattr(TracingClient, "start_trace", lambda _, info: info)
    row = {
        **dict.fromkeys(("prompt", "answer", "verdict", "use", "judge", "version", "reason", "finish"), "x"),
        **{"policy": "p", "group": "g", "seed": 1, "level": 1, "reward": 1.0, "components": {}},
        **{"prompt_tokens": 1, "tokens": 2},
    }
    rows = [{**row, "rollout": f"g1.s0.u0.p0.k{number}"} for number in range(2000)]
    own = published.receipts[3]
    logged = traces.log(
        published.client,
        rows,
        experiment_id=own.experiment_id,
        run_id=own.run_id,
        generation="gen-3",
        producers={"p": ("gen-1", None)},
        at=1,
    )
    assert logged == sum(parts) == traces.MOST and max(parts) <= 50


def test_a_server_that_takes_no_spans_shows_the_beginnings_and_the_scores(
    tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise NotImplementedError("this server is older than 3.4")

    monkeypatch.setattr(TracingClient, "log_spans", refuse)
    made = fresh(tmp_path, empty_database, plan=(PROMOTED,))
    assert made.put() == [0, 1]
    own = made.receipts[1]
    found = made.client.search_traces(locations=[own.experiment_id], run_id=own.run_id, include_spans=False)
    assert len(found) == 16 and all(trace.info.response_preview and trace.info.assessments for trace in found)


def test_data_sets_have_schema_rows_and_a_sample(published: Published) -> None:
    inputs = published.client.get_run(published.receipts[3].run_id).inputs.dataset_inputs
    by_name = {item.dataset.name: item.dataset for item in inputs}
    assert all(json.loads(data.schema)["mlflow_colspec"] for data in by_name.values())
    rollouts = by_name["rollouts-gen-3-step-0"]
    columns = {column["name"]: column["type"] for column in json.loads(rollouts.schema)["mlflow_colspec"]}
    assert (columns["prompt_text"], columns["level"], columns["tokens"]) == ("string", "long", "array")
    profile = json.loads(rollouts.profile)
    assert profile["num_rows"] == 48 and "21+40=" in profile["row_1"]
    assert all(len(str(value)) <= 80 for value in profile.values()), "MLflow cuts longer ones"


def test_the_experiment_has_a_saved_view_and_one_line_with_a_link_to_the_picture(published: Published) -> None:
    own = published.receipts[0]
    kept = published.client.get_experiment(own.experiment_id).tags
    state = json.loads(json.loads(kept[f"mlflow.sharedViewState.bootstrap-{own.lineage_run_id}"])["state"])
    runs = published.client.search_runs([own.experiment_id], state["searchFilter"])
    assert {run.info.run_name for run in runs} == {"gen-0", "gen-1", "gen-2", "gen-3"}
    ordered = published.client.search_runs(
        [own.experiment_id], state["searchFilter"], order_by=[f"{state['orderByKey']} DESC"]
    )
    assert [run.info.run_name for run in ordered] == ["gen-3", "gen-2", "gen-1", "gen-0"]
    note = kept["mlflow.note.content"]
    assert "\n" not in note and f"[picture]({tracking.lineage_url('', '1', own.lineage_run_id)[1:]})" in note


def test_several_lineages_of_one_experiment_each_have_their_view_and_their_picture(
    tmp_path: Path, empty_database: Path
) -> None:
    made = fresh(tmp_path, empty_database, plan=())
    build(tmp_path / "other", plan=(), name="other")
    made.put(experiment="both")
    replace(made, root=tmp_path / "other").put(experiment="both")
    made.put(experiment="both")
    kept = made.client.get_experiment_by_name("both").tags
    assert sorted(views.lineages(kept).values()) == ["addition", "other"]
    assert "[addition](" in kept["mlflow.note.content"] and "[other](" in kept["mlflow.note.content"]


def test_what_people_read_was_logged_before_what_machines_need(published: Published) -> None:
    data = published.client.get_run(published.receipts[3].run_id).data
    assert set(list(data.tags)[:6]) == set(tags.SHOWN)
    assert {key: data.tags[key] for key in ("gate", "target", "gain", "frontier", "parent")} == {
        "gate": "promoted",
        "target": "level 6",
        "gain": "+65.2 pp",
        "frontier": "6",
        "parent": "gen-1",
    }
    keys = list(data.metrics)
    assert set(keys[:4]) == {"accuracy", "gain", "frontier", "generation"}
    assert keys[-1].startswith("cost/")
