"""Sequence packing: several short sequences in one row of a forward pass, separated by the attention mask.

A row's attention is block-diagonal: a token attends to its own sequence up to itself, and positions restart at 0 in
every sequence. Masked weights are exactly 0, so a sequence's numbers do not depend on its neighbours; they differ from
those of a row of its own by rounding. Rows are as long as the longest sequence, filled first-fit.

Left out: attention kernels for packed rows (here the mask is a matrix), sliding-window attention.
"""

import torch
from torch import Tensor
from transformers import PreTrainedModel

PADDING = -1
"""In place of a sequence's number, for padding."""


def attention(model: PreTrainedModel, sequence_BT: Tensor) -> dict[str, Tensor]:
    """Return `attention_mask` and `position_ids` for rows whose tokens belong to sequences (B, T).

    Padding attends to padding, because softmax over no token is undefined.
    """
    length = sequence_BT.shape[1]
    columns_T = torch.arange(length, device=sequence_BT.device)
    begins_BT = torch.ones_like(sequence_BT, dtype=torch.bool)
    begins_BT[:, 1:] = sequence_BT[:, 1:] != sequence_BT[:, :-1]
    starts_BT = torch.where(begins_BT, columns_T, 0).cummax(dim=1).values
    same_BTT = sequence_BT.unsqueeze(2) == sequence_BT.unsqueeze(1)
    sees_BTT = same_BTT & (columns_T.unsqueeze(0) <= columns_T.unsqueeze(1))
    mask = sees_BTT.unsqueeze(1)
    if not (model.config._attn_implementation or "").startswith("sdpa"):
        # Other implementations add the mask to the scores.
        lowest = torch.finfo(model.dtype).min
        mask = torch.zeros(mask.shape, dtype=model.dtype, device=mask.device).masked_fill(~mask, lowest)
    return {"attention_mask": mask, "position_ids": columns_T - starts_BT}
