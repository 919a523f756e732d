"""A recipe as a Ray job: submitted to a real head it grows its lineage; what cannot work there is refused here."""

import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.job_submission import JobStatus, JobSubmissionClient
from ray.util.state import list_actors, list_tasks

from bootstrap.cli.main import main
from bootstrap.cluster.submit import submit_recipe
from bootstrap.errors import ClusterError, LineageLocked, RecipeError
from bootstrap.store.lineage_store import LineageStore

pytestmark = pytest.mark.ray
RECIPE = """
name: tiny
task: {type: addition, base_level: 1}
base:
  model: {type: scratch, hidden_size: 32, intermediate_size: 64, num_layers: 1, num_heads: 2, max_length: 32}
  steps:
    - {type: sft, updates: 20, batch_size: 16}
generations:
  count: 1
  steps:
    - {type: rl, rounds: 3, prompts_per_update: 4, group_size: 2, checkpoint_every: 2, distillation: {batch_size: 4}}
evaluation: {prompts_per_level: 20, lookahead: 1, sampled: null}
gate: {min_prompts: 5}
resources: {workers: 1, batch_rows: 64, wait_seconds: 120}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    return path


def _submit(recipe: Path, *, address: str, echo: list[str] | None = None, **settings: object) -> int:
    defaults: dict[str, object] = {
        "overrides": [],
        "store": "/nowhere/runs",
        "lineage": None,
        "workers": None,
        "submission_id": None,
        "follow": True,
    }
    sink: list[str] = [] if echo is None else echo
    return submit_recipe(recipe, address=address, echo=sink.append, **{**defaults, **settings})


def test_a_submitted_recipe_grows_its_lineage_and_submitting_again_changes_nothing(
    recipe: Path, tmp_path: Path, ray_head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, log = tmp_path / "runs", []
    # The address given counts, whatever the environment says.
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")
    assert _submit(recipe, address=ray_head, store=str(store), lineage="grown", echo=log) == 0, "\n".join(log)
    assert log[0] == f"submitted job grown-a1 to {ray_head}: lineage grown in {store}"
    assert log[-1] == "job grown-a1 succeeded"
    entries = LineageStore(store / "grown").ledger.read()
    assert [entry.generation.number for entry in entries] == [0, 1]
    environment = entries[1].annotations.environment
    assert environment["ray_submission_id"] == "grown-a1"
    table = "\n".join(log)
    for entry in entries:
        assert entry.generation.outcome in table
    assert entries[1].generation.decision.reason.split(";")[0] in table

    again: list[str] = []
    assert _submit(recipe, address=ray_head, store=str(store), lineage="grown", echo=again) == 0, "\n".join(again)
    assert again[0].startswith("submitted job grown-a2 to")
    assert not any("train" in line for line in again), "a finished lineage was worked on again"
    assert LineageStore(store / "grown").ledger.read() == entries

    # The submission id is the job's key: it shows that job rather than start another, and never one for another.
    known: list[str] = []
    settings = {"store": str(store), "lineage": "grown", "submission_id": "grown-a1"}
    assert _submit(recipe, address=ray_head, echo=known, **settings) == 0
    assert known[0] == f"job grown-a1 exists already on {ray_head}"
    assert known[1:] == log[1:]
    with pytest.raises(RecipeError, match="the settings of generations differ"):
        _submit(recipe, address=ray_head, overrides=["generations.count=2"], **settings)


def test_a_failed_job_returns_its_own_exit_code_and_says_why(recipe: Path, tmp_path: Path, ray_head: str) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    log: list[str] = []
    assert _submit(recipe, address=ray_head, store=str(blocked), lineage="blocked", echo=log) == 3, "\n".join(log)
    assert any(line.startswith("error: ") and str(blocked) in line for line in log)
    assert log[-1].startswith("job blocked-a1 failed: ")


def test_a_viewer_that_leaves_does_not_stop_the_job_and_a_second_submission_is_refused(
    recipe: Path, tmp_path: Path, ray_head: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[str] = []

    def leave_at_first_sight_of_work(line: str) -> None:
        lines.append(line)
        if line.startswith("generation 0/"):
            raise KeyboardInterrupt

    settings = {"overrides": ["base.steps[0].updates=100000"], "store": str(tmp_path / "runs"), "lineage": "left"}
    code = submit_recipe(
        recipe,
        address=ray_head,
        workers=1,
        submission_id=None,
        follow=True,
        echo=leave_at_first_sight_of_work,
        **settings,
    )
    client = JobSubmissionClient(ray_head)
    try:
        assert code == 0
        assert f"bootstrap attach left-a1 --address {ray_head}" in lines[-1]
        assert f"bootstrap stop left-a1 --address {ray_head}" in lines[-1]
        assert not client.get_job_status("left-a1").is_terminal()
        with pytest.raises(LineageLocked, match="bootstrap attach left-a1"):
            _submit(recipe, address=ray_head, **settings)
        _await_names_of_work(ray_head)
        # Asked to stop, the driver ends by itself, long before Ray's patience does.
        assert main(["stop", "left-a1", "--address", ray_head]) == 0
        asked, ended = capsys.readouterr().out.splitlines()
        assert asked.startswith("asked job left-a1 to stop")
        assert ended.startswith(f"job left-a1 is stopped; what it finished is kept in {tmp_path / 'runs'}. ")
        assert client.get_job_status("left-a1") == JobStatus.STOPPED
    finally:
        client.stop_job("left-a1")
    assert main(["stop", "left-a1", "--address", ray_head]) == 0
    assert capsys.readouterr().out == "job left-a1 has ended already: stopped\n"
    assert main(["attach", "left-a1", "--address", ray_head]) == 130
    assert "generation 0/1 train" in capsys.readouterr().out
    assert len(LineageStore(tmp_path / "runs" / "left").ledger.read()) == 0


def _await_names_of_work(address: str) -> None:
    """Return once Ray tells what the job `left-a1` is at: it writes down what happens about once a second."""
    job = JobSubmissionClient(address).get_job_info("left-a1").job_id
    ours = {"address": address, "filters": [("job_id", "=", job)], "detail": True, "raise_on_missing_output": False}
    actors = {actor.name: actor for actor in list_actors(**ours)}
    assert actors["left worker 0"].repr_name == "left worker 0"
    [lock] = [actor for name, actor in actors.items() if name.startswith("lineage /") and name.endswith("/left")]
    assert lock.repr_name.startswith("lock held by process ")
    deadline, names = time.monotonic() + 300, set()
    while "train: step" not in names:
        assert time.monotonic() < deadline, names
        names = {task.name for task in list_tasks(**ours, limit=1000)}
        time.sleep(0.5)


def test_jobs_of_others_are_counted_and_never_stopped(
    recipe: Path, ray_head: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", ray_head)
    client = JobSubmissionClient(ray_head)
    client.submit_job(entrypoint="sleep 600", submission_id="theirs", metadata={"owner": "somebody"})
    try:
        assert main(["jobs", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["other_jobs"] >= 1
        assert "theirs" not in {job["id"] for job in told["jobs"]}
        assert main(["stop", "theirs"]) == 2
        assert "job theirs on" in capsys.readouterr().err
        assert not client.get_job_status("theirs").is_terminal()
        with pytest.raises(RecipeError, match="it is not one of this program's"):
            _submit(recipe, address=ray_head, submission_id="theirs")
    finally:
        client.stop_job("theirs")


def test_a_head_whose_job_agent_finds_its_port_taken_is_told_with_port_and_log(
    recipe: Path, agentless_head: tuple[str, int]
) -> None:
    address, port = agentless_head
    with pytest.raises(ClusterError) as caught:
        _submit(recipe, address=address)
    message = str(caught.value)
    assert f"did not start on port {port}. " in message and "\n" not in message
    assert "--dashboard-agent-listen-port=PORT" in message
    [log] = [word for word in message.split() if word.endswith("/dashboard_agent.log")]
    assert f"port {port}" in Path(log).read_text()


def test_an_address_without_a_job_server_is_refused_in_one_line(recipe: Path) -> None:
    with pytest.raises(ClusterError) as caught:
        _submit(recipe, address="http://127.0.0.1:9")
    assert "no Ray job server answers at http://127.0.0.1:9" in str(caught.value)
    assert "check that the cluster runs" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def another_server() -> Iterator[str]:
    """A web server that is no Ray."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_server_that_is_no_ray_is_told_apart(recipe: Path, another_server: str) -> None:
    with pytest.raises(ClusterError, match="is no Ray job server"):
        _submit(recipe, address=another_server)


def test_a_driver_address_is_refused_with_the_one_to_give(recipe: Path) -> None:
    with pytest.raises(ClusterError, match=r"http://HOST:8265"):
        _submit(recipe, address="ray://head:10001")


def test_a_relative_store_is_refused_because_the_jobs_folder_is_thrown_away(recipe: Path) -> None:
    with pytest.raises(RecipeError, match=r"--store runs is relative.*absolute path"):
        _submit(recipe, address="http://127.0.0.1:9", store="runs")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sqlite:///mlflow.db", "sqlite:////ABSOLUTE"),
        ("http://someone:secret@mlflow:5000", "MLFLOW_TRACKING_PASSWORD in the cluster's own"),
        ("postgresql://h/db?user=a&password=secret", "holds a user name, password or token"),
        ("./mlruns", "names no MLflow store"),
    ],
)
def test_a_tracking_uri_that_loses_the_lineage_or_tells_a_secret_is_refused(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, uri: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        _submit(recipe, address="http://127.0.0.1:9", overrides=[f"tracking.uri={uri}"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(RecipeError, match=message) as caught:
        _submit(recipe, address="http://127.0.0.1:9")
    assert "secret" not in str(caught.value)


def test_a_model_folder_relative_to_the_recipe_is_refused(recipe: Path, tmp_path: Path) -> None:
    from bootstrap.config.base_model import ScratchModel
    from bootstrap.pool import LocalPool

    pool = LocalPool(1, batch_rows=8)
    pool.build(ScratchModel(hidden_size=8, num_heads=1), "0123456789+=", seed=0)
    (tmp_path / "model").mkdir()
    for name, content in pool.export().files.items():
        (tmp_path / "model" / name).write_bytes(content)
    with pytest.raises(RecipeError, match=r"base.model.path model is relative to the recipe"):
        _submit(
            recipe, address="http://127.0.0.1:9", overrides=["base.model={type: folder, path: model}", "base.steps=[]"]
        )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task={type: file, path: rows.jsonl, alphabet: '01'}", r"task\.path rows\.jsonl is relative"),
        (
            "task={type: mixture, base_level: 1, parts: {a: {task: {type: file, path: rows.jsonl, alphabet: '01'}}, "
            "b: {task: {type: file, path: /shared/b.jsonl, alphabet: '01'}}}}",
            r"task\.parts\.a\.task\.path rows\.jsonl is relative",
        ),
        (
            "evaluation.panel={other: {task: {type: file, path: rows.jsonl, alphabet: '0123456789+='}}}",
            r"evaluation\.panel\.other\.task\.path rows\.jsonl is relative",
        ),
        (
            "verifier={type: rubric, components: [{name: right, verifier: {type: exact}}, "
            "{name: good, verifier: {type: reward_model, model: {path: judge}}, weight: 0.1}]}",
            r"verifier\.components\[1\]\.verifier\.model\.path judge is relative",
        ),
    ],
)
def test_every_file_and_folder_relative_to_the_recipe_is_refused(recipe: Path, override: str, message: str) -> None:
    overrides = [override, "base.model.max_length=512"]
    with pytest.raises(RecipeError, match=f"{message} to the recipe.*are not uploaded; put it on"):
        _submit(recipe, address="http://127.0.0.1:9", overrides=overrides)
    with pytest.raises(ClusterError):
        absolute = override.replace("path: rows", "path: /shared/rows").replace("path: judge", "path: /shared/judge")
        _submit(recipe, address="http://127.0.0.1:9", overrides=[absolute, *overrides[1:]])


def test_every_relative_place_of_rows_is_named(recipe: Path) -> None:
    hub = "{hub: someone/rows, split: train, revision: " + "a" * 40 + "}"
    task = f"task={{type: file, path: [rows.jsonl, /shared/b.csv, {hub}], heldout: test, alphabet: '01'}}"
    with pytest.raises(RecipeError, match=r"task\.path rows\.jsonl, task\.heldout test are relative to the recipe"):
        _submit(recipe, address="http://127.0.0.1:9", overrides=[task, "base.model.max_length=512"])


def test_all_that_is_relative_to_the_recipe_is_named_at_once(recipe: Path) -> None:
    overrides = ["base.model={type: folder, path: model}", "base.steps=[]"]
    overrides.append("evaluation.panel={other: {task: {type: file, path: rows.jsonl, alphabet: '01'}}}")
    with pytest.raises(
        RecipeError, match=r"base\.model\.path model, evaluation\.\S+ rows\.jsonl are relative.* put them"
    ):
        _submit(recipe, address="http://127.0.0.1:9", overrides=overrides)
