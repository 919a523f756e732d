"""The sampling model of one vLLM process: weights and adapters come as folders in bytes, rollouts go out.

It answers to the calls of `worker.Worker` that concern sampling, and never learns. The first weights start vLLM; later
ones of the same configuration replace them in its memory, and adapters travel without their base. This process reads
tokenizer and templates with transformers; vLLM is in a process below it.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from bootstrap.config.training import Training
from bootstrap.errors import FingerprintMismatch
from bootstrap.memory import Room
from bootstrap.records import Request, Rollout, Sampling
from bootstrap.rollouts.answers import AnswerTexts, ends_of
from bootstrap.rollouts.vllm_engine import VllmEngine
from bootstrap.rollouts.vllm_process import PROGRAM, VllmProcess
from bootstrap.rollouts.vllm_shapes import adapter_bound, head_size, require_head_size
from bootstrap.store.fingerprint import base_fingerprint, fingerprint_model
from bootstrap.training import chat
from bootstrap.training import model as models
from bootstrap.training.data_text import prompt_encoder

_DTYPES = {"fp32": "float32", "bf16": "bfloat16"}


class VllmSampler:
    """One vLLM engine. Arguments and results of every method pickle.

    `batch_rows`: most sequences decoded together; `training`: the recipe's settings with `auto` resolved, of which
    precision and adapter count; the others as of `VllmProcess`. Raises RecipeError for an adapter that vLLM lacks.
    """

    def __init__(
        self,
        *,
        batch_rows: int,
        training: Training,
        device: Literal["cpu", "cuda"] = "cpu",
        python: str | None = None,
        threads: int = 1,
        cache_gib: int = 1,
        wait_seconds: float = 600,
        room: Room | None = None,
        program: str = PROGRAM,
    ) -> None:
        assert training.precision != "auto", "the pool resolves it, for all workers alike"
        self.batch_rows = batch_rows
        self.training = training
        self.device: Literal["cpu", "cuda"] = device
        self.room = room
        self.adapter_rank = adapter_bound(training.adapter)
        self.engine: VllmEngine | None = None
        self.process: VllmProcess | None = None
        self._options: dict[str, Any] = {
            "python": python,
            "threads": threads,
            "cache_gib": cache_gib,
            "wait_seconds": wait_seconds,
            "program": program,
        }
        self._config = b""
        """config.json of the whole model that vLLM holds."""
        self._base = ""
        """Its fingerprint."""
        self._policy = ""
        """Fingerprint of what answers: the whole model's, or the adapter's."""

    def provide(self, files: Mapping[str, bytes], fingerprint: str) -> None:
        """Hold a model folder as the base of adapters. Raises as `load`."""
        self.load(files, fingerprint)

    def load(self, files: Mapping[str, bytes], expected: str | None) -> str:
        """Take the weights of a model folder, or of an adapter on the base provided, and return their fingerprint.

        Raises FingerprintMismatch when they are not the `expected` ones, RecipeError for a model that vLLM does not
        serve, WorkerError when vLLM dies, WaitTimeout.
        """
        found = fingerprint_model(files)
        if expected is not None and found != expected:
            raise FingerprintMismatch(f"a sampler got weights {found[:16]}, the plan names {expected[:16]}")
        base = base_fingerprint(files)
        if base is None:
            self._take_whole(files, found)
        else:
            assert self.process is not None and self._base == base, f"provide() comes before an adapter of {base[:16]}"
            self.process.call("adapt", _of_peft(files), fingerprint=found)
        self._policy = found
        self._ask_as(files)
        return found

    def _take_whole(self, files: Mapping[str, bytes], fingerprint: str) -> None:
        """Replace the weights in vLLM's memory, or start vLLM: at first, for another kind of model, after its death."""
        if self.process is not None and self.process.is_alive and files["config.json"] == self._config:
            found = self.process.call("swap", _weights(files), fingerprint=fingerprint)
            if found != fingerprint:
                raise FingerprintMismatch(f"vLLM says that it holds {found[:16]} after it took {fingerprint[:16]}")
        else:
            require_head_size(head_size(json.loads(files["config.json"])), device=self.device)
            self.close()
            self.process = VllmProcess(**self._options)
            started = self.process.call(
                "start",
                {**_weights(files), "config.json": files["config.json"]},
                fingerprint=fingerprint,
                dtype=_DTYPES[self.training.precision],
                rows=self.batch_rows,
                adapter_rank=self.adapter_rank,
            )
            self._max_length = started["max_length"]
        self._config, self._base = files["config.json"], fingerprint
        self.outline, self._tokenizer = models.load_outline(files)

    def _ask_as(self, files: Mapping[str, bytes]) -> None:
        """Put prompts as this folder says."""
        assert self.process is not None, "load() comes before generate()"
        framing, rows = chat.framing_of(files), len(models.embedding(self.outline))
        answers = AnswerTexts(
            self._tokenizer,
            ends=ends_of(self.outline.generation_config, self._tokenizer, rows=rows),
            rows=rows,
            encode=prompt_encoder(framing, self._tokenizer),
            opening=framing.opening,
            stop=framing.choices.stop,
            min_new_tokens=framing.choices.min_new_tokens,
        )
        self.engine = VllmEngine(self.process, answers, max_length=self._max_length, room=self.room)

    def fingerprint(self) -> str:
        """Return the fingerprint of the weights that answer."""
        return self._policy

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Rollout]:
        """Sample completions, each stamped with its weights' fingerprint. Raises as `VllmEngine.generate`."""
        assert self.engine is not None, "load() comes before generate()"
        return self.engine.generate(requests, sampling, policy=self._policy)

    def close(self) -> None:
        """End vLLM's process. May be repeated."""
        if self.process is not None:
            self.process.close()
        self.process, self.engine = None, None


def _weights(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if name.endswith(".safetensors")}


def _of_peft(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if name.startswith("adapter_")}
