"""What the browser tests know about the MLflow server that they look at."""

from dataclasses import dataclass
from pathlib import Path

from bootstrap.lineage.outbox import Receipt


@dataclass(frozen=True, kw_only=True)
class Site:
    """A running MLflow server and what it calls the generations."""

    url: str
    receipts: dict[int, Receipt]
    root: Path
    """The lineage's folder."""
