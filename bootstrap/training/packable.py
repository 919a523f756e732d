"""Whether a model keeps the sequences of a packed row apart (`packing.py`)."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from transformers import PreTrainedModel

from bootstrap.errors import RecipeError
from bootstrap.training.completion import completion

TOLERANCE = 0.05
"""Allowed difference of a sequence in a shared row from the same one alone: bf16 rounding stays below, a position
error does not."""


@torch.no_grad()
def check(model: PreTrainedModel, compute: Callable[[], AbstractContextManager[Any]] = nullcontext) -> None:
    """Raise RecipeError for a model that mixes the sequences of a row, or would lose its sliding window.

    `compute`: context of the model's blocks.
    """
    device = next(model.parameters()).device
    columns = torch.arange(3, 6, device=device)
    tokens_BT = (torch.arange(6, device=device) % model.config.vocab_size).reshape(2, 3)
    alone, _ = completion(model, tokens_BT, None, (torch.ones_like(columns), columns - 3), compute)
    sequence_BT = torch.tensor([[0, 0, 0, 1, 1, 1]], device=device)
    beside = [
        completion(model, row_T.unsqueeze(0), sequence_BT, (torch.zeros_like(columns), columns), compute)[0]
        for row_T in (tokens_BT.flatten(), torch.cat([tokens_BT[0].flip(0), tokens_BT[1]]))
    ]
    if (
        _slides(model)
        or not torch.equal(*beside)
        or not torch.allclose(beside[0], alone, atol=TOLERANCE, rtol=TOLERANCE)
    ):
        raise RecipeError(
            f"{type(model).__name__} does not keep sequences in one row apart by its attention mask alone; "
            "set training.packing: false"
        )


def _slides(model: PreTrainedModel) -> bool:
    """Whether some layer has sliding-window attention, which the mask of `attention` ignores."""
    kinds = getattr(model.config, "layer_types", None)
    if kinds:
        return "sliding_attention" in kinds
    return getattr(model.config, "sliding_window", None) is not None
