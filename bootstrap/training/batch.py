"""Examples -> padded tensors, or packed ones, and how a batch is split into forward passes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from bootstrap.records import Example
from bootstrap.training.packing import PADDING

MAX_PADDING = 192
"""Padding tokens in one forward pass before a further pass is cheaper than carrying them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MicroBatch:
    """Sequences (S) in rows (B, T) padded on the right, and their completion tokens flattened (N).

    A row holds one sequence, or with packing several.

    Right padding needs no mask under causal attention: no completion token sees what follows it. The last token of a
    sequence is only ever predicted, so it is not fed.
    """

    tokens_BT: Tensor
    sequence_BT: Tensor | None
    """Number of the sequence that each token is of, `PADDING` for none; None where each row holds one sequence."""
    lengths: list[int]
    """Tokens fed of each sequence."""
    place_S: Tensor
    """Row of each sequence."""
    row_N: Tensor
    """Number of the sequence of each completion token, which without packing is its row."""
    position_N: Tensor
    """Column of the token's predictor: the position before it."""
    targets_N: Tensor
    advantages_N: Tensor
    old_logprobs_N: Tensor
    importance_N: Tensor
    loss_scale_N: Tensor
    anchor_penalty_weights_N: Tensor
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
    examples: Sequence[Example],
    *,
    pad: int,
    max_rows: int,
    max_targets: int | None = None,
    packed: bool = False,
) -> Iterator[tuple[list[Example], MicroBatch]]:
    """Yield the examples in forward passes of at most `max_rows` rows, similar lengths together.

    `max_targets`: most completion tokens in one pass, unless a single row has more; their logits take the memory.
    `packed`: rows may hold several sequences; without it each holds one.
    """
    rows = _packed(examples) if packed else [[example] for example in examples]
    ordered = sorted(rows, key=lambda row: -_length(row))
    start = 0
    while start < len(ordered):
        end, padding, targets = start, 0, 0
        while end < len(ordered) and end - start < max_rows and padding <= MAX_PADDING:
            targets += sum(len(example.tokens) - example.num_prompt_tokens for example in ordered[end])
            if max_targets is not None and end > start and targets > max_targets:
                break
            padding += _length(ordered[start]) - _length(ordered[end])
            end += 1
        part = ordered[start:end]
        yield [example for row in part for example in row], _collate(part, pad=pad, packed=packed)
        start = end


def _length(row: Sequence[Example]) -> int:
    """Return the tokens fed of a row's sequences; the last one of each is only predicted."""
    return sum(len(example.tokens) - 1 for example in row)


def _packed(examples: Sequence[Example]) -> list[list[Example]]:
    """Return rows of sequences, none longer than the longest sequence: first-fit, the longest first."""
    ordered = sorted(examples, key=lambda example: -len(example.tokens))
    rows, rooms = list[list[Example]](), list[int]()
    for example in ordered:
        needed = len(example.tokens) - 1
        place = next((place for place, room in enumerate(rooms) if room >= needed), None)
        if place is None:
            place = len(rows)
            rows.append([])
            rooms.append(len(ordered[0].tokens) - 1)
        rows[place].append(example)
        rooms[place] -= needed
    return rows


def _collate(part: list[list[Example]], *, pad: int, packed: bool) -> MicroBatch:
    longest = max(_length(row) for row in part)
    fed = [[token for example in row for token in example.tokens[:-1]] for row in part]
    examples = [example for row in part for example in row]
    places = [place for place, row in enumerate(part) for _ in row]
    starts = [_length(row[:number]) for row in part for number in range(len(row))]
    numbers = iter(range(len(examples)))
    owners = [[number for e in row for number in (next(numbers),) * (len(e.tokens) - 1)] for row in part]
    rows, positions, targets, advantages, old, is_rl, ce, kl = [], [], [], [], [], [], [], []
    importance, scales, anchor_penalty_weights, values, returns, is_valued = [], [], [], [], [], []
    for row, (example, start) in enumerate(zip(examples, starts, strict=True)):
        tokens, num_prompt = example.tokens, example.num_prompt_tokens
        count = len(tokens) - num_prompt
        assert 0 < num_prompt < len(tokens), f"{example.source} lacks a prompt or a completion"
        on_policy = bool(example.advantages)
        rows += [row] * count
        positions += range(start + num_prompt - 1, start + len(tokens) - 1)
        targets += tokens[num_prompt:]
        advantages += example.advantages if on_policy else [0.0] * count
        old += example.logprobs if on_policy else [0.0] * count
        importance += example.importance or [1.0] * count
        scales += [example.loss_scale] * count
        anchor_penalty_weights += example.anchor_penalty_weights or [0.0] * count
        values += example.values or [0.0] * count
        returns += example.returns or [0.0] * count
        is_valued += [bool(example.returns)] * count
        is_rl += [on_policy] * count
        ce += [example.ce_weight] * count
        kl += [example.kl_weight] * count
    return MicroBatch(
        tokens_BT=torch.tensor([[*row, *[pad] * (longest - len(row))] for row in fed]),
        sequence_BT=torch.tensor([[*row, *[PADDING] * (longest - len(row))] for row in owners]) if packed else None,
        lengths=[len(e.tokens) - 1 for e in examples],
        place_S=torch.tensor(places),
        row_N=torch.tensor(rows),
        position_N=torch.tensor(positions),
        targets_N=torch.tensor(targets),
        advantages_N=torch.tensor(advantages),
        old_logprobs_N=torch.tensor(old),
        importance_N=torch.tensor(importance),
        loss_scale_N=torch.tensor(scales),
        anchor_penalty_weights_N=torch.tensor(anchor_penalty_weights),
        values_N=torch.tensor(values),
        returns_N=torch.tensor(returns),
        is_valued_N=torch.tensor(is_valued),
        is_rl_N=torch.tensor(is_rl),
        ce_weights_N=torch.tensor(ce),
        kl_weights_N=torch.tensor(kl),
    )
