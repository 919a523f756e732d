"""What a run in progress tells MLflow, and where its store remembers the MLflow run that shows it. Imports no MLflow.

    <lineage>/outbox/<target>/live-000003.json     the MLflow run that shows generation 3 in progress (`Shown`)
    MLflow run, tag `bootstrap.live`               what the run is at (`Snapshot`), as JSON

Left out: posting and reading it (`live.py`), and the process that posts (`cli/live.py`).
"""

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, ValidationError

from bootstrap.lineage.text import si
from bootstrap.reading import Root
from bootstrap.records import Event, Record
from bootstrap.store import durable

TAG = "bootstrap.live"
"""Tag of the run of a generation in progress and of its lineage's run: the newest `Snapshot` as JSON."""
ORIGIN = "bootstrap.live_origin"
"""Tag of the run of a generation in progress: host and folder of its lineage, which tell it from a copy's."""
METRICS = ("reward", "loss", "tokens_per_second", "informative")
"""Figures of an event that are shown while it is the newest one."""


class Snapshot(Record):
    """What a run is at."""

    lineage: str
    generation: int
    last: int
    """Number of the last generation that the run is to grow."""
    stage: str = ""
    done: int = 0
    total: int = 0
    metrics: dict[str, float] = Field(default_factory=dict)
    committed: int = 0
    """Number of committed generations."""
    beat: int = 0
    """Grows with each post, from the seconds since 1970 at the run's start: tells a reader without the same clock that
    the run lives, and a later run of the lineage from an earlier one."""
    at: int = 0
    """When it was posted, in milliseconds since 1970 by the clock of the run's host."""
    seconds: float = 0.0
    """Since the generation began in this run."""
    ended: str = ""
    """Why the run ended; empty while it goes on."""

    @property
    def event(self) -> Event:
        return Event(
            generation=self.generation, stage=self.stage, done=self.done, total=self.total, metrics=self.metrics
        )

    @property
    def sentence(self) -> str:
        """The snapshot for people, as `train 12/60, reward 0.830, 5.23k tokens/s`."""
        if self.ended:
            return self.ended
        parts = [f"{self.stage} {self.done}/{self.total}" if self.total else self.stage]
        parts += [f"{name} {self.metrics[name]:.3f}" for name in ("reward", "loss") if name in self.metrics]
        if (speed := self.metrics.get("tokens_per_second")) is not None:
            parts.append(f"{si(speed)} tokens/s")
        return ", ".join(parts)


class Shown(Record):
    """The MLflow run that shows the generation in progress."""

    generation: int
    experiment_id: str
    run_id: str


def snapshot_of(tags: Mapping[str, str]) -> Snapshot | None:
    """Return the snapshot among a run's tags; None without one that can be read."""
    try:
        return Snapshot.model_validate_json(tags.get(TAG, ""))
    except ValidationError:
        return None


def remember(outbox: Path, shown: Shown) -> None:
    """Write which run shows a generation in progress. Raises StoreError."""
    durable.make_folder(outbox)
    durable.write_file(_path(outbox, shown.generation), json.dumps(shown.model_dump(mode="json")).encode())


def recall(outbox: Path, generation: int) -> Shown | None:
    """Return which run shows a generation, or showed it when the run was stopped; None without one."""
    try:
        name = f"{outbox.parent.name}/{outbox.name}/{_path(outbox, generation).name}"
        return Shown.model_validate_json(Root(outbox.parent.parent).read_if_there(name) or b"")
    except ValidationError:
        return None


def recall_all(outbox: Path) -> list[Shown]:
    """Return what was remembered and not forgotten, by generation."""
    found = (recall(outbox, int(path.stem.removeprefix("live-"))) for path in sorted(outbox.glob("live-??????.json")))
    return [shown for shown in found if shown is not None]


def forget(outbox: Path, generation: int) -> None:
    """Remove what `remember` wrote. Raises StoreError."""
    durable.remove_file(_path(outbox, generation))


def _path(outbox: Path, generation: int) -> Path:
    return outbox / f"live-{generation:06d}.json"
