"""A run's figures as Prometheus series, through the metrics agent that every Ray node has.

    driver ---- RayTelemetry -----+
    workers --- WorkerTelemetry --+---> agent of the node ---> Prometheus ---> Grafana (`infra/grafana/`)

Ray prefixes each name with `ray_` and adds labels of its own (node, process); counters end in `_total`. A process hands
on its figures every ten seconds and once more when it ends. The agent forgets a gauge that is not set again within two
such intervals, so a thread repeats them while the run lasts; counters stay. Recording one figure takes microseconds.
Series of one lineage carry its name as a label; text that a model wrote is never one.
"""

import threading
from collections.abc import Mapping
from typing import Any

from ray.util.metrics import Counter, Gauge

from bootstrap.records import Event, Generation, Status
from bootstrap.telemetry import Telemetry

PREFIX = "bootstrap_"
REPEAT_SECONDS = 5.0
GAUGES = {
    "generation": ("Number of the generation that is being grown.", ()),
    "stage": ("1 for the stage at work, 0 for those before it.", ("stage",)),
    "progress": ("Share of the stage at work that is done.", ()),
    "reward": ("Mean reward of the last round of RL.", ()),
    "loss": ("Loss of the last update.", ()),
    "informative_share": ("Share of the last round's groups whose rewards differ.", ()),
    "unverifiable_share": ("Share of the answers judged last that could not be judged.", ()),
    "accuracy": ("Held-out accuracy of the newest generation, by level.", ("level",)),
    "target_accuracy": ("Held-out accuracy of the newest generation on the first level that it aims at.", ()),
    "frontier": ("Frontier of the newest generation: the highest level with all up to it mastered.", ()),
    "champion": ("Number of the champion.", ()),
    "outbox_length": ("Committed generations that MLflow does not show yet.", ()),
}
COUNTERS = {
    "gate_decisions": ("Generations committed, by outcome.", ("outcome",)),
    "guard_findings": ("Bounds broken in generations committed, by metric and action.", ("metric", "action")),
    "tokens": ("Tokens sampled or trained on, by stage.", ("stage",)),
    "flops": ("Floating-point operations, by stage.", ("stage",)),
    "stage_seconds": ("Wall time of the driver, by stage.", ("stage",)),
    "waiting_seconds": ("Wall time that the driver waited for its workers, by what for.", ("what",)),
    "verdicts": ("Answers judged, by status.", ("status",)),
    "errors": ("Errors of the run and of publishing beside it, and warnings, by kind.", ("kind",)),
}
WORKER_COUNTERS = {
    "worker_busy_seconds": ("Wall time of a worker's calls, by method.", ("worker", "method")),
}


def series() -> frozenset[str]:
    """Return the names under which Prometheus finds the figures."""
    counters = (f"ray_{PREFIX}{name}_total" for name in {**COUNTERS, **WORKER_COUNTERS})
    return frozenset([*(f"ray_{PREFIX}{name}" for name in GAUGES), *counters])


class _Series:
    """Some gauges and counters of one process; each carries the label `lineage`."""

    def __init__(self, lineage: str, gauges: Mapping[str, Any], counters: Mapping[str, Any]) -> None:
        self._lineage = lineage
        self._gauges = {name: Gauge(f"{PREFIX}{name}", *_described(*told)) for name, told in gauges.items()}
        self._counters = {name: Counter(f"{PREFIX}{name}", *_described(*told)) for name, told in counters.items()}
        self._last: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self._lock = threading.Lock()

    def set(self, name: str, value: float, **labels: str) -> None:
        with self._lock:
            self._last[name, tuple(labels.items())] = value
            self._gauges[name].set(value, {"lineage": self._lineage, **labels})

    def repeat(self) -> None:
        """Set every gauge again to what it was set to last."""
        with self._lock:
            for (name, labels), value in self._last.items():
                self._gauges[name].set(value, {"lineage": self._lineage, **dict(labels)})

    def add(self, name: str, value: float, **labels: str) -> None:
        # Ray's counters refuse an increment of nothing.
        if value > 0:
            self._counters[name].inc(value, {"lineage": self._lineage, **labels})


def _described(text: str, labels: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    return text, ("lineage", *labels)


class RayTelemetry(Telemetry):
    """Exports what the driver of a lineage is told. Ray must be initialised."""

    def __init__(self, lineage: str) -> None:
        self._series = _Series(lineage, GAUGES, COUNTERS)
        self._stage = ""
        self._closed = threading.Event()
        self._repeater = threading.Thread(target=self._repeat, name="telemetry", daemon=True)
        self._repeater.start()

    def close(self) -> None:
        """Leave off repeating. May be repeated."""
        self._closed.set()
        self._repeater.join()

    def _repeat(self) -> None:
        while not self._closed.wait(REPEAT_SECONDS):
            self._series.repeat()

    def event(self, event: Event) -> None:
        self._series.set("generation", event.generation)
        if event.stage != self._stage:
            if self._stage:
                self._series.set("stage", 0, stage=self._stage)
            self._stage = event.stage
        self._series.set("stage", 1, stage=event.stage)
        self._series.set("progress", event.done / event.total if event.total else 0.0)
        for name, metric in (("reward", "reward"), ("loss", "loss"), ("informative_share", "informative")):
            if metric in event.metrics:
                self._series.set(name, event.metrics[metric])
        if event.warning:
            self._series.add("errors", 1, kind="warning")

    def work(self, stage: str, *, seconds: float = 0.0, tokens: int = 0, flops: float = 0.0) -> None:
        for name, value in (("stage_seconds", seconds), ("tokens", tokens), ("flops", flops)):
            self._series.add(name, value, stage=stage)

    def verdicts(self, counts: Mapping[Status, int]) -> None:
        for status, count in counts.items():
            self._series.add("verdicts", count, status=status.value)
        if total := sum(counts.values()):
            self._series.set("unverifiable_share", counts.get(Status.UNVERIFIABLE, 0) / total)

    def waited(self, what: str, seconds: float) -> None:
        self._series.add("waiting_seconds", seconds, what=what)

    def newest(self, generation: Generation) -> None:
        report = generation.report
        for row in report.levels:
            self._series.set("accuracy", row.accuracy, level=str(row.level))
        if (target := report.level(min(generation.target_levels))) is not None:
            self._series.set("target_accuracy", target.accuracy)
        self._series.set("frontier", report.frontier)
        self._series.set("champion", generation.champion)

    def committed(self, generation: Generation) -> None:
        self.newest(generation)
        self._series.add("gate_decisions", 1, outcome=generation.outcome.value)
        for finding in generation.health.findings:
            self._series.add("guard_findings", 1, metric=finding.metric.value, action=finding.action.value)

    def unpublished(self, count: int) -> None:
        self._series.set("outbox_length", count)

    def failed(self, error: BaseException) -> None:
        self._series.add("errors", 1, kind=type(error).__name__)


class WorkerTelemetry:
    """Exports what one worker of a lineage does."""

    def __init__(self, lineage: str, worker: int) -> None:
        self._series, self._worker = _Series(lineage, {}, WORKER_COUNTERS), str(worker)

    def called(self, method: str, seconds: float) -> None:
        """Take the wall time of one call."""
        self._series.add("worker_busy_seconds", seconds, worker=self._worker, method=method)
