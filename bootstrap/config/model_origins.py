"""Model origins: the outside model that a generation's weights go back to, which decides tokenizer and shape."""

from collections.abc import Callable, Iterable, Sequence

from bootstrap.config.base_model import ModelSettings
from bootstrap.config.models import Model, outside_model
from bootstrap.config.recipe import Recipe

Meant = Callable[[Model, int], Sequence[int]]
"""Earlier generations that a name may mean in a generation of that number, one at least."""


class ModelOrigins:
    """Origins of generations 0 to `last`."""

    def __init__(self, recipe: Recipe, *, last: int, meant: Meant | None = None) -> None:
        """`meant`: what names mean where more than the recipe is known, as which generations were promoted."""
        self._recipe, self._meant = recipe, meant or self._by_recipe
        self._origins: list[ModelSettings | None] = [recipe.base.model]
        for number in range(1, last + 1):
            stage = recipe.generations.position(number).stage
            self._origins.append(_only(self._earlier(name, number) for name in stage.starts))

    def of(self, number: int) -> ModelSettings | None:
        """Return a generation's origin; None where it depends on the gate."""
        return self._origins[number]

    def named(self, name: Model, *, number: int) -> ModelSettings | None:
        """Return the origin of a model that generation `number`'s stage names; None where it depends on the gate."""
        return self._origins[number] if name in ("start", "parent") else self._earlier(name, number)

    def _earlier(self, name: Model, number: int) -> ModelSettings | None:
        """Return the origin of an outside model or an earlier generation."""
        return outside_model(name) or _only(self._origins[one] for one in self._meant(name, number))

    def _by_recipe(self, name: Model, number: int) -> Sequence[int]:
        generations = self._recipe.generations
        if name == "champion":
            gated = range(1, generations.position(number).eldest)
            return 0, *(one for one in gated if self._recipe.gate_of(one) != "never")
        earlier = generations.youngest(name, number=number)
        assert earlier is not None, "every other name is of a generation that the recipe says"
        return (earlier,)


def _only(origins: Iterable[ModelSettings | None]) -> ModelSettings | None:
    first, *others = origins
    return first if all(other == first for other in others) else None
