"""The usual ranges of settings, in one table; what lies more than ten times outside is warned about, not refused.

    step -> its model is made from scratch, or pretrained and trained whole or through an adapter (`On`)
         -> rows of `TABLE` for it -> a line for each value far outside

Left out: what cannot work, which is refused (`conflicts/`), and ranges that only a model's own runs tell.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from bootstrap.config.base import Place, dotted
from bootstrap.config.base_model import ModelSettings
from bootstrap.config.model_origins import ModelOrigins
from bootstrap.config.recipe import Recipe

FAR = 10.0
"""Factor outside a range from which a value is warned about."""
On = Literal["scratch", "whole", "adapter"]
"""What a step trains: a model from scratch, a pretrained model's own weights, or an adapter on it."""


@dataclass(frozen=True)
class Usual:
    """The usual range of a setting of a step, or with `under` another top of the recipe's."""

    key: str
    low: float
    """0 where any small value is usual."""
    high: float
    source: str
    on: tuple[On, ...] = ("scratch", "whole", "adapter")
    learns_from: Literal["rewards", "text", "any"] = "any"
    """Steps that it is for: those with a policy gradient, the others, or all."""


OURS = "the recipes of pipelines/"
TABLE = (
    # Learning rates.
    Usual("optimizer.muon_lr", 0.002, 0.02, OURS, on=("scratch",)),
    Usual("optimizer.adamw_lr", 0.0002, 0.003, OURS, on=("scratch",)),
    Usual("optimizer.lr", 0.0001, 0.003, "arXiv:2502.01612 and " + OURS, on=("scratch",)),
    Usual("optimizer.lr", 5e-7, 5e-6, "arXiv:2501.12948, 2503.14476, 2503.20783", on=("whole",), learns_from="rewards"),
    Usual("optimizer.lr", 1e-6, 1e-4, "arXiv:2501.12948, open-r1", on=("whole",), learns_from="text"),
    Usual("optimizer.lr", 1e-5, 5e-4, "LoRA Without Regret; arXiv:2305.14314", on=("adapter",)),
    Usual("optimizer.muon_lr", 2e-5, 1e-3, "an update moves a matrix of norm 1 to 10 by 2e-5 to 1e-3", on=("whole",)),
    Usual("optimizer.muon_lr", 2e-4, 1e-2, "ten times that of all weights, as for AdamW", on=("adapter",)),
    Usual("optimizer.adamw_lr", 5e-7, 1e-4, "as AdamW alone", on=("whole",)),
    Usual("optimizer.adamw_lr", 1e-5, 5e-4, "as AdamW alone", on=("adapter",)),
    Usual("optimizer.weight_decay", 0, 0.1, "arXiv:2302.13971, TRL, verl"),
    # Loss and sampling.
    Usual("grad_clip", 0.1, 1.0, "arXiv:2302.13971, verl, TRL"),
    Usual("temperature", 0.6, 1.2, "arXiv:2501.12948, 2505.24864"),
    Usual("source.temperature", 0.5, 1.2, "arXiv:2312.06585, 2501.12948"),
    Usual("algorithm.kl.weight", 1e-4, 0.05, "arXiv:2501.12948, 2503.18892, 2402.03300"),
    Usual("group_size", 4, 64, "arXiv:2501.12948, 2503.14476, 2503.24290"),
    Usual("distillation.weight", 0.1, 2.0, OURS),
)
"""Ranges for the steps of a recipe."""
ADAPTER_TABLE = (
    Usual("rank", 4, 256, "arXiv:2106.09685, LoRA Without Regret"),
    Usual("alpha", 0.25, 4, "arXiv:2106.09685, 2305.14314: as a multiple of rank"),
)
"""Ranges of `training.adapter`; `alpha` over `rank`."""


def unusual(recipe: Recipe) -> Iterator[str]:
    """Yield one line for each setting that lies more than ten times outside its usual range."""
    told = set[tuple[str, float]]()
    adapter = recipe.training.adapter
    if adapter is not None:
        for usual, value in zip(ADAPTER_TABLE, (adapter.rank, adapter.alpha / adapter.rank), strict=True):
            yield from _line(usual, ("training", "adapter", usual.key), value, "an adapter")
    for place, step, on in _steps(recipe):
        learns_from = "rewards" if step.policy_gradient is not None else "text"
        data = step.model_dump()
        for usual in TABLE:
            value = _value(data, usual.key)
            if value is None or on not in usual.on or usual.learns_from not in ("any", learns_from):
                continue
            # Stages that share a setting share the line.
            if (usual.key, value) not in told and _factor(usual, value):
                told.add((usual.key, value))
                yield from _line(usual, (*place, usual.key), value, _words(on))


def _steps(recipe: Recipe) -> Iterator[tuple[Place, Any, On]]:
    """Yield every step that trains, with its place; those whose model's kind is unknown are left out."""
    generations = recipe.generations
    origins = ModelOrigins(recipe, last=generations.count)
    for index, step in enumerate(recipe.base.steps):
        if (on := _on(recipe, recipe.base.model)) is not None:
            yield ("base", "steps", index), step, on
    first = 1
    for place, stage in generations.parts():
        if first > generations.count:
            return
        model = origins.of(first)
        if model is not None and (on := _on(recipe, model)) is not None:
            for index, step in enumerate(stage.steps):
                if step.as_training is not None:
                    yield ("generations", *place, "steps", index), step, on
        first += stage.generations


def _on(recipe: Recipe, model: ModelSettings) -> On | None:
    if not model.is_pretrained:
        return None if model.is_pretrained is None else "scratch"
    return "whole" if recipe.training.adapter is None else "adapter"


def _words(on: On) -> str:
    return {"scratch": "a model from scratch", "whole": "a pretrained model", "adapter": "an adapter"}[on]


def _value(data: Any, key: str) -> float | None:
    """Return the number at a dotted key; None without one."""
    for name in key.split("."):
        data = data.get(name) if isinstance(data, dict) else None
    return float(data) if type(data) in (int, float) else None


def _factor(usual: Usual, value: float) -> str:
    """Return in words how far outside the range a value is; empty where it is not far."""
    if value > FAR * usual.high:
        return f"{value / usual.high:.3g} times the most"
    if 0 < value < usual.low / FAR:
        return f"1/{usual.low / value:.3g} of the least"
    return ""


def _line(usual: Usual, place: Place, value: float, on: str) -> Iterator[str]:
    if factor := _factor(usual, value):
        of = " / rank" if place[-1] == "alpha" else ""
        yield (
            f"{dotted(place)}{of} {value:g} is {factor} that is usual for {on}, {usual.low:g} to {usual.high:g} "
            f"({usual.source}); choose a value between them, or remove the setting for its default"
        )
