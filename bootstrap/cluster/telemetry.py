"""A run's figures as Prometheus series, through the metrics agent that every Ray node has.

    driver ---- RayTelemetry -----+
    workers --- WorkerTelemetry --+---> agent of the node ---> Prometheus ---> Grafana (`infra/grafana/`)

Ray prefixes each name with `ray_` and adds its own labels (node, process); counters end in `_total`. A process exports
its figures every ten seconds and once more when it ends. The agent forgets a gauge that is not set again within two
such intervals, so a thread repeats the gauges during the run. Counters stay in the agent until its node ends, those of
earlier runs too. Recording one figure takes microseconds. Labels name the store and the lineage, and never hold text
that a model wrote.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from ray.util.metrics import Counter, Gauge

from bootstrap.ledger_records import Generation
from bootstrap.records import Event, Status
from bootstrap.telemetry import Telemetry

PREFIX = "bootstrap_"
BEAT_SECONDS = 5.0
GAUGES = {
    "generation": ("Number of the generation that is being grown.", ()),
    "stage": ("1 for the stage at work, 0 for those before it.", ("stage",)),
    "progress": ("Share of the stage at work that is done.", ()),
    "reward": ("Mean reward of the last round of RL.", ()),
    "loss": ("Loss of the last update.", ()),
    "informative_share": ("Share of the last round's groups whose rewards differ.", ()),
    "logprob_difference": (
        "Largest difference of log-probabilities between sampling and training in the last round, in nats a token.",
        (),
    ),
    "answers_left": ("Answers that the call at work has still to give.", ()),
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
    "worker_busy_seconds": ("Wall time of a process's calls, by method.", ("role", "worker", "method")),
    "received_bytes": ("Bytes that a process got from others: updates, weights.", ("role", "worker", "what")),
}

_SHOWN = {
    "reward": "reward",
    "loss": "loss",
    "informative_share": "informative",
    "logprob_difference": "logprob_difference",
}
"""Gauges that follow an event's metrics -> the metric's name."""

_Described = tuple[str, tuple[str, ...]]
"""A figure's description, and its labels beside the common ones."""
_Labels = tuple[tuple[str, str], ...]

_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class _OpenSpan:
    """A block that is being timed."""

    name: str
    labels: Mapping[str, str]
    counted: float
    """Clock reading up to which its time has been added."""


def series() -> frozenset[str]:
    """Return the names under which Prometheus finds the figures."""
    counters = (f"ray_{PREFIX}{name}_total" for name in {**COUNTERS, **WORKER_COUNTERS})
    return frozenset([*(f"ray_{PREFIX}{name}" for name in GAUGES), *counters])


class _Series:
    """The gauges and counters of one process; each carries the labels `store` and `lineage`.

    Nothing here raises: a failure to record is logged once, and the run continues. A thread repeats the gauges and adds
    the time of blocks that are still open, so that long ones show while they last.
    """

    def __init__(
        self, gauges: Mapping[str, _Described], counters: Mapping[str, _Described], *, store: str, lineage: str
    ) -> None:
        self._always = {"store": store, "lineage": lineage}
        self._gauges = {name: Gauge(f"{PREFIX}{name}", *_described(*told)) for name, told in gauges.items()}
        self._counters = {name: Counter(f"{PREFIX}{name}", *_described(*told)) for name, told in counters.items()}
        self._last: dict[tuple[str, _Labels], float] = {}
        self._open: dict[object, _OpenSpan] = {}
        self._lock = threading.Lock()
        self._said = False
        self._closed = threading.Event()
        self._beat = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._beat.start()

    def set(self, name: str, value: float, **labels: str) -> None:
        with self._lock:
            self._last[name, tuple(labels.items())] = value
            self._record(self._gauges[name].set, value, labels)

    def forget(self, name: str) -> None:
        """Stop repeating a gauge, whatever its labels."""
        with self._lock:
            self._last = {key: value for key, value in self._last.items() if key[0] != name}

    def add(self, name: str, value: float, **labels: str) -> None:
        # Ray's counters refuse an increment of 0.
        if value > 0:
            self._record(self._counters[name].inc, value, labels)

    @contextmanager
    def timing(self, name: str, **labels: str) -> Iterator[None]:
        """Add the wall time of the block to a counter, while it passes."""
        key, opened = object(), _OpenSpan(name=name, labels=labels, counted=time.perf_counter())
        with self._lock:
            self._open[key] = opened
        try:
            yield
        finally:
            with self._lock:
                del self._open[key]
                self._count(opened)

    def close(self) -> None:
        """End the thread. May be repeated."""
        self._closed.set()
        self._beat.join()

    def _run(self) -> None:
        while not self._closed.wait(BEAT_SECONDS):
            self.beat()

    def beat(self) -> None:
        """Set every gauge again, and add the time that open blocks have taken."""
        with self._lock:
            for (name, labels), value in self._last.items():
                self._record(self._gauges[name].set, value, dict(labels))
            for opened in self._open.values():
                self._count(opened)

    def _count(self, opened: _OpenSpan) -> None:
        now = time.perf_counter()
        self.add(opened.name, now - opened.counted, **opened.labels)
        opened.counted = now

    def _record(self, record: Callable[..., None], value: float, labels: Mapping[str, str]) -> None:
        try:
            # Ray's labels are ASCII.
            record(value, {name: _ascii(text) for name, text in {**self._always, **labels}.items()})
        except Exception:
            if not self._said:
                self._said = True
                _log.warning("Ray does not take this run's figures; they are missing in Prometheus", exc_info=True)


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()


def _described(text: str, labels: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    return text, ("store", "lineage", *labels)


class RayTelemetry(Telemetry):
    """Exports the events of a lineage's driver. Ray must be initialised."""

    def __init__(self, *, store: str, lineage: str) -> None:
        self._series = _Series(GAUGES, COUNTERS, store=store, lineage=lineage)
        self._stage = ""

    def close(self) -> None:
        self._series.close()

    def beat(self) -> None:
        """Do at once what the thread does at intervals."""
        self._series.beat()

    def event(self, event: Event) -> None:
        self._series.set("generation", event.generation)
        if event.stage != self._stage:
            if self._stage:
                self._series.set("stage", 0, stage=self._stage)
            self._stage = event.stage
        self._series.set("stage", 1, stage=event.stage)
        self._series.set("progress", event.done / event.total if event.total else 0.0)
        for name, metric in _SHOWN.items():
            if metric in event.metrics:
                self._series.set(name, event.metrics[metric])
        self._series.set("answers_left", event.metrics.get("answers_left", 0.0))
        if event.warning:
            self._series.add("errors", 1, kind="warning")

    def stage(self, stage: str) -> AbstractContextManager[None]:
        return self._series.timing("stage_seconds", stage=stage)

    def waiting(self, what: str) -> AbstractContextManager[None]:
        return self._series.timing("waiting_seconds", what=what)

    def work(self, stage: str, *, tokens: int, flops: float) -> None:
        self._series.add("tokens", tokens, stage=stage)
        self._series.add("flops", flops, stage=stage)

    def verdicts(self, counts: Mapping[Status, int]) -> None:
        for status, count in counts.items():
            self._series.add("verdicts", count, status=status.value)
        if total := sum(counts.values()):
            self._series.set("unverifiable_share", counts.get(Status.UNVERIFIABLE, 0) / total)

    def newest(self, generation: Generation) -> None:
        report = generation.report
        for name in ("accuracy", "target_accuracy"):
            self._series.forget(name)
        for row in report.levels:
            self._series.set("accuracy", row.accuracy, level=str(row.level))
        if (target := report.level(min(generation.target_levels))) is not None:
            self._series.set("target_accuracy", target.accuracy)
        self._series.set("frontier", report.frontier)
        self._series.set("champion", generation.champion)

    def committed(self, generation: Generation) -> None:
        self.newest(generation)
        self._series.add("gate_decisions", 1, outcome=generation.outcome.value)
        for finding in generation.diagnostics.findings:
            self._series.add("guard_findings", 1, metric=finding.metric.value, action=finding.action.value)

    def unpublished(self, count: int) -> None:
        self._series.set("outbox_length", count)

    def failed(self, error: BaseException) -> None:
        self._series.add("errors", 1, kind=type(error).__name__)


class WorkerTelemetry:
    """Exports the busy time of one process with a model, and what it gets from others."""

    def __init__(self, *, store: str, lineage: str, role: str, worker: int) -> None:
        self._series = _Series({}, WORKER_COUNTERS, store=store, lineage=lineage)
        self._own = {"role": role, "worker": str(worker)}

    def call(self, method: str) -> AbstractContextManager[None]:
        """Add the wall time of the block to that of the method's calls."""
        return self._series.timing("worker_busy_seconds", **self._own, method=method)

    def received(self, sizes: Mapping[str, int]) -> None:
        """Add bytes that came from other processes, by what they were."""
        for what, size in sizes.items():
            self._series.add("received_bytes", size, **self._own, what=what)
