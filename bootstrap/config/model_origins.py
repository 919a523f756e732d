"""Which model a generation's weights go back to, by the recipe alone: it decides on their tokenizer and their shape."""

from bootstrap.config.base_model import ModelSettings
from bootstrap.config.models import Reference, Start, outside_model
from bootstrap.config.recipe import Recipe


class ModelOrigins:
    """The model origins of generations 0 to `last`."""

    def __init__(self, recipe: Recipe, *, last: int) -> None:
        self._recipe = recipe
        self._origins: list[ModelSettings | None] = [recipe.base.model]
        self._crowned: list[frozenset[ModelSettings | None]] = [frozenset(self._origins)]
        """Of each generation: what it and those before it go back to, as far as one of them may be champion."""
        for number in range(1, last + 1):
            stage = recipe.generations.position(number).stage
            origin = _only(frozenset(self.named(name, number=number) for name in stage.starts))
            ungated = recipe.gate_of(number) == "never"
            self._origins.append(origin)
            self._crowned.append(self._crowned[-1] if ungated else self._crowned[-1] | {origin})

    def of(self, number: int) -> ModelSettings | None:
        """Return what a generation goes back to; None where the gate has yet to decide that."""
        return self._origins[number]

    def named(self, name: Reference | Start, *, number: int) -> ModelSettings | None:
        """Return what a model that generation `number`'s stage names goes back to; None likewise."""
        generations = self._recipe.generations
        if outside := outside_model(name):
            return outside
        if name == "champion":
            return _only(self._crowned[generations.position(number).eldest - 1])
        if name in ("start", "parent"):
            return self._origins[number]
        earlier = generations.youngest(name, number=number)
        assert earlier is not None, "every other name is of a generation that the recipe says"
        return self._origins[earlier]


def _only(origins: frozenset[ModelSettings | None]) -> ModelSettings | None:
    return next(iter(origins)) if len(origins) == 1 else None
