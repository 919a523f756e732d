"""Whoever watches a run, told at once: the display on this terminal, and the telemetry of the workers' cluster.

How much MLflow still lacks is looked up now and then, since publishing goes on beside the run.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bootstrap.ledger_records import Generation
from bootstrap.records import Event, Observer
from bootstrap.telemetry import Telemetry

LOOK_EVERY_SECONDS = 10.0


class Watch:
    """An observer of a run that tells `display`, and the workers' telemetry while there are workers.

    `generations`: how many are committed; `unpublished` says of how many of the first so many MLflow lacks pages.
    """

    def __init__(
        self,
        display: Observer,
        *,
        generations: int,
        unpublished: Callable[[int], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.display, self.generations, self.unpublished, self.clock = display, generations, unpublished, clock
        self.telemetry = Telemetry()
        self._looked = -math.inf

    @contextmanager
    def telling(self, telemetry: Telemetry, newest: Generation | None) -> Iterator[None]:
        """Tell `telemetry` too within the block: first of the newest generation, at last of an error that ends it."""
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
        self.telemetry.event(event)
        if self.clock() - self._looked >= LOOK_EVERY_SECONDS:
            self.look()

    def committed(self, generation: Generation) -> None:
        """Tell of a generation that has just joined the ledger."""
        self.generations = generation.number + 1
        self.telemetry.committed(generation)
        self.look()

    def look(self) -> None:
        """Tell how much MLflow lacks now."""
        self._looked = self.clock()
        self.telemetry.unpublished(self.unpublished(self.generations))
