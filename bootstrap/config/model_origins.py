"""Model origins: the outside model that a generation's weights go back to, which decides tokenizer and shape."""

from bootstrap.config.base_model import ModelSettings
from bootstrap.config.models import Model, outside_model
from bootstrap.config.recipe import Recipe


class ModelOrigins:
    """Origins of generations 0 to `last`, by the recipe alone."""

    def __init__(self, recipe: Recipe, *, last: int) -> None:
        self._recipe = recipe
        self._origins: list[ModelSettings | None] = [recipe.base.model]
        self._champion_origins: list[frozenset[ModelSettings | None]] = [frozenset(self._origins)]
        """For each generation: origins of those up to it that may be champion."""
        for number in range(1, last + 1):
            stage = recipe.generations.position(number).stage
            origin = _only(frozenset(self.named(name, number=number) for name in stage.starts))
            ungated = recipe.gate_of(number) == "never"
            self._origins.append(origin)
            so_far = self._champion_origins[-1]
            self._champion_origins.append(so_far if ungated else so_far.union([origin]))

    def of(self, number: int) -> ModelSettings | None:
        """Return a generation's origin; None where it depends on the gate."""
        return self._origins[number]

    def named(self, name: Model, *, number: int) -> ModelSettings | None:
        """Return the origin of a model that generation `number`'s stage names; None where it depends on the gate."""
        generations = self._recipe.generations
        if outside := outside_model(name):
            return outside
        if name == "champion":
            return _only(self._champion_origins[generations.position(number).eldest - 1])
        if name in ("start", "parent"):
            return self._origins[number]
        earlier = generations.youngest(name, number=number)
        assert earlier is not None, "every other name is of a generation that the recipe says"
        return self._origins[earlier]


def _only(origins: frozenset[ModelSettings | None]) -> ModelSettings | None:
    return next(iter(origins)) if len(origins) == 1 else None
