"""Floating-point operations and bytes, counted from shapes alone (PaLM, arXiv:2204.02311, appendix B).

| what | FLOPs a token, forward |
|---|---|
| matmuls, the output head among them | 2 a parameter |
| attention, `L` layers of size `d` | `4 L d` an attended position, of which a causal sequence needs half |
| embedding look-ups | 0 |

Backward costs twice as much again.
"""

from collections.abc import Iterable
from dataclasses import dataclass

MAX_LOGITS = {"cpu": 2**26, "cuda": 2**30}
"""Most logits of one forward pass in training, by device; several arrays of this many numbers live at once."""
MUON_PORTION = 2**24
"""Elements that Muon's step copies to float32 at once (64 MiB a copy): little beside a large model's state, and enough
for a small model's matrices of one shape together."""
MUON_COPIES = 5
"""Most copies of such a portion that live at once: the stacked matrices, the iterate before and after a Newton-Schulz
step, and two products of the size of the smaller side."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """The sizes of a model in the formulas."""

    num_layers: int
    hidden_size: int
    num_matmul_parameters: int
    """Parameters that multiply activations: all but the input embedding and the norms."""
    num_parameters: int
    bytes_per_parameter: float = 4
    num_frozen_matmul_parameters: int = 0
    """Those of the matmul parameters that training leaves as they are."""


def llama_shape(
    *, num_layers: int, hidden_size: int, intermediate_size: int, vocab_size: int, tied_head: bool = False
) -> ModelShape:
    """Return the shape of a Llama block model with full multi-head attention, SwiGLU, RMSNorm and no biases."""
    block = 4 * hidden_size**2 + 3 * hidden_size * intermediate_size
    matmul = num_layers * block + hidden_size * vocab_size
    norms = (2 * num_layers + 1) * hidden_size
    embedding = 0 if tied_head else hidden_size * vocab_size
    return ModelShape(
        num_layers=num_layers,
        hidden_size=hidden_size,
        num_matmul_parameters=matmul,
        num_parameters=matmul + embedding + norms,
    )


def forward_flops(shape: ModelShape, lengths: Iterable[float]) -> float:
    """Return FLOPs of one causal forward pass over sequences of the given lengths (tokens, in an estimate means)."""
    attention = 2 * shape.num_layers * shape.hidden_size
    return float(sum(2 * shape.num_matmul_parameters * n + attention * n * n for n in lengths))


def train_flops(shape: ModelShape, lengths: Iterable[float]) -> float:
    """Return FLOPs of forward and backward over sequences of the given lengths.

    Frozen parameters pass gradients on and get none, which spares a third of their work. What gradient checkpointing
    computes again is not counted.
    """
    lengths = list(lengths)
    return 3 * forward_flops(shape, lengths) - float(sum(2 * shape.num_frozen_matmul_parameters * n for n in lengths))


def generate_flops(shape: ModelShape, *, prefills: Iterable[int], completions: Iterable[tuple[int, int]]) -> float:
    """Return FLOPs of sampling with a key-value cache.

    `prefills`: length of each prompt that is run once; `completions`: (prompt length, completion length) of each
    sample. The last sampled token is never fed back.
    """
    attention = 4 * shape.num_layers * shape.hidden_size
    total = forward_flops(shape, prefills)
    for prompt, completion in completions:
        fed = max(completion - 1, 0)
        total += 2 * shape.num_matmul_parameters * fed + attention * (prompt * fed + fed * fed / 2)
    return float(total)
