"""Which models vLLM serves, by their sizes alone: for whoever plans a run, without torch or vLLM.

Measured with vLLM 0.32 on a CPU, log-probabilities against transformers': Llama, tied and untied, and SmolLM3 (models
from scratch) without rotary positions. Left out: architectures, which vLLM knows best and refuses itself.
"""

from collections.abc import Mapping
from typing import Any, Literal

from bootstrap.config.training import LoraAdapter
from bootstrap.errors import RecipeError

CPU_HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Widths of an attention head in vLLM's attention on a CPU; on a GPU every multiple of 8 up to 256 is served."""
ADAPTER_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Bounds of an adapter's rank that vLLM can be started with."""


def head_size(config: Mapping[str, Any]) -> int | None:
    """Return the width of a head by a model's config.json; None where it names none."""
    inner = config.get("text_config") or config
    if inner.get("head_dim"):
        return inner["head_dim"]
    hidden, heads = inner.get("hidden_size"), inner.get("num_attention_heads")
    return hidden // heads if hidden and heads else None


def require_head_size(size: int | None, *, device: Literal["cpu", "cuda"]) -> None:
    """Raise RecipeError for a width of heads that vLLM does not serve there; None is for vLLM to judge."""
    if device == "cpu" and size is not None and size not in CPU_HEAD_SIZES:
        raise RecipeError(
            f"vLLM on a CPU serves attention heads of {', '.join(map(str, CPU_HEAD_SIZES))} numbers, and this model's "
            f"have {size} (hidden_size / num_heads); for a model from scratch set base.model.hidden_size or num_heads, "
            "as hidden_size: 128 with num_heads: 4, or sample with samplers.engine: transformers"
        )


def adapter_bound(adapter: LoraAdapter | None) -> int:
    """Return the bound of ranks to start vLLM with, 0 without an adapter. Raises RecipeError for one it lacks."""
    if adapter is None:
        return 0
    if adapter.dora:
        raise RecipeError(
            "vLLM serves no DoRA; set training.adapter.dora: false, or sample with samplers.engine: transformers"
        )
    if adapter.rank > ADAPTER_RANKS[-1]:
        raise RecipeError(
            f"vLLM serves adapters of rank {ADAPTER_RANKS[-1]} at most, and training.adapter.rank is {adapter.rank}; "
            "lower it, or sample with samplers.engine: transformers"
        )
    return next(bound for bound in ADAPTER_RANKS if bound >= adapter.rank)
