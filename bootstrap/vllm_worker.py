"""A sampler's process whose model lies in vLLM: what the pool asks of any process with a model (`worker.py`).

Left out: models beside the one that answers, which `planning/samplers.py` refuses before a run.
"""

import os
from collections.abc import Mapping, Sequence

from bootstrap.compute import ModelShape
from bootstrap.config.training import Training
from bootstrap.model_process import ModelProcess
from bootstrap.records import Checkpoint, Request, Rollout, Sampling
from bootstrap.room import ModelRoom
from bootstrap.store.on_disk import size_of
from bootstrap.training.model import model_shape
from bootstrap.vllm_sampler import VllmSampler

PYTHON = "BOOTSTRAP_VLLM_PYTHON"
"""Environment variable: the interpreter that has vLLM, where that is not this one. A recipe names no programs."""


class VllmWorker(ModelProcess):
    """Answers with vLLM and never learns."""

    def __init__(self, *, batch_rows: int, cache_gib: int, wait_seconds: float) -> None:
        """`batch_rows`: most sequences decoded together; the others as of `VllmProcess`."""
        super().__init__(batch_rows=batch_rows)
        self.cache_gib, self.wait_seconds = cache_gib, wait_seconds
        self._made: VllmSampler | None = None

    @property
    def sampler(self) -> VllmSampler:
        """vLLM, as it is asked."""
        assert self._made is not None, "configure() comes before any weights"
        return self._made

    def configure(self, training: Training) -> None:
        """Take the recipe's settings, before any weights. Raises RecipeError for an adapter that vLLM lacks."""
        super().configure(training)
        self._made = VllmSampler(
            batch_rows=self.batch_rows,
            training=training,
            device="cuda" if self.device.type == "cuda" else "cpu",
            python=os.environ.get(PYTHON),
            cache_gib=self.cache_gib,
            wait_seconds=self.wait_seconds,
            room=ModelRoom(self.bounds, None),
        )

    def provide(self, files: Mapping[str, bytes], fingerprint: str) -> None:
        """Hold a model folder as the base of adapters. Raises as `VllmSampler.load`."""
        self.sampler.provide(files, fingerprint)

    def load(self, files: Mapping[str, bytes], expected: str | None) -> str:
        """Take the weights of a model folder and return their fingerprint. Raises as `VllmSampler.load`."""
        return self.sampler.load(files, expected)

    def renew(self, published: Checkpoint, fingerprint: str) -> None:
        """Take the weights that a learner has published. Raises as `VllmSampler.load`."""
        self.received["weights"] += size_of(published.files)
        self.sampler.load(published.files, fingerprint)

    def fingerprint(self) -> str:
        """Return the fingerprint of the weights that answer."""
        return self.sampler.fingerprint()

    def changed(self, fingerprint: str) -> str:
        """Return in words how the weights that vLLM says to hold differ from those of a fingerprint, if at all.

        vLLM packs weights for its kernels, so its memory cannot be hashed.
        """
        found = self.fingerprint()
        return "" if found == fingerprint else f"holds {found[:16]}"

    def shape_of_model(self) -> ModelShape:
        """Return the shape of the weights held."""
        return model_shape(self.sampler.outline)

    def generate(self, requests: Sequence[Request], sampling: Sampling, by: str | None = None) -> list[Rollout]:
        """Sample completions, each stamped with its weights' fingerprint. Raises as `VllmEngine.generate`."""
        assert by is None, "a plan with frozen samplers in vLLM is refused"
        return self.sampler.generate(requests, sampling)
