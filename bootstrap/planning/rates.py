"""How fast a worker is assumed to compute until committed generations tell: FLOP/s of one worker on one CPU core."""

from collections.abc import Mapping

from bootstrap import processor
from bootstrap.compute import ModelShape
from bootstrap.config.recipe import Recipe

RATES = {"train": 2e10, "generate": 5e9, "evaluate": 1e10}
"""By phase; decoding waits for memory and Python more than for matmuls."""
WIDE = 512
"""Hidden size from which a model's matmuls outweigh what surrounds them."""
WIDE_RATES = {
    "bf16": {"train": 1e11, "generate": 6e10, "evaluate": 6e10},
    "fp32": {"train": 6e10, "generate": 3e10, "evaluate": 3e10},
    "emulated bf16": {"train": 1.2e10, "generate": 6e9, "evaluate": 6e9},
}
"""The same of models this wide, by the precision of their matmuls."""


def rates_of(recipe: Recipe, shape: ModelShape) -> Mapping[str, float]:
    """Return FLOP/s of one worker by phase."""
    return WIDE_RATES[precision_of(recipe)] if shape.hidden_size >= WIDE else RATES


def precision_of(recipe: Recipe) -> str:
    """Return the precision of matmuls, a key of `WIDE_RATES`, where the workers' processor is this machine's."""
    wanted, has_bf16 = recipe.training.precision, bool(recipe.resources.gpus_per_worker) or processor.has_bf16()
    if wanted == "auto":
        return "bf16" if has_bf16 else "fp32"
    return wanted if wanted == "fp32" or has_bf16 else "emulated bf16"
