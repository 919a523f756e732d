"""Matrix products in bf16: one function of the weights for sampling and for training, so that their numbers agree.

With `bf16`, the products inside the blocks take bf16 inputs (autocast), and nothing else does: embedding, norms, the
residual stream, the output matrix and the softmax stay in float32, since rounded logits are where sampler and trainer
drift apart (arXiv:2506.13585). Weights that are trained are float32; frozen matrices are kept in bf16, to which
autocast would round them in every pass. On a CPU attention runs in float32: it is small there, and its bf16 kernel is
slower for single tokens.

Left out: fp16, fp8, loss scaling (bf16 needs none).
"""

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_layers import GradientCheckpointingLayer

FLOAT_ATTENTION = "sdpa_float"


def _float_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **settings: Any
) -> tuple[Tensor, None]:
    with torch.autocast(query.device.type, enabled=False):
        return sdpa_attention_forward(module, query.float(), key.float(), value.float(), attention_mask, **settings)


AttentionInterface.register(FLOAT_ATTENTION, _float_attention)
AttentionMaskInterface.register(FLOAT_ATTENTION, sdpa_mask)


def compute(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Return the context in which a model's blocks run."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def use_float_attention(model: PreTrainedModel) -> None:
    """Let attention run in float32 under autocast."""
    model.set_attn_implementation(FLOAT_ATTENTION)


def lower_frozen(model: PreTrainedModel) -> None:
    """Round the matrices inside the blocks to bf16, in place; for weights that no optimizer changes."""
    for module in _matrices(model):
        module.weight = nn.Parameter(module.weight.detach().to(torch.bfloat16), requires_grad=False)


class InferenceCopy:
    """A model that shares all of another's tensors but the matrices inside the blocks, of which it has bf16 copies.

    It computes what the other one does under autocast, without rounding the weights anew for every token.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.source = model
        self.model = sharing(model)
        lower_frozen(self.model)

    def refresh(self) -> None:
        """Take over what training has changed."""
        with torch.no_grad():
            for mine, theirs in zip(_matrices(self.model), _matrices(self.source), strict=True):
                mine.weight.copy_(theirs.weight)


def sharing(model: PreTrainedModel) -> PreTrainedModel:
    """Return a second model over the same parameter tensors; replacing a module's parameter leaves the other alone."""
    return copy.deepcopy(model, memo={id(parameter): parameter for parameter in model.parameters()})


def recompute_blocks(model: PreTrainedModel) -> None:
    """Let the blocks keep only their inputs for the backward pass; `model.eval()` ends it.

    Only the blocks themselves are in training mode, not the modules in them, so that dropout stays off.
    """
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.gradient_checkpointing = module.training = True
            module._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)


def _matrices(model: PreTrainedModel) -> Iterator[nn.Linear]:
    return (module for module in model.base_model.modules() if isinstance(module, nn.Linear))
