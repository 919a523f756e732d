"""Which generations a recipe's names mean, and which levels a generation aims at: `plan` and `run` ask here alike.

    Resolver(recipe, committed, 4)   champion   3, or Undecided((0, 2, 3)) while the gate has yet to decide
                                     init       whose weights it starts from; None for another model or a merge
                                     teachers   {"base": 0, "champion": Undecided((0, 2, 3))}

The answers follow from the recipe and the committed generations alone. A run asks about the next generation, where
nothing is undecided; a plan asks about later ones too. Left out: weights (`prepare.py`), and that a guard may yet roll
the champion back.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from bootstrap.config.base import Placed
from bootstrap.config.models import (
    LineageModel,
    Model,
    Reference,
    Sampler,
    Teacher,
    means_best,
    outside_model,
    roles,
    server_model,
)
from bootstrap.config.recipe import Recipe
from bootstrap.ledger_records import Generation
from bootstrap.selection.curriculum import aims_by, target_levels
from bootstrap.stages.siblings import before, stands_for


@dataclass(frozen=True)
class Undecided:
    """One of several generations: the gate has yet to decide which."""

    candidates: tuple[int, ...]
    """Ascending, two at least."""


Found = int | Undecided
"""The generation that a name means."""
NamedModel = TypeVar("NamedModel", bound=Model)


def known(found: Found | None) -> int | None:
    """Return the generation; None while it is undecided, and where there is none."""
    match found:
        case Undecided():
            return None
    return found


def decided(found: Found) -> int:
    """Return the generation, which the gate has decided."""
    number = known(found)
    assert number is not None, f"{found} stands before the generation that names it"
    return number


def candidates(found: Found) -> tuple[int, ...]:
    """Return the generations that it may be."""
    match found:
        case Undecided(candidates=several):
            return several
    return (found,)


def expected(found: Found) -> int:
    """Return the generation, the latest candidate where it is undecided, as if each were promoted."""
    return candidates(found)[-1]


class Resolver:
    """The models of one generation by those before it, whether it is committed, the next one, or further ahead.

    Mappings have the recipe's names as keys, and None for a model outside the lineage.
    """

    def __init__(self, recipe: Recipe, committed: Sequence[Generation], number: int) -> None:
        """`committed`: generations 0, 1, ... of the lineage."""
        self._recipe, self._committed, self.number = recipe, committed[:number], number
        self._steps = recipe.steps_of(number) if number else ()

    @cached_property
    def champion(self) -> Found | None:
        """The champion from before its siblings, which it is compared with; None for generation 0."""
        if not self.number:
            return None
        position = self._recipe.generations.position(self.number)
        if len(self._committed) >= position.eldest:
            return before(self._committed, position)
        last = self._committed[-1].champion if self._committed else 0
        to_come = range(max(len(self._committed), 1), position.eldest)
        gated = [one for one in to_come if self._recipe.gate_of(one) != "never"]
        return Undecided((last, *gated)) if gated else last

    @cached_property
    def init(self) -> Found | None:
        """Whose weights it starts from; None for generation 0, another model and a merge."""
        stage = self._recipe.generations.position(self.number).stage if self.number else None
        return None if stage is None or stage.parentless else self.find(stage.init)

    @property
    def parents(self) -> tuple[Found, ...]:
        """The generations whose weights it is made of, each once."""
        return tuple(dict.fromkeys(self.merged.values())) if self.init is None else (self.init,)

    @property
    def merged(self) -> dict[LineageModel, Found]:
        """Merged model -> its generation; includes the base that TIES subtracts."""
        found: dict[LineageModel, Found] = {}
        for step in self._steps:
            found |= {name: self.find(name) for _, name in step.merged()}
            # Differences of adapters are counted from the base that they share.
            if step.as_merge is not None and step.as_merge.method == "ties" and self._recipe.training.adapter is None:
                found["base"] = 0
        return found

    @property
    def teachers(self) -> dict[Teacher, Found | None]:
        """Teacher -> its generation; None for a folder."""
        return self._all(step.teachers() for step in self._steps)

    @property
    def samplers(self) -> dict[Sampler, Found | None]:
        """Sampler -> its generation, None for a folder; servers left out."""
        return self._all(step.samplers() for step in self._steps)

    @property
    def references(self) -> dict[Reference, Found | None]:
        """KL reference model -> its generation, None for a folder; `start` left out."""
        return self._all(step.references() for step in self._steps)

    @property
    def asked(self) -> dict[LineageModel, Found]:
        """Judge or voter -> its generation."""
        named = roles(self._recipe.verifier_of(self.number)) if self.number else ()
        return {name: self.find(name) for _, name in named}

    def aims(
        self,
        *,
        highest: int | None,
        accuracies: Callable[[int], Mapping[int, float]],
        trained: Callable[[int], int],
    ) -> tuple[int, ...]:
        """Return the levels that the generation aims at.

        `highest`: the task's last level, None without one. Of an earlier generation, `accuracies` gives the share of
        right held-out answers by level, `trained` the highest level that it and its ancestors were trained on.
        """
        recipe = self._recipe
        if self.champion is None:
            start = recipe.start_level
            return tuple(range(1, (start if highest is None else min(start, highest)) + 1))
        stage, init = recipe.generations.position(self.number).stage, self.init
        decides = aims_by(stage, champion=expected(self.champion), init=None if init is None else expected(init))
        return target_levels(
            stage.curriculum,
            accuracies(decides),
            base_level=recipe.task.base_level,
            rise=recipe.rise(self.number),
            trained=trained(decides),
            highest=highest,
        )

    def find(self, name: Model) -> Found:
        """Return the generation of the lineage that a name means."""
        if name == "champion" and self.champion is not None:
            return self.champion
        if name == "parent" and self.init is not None:
            return self.init
        number = self._recipe.generations.youngest(name, number=self.number)
        assert number is not None and number < self.number, f"generation {self.number} has no {name}"
        return self._stand_in(number) if means_best(name) else number

    def _all(self, named: Iterable[Placed[NamedModel]]) -> dict[NamedModel, Found | None]:
        names = dict.fromkeys(name for placed in named for _, name in placed if server_model(name) is None)
        return {name: None if outside_model(name) is not None else self.find(name) for name in names}

    def _stand_in(self, number: int) -> Found:
        """Return the best of a generation and its siblings, which its name means."""
        siblings = self._recipe.generations.position(number).siblings if number else range(1)
        if len(siblings) == 1:
            return number
        if siblings[-1] >= len(self._committed):
            return Undecided(tuple(siblings))
        return stands_for(self._recipe.generations, self._committed, number)
