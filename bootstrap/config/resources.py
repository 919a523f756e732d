"""Workers, limits on waiting, the tracking server, notices. None of it is part of a lineage's identity."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from bootstrap.config.base import Settings


class SamplerProcesses(Settings):
    engine: Literal["transformers", "vllm"] = "transformers"
    """What decodes. `vllm` needs the extra of that name; another engine draws other tokens from the same seed."""
    processes: int = Field(default=1, ge=1)
    """Processes that answer, each with the whole model."""
    cpus: float = Field(default=1, ge=0)
    """CPU cores that each reserves on a Ray cluster."""
    gpus: float = Field(default=0, ge=0)
    """GPUs that each reserves on a Ray cluster; above 0 it computes on one."""
    cache_gib: int = Field(default=1, ge=1)
    """GiB of the key-value cache of each vLLM that computes on a CPU; on a GPU vLLM takes nine tenths of its memory."""


class Resources(Settings):
    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Processes that sample and learn, one torch thread each; `auto` takes one per available CPU core, at most 8.
    Beside `samplers` they only learn."""
    shard: int = Field(default=1, ge=1)
    """Workers that hold one copy of the model together, each a part of every tensor; they need `samplers`, and their
    number is a multiple of it. Checkpoints stay on the store's disk, which all machines must see."""
    samplers: SamplerProcesses | None = None
    """Processes of their own that answer, so that learning and answering are sized and placed apart; null lets the
    workers do both. They take the weights from the workers before each round that samples."""
    cpus_per_worker: float = Field(default=1, ge=0)
    """CPU cores that a worker reserves on a Ray cluster."""
    gpus_per_worker: float = Field(default=0, ge=0)
    """GPUs that a worker reserves on a Ray cluster; above 0 it computes on one."""
    batch_rows: int = Field(default=512, ge=1)
    """Most sequences in one forward pass of a worker, in sampling and training alike; memory may allow fewer. Like the
    number of workers it decides the order of summation: results agree within rounding, hashes only where the settings
    are equal."""
    rollout_rows: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Most sequences that a worker decodes together. `auto` takes as many as its memory holds, by the lengths of
    prompts and answers and the model's shape, up to `batch_rows`."""
    train_tokens: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Most tokens, padding included, in one forward and backward pass of a worker; a longer sequence goes alone. `auto`
    takes as many as its memory holds by the model's shape. A lineage keeps the memory that it began with, so that its
    generations split their work alike. Where memory runs out, a limit is halved once and for all workers."""
    wait_seconds: float = Field(default=600, gt=0)
    """Longest wait for a worker without a sign of progress, in seconds, before the run stops and says what it waited
    for: a token decoded by a batch, a pass in training, a call begun or ended."""

    @model_validator(mode="after")
    def _one_bound_of_rows(self) -> Self:
        if isinstance(self.rollout_rows, int) and self.rollout_rows > self.batch_rows:
            raise ValueError(
                f"rollout_rows {self.rollout_rows} exceeds batch_rows {self.batch_rows}, which bounds every forward "
                "pass; raise batch_rows, or lower rollout_rows"
            )
        return self

    @model_validator(mode="after")
    def _shared_by_learners(self) -> Self:
        if self.shard == 1:
            return self
        if self.samplers is None:
            raise ValueError(
                f"workers that share a model (shard: {self.shard}) cannot answer; give resources.samplers, as "
                "{processes: 1}, or set shard: 1"
            )
        if self.workers != "auto" and self.workers % self.shard:
            raise ValueError(
                f"workers {self.workers} is no multiple of shard {self.shard}; set workers to "
                f"{-(-self.workers // self.shard) * self.shard}"
            )
        return self

    @property
    def reserved_beside(self) -> dict[str, float]:
        """What the samplers reserve of a cluster, by Ray's names."""
        one = self.samplers
        return {} if one is None else {"CPU": one.processes * one.cpus, "GPU": one.processes * one.gpus}

    @property
    def own_limits(self) -> dict[str, int]:
        """The limits of sampling and training that are set, by name."""
        named = {"rollout_rows": self.rollout_rows, "train_tokens": self.train_tokens}
        return {name: value for name, value in named.items() if isinstance(value, int)}


class Tracking(Settings):
    uri: str | None = None
    """MLflow tracking URI; null uses a SQLite database inside the store. `MLFLOW_TRACKING_URI` overrides null."""
    experiment: str | None = None
    """MLflow experiment; null names it after the lineage."""
    sample_rollouts: int = Field(default=32, ge=0)
    """Readable rollouts published per generation."""


class Notify(Settings):
    url: str | None = Field(default=None, pattern=r"^https?://")
    """Address that gets a POST of JSON, as `http://127.0.0.1:9000/bootstrap`."""
    url_variable: str | None = None
    """Environment variable of the run that holds the address, where that is a secret, as those of chats are."""
    events: tuple[Literal["promotion", "rejection", "guard", "end"], ...] = ("promotion", "rejection", "guard", "end")
    """What is told: a candidate that is promoted, one that is rejected, a broken guard, the end of the run."""

    @field_validator("url")
    @classmethod
    def _holds_no_secret(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if "@" in parts.netloc or parts.query:
            raise ValueError(
                "recipes hold no secrets: put the address into an environment variable, its name into url_variable"
            )
        if not parts.hostname:
            raise ValueError("it names no host; write http://HOST:PORT/PATH")
        return url

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.url is None) == (self.url_variable is None):
            raise ValueError("give either url, or url_variable for an address that is a secret")
        return self
