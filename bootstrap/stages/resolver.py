"""Which generations a recipe's names mean, and which levels a generation aims at: `plan` and `run` ask here alike.

    Resolver(recipe, committed).at(4)   champion   3, or Undecided((0, 2, 3)) while the gate has yet to decide
                                        init       whose weights it starts from; None for another model or a merge
                                        teachers   {"base": 0, "champion": Undecided((0, 2, 3))}

The answers follow from the recipe and the committed generations alone; a run asks about the next generation, where
nothing is undecided. Left out: weights (`prepare.py`), and that a guard to come may roll the champion back.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from bootstrap.config.steps import Step
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


def expected(found: Found) -> int:
    """Return the generation, the latest candidate where it is undecided, as if each were promoted."""
    match found:
        case Undecided(candidates=candidates):
            return candidates[-1]
    return found


@dataclass(frozen=True, kw_only=True)
class GenerationModels:
    """The models that make one generation; a name maps to None where its model lies outside the lineage."""

    number: int
    champion: Found | None
    """The champion from before its siblings, which it is compared with; None for generation 0."""
    init: Found | None = None
    """Whose weights it starts from; None for generation 0, another model and a merge."""
    merged: Mapping[LineageModel, Found] = field(default_factory=dict)
    """Whose weights a `merge` step combines, the base of their differences among them."""
    teachers: Mapping[Teacher, Found | None] = field(default_factory=dict)
    samplers: Mapping[Sampler, Found | None] = field(default_factory=dict)
    """Who answers in place of the starting weights, servers left out."""
    references: Mapping[Reference, Found | None] = field(default_factory=dict)
    """Whom a KL term holds the policy to, other than its start."""
    asked: Mapping[LineageModel, Found] = field(default_factory=dict)
    """Whom the verifier asks, as judge or voter."""

    @property
    def parents(self) -> tuple[Found, ...]:
        """The generations whose weights it is made of, each once."""
        return tuple(dict.fromkeys(self.merged.values())) if self.init is None else (self.init,)


class Resolver:
    """Answers for a recipe whose lineage has committed the generations `committed`, in order from generation 0."""

    def __init__(self, recipe: Recipe, committed: Sequence[Generation]) -> None:
        self._recipe, self._committed = recipe, committed

    def at(self, number: int) -> GenerationModels:
        """Return the models of generation `number` by the generations before it: committed, next or further ahead."""
        if not number:
            return GenerationModels(number=0, champion=None)
        resolver = _At(self._recipe, self._committed[:number], number)
        steps = self._recipe.steps_of(number)
        return GenerationModels(
            number=number,
            champion=resolver.champion,
            init=resolver.init,
            merged={name: resolver.find(name) for name in self._merged(steps)},
            teachers=resolver.all(step.teachers() for step in steps),
            samplers=resolver.all(step.samplers() for step in steps),
            references=resolver.all(step.references() for step in steps),
            asked={name: resolver.find(name) for _, name in roles(self._recipe.verifier_of(number))},
        )

    def _merged(self, steps: Sequence[Step]) -> Iterator[LineageModel]:
        for step in steps:
            for _, name in step.merged():
                yield name
            # Differences of adapters are counted from the base that they share.
            if step.as_merge is not None and step.as_merge.method == "ties" and self._recipe.training.adapter is None:
                yield "base"

    def aims(
        self,
        models: GenerationModels,
        *,
        highest: int | None,
        accuracies: Callable[[int], Mapping[int, float]],
        trained: Callable[[int], int],
    ) -> tuple[int, ...]:
        """Return the levels that a generation aims at.

        `highest`: the task's last level, None without one. Of an earlier generation, `accuracies` gives the share of
        right held-out answers by level, `trained` the highest level that it and its ancestors were trained on.
        """
        recipe = self._recipe
        if models.champion is None:
            start = recipe.start_level
            return tuple(range(1, (start if highest is None else min(start, highest)) + 1))
        stage, init = recipe.generations.position(models.number).stage, models.init
        decides = aims_by(stage, champion=expected(models.champion), init=None if init is None else expected(init))
        return target_levels(
            stage.curriculum,
            accuracies(decides),
            base_level=recipe.task.base_level,
            rise=recipe.rise(models.number),
            trained=trained(decides),
            highest=highest,
        )


class _At:
    """What names mean in generation `number`, 1 or more; `committed`: those before it, as far as they are."""

    def __init__(self, recipe: Recipe, committed: Sequence[Generation], number: int) -> None:
        self._generations, self._committed, self._number = recipe.generations, committed, number
        position = recipe.generations.position(number)
        self.champion = self._champion(recipe)
        self.init: Found | None = None if position.stage.parentless else self.find(position.stage.init)

    def all(self, named: Iterable[Placed[NamedModel]]) -> dict[NamedModel, Found | None]:
        """Return what each name means, None for a model outside the lineage; servers are left out."""
        names = dict.fromkeys(name for placed in named for _, name in placed if server_model(name) is None)
        return {name: None if outside_model(name) is not None else self.find(name) for name in names}

    def find(self, name: Model) -> Found:
        """Return the generation of the lineage that a name means."""
        if name == "champion":
            return self.champion
        if name == "parent":
            assert self.init is not None, f"generation {self._number} has no parent"
            return self.init
        found = self._generations.youngest(name, number=self._number)
        assert found is not None and found < self._number, f"generation {self._number} has no {name}"
        return self._stand_in(found) if means_best(name) else found

    def _champion(self, recipe: Recipe) -> Found:
        """Return the champion from before the siblings; each generation to come that is gated may become it."""
        position = self._generations.position(self._number)
        if len(self._committed) >= position.eldest:
            return before(self._committed, position)
        last = self._committed[-1].champion if self._committed else 0
        to_come = range(max(len(self._committed), 1), position.eldest)
        gated = [one for one in to_come if recipe.gate_of(one) != "never"]
        return Undecided((last, *gated)) if gated else last

    def _stand_in(self, number: int) -> Found:
        """Return who stands for a generation and its siblings."""
        siblings = self._generations.position(number).siblings if number else range(1)
        if len(siblings) == 1:
            return number
        if siblings[-1] >= len(self._committed):
            return Undecided(tuple(siblings))
        return stands_for(self._generations, self._committed, number)
