"""Examples -> padded tensors, and how a batch is split among workers and forward passes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from bootstrap.records import Example

MAX_PADDING = 192
"""Padding tokens in one forward pass before a further pass is cheaper than carrying them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MicroBatch:
    """Sequences (B, T) padded on the right, and their completion tokens flattened (N).

    Right padding needs no mask under causal attention: no completion token sees what follows it. The last token of a
    sequence is only ever predicted, so it is not fed.
    """

    tokens_BT: Tensor
    lengths: list[int]
    """Tokens fed of each sequence."""
    row_N: Tensor
    """Row of each completion token's predictor."""
    position_N: Tensor
    """Its column: the position before the token."""
    targets_N: Tensor
    advantages_N: Tensor
    old_logprobs_N: Tensor
    importance_N: Tensor
    loss_scale_N: Tensor
    stay_weights_N: Tensor
    values_N: Tensor
    returns_N: Tensor
    is_valued_N: Tensor
    """Whether the critic learns from the token."""
    is_rl_N: Tensor
    ce_weights_N: Tensor
    kl_weights_N: Tensor

    def to(self, device: torch.device) -> "MicroBatch":
        """Return the same batch with its tensors on a device."""
        tensors = {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}
        return replace(self, **{name: value.to(device) for name, value in tensors.items()})


def micro_batches(
    examples: Sequence[Example], *, pad: int, max_rows: int, max_targets: int | None = None
) -> Iterator[tuple[list[Example], MicroBatch]]:
    """Yield the examples in forward passes of at most `max_rows` sequences, similar lengths together.

    `max_targets`: most completion tokens in one pass, unless a single sequence has more; their logits take the memory.
    """
    ordered = sorted(examples, key=lambda example: -len(example.tokens))
    start = 0
    while start < len(ordered):
        end, padding, targets = start, 0, 0
        while end < len(ordered) and end - start < max_rows and padding <= MAX_PADDING:
            targets += len(ordered[end].tokens) - ordered[end].num_prompt_tokens
            if max_targets is not None and end > start and targets > max_targets:
                break
            padding += len(ordered[start].tokens) - len(ordered[end].tokens)
            end += 1
        part = ordered[start:end]
        yield part, _collate(part, pad=pad)
        start = end


def _collate(part: list[Example], *, pad: int) -> MicroBatch:
    longest = max(len(example.tokens) for example in part) - 1
    rows, positions, targets, advantages, old, is_rl, ce, kl = [], [], [], [], [], [], [], []
    importance, scales, stays, values, returns, is_valued = [], [], [], [], [], []
    for row, example in enumerate(part):
        tokens, num_prompt = example.tokens, example.num_prompt_tokens
        count = len(tokens) - num_prompt
        assert 0 < num_prompt < len(tokens), f"{example.source} lacks a prompt or a completion"
        on_policy = bool(example.advantages)
        rows += [row] * count
        positions += range(num_prompt - 1, len(tokens) - 1)
        targets += tokens[num_prompt:]
        advantages += example.advantages if on_policy else [0.0] * count
        old += example.logprobs if on_policy else [0.0] * count
        importance += example.importance or [1.0] * count
        scales += [example.loss_scale] * count
        stays += example.stay_weights or [0.0] * count
        values += example.values or [0.0] * count
        returns += example.returns or [0.0] * count
        is_valued += [bool(example.returns)] * count
        is_rl += [on_policy] * count
        ce += [example.ce_weight] * count
        kl += [example.kl_weight] * count
    return MicroBatch(
        tokens_BT=torch.tensor([[*e.tokens[:-1], *[pad] * (longest - len(e.tokens) + 1)] for e in part]),
        lengths=[len(e.tokens) - 1 for e in part],
        row_N=torch.tensor(rows),
        position_N=torch.tensor(positions),
        targets_N=torch.tensor(targets),
        advantages_N=torch.tensor(advantages),
        old_logprobs_N=torch.tensor(old),
        importance_N=torch.tensor(importance),
        loss_scale_N=torch.tensor(scales),
        stay_weights_N=torch.tensor(stays),
        values_N=torch.tensor(values),
        returns_N=torch.tensor(returns),
        is_valued_N=torch.tensor(is_valued),
        is_rl_N=torch.tensor(is_rl),
        ce_weights_N=torch.tensor(ce),
        kl_weights_N=torch.tensor(kl),
    )
