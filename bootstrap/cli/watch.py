"""The observer of a run: hands each event to the terminal's display, to the telemetry of the workers' cluster and to
further listeners (MLflow's live pages, notices).

Publishing happens beside the run, so the number of unpublished generations is looked up every few seconds.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from bootstrap.ledger_records import Generation
from bootstrap.records import Event, Observer
from bootstrap.telemetry import Telemetry

LOOK_EVERY_SECONDS = 10.0


class Watch:
    """Observer that hands events to `display` and `listeners`, and to the workers' telemetry while there are workers.

    `generations`: number of committed ones; `unpublished`: maps that number to how many of them MLflow lacks.
    """

    def __init__(
        self,
        display: Observer,
        *,
        generations: int,
        unpublished: Callable[[int], int],
        listeners: Sequence[Telemetry] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.display, self.generations, self.unpublished, self.clock = display, generations, unpublished, clock
        self.listeners = listeners
        self.telemetry = Telemetry()
        self._looked = -math.inf

    @contextmanager
    def telling(self, telemetry: Telemetry, newest: Generation | None) -> Iterator[None]:
        """Hand events to `telemetry` too within the block: first the newest generation, last an error that ends it."""
        self.telemetry = telemetry
        if newest is not None:
            telemetry.newest(newest)
        try:
            yield
        except Exception as error:
            telemetry.failed(error)
            raise
        finally:
            self.telemetry = Telemetry()

    def __call__(self, event: Event) -> None:
        self.display(event)
        for one in (self.telemetry, *self.listeners):
            one.event(event)
        if self.clock() - self._looked >= LOOK_EVERY_SECONDS:
            self.look()

    def committed(self, generation: Generation) -> None:
        """Hand on a generation that has just been committed."""
        self.generations = generation.number + 1
        for one in (self.telemetry, *self.listeners):
            one.committed(generation)
        self.look()

    def look(self) -> None:
        """Hand on the number of unpublished generations."""
        self._looked = self.clock()
        self.telemetry.unpublished(self.unpublished(self.generations))
