"""What a device can do at most: the rates that bound a stage."""

import time
from collections.abc import Callable
from typing import Any

import torch


def measure(device: torch.device, *, precision: str, seconds: float) -> dict[str, float]:
    """Return measured matmul FLOP/s, in a precision, and bytes moved per second.

    Half of the time goes to square matmuls (512 wide on a CPU, which fits the cache; 4096 on a GPU), half to copying
    64 MiB (does not fit).
    """
    width = 4096 if device.type == "cuda" else 512
    square = torch.randn(width, width, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    block = torch.zeros(16 * 2**20, device=device)
    target = torch.empty_like(block)
    return {
        "matmul_flops": 2 * width**3 * _rate(lambda: torch.mm(square, square), device, seconds / 2),
        "memory_bytes": 2 * block.nbytes * _rate(lambda: target.copy_(block), device, seconds / 2),
    }


def _rate(action: Callable[[], Any], device: torch.device, seconds: float) -> float:
    """Return how often per second `action` runs, after one warm-up call."""
    action()
    _finish(device)
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds or count == 0:
        action()
        _finish(device)
        count += 1
    return count / elapsed


def _finish(device: torch.device) -> None:
    """Wait for the device's queue; a CPU has none."""
    if device.type == "cuda":
        torch.cuda.synchronize()
