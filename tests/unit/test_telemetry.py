"""What a run tells while it works: live work once, figures of earlier runs not again, MLflow's lag now and then."""

from pathlib import Path

import pytest

from bootstrap.cli.watch import LOOK_EVERY_SECONDS, Watch
from bootstrap.lineage.outbox import Outbox, Receipt
from bootstrap.records import Event
from bootstrap.stages.context import Meter
from bootstrap.telemetry import Telemetry


class Recorder(Telemetry):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def event(self, event: Event) -> None:
        self.told.append(("event", event.stage))

    def work(self, stage: str, *, seconds: float = 0.0, tokens: int = 0, flops: float = 0.0) -> None:
        self.told.append(("work", stage, seconds > 0, tokens, flops))

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
    assert recorder.told == [("work", "train", False, 3, 2.0), ("work", "train", True, 0, 0.0)]
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


def test_the_outbox_counts_what_has_no_marker(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, tracking_uri="sqlite:///x", experiment="e")
    assert [outbox.length(count) for count in (0, 2)] == [0, 2]
    receipt = Receipt(hash="h", experiment_id="1", lineage_run_id="r", run_id="r", model_id="m", version="1")
    outbox.mark(0, receipt)
    assert [outbox.length(count) for count in (1, 3)] == [0, 2]
