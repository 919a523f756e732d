"""Puts a model on the ranks that train it together: every rank holds 1/S of each tensor's rows (FSDP2, HSDP).

Blocks are gathered one after the other, each for the length of its own pass. The embedding, the last norm and the
output matrix are gathered around the whole `completion`.
"""

from collections.abc import Callable
from functools import partial
from types import MethodType
from typing import Any, TypeVar

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from bootstrap.training.completion import SHARDED_CALL, whole_completion
from bootstrap.training.critic import Critic
from bootstrap.training.ranks import Ranks

_Result = TypeVar("_Result")
_BF16 = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False)
"""Matrices in bf16, with gradients that are added in float32."""


def shard(model: PreTrainedModel, ranks: Ranks, *, lowered: bool = False) -> PreTrainedModel:
    """Return the model, spread over the ranks in place; tensors on the meta device stay there.

    `lowered`: the trained matrices inside the blocks travel, and are multiplied, in bf16; their gradients are summed in
    float32.
    """
    for block in blocks(model):
        matrices: list[nn.Module] = [
            one for one in block.modules() if isinstance(one, nn.Linear) and one.weight.requires_grad
        ]
        if lowered and matrices:
            # Autocast would keep a rounded copy of every matrix until the backward pass, so each rank a whole model.
            fully_shard(matrices, mesh=ranks.mesh, mp_policy=_BF16)
        fully_shard(block, mesh=ranks.mesh)
    fully_shard(model, mesh=ranks.mesh)
    setattr(model, SHARDED_CALL, MethodType(whole_completion, model))
    register_fsdp_forward_method(model, SHARDED_CALL)
    setattr(model, SHARDED_CALL, partial(_call, model, getattr(model, SHARDED_CALL)))
    _sum_gradients(model)
    return model


def _call(model: PreTrainedModel, completion: Callable[..., _Result], *arguments: Any) -> _Result:
    """Return a completion; without gradients, no backward pass would give back what it has gathered."""
    found = completion(*arguments)
    if not torch.is_grad_enabled():
        give_back(model)
    return found


def shard_critic(critic: Critic, ranks: Ranks) -> Critic:
    """Return a critic, spread over the ranks in place."""
    fully_shard(critic.head, mesh=ranks.mesh, reshard_after_forward=True)
    _sum_gradients(critic)
    return critic


def blocks(model: PreTrainedModel) -> list[nn.Module]:
    """Return the transformer's blocks in order."""
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


def give_back(model: nn.Module) -> None:
    """Let go of what a pass without a backward pass has gathered."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def architecture(model: PreTrainedModel) -> str:
    """Return the name of a model's class in transformers."""
    kind = type(model)
    return kind.__mro__[2].__name__ if isinstance(model, FSDPModule) else kind.__name__


def _sum_gradients(module: nn.Module) -> None:
    """Let gradients of the ranks be added: the losses are divided by the whole batch's counts already."""
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.set_gradient_divide_factor(1.0)
            part.set_force_sum_reduction_for_comms(True)
