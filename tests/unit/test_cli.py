"""The command line: what each command prints, and how every mistake ends in one message and its own exit code."""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support import lineage_factory, tiny

from bootstrap import errors, provenance
from bootstrap.bench.workers import WorkersRow
from bootstrap.canonical import canonical_json
from bootstrap.cli import bench, ui
from bootstrap.cli import command as commands
from bootstrap.cli.main import EPILOG, INTERRUPTED, main
from bootstrap.cli.run import environment, num_workers, split
from bootstrap.cli.show import print_generation
from bootstrap.cli.sync import where_to_look
from bootstrap.cli.target import chosen, recall, remember
from bootstrap.config.load import load_recipe
from bootstrap.config.resources import Tracking
from bootstrap.lineage import queries, text
from bootstrap.lineage.outbox import Outbox, Receipt
from bootstrap.store import durable
from bootstrap.store.lineage_store import HEADER_NAME, Header, LineageStore

TINY = """\
name: tiny
task: {type: copy, base_level: 2}
base:
  model: {type: scratch, hidden_size: 16, intermediate_size: 16, num_layers: 1, num_heads: 2}
  steps: [{type: sft, updates: 2, batch_size: 8}]
generations:
  count: 1
  steps: [{type: rl, rounds: 2, prompts_per_update: 2, group_size: 2, distillation: {batch_size: 4}}]
evaluation: {prompts_per_level: 10, lookahead: 0, sampled: null}
gate: {min_prompts: 10}
"""


@pytest.fixture
def store(tmp_path: Path, recipe_path: Path) -> Path:
    root = tmp_path / "runs" / "addition"
    lineage_factory.build(root)
    # The factory's header names no real recipe; what is exported tells where the lineage began.
    recipe = load_recipe(recipe_path)
    header = Header(lineage="addition", identity=recipe.identity(), digest=recipe.digest())
    durable.write_file(root / HEADER_NAME, canonical_json(header.model_dump(mode="json")))
    return tmp_path / "runs"


@pytest.fixture
def recipe_path(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


def output(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    assert main([str(argument) for argument in arguments]) == code
    return capsys.readouterr().out


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object, code: int) -> str:
    """Return the one message of a command that must fail with `code`."""
    assert main([str(argument) for argument in arguments]) == code
    message = capsys.readouterr().err
    assert message.startswith("error: ") and "Traceback" not in message
    return message.removeprefix("error: ").rstrip("\n")


def test_help_shows_every_command_an_example_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "--help")
    for name in (
        "run",
        "submit",
        "jobs",
        "attach",
        "stop",
        "plan",
        "lineage",
        "show",
        "export",
        "verify",
        "ui",
        "schema",
    ):
        assert f"\n  {name} " in text
        assert "Example" in output(capsys, name, "--help")
    assert "bootstrap run pipelines/quickstart.yaml" in text
    assert "130  stopped by Ctrl-C" in text
    assert "another driver holds the lineage" in text


def test_the_documented_exit_codes_are_those_of_the_errors() -> None:
    documented = [int(line.split()[0]) for line in EPILOG.splitlines() if line.strip()[:1].isdigit()]
    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    assert codes == {1, 2, 3, 4, 5, 6, 7, 8}
    assert documented == [0, *sorted(codes), INTERRUPTED], "each once"


def test_lineage_prints_the_outcome_table(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "lineage")
    assert "gen-3 *" in text
    assert "rejected" in text
    assert "98.9 % (98.3-99.5)" in text
    assert "champion: gen-3, frontier level 6" in text


def test_lineage_speaks_json(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(output(capsys, "lineage", "--json"))["addition"]
    assert [row["status"] for row in rows] == ["base", "promoted", "rejected", "promoted"]
    assert {"name", "decision", "reason", "parent", "teachers", "fingerprint", "frontier"} <= rows[0].keys()
    assert {"tokens", "flops", "seconds"} <= rows[0].keys()
    assert rows[1]["accuracy"]["5"].keys() >= {"accuracy", "low", "high"}


def test_lineage_shows_every_lineage_of_the_store(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lineage_factory.build(store / "second", plan=(), name="second")
    assert json.loads(output(capsys, "lineage", "--json")).keys() == {"addition", "second"}
    assert json.loads(output(capsys, "lineage", "--json", "--lineage", "second")).keys() == {"second"}


def test_show_tells_all_of_one_generation(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "show", "champion")
    node = LineageStore(store / "addition").ledger.read()[3].generation
    for expected in (
        node.name,
        node.fingerprint,
        node.decision.reason,
        "improvement",
        "retention",
        "majority",
        "panel: copy",
    ):
        assert expected in text
    shown = json.loads(output(capsys, "show", "2", "--json"))
    assert shown["name"] == "gen-2"
    assert shown["accounting"]["rollouts"] == 48


def test_show_tells_diagnostics_and_which_guards_it_broke(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = {line.split()[0]: line.split() for line in output(capsys, "show", "gen-2").splitlines() if line.split()}
    assert lines["truncated"] == ["truncated", "0.25", "max", "0.1", "broken:", "warn"]
    assert lines["entropy"] == ["entropy", "0.21"]
    assert "kl_parent" not in lines, "what was not measured is not shown"
    assert "broken" not in output(capsys, "show", "gen-3")


def test_show_tells_in_which_precision_a_generation_was_computed(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = queries.show(LineageStore(store / "addition").ledger.read(), "1")
    shown["measured"]["environment"]["precision"] = "bf16"
    print_generation(shown)
    assert ["precision", "bf16"] in [line.split() for line in capsys.readouterr().out.splitlines()]


def test_square_brackets_in_foreign_text_are_printed_as_they_are(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = queries.show(LineageStore(store / "addition").ledger.read(), "1")
    shown["reason"] = "[red]not markup[/red]"
    shown["artifacts"]["weights"]["path"] = "artifacts/[bold]x"
    print_generation(shown)
    text = capsys.readouterr().out
    assert "[red]not markup[/red]" in text
    assert "artifacts/[bold]x" in text


def test_export_copies_the_model_and_adds_its_card(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "exports" / "model"
    assert "gen-3" in output(capsys, "export", "champion", folder)
    found = LineageStore(store / "addition")
    weights = found.artifact(found.ledger.read()[3].generation.artifacts["weights"]).read_all()
    copied = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert copied.keys() == weights.keys() | {"README.md", "generation.json"}
    assert all(copied[name] == content for name, content in weights.items() if name != "README.md")
    assert b"generation 3" in copied["README.md"]
    assert "is not an empty folder" in refusal(capsys, "export", "1", folder, code=2)


def test_export_refuses_damaged_weights(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = LineageStore(store / "addition")
    path = found.artifact(found.ledger.read()[3].generation.artifacts["weights"]).path / "model.safetensors"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert "is corrupt" in refusal(capsys, "export", "champion", tmp_path / "model", code=3)
    assert not (tmp_path / "model").exists()


def test_verify_counts_what_agrees_and_fails_on_what_does_not(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = LineageStore(store / "addition").ledger.path(1)
    record.chmod(0o644)
    record.write_bytes(record.read_bytes().replace(b'"seed":7', b'"seed":8'))
    text = output(capsys, "verify", code=3)
    assert "lineage addition: " in text
    assert "000001.json is corrupt" in text
    report = json.loads(output(capsys, "verify", "--json", code=3))
    assert any("000001.json" in problem["message"] for problem in report["addition"]["problems"])


def test_schema_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(output(capsys, "schema"))["title"] == "bootstrap recipe"


def test_plan_touches_nothing(recipe_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "plan", recipe_path)
    assert "2 generations to go" in text
    plan = json.loads(output(capsys, "plan", recipe_path, "generations.count=4", "--json", "--workers", 3))
    assert len(plan["generations"]) == 5
    assert plan["workers"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


def test_plan_says_what_run_would_refuse(store: Path, recipe_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = json.loads(output(capsys, "plan", recipe_path, "--lineage", "addition", "--json"))
    assert (same["notes"], same["generations"][0]["status"]) == ([], "base")
    other = json.loads(output(capsys, "plan", recipe_path, "seed=1", "--lineage", "addition", "--json"))
    assert {row["status"] for row in other["generations"]} == {"planned"}
    assert "`run` refuses" in other["notes"][0] and "changed: seed: 0 -> 1" in other["notes"][0]
    said = refusal(capsys, "run", recipe_path, "seed=1", "--lineage", "addition", "--local", code=3)
    assert "changed: seed: 0 -> 1" in said


def test_commands_are_named_as_they_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = tmp_path / "my venv" / "bin"
    scripts.mkdir(parents=True)
    monkeypatch.setattr(sys, "executable", str(scripts / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    assert commands.command("ui") == f"'{scripts}/python' -m bootstrap ui"
    script = scripts / "bootstrap"
    script.touch(mode=0o755)
    assert commands.command("ui", "--store", Path("a b")) == "'my venv/bin/bootstrap' ui --store 'a b'"
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    assert commands.command("ui") == f"'{script}' ui"
    foreign = tmp_path / "else" / "bootstrap"
    foreign.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(foreign.parent))
    assert commands.command("ui") == f"'{script}' ui"
    monkeypatch.setenv("PATH", str(scripts))
    assert commands.command("ui") == "bootstrap ui"


def test_what_is_printed_to_be_copied_runs_this_program(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spaced = store.rename(store.with_name("my runs"))
    text = output(capsys, "lineage", "--store", spaced)
    words = shlex.split(text.partition("export it with: ")[2])
    assert words[-7:] == ["export", "champion", "DIR", "--store", str(spaced), "--lineage", "addition"]
    answer = subprocess.run([*words[:-7], "--version"], capture_output=True, text=True, check=False, env=environ())
    assert answer.stdout.startswith("bootstrap ")
    shown = where_to_look(
        LineageStore(spaced / "addition"), tracking_uri=f"sqlite:///{spaced}/mlflow.db", experiment=None
    )
    assert f"ui --store '{spaced}'`" in shown


def publish_marker(store: LineageStore, *, uri: str, experiment: str) -> None:
    """Leave what a publication of the last generation leaves."""
    entry = store.ledger.read()[-1]
    ids = {"experiment_id": "77", "lineage_run_id": "r", "run_id": "r", "model_id": "m", "version": "1"}
    outbox = Outbox(store.root, tracking_uri=uri, experiment=experiment)
    outbox.mark(entry.generation.number, Receipt(hash=entry.hash, **ids))


def test_a_stores_own_database_moves_with_the_store(store: Path) -> None:
    remember(LineageStore(store / "addition"), Tracking(), tracking_uri=f"sqlite:///{store}/mlflow.db")
    moved = store.rename(store.with_name("moved"))
    assert chosen(LineageStore(moved / "addition")).uri == f"sqlite:///{moved}/mlflow.db"


def test_sync_publishes_to_where_the_last_run_did(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = LineageStore(store / "addition")
    remember(found, Tracking(), tracking_uri="http://127.0.0.1:9")
    assert "127.0.0.1:9 cannot be reached" in refusal(capsys, "lineage", "--sync", code=6)


def test_ui_names_the_pages_on_a_tracking_server_and_starts_none(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ui, "wait_for_ctrl_c", stopped)
    monkeypatch.setattr(ui, "serve", lambda *_, **__: pytest.fail("MLflow was started"))
    handler = signal.getsignal(signal.SIGTERM)
    found = LineageStore(store / "addition")
    remember(found, Tracking(experiment="mine"), tracking_uri="http://host:5000")
    assert "not published http://host:5000 yet" in output(capsys, "ui")
    publish_marker(found, uri="http://host:5000", experiment="mine")
    assert "addition in MLflow: http://host:5000/#/experiments/77/runs" in output(capsys, "ui")
    assert "not published http://elsewhere yet" in output(capsys, "ui", "--tracking-uri", "http://elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment")
    assert "not published http://environment yet" in output(capsys, "ui")
    signal.signal(signal.SIGTERM, handler)


def test_ui_serves_the_database_of_the_last_run(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, other = LineageStore(store / "addition"), f"sqlite:///{tmp_path}/other.db"
    remember(found, Tracking(), tracking_uri=other)
    seen = list[str]()

    def stopped(uri: str, **_: object) -> None:
        seen.append(uri)
        raise KeyboardInterrupt

    # A real server takes seconds to start; that it shows the pages is tests/browser's to prove.
    monkeypatch.setattr(ui, "serve", stopped)
    handler = signal.getsignal(signal.SIGTERM)
    output(capsys, "ui", "--port", "0")
    lineage_factory.build(store / "second", plan=(), name="second")
    output(capsys, "ui", "--port", "0")
    signal.signal(signal.SIGTERM, handler)
    assert seen == [other, f"sqlite:///{store}/mlflow.db"]


def test_verify_does_not_mind_what_a_run_remembers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lineage_factory.build(tmp_path / "runs" / "addition", plan=())
    remember(LineageStore(tmp_path / "runs" / "addition"), Tracking(), tracking_uri="http://host")
    output(capsys, "verify")


def test_progress_of_a_benchmark_stays_out_of_its_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = WorkersRow(workers=1, updates_per_second=2.0, samples_per_second=3.0, bound_train=0.5)

    def measured(make_pool: object, *, counts: list[int], rounds: int, say: Callable[[str], None]) -> list[WorkersRow]:
        say("round 1 of 1")
        return [row for _ in counts]

    # The measurement itself takes a minute and is not what this is about.
    monkeypatch.setattr(bench, "compare_workers", measured)
    assert main(["bench", "workers", "--workers", "1", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)[0]["workers"] == 1
    assert said.err == "round 1 of 1\n"


def test_submit_names_its_default_store(capsys: pytest.CaptureFixture[str]) -> None:
    from bootstrap.cluster.jobs import DEFAULT_STORE

    assert DEFAULT_STORE in output(capsys, "submit", "--help")


def test_the_split_of_a_run_names_every_stage(store: Path) -> None:
    entries = LineageStore(store / "addition").ledger.read()
    line = split(100.0, start_up=5.0, publishing=2.5, added=entries)
    train = sum(entry.annotations.seconds["train"] for entry in entries)
    assert line.startswith("took 1 min 40 s for 4 generations: start-up 5.0 s, generate ")
    assert f"train {text.duration(train)}, evaluate" in line
    assert line.endswith("publishing 2.5 s")
    assert split(3.0, start_up=1.0, publishing=0.0, added=[]) == (
        "took 3.0 s for 0 generations: start-up 1.0 s, publishing 0.0 s"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["show", "9"], 2, "gen-3"),
        (["show", "chmapion"], 2, "did you mean champion?"),
        (["export", "9", "model"], 2, "gen-3"),
        (["lineage", "--lineage", "adition"], 3, "did you mean addition?"),
        (["lineage", "--store", "nowhere"], 3, "bootstrap run RECIPE"),
        (["plan", "tniy.yaml"], 2, "recipes near by"),
        (["plan", "tiny.yaml", "healt={}"], 2, "healt: no such setting; did you mean diagnostics?"),
        (["verifier", "check", "maths"], 2, "did you mean math?"),
        (["plan", "tiny.yaml", "generations.cuont=3"], 2, "did you mean count?"),
        (["plan", "tiny.yaml", "--lineage", "../up"], 2, "cannot name a lineage"),
        (["plan", "tiny.yaml", "--workers", "0"], 2, "--workers"),
        (["runn"], 2, "Did you mean 'run'?"),
        (["run"], 2, "RECIPE"),
        (["show", "1", "--jsno"], 2, "--json"),
        (["submit", "tiny.yaml"], 2, "--address"),
        (["plan", "tiny.yaml", "--store", 300 * "x"], 3, "cannot read"),
        (["lineage", "--store", 300 * "x"], 3, "cannot read"),
        (["export", "1", 300 * "x"], 3, "cannot read"),
        (["submit", "tiny.yaml", "sed=3", "--address", "http://127.0.0.1:9"], 2, "did you mean seed?"),
    ],
)
def test_wrong_input_ends_in_one_error_with_the_remedy(
    store: Path,
    recipe_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    expected: str,
) -> None:
    assert expected in refusal(capsys, *arguments, code=code)


def test_one_of_several_lineages_must_be_chosen(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lineage_factory.build(store / "second", plan=(), name="second")
    assert "several lineages: addition, second" in refusal(capsys, "show", "champion", code=3)


def test_an_empty_store_says_how_to_begin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for command in ("lineage", "verify", "ui"):
        assert "bootstrap run RECIPE" in refusal(capsys, command, "--store", tmp_path / "empty", code=3)


def test_a_store_that_is_a_file_is_refused(recipe_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is a file" in refusal(capsys, "lineage", "--store", recipe_path, code=3)
    assert "a file stands where a folder is needed" in refusal(
        capsys, "run", recipe_path, "--local", "--store", recipe_path, code=3
    )


def test_debug_lets_the_traceback_through(recipe_path: Path) -> None:
    with pytest.raises(errors.RecipeError):
        main(["plan", str(recipe_path), "x=1", "--debug"])


def test_one_generation_is_told_in_the_singular(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lineage_factory.build(tmp_path / "addition", plan=())
    line = next(line for line in output(capsys, "lineage", "--store", tmp_path).splitlines() if "weights: " in line)
    assert line.endswith("in 1 generation")
    lineage_factory.grow(LineageStore(tmp_path / "addition"), outcome=lineage_factory.PROMOTED)
    assert "B in 2 generations" in output(capsys, "lineage", "--store", tmp_path)
    assert "lineage addition: 2 records, " in output(capsys, "verify", "--store", tmp_path)


def test_an_unreachable_mlflow_has_its_own_exit_code(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal(capsys, "lineage", "--sync", "--tracking-uri", "http://127.0.0.1:9", code=6)
    assert "cannot be reached" in message


def test_workers_are_as_asked_else_as_the_recipe_says_else_one_per_core(recipe_path: Path) -> None:
    cores = min(len(os.sched_getaffinity(0)), 8)
    assert num_workers(load_recipe(recipe_path), None, local=False) == cores
    assert num_workers(load_recipe(recipe_path, ["resources.workers=3"]), None, local=False) == 3
    assert num_workers(load_recipe(recipe_path, ["resources.workers=3"]), 5, local=False) == 5


def test_auto_workers_fill_the_cluster_that_is_joined(recipe_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bootstrap.cluster import connection

    rooms = {"head:6379": 40, "local": None}
    asked = list[tuple[float, float]]()

    def room(
        *, address: str | None, cpus_per_worker: float, gpus_per_worker: float, beside: dict[str, float]
    ) -> int | None:
        asked.append((cpus_per_worker, gpus_per_worker))
        assert beside == {}, "nothing answers but the workers"
        return rooms[str(address)]

    monkeypatch.setattr(connection, "available_workers", room)
    recipe = load_recipe(recipe_path, ["resources.gpus_per_worker=0.5"])
    cores = min(len(os.sched_getaffinity(0)), 8)
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert num_workers(recipe, None, local=False) == 40
    assert num_workers(recipe, None, local=True) == cores
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert num_workers(recipe, None, local=False) == cores
    assert asked == [(1, 0.5), (1, 0.5)]


def test_the_environment_names_ray_job_source_and_samplers(recipe_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = {"metadata": {"job_submission_id": "addition-a1"}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(job))
    monkeypatch.setenv("BOOTSTRAP_GIT_COMMIT", "c" * 40)
    found = environment(load_recipe(recipe_path, ["resources.samplers={processes: 2}"]))
    assert found["samplers"] == "2 with transformers"
    assert found["ray_submission_id"] == "addition-a1"
    assert found["git_commit"] == "c" * 40
    assert len(found["source_sha256"]) == 64


@pytest.mark.training
def test_a_run_ends_with_the_table_and_says_how_to_see_it(
    tmp_path: Path, recipe_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert main(["run", str(recipe_path), "--local", "--workers", "1"]) == 0
    told, complaint = capsys.readouterr()
    assert told.count("warning: MLflow is not up to date") == 1
    # Two updates teach nothing, which is told too.
    assert (told + complaint).count("warning: MLflow") == 1
    assert "lineage tiny" in told and "gen-1" in told
    assert "see it in MLflow: http://127.0.0.1:9" in told
    assert told.splitlines()[-1].startswith("took ")
    assert " for 2 generations: start-up " in told.splitlines()[-1]
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    last = recall(LineageStore(tmp_path / "runs" / "tiny"))
    assert last is not None and last.uri == "http://127.0.0.1:9"
    own = tmp_path / "runs" / "tiny" / "recipe.json"
    assert "see it in MLflow: http://127.0.0.1:9" in output(capsys, "run", own, "--local", "tracking.experiment=mine")
    assert recall(LineageStore(tmp_path / "runs" / "tiny")) == last.model_copy(update={"experiment": "mine"})
    before = {path: path.read_bytes() for path in (tmp_path / "runs" / "tiny" / "ledger").iterdir()}
    output(capsys, "run", recipe_path, "--local", "tracking.uri=http://127.0.0.1:9")
    assert {path: path.read_bytes() for path in before} == before
    assert "changed: seed: 0 -> 1" in refusal(capsys, "run", recipe_path, "seed=1", "--local", code=3)
    undisturbed = tiny.grow(load_recipe(recipe_path), tmp_path / "alone")
    found = LineageStore(tmp_path / "runs" / "tiny").ledger.read()
    assert [entry.hash for entry in found] == [entry.hash for entry in undisturbed], "MLflow decides on nothing"


@pytest.mark.training
def test_a_guard_that_ends_a_run_has_its_own_exit_code_and_is_heeded_until_it_is_overruled(
    recipe_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    guards = "guards=[{metric: model_made, min: 0.001, action: stop}]"
    words = ("run", str(recipe_path), guards, "--local", "--workers", "1")
    assert main(words) == errors.GuardStop.exit_code
    told = capsys.readouterr()
    assert "guard of gen-0: model_made 0 is below 0.001 (stop)" in told.out
    assert "lineage tiny" in told.out and "gen-1" not in told.out
    assert told.err.count("error: ") == 1 and "Traceback" not in told.err
    assert "a guard ended the run at gen-0: model_made 0 is below 0.001 (stop). Look at it with" in told.err
    assert main(words) == errors.GuardStop.exit_code
    assert capsys.readouterr().err == told.err
    note = "note: a guard ended the run at gen-0: model_made 0 is below 0.001 (stop); only --past-guards continues"
    assert note in output(capsys, "plan", recipe_path, guards)
    # The guard ends the next generation's run, too.
    assert "gen-1 rejected" in output(capsys, *words, "--past-guards", code=errors.GuardStop.exit_code)


def test_a_git_that_does_not_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = tmp_path / "git"
    git.write_text("#!/bin/sh\nexec sleep 60\n")
    git.chmod(0o755)
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv(provenance.COMMIT_VARIABLE, raising=False)
    monkeypatch.setattr(provenance, "ROOT", tmp_path / "bootstrap")
    monkeypatch.setattr(provenance, "GIT_SECONDS", 0.2)
    assert provenance.git_commit() is None


@pytest.mark.training
def test_a_polite_stop_says_how_to_continue(recipe_path: Path) -> None:
    command = [sys.executable, "-m", "bootstrap", "run", str(recipe_path), "base.steps.0.updates=100000", "--local"]
    run = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ(),
        # A test suite started in the background ignores Ctrl-C, and its children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert run.stdout is not None
    guard = threading.Timer(600, run.kill)
    guard.start()
    # The first line of progress shows that training is under way.
    assert run.stdout.readline().startswith("generation 0/1 train")
    run.send_signal(signal.SIGINT)
    _, complaint = run.communicate()
    guard.cancel()
    assert run.returncode == 130, complaint
    assert complaint.strip() == "stopped; run the same command again to continue"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_polite_end_by_others_stops_a_run_as_ctrl_c_does(
    number: signal.Signals, recipe_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bootstrap.cli.run.planned", lambda *_, **__: signal.raise_signal(number))
    handlers = {one: signal.signal(one, signal.SIG_DFL) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        assert main(["run", str(recipe_path)]) == INTERRUPTED
    finally:
        for one, handler in handlers.items():
            signal.signal(one, handler)
    assert capsys.readouterr().err == "stopped; run the same command again to continue\n"


def environ() -> dict[str, str]:
    """Return this environment, in which the package under test is found from every folder."""
    root = str(Path(errors.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}


def test_a_command_that_takes_all_lineages_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("lineage", "verify"):
        assert "One lineage; by default all of the store." in output(capsys, name, "--help")
    assert "by default the store's only one" in " ".join(output(capsys, "show", "--help").split())


@pytest.mark.parametrize(
    ("arguments", "usage"),
    [
        (("run",), "RECIPE [KEY=VALUE]..."),
        (("submit",), "RECIPE [KEY=VALUE]..."),
        (("report",), "[LINEAGE]..."),
        (("import",), "SOURCE [DIR]"),
        (("export",), "[GENERATION] [DIR|FILE]"),
        (("reward-model",), "PAIRS DIR"),
        (("verifier", "check"), "[NAME] [KEY=VALUE]..."),
        (("bench", "workers"), ""),
    ],
)
def test_a_usage_line_names_arguments_by_their_metavars(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], usage: str
) -> None:
    told = output(capsys, *arguments, "--help")
    assert told.splitlines()[0] == f"Usage: bootstrap {' '.join(arguments)} [OPTIONS] {usage}".rstrip()
    [listed] = [part for part in told.split("\n\n") if part.startswith("Arguments:")] or [""]
    assert "<" not in listed and all(f"\n  {name} " in listed for name in usage.split())
