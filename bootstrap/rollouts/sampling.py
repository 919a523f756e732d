"""The sampling distribution, and random numbers per sample.

A sample's random number at a position is a hash (SplitMix64) of its seed and the position, so a draw does not depend on
the other samples of the batch or worker.
"""

import numpy as np
import torch
from torch import Tensor

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def uniform(seeds_B: np.ndarray, position: int) -> np.ndarray:
    """Return one float64 in [0, 1) per seed for this position (SplitMix64, doi:10.1145/2714064.2660195)."""
    with np.errstate(over="ignore"):
        state = seeds_B.astype(np.uint64) + np.uint64(position + 1) * _GOLDEN
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def distribution(logits_BV: Tensor, *, temperature: float, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Return log-probabilities (B, V, float32) of the sampling distribution.

    Temperature first, then top-k, then top-p, each renormalised. Temperature 0 (greedy decoding) gives the model's own
    distribution (temperature 1).
    """
    logits_BV = logits_BV.float()
    if temperature not in (0.0, 1.0):
        logits_BV = logits_BV / temperature
    logprobs_BV = torch.log_softmax(logits_BV, dim=-1)
    if 0 < top_k < logprobs_BV.shape[-1]:
        threshold_B1 = logprobs_BV.topk(top_k, dim=-1).values[:, -1:]
        logprobs_BV = torch.log_softmax(logprobs_BV.masked_fill(logprobs_BV < threshold_B1, -torch.inf), dim=-1)
    if top_p < 1.0:
        ordered_BV, order_BV = logprobs_BV.sort(dim=-1, descending=True)
        before_BV = ordered_BV.exp().cumsum(dim=-1) - ordered_BV.exp()
        outside_BV = (before_BV >= top_p).scatter(-1, order_BV, before_BV >= top_p)
        logprobs_BV = torch.log_softmax(logprobs_BV.masked_fill(outside_BV, -torch.inf), dim=-1)
    return logprobs_BV


def draw(logprobs_BV: Tensor, uniform_B: np.ndarray) -> Tensor:
    """Return one token per row (B,) by inverting the cumulative distribution at `uniform_B`.

    `uniform_B` is scaled by the last cumulative sum, so a token of probability zero is never drawn.
    """
    cumulative_BV = logprobs_BV.double().exp().cumsum(dim=-1)
    point_B1 = torch.from_numpy(uniform_B).to(cumulative_BV.device).unsqueeze(-1) * cumulative_BV[:, -1:]
    return (cumulative_BV <= point_B1).sum(dim=-1).clamp(max=logprobs_BV.shape[-1] - 1)


def entropy(logprobs_BV: Tensor) -> Tensor:
    """Return the entropy of each row (B,) in nats; tokens of probability zero contribute nothing."""
    return -(logprobs_BV.exp() * logprobs_BV.clamp(min=torch.finfo(logprobs_BV.dtype).min)).sum(dim=-1)
