"""What a run tells while it works: live work once, figures of earlier runs not again, MLflow's lag now and then."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from bootstrap.cli.watch import LOOK_EVERY_SECONDS, Watch
from bootstrap.cluster import telemetry
from bootstrap.errors import VerifierError
from bootstrap.lineage.outbox import Outbox, Receipt
from bootstrap.records import Event, Status
from bootstrap.scoring.verifier import Answer, Judgement, judge_within, unverifiable
from bootstrap.stages.context import Meter
from bootstrap.telemetry import Telemetry


class Recorder(Telemetry):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def event(self, event: Event) -> None:
        self.told.append(("event", event.stage))

    @contextmanager
    def stage(self, stage: str) -> Iterator[None]:
        self.told.append(("begins", stage))
        yield
        self.told.append(("ends", stage))

    def work(self, stage: str, *, tokens: int, flops: float) -> None:
        self.told.append(("work", stage, tokens, flops))

    def unpublished(self, count: int) -> None:
        self.told.append(("unpublished", count))

    def failed(self, error: BaseException) -> None:
        self.told.append(("failed", str(error)))


def test_a_meter_tells_work_as_it_is_done_and_not_again_when_it_is_added_up() -> None:
    recorder = Recorder()
    meter, total = Meter(telemetry=recorder), Meter(telemetry=recorder)
    meter.count("train", flops=2.0, tokens=3)
    with meter.clock("train"):
        pass
    total.add(meter.to_json(measured=True))
    assert recorder.told == [("work", "train", 3, 2.0), ("begins", "train"), ("ends", "train")]
    assert total.tokens == {"train": 3}


def test_a_watch_tells_display_and_telemetry_and_looks_at_the_outbox_now_and_then() -> None:
    shown, recorder, now, asked = [], Recorder(), [0.0], []

    def unpublished(generations: int) -> int:
        asked.append(generations)
        return 1

    watch = Watch(shown.append, generations=4, unpublished=unpublished, clock=lambda: now[0])
    with watch.telling(recorder, None):
        for moment in (0.0, 1.0, LOOK_EVERY_SECONDS - 0.1, LOOK_EVERY_SECONDS):
            now[0] = moment
            watch(Event(generation=4, stage="train"))
    assert len(shown) == 4 and asked == [4, 4]
    assert recorder.told.count(("event", "train")) == 4 and recorder.told.count(("unpublished", 1)) == 2


def test_an_error_that_ends_a_run_is_told_and_goes_on_its_way() -> None:
    recorder = Recorder()
    watch = Watch(lambda _: None, generations=0, unpublished=lambda _: 0)
    with pytest.raises(ValueError, match="broken"), watch.telling(recorder, None):
        raise ValueError("broken")
    watch(Event(generation=0, stage="train"))
    assert recorder.told == [("failed", "broken")], "after the run nobody listens"


def test_a_stop_by_the_user_is_no_error() -> None:
    recorder = Recorder()
    watch = Watch(lambda _: None, generations=0, unpublished=lambda _: 0)
    with pytest.raises(KeyboardInterrupt), watch.telling(recorder, None):
        raise KeyboardInterrupt
    assert recorder.told == []


def test_answers_that_cannot_be_judged_are_told_before_they_stop_the_run() -> None:
    class Unable:
        name, version, judges = "unable", "0", "answer"

        def judge(self, answers: list[Answer]) -> list[Judgement]:
            return [unverifiable("no reason") for _ in answers]

        def close(self) -> None:
            pass

    told: list[dict[Status, int]] = []
    answers = [Answer(prompt="?", text="!", reference="!")] * 3
    with pytest.raises(VerifierError):
        judge_within(Unable(), answers, max_unverifiable=0.5, tell=told.append)
    assert told == [{Status.UNVERIFIABLE: 3}]


def test_long_blocks_are_counted_as_they_pass_and_gauges_are_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, recorded = [0.0], list[tuple[str, float, dict[str, str]]]()

    class Metric:
        def __init__(self, name: str, *_: object) -> None:
            self.name = name

        def inc(self, value: float, labels: dict[str, str]) -> None:
            recorded.append((self.name, value, labels))

        set = inc

    for kind in ("Counter", "Gauge"):
        monkeypatch.setattr(telemetry, kind, Metric)
    monkeypatch.setattr(telemetry, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(telemetry, "BEAT_SECONDS", 3600)
    found = telemetry.RayTelemetry(store="/runs", lineage="größe")
    with found.stage("train"):
        clock[0] = 5.0
        found.beat()
        clock[0] = 7.0
    found.unpublished(3)
    found.beat()
    found.close()
    labels = {"store": "/runs", "lineage": r"gr\xf6\xdfe"}
    seconds = ("bootstrap_stage_seconds", {**labels, "stage": "train"})
    assert [(name, told) for name, _, told in recorded[:2]] == [seconds] * 2
    assert [value for _, value, _ in recorded] == [5.0, 2.0, 3, 3]
    assert recorded[2] == recorded[3] == ("bootstrap_outbox_length", 3, labels)


def test_what_ray_does_not_take_is_said_once_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def __init__(self, *_: object) -> None:
            pass

        def set(self, *_: object) -> None:
            raise RuntimeError("broken")

    monkeypatch.setattr(telemetry, "Gauge", Broken)
    found = telemetry.RayTelemetry(store="", lineage="a")
    found.unpublished(1)
    found.unpublished(2)
    found.close()
    assert [record.message for record in caplog.records] == [
        "Ray does not take this run's figures; they are missing in Prometheus"
    ]


def test_the_outbox_counts_what_has_no_marker(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, tracking_uri="sqlite:///x", experiment="e")
    assert [outbox.length(count) for count in (0, 2)] == [0, 2]
    receipt = Receipt(hash="h", experiment_id="1", lineage_run_id="r", run_id="r", model_id="m", version="1")
    outbox.mark(0, receipt)
    assert [outbox.length(count) for count in (1, 3)] == [0, 2]
