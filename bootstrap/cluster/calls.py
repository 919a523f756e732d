"""Calls of a pool's processes in progress, and what Ray tells of those that failed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from bootstrap import lookups
from bootstrap.errors import system_reason

_REACH_SECONDS = 5.0


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


def cut_off(addresses: Iterable[str]) -> str:
    """Return in words which of these nodes this machine does not reach; empty for none.

    Who trains with a worker on such a node waits too, and Ray may take minutes to notice.
    """
    ports = {node["NodeManagerAddress"]: node["NodeManagerPort"] for node in ray.nodes()}
    found = list[str]()
    for address in sorted(ports.keys() & set(addresses)):
        try:
            lookups.reach(address, ports[address], seconds=_REACH_SECONDS)
        except OSError as error:
            found.append(f". Node {address} cannot be reached ({system_reason(error)})")
    return "".join(found)


def clock(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
