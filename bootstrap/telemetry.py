"""What a run tells about itself while it works, for whoever exports it.

    stages --- event, work, verdicts ---+
    pool --- waited --------------------+---> Telemetry ---> nothing (here), or Prometheus (`cluster/telemetry.py`)
    command line --- committed, ... ----+

Nothing that a run does depends on what is told. The ledger keeps the same counts for good; this is for watching.
"""

from collections.abc import Mapping

from bootstrap.records import Event, Generation, Status


class Telemetry:
    """Takes figures and drops them; a subclass exports them. No method may raise."""

    def event(self, event: Event) -> None:
        """Take the progress of a stage."""

    def work(self, stage: str, *, seconds: float = 0.0, tokens: int = 0, flops: float = 0.0) -> None:
        """Take work done just now: the driver's wall time, tokens sampled or trained on, floating-point operations."""

    def verdicts(self, counts: Mapping[Status, int]) -> None:
        """Take how many answers were judged just now, by status."""

    def waited(self, what: str, seconds: float) -> None:
        """Take the wall time that the driver waited for its workers to return `what`."""

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
