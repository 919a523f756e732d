"""How a driver sees that a worker is slow and not stuck: counts of work done, told while a call lasts.

    worker   engine, learner --> WorkerBounds.beats --> thread `progress` --> key-value table of Ray's head
    driver   wait, once a slice of time has passed without an answer <------+

A call to a busy actor would wait behind the calls before it, so the counts take another way. The thread writes only
when the count has changed, and at once for a pass larger than all before. A worker that hangs changes nothing, and one
whose process cannot run the thread either.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from ray.exceptions import RayError
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_put

from bootstrap.memory import Kind, Shortage

BEAT_SECONDS = 5.0
"""Least time between two counts told by a worker, unless the bound on waiting is short."""
_NAMESPACE = "bootstrap"
_log = logging.getLogger(__name__)


class Counting(Protocol):
    """What counts."""

    beats: int
    answered: int
    largest: dict[Kind, Shortage]
    on_larger: Callable[[], None]


class Progress:
    """A worker's end: tells a count that has changed."""

    def __init__(self, counting: Counting, *, name: str, every: float = BEAT_SECONDS) -> None:
        self._counting, self._name, self._told = counting, name, -1
        self._busy = threading.Event()
        self._soon = threading.Event()
        if name:
            # Told before a larger pass may end this process.
            counting.on_larger = self._soon.set
            threading.Thread(target=self._run, args=(every,), name="progress", daemon=True).start()

    @contextmanager
    def call(self) -> Iterator[None]:
        """Count a call's beginning and end, and tell what is counted meanwhile."""
        self._counting.beats += 1
        self._counting.answered = 0
        self._busy.set()
        try:
            yield
        finally:
            self._busy.clear()
            self._counting.beats += 1

    def _run(self, every: float) -> None:
        while self._busy.wait():
            self._soon.wait(every)
            self._soon.clear()
            if self._told == (count := self._counting.beats):
                continue
            largest = [(one.kind, one.used, one.length) for one in self._counting.largest.values()]
            told = f"{count} {self._counting.answered} {json.dumps(largest)}"
            try:
                _internal_kv_put(self._name, told, overwrite=True, namespace=_NAMESPACE)
                self._told = count
            # Progress is an aid: the driver's bound ends a run whose head is gone.
            except (RayError, OSError, RuntimeError):
                _log.warning("Ray's head does not take this worker's progress", exc_info=True)


class Pulses:
    """The driver's end: the counts of the workers of one pool."""

    def __init__(self, name: str, size: int) -> None:
        self._names = [f"{name} {worker}" for worker in range(size)]
        self._last: dict[int, bytes | None] = {}

    def name(self, worker: int) -> str:
        return self._names[worker]

    def moved(self, workers: Sequence[int]) -> set[int]:
        """Return those of the workers whose count has changed since it was last looked at."""
        found = set[int]()
        for worker in workers:
            count = _internal_kv_get(self._names[worker], namespace=_NAMESPACE)
            if count != self._last.get(worker):
                self._last[worker] = count
                found.add(worker)
        return found

    def answered(self) -> int:
        """Return the answers that the workers had finished in the calls that sample, when last looked at."""
        return sum(int(count.split()[1]) for count in self._last.values() if count)

    def largest(self, worker: int) -> list[Shortage]:
        """Return the largest pass of each kind that a worker has begun; it may be dead."""
        told = _internal_kv_get(self._names[worker], namespace=_NAMESPACE)
        return [Shortage(*one) for one in json.loads(told.split(maxsplit=2)[2])] if told else []

    def forget(self) -> None:
        """Remove the counts."""
        for name in self._names:
            _internal_kv_del(name, namespace=_NAMESPACE)
