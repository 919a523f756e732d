"""New weights for a running vLLM, by its weight-transfer API: tensors in the memory of vLLM's own process.

vLLM 0.32 on a CPU packs each matrix for its products when it loads it, and after an update with tied embeddings it goes
on answering by the packed copy of the old output matrix. `VllmWeights` packs that matrix again. Only vLLM's process
imports this module.
"""

# vLLM is in an environment of its own, where this runs.
# pyright: reportMissingImports=false

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm
from vllm.model_executor.model_loader.reload import finalize_layerwise_reload, initialize_layerwise_reload

BACKEND = "bootstrap"
_waiting: dict[str, Mapping[str, torch.Tensor]] = {}
"""Fingerprint -> the tensors that an update under way takes."""


@dataclass
class NoInfo(WeightTransferInitInfo):
    """There is nothing to set up between parts of one process."""


@dataclass
class TensorsToTake(WeightTransferUpdateInfo):
    """The tensors that wait under a fingerprint."""

    fingerprint: str


class VllmWeights(WeightTransferEngine[NoInfo, TensorsToTake]):
    """Takes a whole model's tensors by the names of its Hugging Face folder."""

    init_info_cls = NoInfo
    update_info_cls = TensorsToTake

    def init_transfer_engine(self, init_info: NoInfo) -> None:
        pass

    def start_weight_update(self) -> None:
        initialize_layerwise_reload(self.model)

    def receive_weights(self, update_info: TensorsToTake) -> None:
        self.model.load_weights(iter(_waiting[update_info.fingerprint].items()))

    def finish_weight_update(self) -> None:
        finalize_layerwise_reload(self.model, self.model_config)
        repair_tied_head(self.model)

    def shutdown(self) -> None:
        pass


def register() -> None:
    """Make `BACKEND` known to vLLM, before the first model."""
    WeightTransferEngineFactory.register_engine(BACKEND, VllmWeights)


def repair_tied_head(model: nn.Module) -> None:
    """Pack the output matrix again where it is the embedding's and vLLM multiplies by a packed copy."""
    head = getattr(model, "lm_head", None)
    if head is not None and hasattr(head, "cpu_linear") and head.weight.numel():
        dispatch_cpu_unquantized_gemm(head, remove_weight=False)


def swap(llm: Any, tensors: Mapping[str, torch.Tensor], fingerprint: str) -> None:
    """Put a whole model's tensors into a running vLLM, under the label `fingerprint`; what it had cached is dropped."""
    _waiting[fingerprint] = tensors
    try:
        llm.start_weight_update()
        llm.update_weights({"update_info": {"fingerprint": fingerprint}})
        llm.finish_weight_update(weight_version=fingerprint)
    finally:
        del _waiting[fingerprint]
    assert llm.reset_prefix_cache(), "no answer is under way while weights change"
