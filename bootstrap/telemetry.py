"""Live figures of a run, for export.

    stages --- event, stage, work, verdicts ---+
    pool --- waiting --------------------------+---> Telemetry ---> nothing, or Prometheus (`cluster/telemetry.py`)
    command line --- committed, ... -----------+

No result of a run depends on them. The ledger keeps the same counts permanently.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

from bootstrap.ledger_records import Generation
from bootstrap.records import Event, Status


class Telemetry:
    """Drops all figures; a subclass exports them. No method may raise."""

    def event(self, event: Event) -> None:
        """Record a stage's progress."""

    def stage(self, stage: str) -> AbstractContextManager[None]:
        """Count the driver's wall time in the block for a stage."""
        return nullcontext()

    def waiting(self, what: str) -> AbstractContextManager[None]:
        """Count the wall time in the block as the driver's wait for `what` from its workers."""
        return nullcontext()

    def work(self, stage: str, *, tokens: int, flops: float) -> None:
        """Count work just done: tokens sampled or trained on, and floating-point operations."""

    def verdicts(self, counts: Mapping[Status, int]) -> None:
        """Count answers just judged, by status."""

    def newest(self, generation: Generation) -> None:
        """Record the ledger's newest generation, perhaps of an earlier run."""

    def committed(self, generation: Generation) -> None:
        """Record a generation just committed; it becomes the newest."""

    def unpublished(self, count: int) -> None:
        """Record the number of committed generations that are missing in MLflow."""

    def close(self) -> None:
        """Stop exporting; may be repeated."""

    def failed(self, error: BaseException) -> None:
        """Record an error that ends the run, or one beside it, as in publishing."""
