"""What the workers of a lineage may take at once: settled when it begins, kept beside it, told when memory runs out.

    <lineage>/limits.json     memory of a worker, of how many on which device; limits that a shortage has halved

A run that goes on has the limits of the run before it, since they decide the order of summation; another number of
workers or another device measures anew. Left out: what the limits mean for a model (`memory.py`), and how they are kept
to (`room.py`).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bootstrap.canonical import canonical_json
from bootstrap.config.recipe import Recipe
from bootstrap.memory import Device, Kind, MemoryLimits, Shortage
from bootstrap.pool import STAGE
from bootstrap.records import Event, Observer
from bootstrap.roles import Roles
from bootstrap.store.lineage_store import LineageStore

FILE_NAME = "limits.json"
_Count = Annotated[int, Field(ge=1)]


class Kept(BaseModel):
    """The content of the file."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    workers: _Count
    device: str
    """Kinds of the devices that hold the workers' models."""
    device_memory: _Count
    """Bytes of the smallest device, free or not."""
    memory: _Count
    """Bytes that each worker may take."""
    halved: dict[Kind, _Count]
    length: Annotated[int, Field(ge=0)]
    """`MemoryLimits.length`."""
    samplers: _Count | None = None
    """Processes that answer and do not learn; None where the workers do both."""
    sampler_memory: _Count | None = None
    """Bytes that each of them may take."""

    def is_of(self, workers: int, samplers: int | None, device: Device | None) -> bool:
        """Whether it was measured for so many processes on such a device; None is any device."""
        mine = Device(kind=self.device, memory=self.device_memory)
        same = (self.workers, self.samplers) == (workers, samplers)
        return same and (device is None or mine.is_like(device))


def settle(recipe: Recipe, store: LineageStore, roles: Roles, *, generation: int, observe: Observer) -> Observer:
    """Give the workers their limits; see to it that a shortage is kept and told, and that answers are counted.

    `generation`: the one that comes first. Returns the observer to use: what is told has the last event's stage. Raises
    StoreError.
    """
    newest, learners = Event(generation=generation, stage="start"), roles.learners
    before, device, own = _kept(store), learners.device(), recipe.resources.own_limits
    samplers = roles.samplers if roles.are_apart else None
    num_samplers = samplers.size if samplers is not None else None
    if before is not None and before.is_of(learners.size, num_samplers, device):
        found = before
        device = Device(kind=found.device, memory=found.device_memory)
    else:
        found = Kept(
            workers=learners.size,
            device=device.kind,
            device_memory=device.memory,
            memory=learners.memory(beside=samplers.free_memory() if samplers else ()),
            halved={},
            length=0,
            samplers=num_samplers,
            sampler_memory=samplers.memory(beside=learners.free_memory()) if samplers else None,
        )
        if before is not None:
            observe(replace(newest, warning=_moved(before, found, store)))
    # A lower limit of the recipe's own replaces a halved one.
    halved: dict[Kind, int] = {kind: most for kind, most in found.halved.items() if own.get(kind, most) >= most}
    learners.limit(MemoryLimits(memory=found.memory, halved=halved, length=found.length, **own))
    if samplers:
        samplers.limit(MemoryLimits(memory=found.sampler_memory, halved=halved, length=found.length, **own))

    def keep() -> None:
        one, other = learners.limits, roles.samplers.limits
        halved, length = {**one.halved, **other.halved}, max(one.length, other.length)
        now = found.model_copy(update={"halved": halved, "length": length})
        if now != _kept(store):
            store.keep(FILE_NAME, canonical_json(now.model_dump(exclude_none=True)))

    def short(worker: int, shortage: Shortage) -> None:
        keep()
        told = f"{shortage.told(worker)}, kept in {store.root / FILE_NAME}"
        observe(replace(newest, metrics={}, message="", warning=told))

    def watch(event: Event) -> None:
        nonlocal newest
        newest = event
        observe(event)

    def sampled(done: int, total: int) -> None:
        stage = newest.stage if newest.stage != "start" else STAGE.get() or newest.stage
        told = f"about {done} of {total} answers sampled"
        metrics = {"answers_left": float(total - done)}
        observe(replace(newest, stage=stage, metrics=metrics, message=told, warning=""))

    keep()
    learners.on_shortage = roles.samplers.on_shortage = short
    roles.samplers.on_answers = sampled
    return watch


def memory_of(store: LineageStore, *, workers: int, samplers: int | None, device: Device | None) -> int | None:
    """Return the bytes of each of so many workers on a device that a lineage keeps; None where it keeps none.

    `samplers`: processes beside them that only answer, None for none; `device`: None is any. Raises StoreError.
    """
    kept = _kept(store)
    return kept.memory if kept is not None and kept.is_of(workers, samplers, device) else None


def recorded(limits: MemoryLimits) -> dict[str, str]:
    """Return what annotations keep: the memory of a worker in bytes, and the limits that are not automatic."""
    found: Mapping[str, int | None] = {
        "memory": limits.memory,
        "rollout_rows": limits.most("rollout_rows"),
        "rollout_length": limits.length or None,
        "train_tokens": limits.most("train_tokens"),
    }
    return {name: str(value) for name, value in found.items() if value is not None}


def _kept(store: LineageStore) -> Kept | None:
    """Return what is kept; None where the file is missing or damaged, since it can be measured again."""
    try:
        return Kept.model_validate_json(store.kept(FILE_NAME) or b"{}")
    except ValidationError:
        return None


def _moved(before: Kept, now: Kept, store: LineageStore) -> str:
    def told(kept: Kept) -> str:
        return f"{kept.workers} worker(s) on {kept.device} with {kept.device_memory / 2**30:.3g} GiB"

    return (
        f"a worker may take {now.memory / 2**30:.3g} GiB, measured anew: {store.root / FILE_NAME} is of "
        f"{told(before)}, and this run has {told(now)}; sums are taken in another order, so hashes may differ"
    )
