"""Examples -> padded or packed tensors, split into forward passes."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from bootstrap.records import Example
from bootstrap.training.packing import PADDING

MAX_PADDING = 192
"""Padding tokens in one forward pass beyond which another pass is cheaper."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MicroBatch:
    """Sequences (S) in rows (B, T) padded on the right, and their completion tokens flattened (N).

    A row holds one sequence, or several with packing. Right padding needs no mask under causal attention. The last
    token of a sequence is only predicted, so it is not fed.
    """

    tokens_BT: Tensor
    sequence_BT: Tensor | None
    """Number of each token's sequence, `PADDING` for padding; None where each row holds one sequence."""
    lengths: list[int]
    """Fed tokens of each sequence."""
    place_S: Tensor
    """Row of each sequence."""
    row_N: Tensor
    """Sequence index of each completion token (N); its row without packing."""
    position_N: Tensor
    """Column of the token's predictor, the position before it."""
    number_N: Tensor
    """The token's number in its completion, from 0."""
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
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "lengths"}
        return replace(self, **{name: value.to(device) for name, value in values.items() if value is not None})


def micro_batches(
    examples: Sequence[Example],
    *,
    pad: int,
    max_rows: int,
    max_targets: int | None = None,
    max_tokens: int | None = None,
    packed: bool = False,
) -> Iterator[tuple[list[Example], MicroBatch]]:
    """Yield the examples in forward passes of at most `max_rows` rows, similar lengths together.

    `max_targets`: most completion tokens in one pass, unless a single row has more; it bounds the memory of their
    logits. `max_tokens`: most tokens in one pass, padding included, with the same exception. `packed`: rows may hold
    several sequences.
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
            if max_tokens is not None and end > start and (end + 1 - start) * _length(ordered[start]) > max_tokens:
                break
            padding += _length(ordered[start]) - _length(ordered[end])
            end += 1
        part = ordered[start:end]
        yield [example for row in part for example in row], _collate(part, pad=pad, packed=packed)
        start = end


def nothing(*, pad: int, packed: bool) -> MicroBatch:
    """Return a pass of one fed token and no completion token, for a process that has no examples left."""
    one = _collate([[Example(source="nothing", tokens=(pad, pad), num_prompt_tokens=1)]], pad=pad, packed=packed)
    none = {f.name: getattr(one, f.name)[:0] for f in fields(one) if f.name.endswith("_N")}
    return replace(one, lengths=[], **none)


def _length(row: Sequence[Example]) -> int:
    """Return the number of fed tokens of a row's sequences; the last token of each is only predicted."""
    return sum(len(example.tokens) - 1 for example in row)


def _packed(examples: Sequence[Example]) -> list[list[Example]]:
    """Return rows of sequences, none longer than the longest sequence: first fit, the longest first."""
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
    columns: dict[str, list[Any]] = defaultdict(list)
    for number, (example, start) in enumerate(zip(examples, starts, strict=True)):
        tokens, num_prompt = example.tokens, example.num_prompt_tokens
        count = len(tokens) - num_prompt
        assert 0 < num_prompt < len(tokens), f"{example.source} lacks a prompt or a completion"
        is_rl, zeros = bool(example.advantages), [0.0] * count
        own = {
            "row_N": [number] * count,
            "position_N": range(start + num_prompt - 1, start + len(tokens) - 1),
            "number_N": range(count),
            "targets_N": tokens[num_prompt:],
            "advantages_N": example.advantages or zeros,
            "old_logprobs_N": example.logprobs if is_rl else zeros,
            "importance_N": example.importance or [1.0] * count,
            "loss_scale_N": [example.loss_scale] * count,
            "anchor_penalty_weights_N": example.anchor_penalty_weights or zeros,
            "values_N": example.values or zeros,
            "returns_N": example.returns or zeros,
            "is_valued_N": [bool(example.returns)] * count,
            "is_rl_N": [is_rl] * count,
            "ce_weights_N": [example.ce_weight] * count,
            "kl_weights_N": [example.kl_weight] * count,
        }
        for name, values in own.items():
            columns[name] += values
    return MicroBatch(
        tokens_BT=torch.tensor([[*row, *[pad] * (longest - len(row))] for row in fed]),
        sequence_BT=torch.tensor([[*row, *[PADDING] * (longest - len(row))] for row in owners]) if packed else None,
        lengths=[len(e.tokens) - 1 for e in examples],
        place_S=torch.tensor(places),
        **{name: torch.tensor(values) for name, values in columns.items()},
    )
