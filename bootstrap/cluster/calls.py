"""Calls of a pool's processes in progress, and what Ray tells of those that failed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerCall:
    """A call in progress."""

    ref: Any
    worker: int
    method: str
    began: datetime = field(default_factory=lambda: datetime.now(UTC))


def late(calls: Iterable[WorkerCall]) -> list[WorkerCall]:
    """Return the calls without an answer yet."""
    return [call for call in calls if not ray.wait([call.ref], timeout=0)[0]]


def first_error(refs: Sequence[Any]) -> RayError | None:
    """Return the first error among finished calls."""
    try:
        ray.get(list(refs))
    except RayError as error:
        return error
    return None


def cause_of_death(error: RayActorError) -> str:
    """Return the sentence of Ray's report that names the cause, without its list of guesses."""
    line = str(error).strip().splitlines()[-1].partition(" Some common causes")[0]
    return (
        f"{line.strip().rstrip('.')} (often a crash, or the kernel ending a process when memory is short: lower "
        "resources.rollout_rows, resources.train_tokens or resources.workers)"
    )


def clock(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
