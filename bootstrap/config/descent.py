"""Which model a generation's weights go back to, by the recipe alone: it decides on their tokenizer and their shape."""

from typing import Literal

from bootstrap.config.base_model import BaseModelSource, FolderModel, PretrainedModel, ScratchModel
from bootstrap.config.models import StageEnd
from bootstrap.config.recipe import Recipe
from bootstrap.config.steps import Merged, MergeStep, Teacher

Origin = BaseModelSource | FolderModel
Name = Literal["previous"] | Merged | Teacher


class Descent:
    """The descent of generations 0 to `last`."""

    def __init__(self, recipe: Recipe, *, last: int) -> None:
        self._recipe = recipe
        self._origins: list[BaseModelSource | None] = [recipe.base.model]
        self._crowned: list[frozenset[BaseModelSource | None]] = [frozenset(self._origins)]
        """Of each generation: what it and those before it go back to, as far as one of them may be champion."""
        for number in range(1, last + 1):
            origin = self._resolve(number)
            kept_aside = recipe.gate_of(number) == "never"
            self._origins.append(origin)
            self._crowned.append(self._crowned[-1] if kept_aside else self._crowned[-1] | {origin})

    def of(self, number: int) -> BaseModelSource | None:
        """Return what a generation goes back to; None where the gate has yet to decide that."""
        return self._origins[number]

    def named(self, name: Name, *, number: int) -> Origin | None:
        """Return what a model that generation `number`'s stage names goes back to; None likewise."""
        position = self._recipe.generations.position(number)
        match name:
            case FolderModel():
                return name
            case StageEnd():
                return self._origins[self._recipe.generations.ends()[name.stage]]
            case int():
                return self._origins[name]
            case "base":
                return self._origins[0]
            case "previous":
                return self._origins[position.eldest - 1]
            case "champion":
                return _only(self._crowned[position.eldest - 1])
        return self._start(number)

    def _resolve(self, number: int) -> Origin | None:
        first = self._recipe.steps_of(number)[0]
        if isinstance(first, MergeStep):
            return _only(frozenset(self.named(name, number=number) for name in first.models))
        return self._start(number)

    def _start(self, number: int) -> Origin | None:
        init = self._recipe.generations.position(number).stage.init
        return init if isinstance(init, ScratchModel | PretrainedModel) else self.named(init, number=number)


def _only(origins: frozenset[Origin | None]) -> Origin | None:
    return next(iter(origins)) if len(origins) == 1 else None
