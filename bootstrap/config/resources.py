"""Workers, limits on waiting, and the tracking server. None of it is part of a lineage's identity."""

from typing import Annotated, Literal

from pydantic import Field

from bootstrap.config.base import Settings


class Resources(Settings):
    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Processes that sample and learn, one torch thread each; `auto` takes one per available CPU core, at most 8."""
    cpus_per_worker: float = Field(default=1, ge=0)
    """CPU cores that a worker reserves on a Ray cluster."""
    gpus_per_worker: float = Field(default=0, ge=0)
    """GPUs that a worker reserves on a Ray cluster; above 0 it computes on one."""
    batch_rows: int = Field(default=512, ge=1)
    """Most sequences in one forward pass of a worker; more are split into several. Like the number of workers it
    decides the order of summation: results agree within rounding, hashes only where both settings are equal."""
    wait_seconds: float = Field(default=600, gt=0)
    """Longest wait for one worker's answer, in seconds, before the run stops and says what it waited for."""


class Tracking(Settings):
    uri: str | None = None
    """MLflow tracking URI; null uses a SQLite database inside the store. `MLFLOW_TRACKING_URI` overrides null."""
    experiment: str | None = None
    """MLflow experiment; null names it after the lineage."""
    sample_rollouts: int = Field(default=32, ge=0)
    """Readable rollouts published per generation."""
