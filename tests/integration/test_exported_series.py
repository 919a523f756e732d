"""A run's figures reach the metrics agent of Ray's node, and the dashboards ask for what is there."""

import json
import re
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from bootstrap.cli.run import run_recipe
from bootstrap.cluster.telemetry import RayTelemetry, series
from bootstrap.config.recipe import Recipe
from bootstrap.errors import WorkerError
from bootstrap.planning.plan import make_plan
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

pytestmark = pytest.mark.ray
RECIPE = """
name: watched
task: {type: addition, base_level: 1}
base:
  model: {type: scratch, hidden_size: 32, intermediate_size: 64, num_layers: 1, num_heads: 2, max_length: 32}
  steps:
    - {type: sft, updates: 20, batch_size: 16}
generations:
  count: 1
  steps:
    - {type: rl, rounds: 3, prompts_per_update: 4, group_size: 2, checkpoint_every: 2, distillation: {batch_size: 4}}
evaluation: {prompts_per_level: 20, lookahead: 1, sampled: {prompts: 8, samples: 4, k: 2}}
gate: {min_prompts: 5}
guards:
  - {metric: entropy, max: 0.0, action: warn}
resources: {workers: 2, batch_rows: 64, wait_seconds: 120}
tracking: {uri: "http://127.0.0.1:9"}
"""
DASHBOARDS = sorted((Path(__file__).parents[2] / "infra" / "grafana" / "dashboards").glob("*.json"))
LINE = re.compile(r"(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
NAME = re.compile(r"\bray_\w+")
SECONDS = 600
OTHER = r"gr\\xf6\\xdfe"
"""The second lineage's name: Ray knows ASCII alone, and Prometheus doubles backslashes."""
LAST = {*((name, "watched") for name in series()), ("ray_bootstrap_errors_total", OTHER)}


class Sample(NamedTuple):
    """One line of what Prometheus would read."""

    name: str
    labels: dict[str, str]
    value: float


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Iterator[list[Entry]]:
    """Grow a tiny lineage whose guard always warns, then a second one that a worker's death ends; return the first.

    MLflow does not answer. The gauges last until the tests are done, as they do in a run that goes on.
    """
    folder, kept, handler = tmp_path_factory.mktemp("watched"), [], signal.getsignal(signal.SIGTERM)
    recipe = folder / "watched.yaml"
    recipe.write_text(RECIPE)

    class Kept(RayTelemetry):
        def close(self) -> None:
            kept.append(super().close)

    def die(*_: object, **__: object) -> None:
        raise WorkerError("a worker died")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bootstrap.cluster.pool.RayTelemetry", Kept)
        run_recipe(recipe, [], store=folder / "runs", lineage=None, workers=None, local=False)
        patch.undo()
        patch.setattr("bootstrap.loop.run", die)
        with pytest.raises(WorkerError):
            run_recipe(recipe, [], store=folder / "others", lineage="größe", workers=1, local=False)
    signal.signal(signal.SIGTERM, handler)
    yield LineageStore(folder / "runs" / "watched").ledger.read()
    for close in kept:
        close()


def _samples() -> list[Sample]:
    """Return what the node's agent exports of the lineage now."""
    import ray

    [node] = ray.nodes()
    with urllib.request.urlopen(f"http://127.0.0.1:{node['MetricsExportPort']}/metrics", timeout=10) as answer:
        lines = [LINE.fullmatch(line) for line in answer.read().decode().splitlines() if not line.startswith("#")]
    found = [Sample(line["name"], dict(LABEL.findall(line["labels"] or "")), float(line["value"])) for line in lines]
    return found


@pytest.fixture(scope="module")
def exported(grown: list[Entry]) -> list[Sample]:
    """Return what the agent exports once every series is there; it is told of them every ten seconds."""
    deadline = time.monotonic() + SECONDS
    while True:
        found = _samples()
        missing = LAST - {(sample.name, sample.labels.get("lineage")) for sample in found}
        if not missing:
            return found
        assert time.monotonic() < deadline, f"not exported within {SECONDS} s: {sorted(missing)}"
        time.sleep(1)


def _by(found: list[Sample], name: str, label: str, *, lineage: str = "watched") -> dict[str, float]:
    totals: Counter[str] = Counter()
    for sample in found:
        if sample.name == name and sample.labels["lineage"] == lineage:
            totals[sample.labels[label]] += sample.value
    return dict(totals)


def _one(found: list[Sample], name: str) -> float:
    [value] = [sample.value for sample in found if sample.name == name and sample.labels["lineage"] == "watched"]
    return value


def test_what_is_exported_agrees_with_the_ledger(grown: list[Entry], exported: list[Sample]) -> None:
    newest = grown[-1].generation
    assert _one(exported, "ray_bootstrap_generation") == newest.number == 1
    assert _one(exported, "ray_bootstrap_frontier") == newest.report.frontier
    assert _one(exported, "ray_bootstrap_champion") == newest.champion
    target = newest.report.level(min(newest.target_levels))
    assert target is not None
    assert _one(exported, "ray_bootstrap_target_accuracy") == target.accuracy
    levels = {str(row.level): row.accuracy for row in newest.report.levels}
    assert _by(exported, "ray_bootstrap_accuracy", "level") == levels
    outcomes = Counter(entry.generation.outcome.value for entry in grown)
    assert _by(exported, "ray_bootstrap_gate_decisions_total", "outcome") == outcomes
    tokens = sum((Counter(entry.generation.compute.tokens) for entry in grown), Counter())
    assert _by(exported, "ray_bootstrap_tokens_total", "stage") == tokens
    assert sum(_by(exported, "ray_bootstrap_verdicts_total", "status").values()) == sum(
        entry.generation.compute.verdicts for entry in grown
    )
    findings = Counter(finding.action.value for entry in grown for finding in entry.generation.diagnostics.findings)
    assert findings
    assert _by(exported, "ray_bootstrap_guard_findings_total", "action") == findings


def test_what_goes_wrong_is_exported(exported: list[Sample]) -> None:
    assert _by(exported, "ray_bootstrap_errors_total", "kind", lineage=OTHER) == {"WorkerError": 1}
    assert _by(exported, "ray_bootstrap_errors_total", "kind") == {"TrackingError": 1}
    assert _one(exported, "ray_bootstrap_outbox_length") == 2, "nothing could be published"


def test_waiting_and_stages_are_timed(exported: list[Sample]) -> None:
    waited = _by(exported, "ray_bootstrap_waiting_seconds_total", "what")
    assert {"places for the workers", "the start of the workers", "rollouts", "update"} <= set(waited)
    seconds = _by(exported, "ray_bootstrap_stage_seconds_total", "stage")
    assert {"train", "generate", "evaluate", "score"} <= set(seconds)
    assert all(value > 0 for value in [*waited.values(), *seconds.values()])


def test_both_workers_tell_what_they_do(exported: list[Sample]) -> None:
    busy = _by(exported, "ray_bootstrap_worker_busy_seconds_total", "worker")
    assert set(busy) == {"0", "1"} and all(seconds > 0 for seconds in busy.values())
    methods = _by(exported, "ray_bootstrap_worker_busy_seconds_total", "method")
    assert {"generate", "step"} <= set(methods)
    assert set(_by(exported, "ray_bootstrap_worker_busy_seconds_total", "role")) == {"worker"}


def test_what_workers_get_of_each_other_is_what_a_plan_says(grown: list[Entry], exported: list[Sample]) -> None:
    recipe = Recipe.model_validate(yaml.safe_load(RECIPE))
    received = _by(exported, "ray_bootstrap_received_bytes_total", "what")
    planned = 2 * (20 + 3) * make_plan(recipe, lineage="watched", workers=2).bytes_per_update
    assert received == {"updates": pytest.approx(planned, rel=0.1)}


def test_one_stage_is_at_work(exported: list[Sample]) -> None:
    stages = _by(exported, "ray_bootstrap_stage", "stage")
    assert {"train", "evaluate", "diagnose"} <= set(stages)
    assert [stage for stage, at_work in stages.items() if at_work] == ["diagnose"], "the last stage of the generation"


@pytest.mark.parametrize("path", DASHBOARDS, ids=[path.stem for path in DASHBOARDS])
def test_the_node_exports_every_series_that_a_dashboard_asks_for(path: Path, exported: list[Sample]) -> None:
    asked = {name for expression in expressions(json.loads(path.read_text())) for name in NAME.findall(expression)}
    assert asked and asked <= {sample.name for sample in exported}


def expressions(dashboard: dict[str, object]) -> list[str]:
    """Return the queries of a dashboard's panels and variables."""
    panels = [one for panel in dashboard["panels"] for one in [panel, *panel.get("panels", [])]]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    return queries + [v["query"]["query"] for v in dashboard["templating"]["list"] if v["type"] == "query"]
