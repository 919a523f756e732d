"""The one call of a model for training: hidden states and logits at completion tokens.

Policy, teachers and references are called so, and the output matrix never apart from the body: a model that is spread
over several processes (`sharded.py`) holds its weights for the length of one call.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from bootstrap.training import packing
from bootstrap.training.model import head

SHARDED_CALL = "sharded_completion"
"""Name of a sharded model's own method, which gathers the weights around `completion`."""


def completion(
    model: PreTrainedModel,
    tokens_BT: Tensor,
    sequence_BT: Tensor | None,
    places: tuple[Tensor, Tensor],
    compute: Callable[[], AbstractContextManager[Any]],
) -> tuple[Tensor, Tensor]:
    """Return the last hidden states (N, D) and the logits (N, V) at N places, in float32.

    `sequence_BT`: number of each token's sequence in packed rows, else None; `places`: row (N) and column (N) of each
    place; `compute`: context of the blocks.
    """
    call = getattr(model, SHARDED_CALL, None)
    if call is not None:
        return call(tokens_BT, sequence_BT, places, compute)
    return whole_completion(model, tokens_BT, sequence_BT, places, compute)


def whole_completion(
    model: PreTrainedModel,
    tokens_BT: Tensor,
    sequence_BT: Tensor | None,
    places: tuple[Tensor, Tensor],
    compute: Callable[[], AbstractContextManager[Any]],
) -> tuple[Tensor, Tensor]:
    """Do what `completion` does, with weights that are all here."""
    apart = packing.attention(model, sequence_BT) if sequence_BT is not None else {}
    with compute():
        hidden_BTD = model.base_model(input_ids=tokens_BT, use_cache=False, **apart).last_hidden_state
    hidden_ND = hidden_BTD[places].float()
    return hidden_ND, head(model)(hidden_ND)
