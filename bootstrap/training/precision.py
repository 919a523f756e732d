"""Matrix products in bf16, by the same rules in sampling and training, so that their numbers agree.

| `bf16`                                                         | precision                                   |
|----------------------------------------------------------------|---------------------------------------------|
| products inside the blocks                                     | bf16 inputs (autocast)                      |
| embedding, norms, residual stream, output matrix, softmax      | float32: rounded logits separate sampler    |
|                                                                | and trainer (arXiv:2506.13585)              |
| trained weights                                                | float32                                     |
| frozen matrices                                                | bf16, as autocast would round them          |
| attention on a CPU                                             | float32: the bf16 kernel is slower for      |
|                                                                | single tokens                               |

Left out: fp16, fp8, loss scaling (bf16 needs none).
"""

import copy
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
    """Return the context of a model's blocks."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def use_float_attention(model: PreTrainedModel) -> None:
    """Let attention run in float32 under autocast."""
    model.set_attn_implementation(FLOAT_ATTENTION)


def lower_frozen(model: PreTrainedModel) -> None:
    """Round the matrices inside the blocks to bf16, in place; for weights that no optimizer changes."""
    for module in matrices(model).values():
        module.weight = nn.Parameter(module.weight.detach().to(torch.bfloat16), requires_grad=False)


class InferenceCopy:
    """An inference copy: a model that shares another's tensors, except for bf16 copies of the matrices in the blocks.

    It computes the same as the other under autocast, without rounding the weights again for every token.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.source = model
        self.model = sharing(model)
        lower_frozen(self.model)

    def refresh(self) -> None:
        """Copy the trained matrices."""
        with torch.no_grad():
            sources = matrices(self.source)
            for name, mine in matrices(self.model).items():
                mine.weight.copy_(sources[name].weight)

    def is_current(self) -> bool:
        """Whether every matrix is the source's, rounded."""
        sources = matrices(self.source)
        mine = matrices(self.model).items()
        return all(torch.equal(module.weight, sources[name].weight.to(module.weight.dtype)) for name, module in mine)


def sharing(model: PreTrainedModel) -> PreTrainedModel:
    """Return a second model over the same parameter tensors; replacing a parameter in one keeps the other unchanged."""
    return copy.deepcopy(model, memo={id(parameter): parameter for parameter in model.parameters()})


def recompute_blocks(model: PreTrainedModel) -> None:
    """Let the blocks keep only their inputs for the backward pass, until `model.eval()`.

    Only the blocks themselves are in training mode, not the modules inside, so dropout stays off.
    """
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.gradient_checkpointing = module.training = True
            # torch annotates attributes of modules as tensors and modules.
            function = partial(checkpoint, use_reentrant=False)
            module._gradient_checkpointing_func = function  # pyright: ignore[reportArgumentType]


def matrices(model: PreTrainedModel) -> dict[str, nn.Linear]:
    """Return the linear layers of a model's body by name, an adapter's included."""
    return {name: module for name, module in model.base_model.named_modules() if isinstance(module, nn.Linear)}
