"""Progress shows what events say, estimates the time left, and floods no log."""

import io

import pytest
from rich.console import Console

from bootstrap.cli.progress import (
    LINE_EVERY_SECONDS,
    ROWS_EVERY_SECONDS,
    Expected,
    PlainProgress,
    RichProgress,
    RowsProgress,
    TimeLeft,
    describe,
    progress,
)
from bootstrap.records import Event


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def train(generation: int, done: int, total: int = 100, **metrics: float) -> Event:
    return Event(generation=generation, stage="train", done=done, total=total, metrics=metrics)


def test_a_plain_line_is_printed_for_each_stage_and_not_for_each_update() -> None:
    stream, clock = io.StringIO(), Clock()
    with PlainProgress(stream, last=2, expected=Expected(), clock=clock) as show:
        for update in range(100):
            clock.now = update * 0.1
            show(train(0, update + 1, loss=2.0))
        show(Event(generation=0, stage="evaluate", done=1, total=4))
        show(Event(generation=0, stage="commit", message="promoted"))
        show(train(1, 1, reward=0.5))
    assert stream.getvalue().splitlines() == [
        "generation 0/2 train 1/100: loss 2.000",
        "generation 0/2 evaluate 1/4",
        "generation 0/2 commit: promoted",
        "generation 1/2 train 1/100: reward 0.500",
    ]


def test_a_warning_is_a_line_of_its_own_however_soon_it_comes() -> None:
    stream, console = io.StringIO(), Console(file=io.StringIO(), force_terminal=True, width=120)
    shown = Event(generation=1, stage="train", done=2, total=9, warning="all 8 answers failed for one reason: [no] tag")
    with (
        PlainProgress(stream, last=2, expected=Expected()) as plain,
        RichProgress(console, last=2, expected=Expected()) as rich,
    ):
        for show in (plain, rich):
            show(train(1, 1))
            show(shown)
    line = "warning: generation 1: all 8 answers failed for one reason: [no] tag"
    assert line in stream.getvalue().splitlines()
    assert line in console.file.getvalue()


def test_a_long_stage_is_heard_of_now_and_then() -> None:
    stream, clock = io.StringIO(), Clock()
    with PlainProgress(stream, last=0, expected=Expected(), clock=clock) as show:
        for second in range(int(3 * LINE_EVERY_SECONDS)):
            clock.now = float(second)
            show(train(0, 1))
    assert len(stream.getvalue().splitlines()) == 3


def test_every_metric_may_be_missing() -> None:
    assert describe(train(0, 1), None) == ""
    full = train(0, 1, tokens_per_second=5230.0, reward=0.25, loss=1.5)
    assert describe(full, 65.0) == "5.23k tokens/s · reward 0.250 · loss 1.500 · 1 min 05 s left"


def test_at_first_the_plan_says_how_long_it_takes() -> None:
    left = TimeLeft(Expected(generations={0: 60.0, 1: 10.0, 2: 20.0}))
    assert left.update(train(0, 0), 0.0) == 90.0
    assert left.update(train(0, 1), 15.0) == 75.0


def test_the_pace_of_the_updates_replaces_the_plan() -> None:
    left = TimeLeft(Expected(generations={0: 60.0}))
    left.update(train(0, 0), 0.0)
    assert left.update(train(0, 50), 100.0) == 100.0


def test_what_follows_the_training_and_the_last_commit_is_left_too() -> None:
    left = TimeLeft(Expected(generations={0: 60.0}, after_training=9.0, after_last=25.0))
    assert left.update(train(0, 0), 0.0) == 85.0
    assert left.update(train(0, 50), 100.0) == 100.0 + 9.0 + 25.0


def test_the_pace_of_one_of_several_steps_does_not_stand_for_the_others() -> None:
    left = TimeLeft(Expected(generations={1: 600.0}, several_steps={1}))
    left.update(train(1, 0), 0.0)
    assert left.update(train(1, 50), 10.0) == 590.0, "the first step is half done, four others follow"


def test_finished_generations_set_the_pace_of_the_rest() -> None:
    left = TimeLeft(Expected(generations={0: 60.0, 1: 10.0, 2: 20.0}))
    left.update(train(0, 0), 0.0)
    assert left.update(train(1, 0), 120.0) == 2 * (10.0 + 20.0)


def test_a_run_that_was_stopped_counts_only_what_is_left_of_it() -> None:
    left = TimeLeft(Expected(generations={5: 10.0, 6: 10.0}))
    assert left.update(train(5, 0), 1000.0) == 20.0


def test_a_step_that_goes_on_in_its_middle_is_paced_from_there() -> None:
    left = TimeLeft(Expected())
    assert left.update(train(5, 40), 0.0) is None
    assert left.update(train(5, 60), 10.0) == 20.0


def test_nothing_is_claimed_when_nothing_is_known() -> None:
    assert TimeLeft(Expected()).update(train(0, 1), 0.0) is None


def test_a_terminal_gets_a_live_bar_with_generation_stage_and_metrics() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120, color_system=None)
    with RichProgress(console, last=6, expected=Expected(generations={3: 30.0}), clock=Clock()) as show:
        show(train(3, 0, 60))
        show(train(3, 1, 60, reward=0.83, tokens_per_second=5200.0))
        show.progress.refresh()
        show.say("gen-2 promoted: [bold]level 5")
    text = stream.getvalue()
    assert "generation 3/6 train" in text
    assert "1/60" in text
    assert "reward 0.830" in text
    assert "left" in text
    assert "gen-2 promoted: [bold]level 5" in text


def test_the_display_fits_where_it_is_shown() -> None:
    terminal, log = Console(file=io.StringIO(), force_terminal=True), Console(file=io.StringIO())
    assert isinstance(progress(terminal, last=1, expected=Expected()), RichProgress)
    assert isinstance(progress(log, last=1, expected=Expected()), PlainProgress)


def test_reading_a_large_file_is_told_now_and_then_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    show = RowsProgress(clock=clock)
    for batch in range(1, 41):
        clock.now = batch * ROWS_EVERY_SECONDS / 10
        show("rows.jsonl", batch * 256, 40 * 256)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        f"reading rows.jsonl: {done} of 10240 rows" for done in (2560, 5120, 7680, 10240)
    ]
