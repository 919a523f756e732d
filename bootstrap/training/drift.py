"""How far a model is from another one on given completions: a forward pass of both, no gradient.

KL(model || other) at each completion token, over all outputs that both have and at temperature 1, whatever the
completions were sampled at. On the model's own samples its mean estimates the divergence of the two per token. Left
out: which completions (`stages/diagnostics.py`), and divergences that are trained on (`loss.py`).
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from bootstrap.compute import forward_flops
from bootstrap.learner_records import Divergence
from bootstrap.records import Example
from bootstrap.training.batch import MicroBatch, micro_batches
from bootstrap.training.learner import MAX_LOGITS
from bootstrap.training.loss import divergence
from bootstrap.training.model import model_shape, readable


@torch.no_grad()
def divergence_from(
    other: PreTrainedModel,
    examples: Sequence[Example],
    *,
    model: PreTrainedModel,
    max_rows: int,
    compute: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Divergence:
    """Return KL(model || other) summed over the completion tokens of the examples, whose weights play no part.

    Both models share one tokenizer; outputs that only one of them has are left out. `max_rows`: most sequences in one
    forward pass; `compute`: the context in which the blocks run.
    """
    model.eval()
    device = next(model.parameters()).device
    max_targets = max(MAX_LOGITS[device.type] // model.config.vocab_size, 1)
    nats, num_tokens, flops = 0.0, 0, 0.0
    pad = model.config.pad_token_id or 0
    for _, host in micro_batches(examples, pad=pad, max_rows=max_rows, max_targets=max_targets):
        micro = host.to(device)
        ours_NV, theirs_NV = (_logits(one, micro, compute) for one in (model, other))
        nats += float(divergence(ours_NV, theirs_NV, torch.ones_like(ours_NV[:, 0]), beta=1.0))
        num_tokens += len(ours_NV)
        flops += sum(forward_flops(model_shape(one), micro.lengths) for one in (model, other))
    return Divergence(nats=nats, num_tokens=num_tokens, flops=flops)


def _logits(model: PreTrainedModel, micro: MicroBatch, compute: Callable[[], AbstractContextManager[Any]]) -> Tensor:
    """Return the logits (N, V) that predict the completion tokens."""
    with compute():
        hidden = model.base_model(input_ids=readable(micro.tokens_BT, model), use_cache=False).last_hidden_state
    return model.get_output_embeddings()(hidden[micro.row_N, micro.position_N].float())
