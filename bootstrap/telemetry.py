"""What a run tells about itself while it works, for whoever exports it.

    stages --- event, stage, work, verdicts ---+
    pool --- waiting --------------------------+---> Telemetry ---> nothing, or Prometheus (`cluster/telemetry.py`)
    command line --- committed, ... -----------+

Nothing that a run does depends on what is told. The ledger keeps the same counts for good; this is for watching.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

from bootstrap.ledger_records import Generation
from bootstrap.records import Event, Status


class Telemetry:
    """Takes figures and drops them; a subclass exports them. No method may raise."""

    def event(self, event: Event) -> None:
        """Take the progress of a stage."""

    def stage(self, stage: str) -> AbstractContextManager[None]:
        """Take the driver's wall time in the block as a stage's."""
        return nullcontext()

    def waiting(self, what: str) -> AbstractContextManager[None]:
        """Take the wall time in the block as the driver's waiting for `what` of its workers."""
        return nullcontext()

    def work(self, stage: str, *, tokens: int, flops: float) -> None:
        """Take work done just now: tokens sampled or trained on, floating-point operations."""

    def verdicts(self, counts: Mapping[Status, int]) -> None:
        """Take how many answers were judged just now, by status."""

    def newest(self, generation: Generation) -> None:
        """Take the newest generation of the ledger, which may be of an earlier run."""

    def committed(self, generation: Generation) -> None:
        """Take a generation that has just joined the ledger; it is the newest from then on."""

    def unpublished(self, count: int) -> None:
        """Take how many committed generations MLflow does not show yet."""

    def close(self) -> None:
        """Leave off exporting. May be repeated."""

    def failed(self, error: BaseException) -> None:
        """Take an error: of a run that ends by it, or of something beside it, such as publishing."""
