"""The process that holds vLLM: `python -m bootstrap.rollouts.vllm_server DESCRIPTOR`, started by `vllm_process.py`.

vLLM changes classes of transformers and pins releases of torch and transformers, so a learner's process never imports
it, and this one may run in an interpreter of its own. It knows tokens alone: texts, templates and stop texts are its
parent's. It ends when its parent does.

    parent -> {"do": METHOD, "files": [NAME, ...], ...} and each file's bytes
    this   -> {"step": [[request, new tokens, their log-probabilities], ...]}     any number, in `generate` alone
    parent -> [requests whose answers hold a stop text]                           after each of these
    this   -> {"done": result} or {"mismatch": text}

Messages are JSON; whatever goes wrong otherwise ends the process, and its parent reads the log.
"""

# vLLM is in an environment of its own, where this runs.
# pyright: reportMissingImports=false

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bootstrap.store.durable import write_folder

PARENT_SECONDS = 1.0
"""Time between two looks at whether the parent lives."""


class VllmServer:
    """One vLLM engine: a model, new weights for it, adapters over it, completions."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.llm: Any = None
        self.adapters: dict[str, Any] = {}
        """Fingerprint -> vLLM's request for the adapter held."""
        self.num_adapters = 0

    def serve(self) -> None:
        """Answer the parent's messages until it closes the connection."""
        while True:
            try:
                message = json.loads(self.connection.recv_bytes())
                files = {name: self.connection.recv_bytes() for name in message.pop("files")}
            except EOFError:
                return
            answer = getattr(self, message.pop("do"))(files, **message)
            self._send(answer)

    def start(
        self, files: Mapping[str, bytes], *, fingerprint: str, dtype: str, rows: int, adapter_rank: int
    ) -> Mapping[str, Any]:
        """Load a model folder. `rows`: most sequences decoded together; `adapter_rank`: 0 for no adapters."""
        import vllm
        from vllm.config import WeightTransferConfig
        from vllm.platforms import current_platform

        from bootstrap.rollouts import vllm_weights

        vllm_weights.register()
        adapters = {"enable_lora": True, "max_lora_rank": adapter_rank, "max_loras": 1, "max_cpu_loras": 1}
        with tempfile.TemporaryDirectory(prefix="bootstrap-vllm-") as place:
            folder = Path(place) / "model"
            write_folder(folder, files)
            self.llm = vllm.LLM(
                model=str(folder),
                dtype=dtype,
                max_num_seqs=rows,
                skip_tokenizer_init=True,
                generation_config="vllm",
                logprobs_mode="processed_logprobs",
                weight_transfer_config=WeightTransferConfig(backend=vllm_weights.BACKEND),
                disable_log_stats=True,
                # On a CPU its compiler takes minutes and wins little.
                enforce_eager=current_platform.is_cpu(),
                **(adapters if adapter_rank else {}),
            )
        self.llm.init_weight_transfer_engine({"init_info": {}})
        self.llm.llm_engine.set_weight_version(fingerprint)
        return {"done": {"max_length": self.llm.model_config.max_model_len, "version": vllm.__version__}}

    def swap(self, files: Mapping[str, bytes], *, fingerprint: str) -> Mapping[str, Any]:
        """Replace the weights by those of another folder with the same configuration."""
        import safetensors.torch

        from bootstrap.rollouts import vllm_weights

        tensors = {
            name: tensor
            for file, data in sorted(files.items())
            if file.endswith(".safetensors")
            for name, tensor in safetensors.torch.load(data).items()
        }
        # An adapter's fingerprint stands for its base as well.
        self._drop_adapters()
        vllm_weights.swap(self.llm, tensors, fingerprint)
        return {"done": self.llm.llm_engine.get_weight_version()}

    def adapt(self, files: Mapping[str, bytes], *, fingerprint: str) -> Mapping[str, Any]:
        """Hold an adapter over the base, in the place of the one held before."""
        from vllm.lora.request import LoRARequest

        self._drop_adapters()
        self.num_adapters += 1
        with tempfile.TemporaryDirectory(prefix="bootstrap-vllm-") as place:
            folder = Path(place) / "adapter"
            write_folder(folder, files)
            adapter = LoRARequest(fingerprint, self.num_adapters, str(folder))
            self.llm.llm_engine.add_lora(adapter)
        self.adapters = {fingerprint: adapter}
        return {"done": fingerprint}

    def _drop_adapters(self) -> None:
        for held in self.adapters.values():
            self.llm.llm_engine.remove_lora(held.lora_int_id)
        self.adapters = {}

    def generate(
        self,
        files: Mapping[str, bytes],
        *,
        policy: str,
        prompts: Sequence[Sequence[int]],
        asked: Sequence[tuple[int, int]],
        sampling: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        """Sample completions by the weights `policy`. `asked`: of each request the prompt's number and the seed."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        engine = self.llm.llm_engine
        adapter, version = self.adapters.get(policy), engine.get_weight_version()
        if adapter is None and version != policy:
            return {"mismatch": f"vLLM holds weights {version[:16]}, the plan names {policy[:16]}"}
        for number, (prompt, seed) in enumerate(asked):
            params = SamplingParams(
                **sampling,
                seed=seed,
                logprobs=0,
                # The end tokens are in `stop_token_ids`; the model's configuration may name others.
                ignore_eos=True,
                detokenize=False,
                output_kind=RequestOutputKind.DELTA,
            )
            engine.add_request(str(number), {"prompt_token_ids": list(prompts[prompt])}, params, lora_request=adapter)
        while engine.has_unfinished_requests():
            outputs = [output for output in engine.step() if output.outputs[0].token_ids]
            self._send({"step": [_news(output) for output in outputs]})
            spans = [span.version for output in outputs for span in output.outputs[0].weight_versions or ()]
            assert set(spans) <= {version}, "weights change between calls alone"
            if stopped := json.loads(self.connection.recv_bytes()):
                engine.abort_request([str(number) for number in stopped])
        return {"done": policy if adapter is not None else engine.get_weight_version()}

    def _send(self, message: Mapping[str, Any]) -> None:
        self.connection.send_bytes(json.dumps(message).encode())


def _news(output: Any) -> tuple[int, list[int], list[float]]:
    """Return a request's number, its new tokens and their log-probabilities."""
    (found,) = output.outputs
    tokens = list(found.token_ids)
    return (
        int(output.request_id),
        tokens,
        [by_token[token].logprob for token, by_token in zip(tokens, found.logprobs, strict=True)],
    )


def main() -> None:
    threading.Thread(target=_end_with, args=(os.getppid(),), name="parent", daemon=True).start()
    VllmServer(Connection(int(sys.argv[1]))).serve()


def _end_with(parent: int) -> None:
    """End this process once its parent is gone, whatever it does at the time."""
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
