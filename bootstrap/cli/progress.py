"""Live progress of a run: one bar on a terminal, one plain line per stage elsewhere (Ray jobs, CI).

Both observe `records.Event` and show the same: generation, stage, count, tokens per second, reward, loss, time left.
Every metric is optional. A run does not depend on its display. Left out: the table at the end (`render.py`).
"""

import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import IO, Self, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from bootstrap.cli.output import Harmless
from bootstrap.cli.render import warn
from bootstrap.lineage.text import duration, si, visible
from bootstrap.records import Event

LINE_EVERY_SECONDS = 30.0
"""Least time between two plain lines about one stage."""
ROWS_EVERY_SECONDS = 5.0
RELIABLE_SHARE = 0.05
"""Share of a stage after which its own pace replaces the plan's."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the plan says of a run's time, in seconds."""

    generations: Mapping[int, float] = field(default_factory=dict)
    """Of each coming generation, by number."""
    after_training: float = 0.0
    """From the end of a generation's training to its commit."""
    after_last: float = 0.0
    """From the last commit to the end of the run: publishing."""
    several_steps: Collection[int] = ()
    """Generations with several training steps."""


class TimeLeft:
    """Estimate of a run's remaining seconds: the plan's seconds, scaled by the pace measured so far.

    For the current generation, the pace of its training stage replaces the plan once `RELIABLE_SHARE` of the stage is
    done, except where further steps follow, of which it tells nothing.
    """

    def __init__(self, expected: "Expected") -> None:
        self.expected = expected
        self.current: int | None = None
        self.started = 0.0
        self.measured = 0.0
        """Seconds of the generations finished in this run."""
        self.planned = 0.0
        """Planned seconds of the same generations."""
        self.stage = ""
        self.stage_began: tuple[float, int] = (0.0, 0)
        """Time and count at the stage's first event; a resumed stage does not begin at 0."""

    def update(self, event: Event, now: float) -> float | None:
        """Take an event at time `now` (seconds); return the seconds left, or None while there is no estimate."""
        if event.generation != self.current:
            if self.current is not None:
                self.measured += now - self.started
                self.planned += self.expected.generations.get(self.current, 0.0)
            self.current, self.started, self.stage = event.generation, now, ""
        if self.stage != event.stage:
            self.stage, self.stage_began = event.stage, (now, event.done)
        pace = self.measured / self.planned if self.planned else 1.0
        planned = self.expected.generations
        here = max(pace * planned.get(event.generation, 0.0) - (now - self.started), 0.0)
        began, first = self.stage_began
        if event.stage == "train" and event.done - first >= max(RELIABLE_SHARE * event.total, 1):
            by_pace = (event.total - event.done) * (now - began) / (event.done - first) + self.expected.after_training
            keeps_plan = self.planned or event.generation in self.expected.several_steps
            here = max(here, by_pace) if keeps_plan else by_pace
        left = here + pace * sum(seconds for number, seconds in planned.items() if number > event.generation)
        left += self.expected.after_last
        return left if left >= 0.1 else None


def describe(event: Event, left: float | None) -> str:
    """Return an event's message, the metrics that it has, and the time left."""
    parts = [event.message] if event.message else []
    if (speed := event.metrics.get("tokens_per_second")) is not None:
        parts.append(f"{si(speed)} tokens/s")
    parts += [f"{name} {event.metrics[name]:.3f}" for name in ("reward", "loss") if name in event.metrics]
    if left is not None:
        parts.append(f"{duration(left)} left")
    return " · ".join(parts)


def warned(event: Event) -> str:
    """Return an event's warning as a line of its own."""
    return f"warning: generation {event.generation}: {event.warning}"


class PlainProgress:
    """One line per stage on a stream that is no terminal, and one per half minute inside a long stage.

    `expected`: None tells no time left.
    """

    def __init__(
        self, stream: IO[str], *, last: int, expected: Expected | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.stream, self.last, self.clock = stream, last, clock
        self.time_left = None if expected is None else TimeLeft(expected)
        self.printed: dict[tuple[int, str], float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.flush()

    def __call__(self, event: Event) -> None:
        now = self.clock()
        left = None if self.time_left is None else self.time_left.update(event, now)
        if event.warning:
            self.say(warned(event))
        key = (event.generation, event.stage)
        if key in self.printed and now - self.printed[key] < LINE_EVERY_SECONDS:
            return
        self.printed[key] = now
        count = f" {event.done}/{event.total}" if event.total else ""
        detail = describe(event, left)
        line = f"generation {event.generation}/{self.last} {event.stage}{count}{': ' if detail else ''}{detail}"
        self.say(line)

    def say(self, line: str) -> None:
        """Print a line of its own, control characters escaped."""
        print(visible(line, keep=""), file=self.stream, flush=True)


class RowsProgress:
    """A line on standard error every few seconds while a verifier reads the rows of a large file."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.said = clock()

    def __call__(self, path: str, done: int, total: int) -> None:
        now = self.clock()
        if now - self.said >= ROWS_EVERY_SECONDS:
            self.said = now
            warn(f"reading {path}: {done} of {total} rows")


class _Detail(ProgressColumn):
    """Metrics and time left of the last event."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["detail"], style="dim")


class RichProgress:
    """One live bar for the current stage; lines from `say` appear above it."""

    def __init__(
        self, console: Console, *, last: int, expected: Expected, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.last, self.clock = last, clock
        self.time_left = TimeLeft(expected)
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            _Detail(),
            console=console,
            transient=True,
        )
        self.bar = self.progress.add_task("starting", total=None, detail="")
        self.beneath = sys.stderr

    def __enter__(self) -> Self:
        self.beneath = sys.stderr
        self.progress.start()
        # What others write is shown above the bar, past the stream that made it harmless.
        if sys.stderr is not None:
            sys.stderr = cast(TextIO, Harmless(sys.stderr))
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()
        sys.stderr = self.beneath

    def __call__(self, event: Event) -> None:
        left = self.time_left.update(event, self.clock())
        if event.warning:
            self.say(warned(event))
        self.progress.update(
            self.bar,
            description=visible(f"generation {event.generation}/{self.last} {event.stage}", keep=""),
            completed=event.done,
            total=event.total or None,
            detail=visible(describe(event, left), keep=""),
        )

    def say(self, line: str) -> None:
        """Print a line above the bar, control characters escaped."""
        self.progress.console.print(visible(line, keep=""), markup=False, highlight=False)


def progress(console: Console, *, last: int, expected: Expected) -> PlainProgress | RichProgress:
    """Return the display that fits `console`: a context manager and an observer.

    `last`: number of the last generation.
    """
    if console.is_terminal:
        return RichProgress(console, last=last, expected=expected)
    return PlainProgress(console.file, last=last, expected=expected)
