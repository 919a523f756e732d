"""Divergence of two models on given completions, from a forward pass of each, without gradient.

KL(model || other) at each completion token, over their shared outputs, at temperature 1 whatever the sampling
temperature. On the model's own samples its mean estimates their divergence per token. Left out: the choice of
completions (`stages/diagnostics.py`), and divergences as losses (`loss.py`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from bootstrap.compute import forward_flops
from bootstrap.learner_records import Divergence
from bootstrap.memory import Room
from bootstrap.records import Example
from bootstrap.training.batch import MicroBatch, micro_batches
from bootstrap.training.completion import completion
from bootstrap.training.learner import MAX_LOGITS
from bootstrap.training.loss import divergence
from bootstrap.training.model import model_shape, readable


def divergence_from(
    other: PreTrainedModel,
    examples: Sequence[Example],
    *,
    model: PreTrainedModel,
    max_rows: int,
    compute: Callable[[], AbstractContextManager[Any]] = nullcontext,
    room: Room | None = None,
) -> Divergence:
    """Return KL(model || other) summed over the examples' completion tokens, each with weight 1.

    Both models share one tokenizer; outputs of only one of them are left out. `max_rows`: most sequences in one forward
    pass; `compute`: context of the models' blocks; `room`: bounds of memory.
    """
    room = room or Room()
    max_targets = max(MAX_LOGITS[next(model.parameters()).device.type] // model.config.vocab_size, 1)
    pad = model.config.pad_token_id or 0

    def passes() -> Iterator[tuple[list[Example], MicroBatch]]:
        for part, host in micro_batches(
            examples, pad=pad, max_rows=max_rows, max_targets=max_targets, max_tokens=room.tokens()
        ):
            room.passing(host.tokens_BT.numel(), sequences=len(host.lengths))
            yield part, host

    return divergence_over(passes(), other, model=model, compute=compute)


@torch.no_grad()
def divergence_over(
    passes: Iterable[tuple[list[Example], MicroBatch]],
    other: PreTrainedModel,
    *,
    model: PreTrainedModel,
    compute: Callable[[], AbstractContextManager[Any]],
) -> Divergence:
    """Do what `divergence_from` does, over passes without packing."""
    model.eval()
    device = next(model.parameters()).device
    nats, num_tokens, flops = 0.0, 0, 0.0
    for _, host in passes:
        micro = host.to(device)
        ours_NV, theirs_NV = (_logits(one, micro, compute) for one in (model, other))
        nats += float(divergence(ours_NV, theirs_NV, torch.ones_like(ours_NV[:, 0]), beta=1.0))
        num_tokens += len(ours_NV)
        flops += sum(forward_flops(model_shape(one), micro.lengths) for one in (model, other))
    return Divergence(nats=nats, num_tokens=num_tokens, flops=flops)


def _logits(model: PreTrainedModel, micro: MicroBatch, compute: Callable[[], AbstractContextManager[Any]]) -> Tensor:
    """Return the logits (N, V) that predict the completion tokens."""
    places = (micro.row_N, micro.position_N)
    return completion(model, readable(micro.tokens_BT, model), None, places, compute)[1]
