"""The sequence of generations: where each starts, the levels it aims at, its steps."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from bootstrap.config.base import ByType, Operational, Place, Placed, Settings, below
from bootstrap.config.models import Model, StageEnd, Start, outside_model, roles
from bootstrap.config.steps import Step
from bootstrap.config.verifiers import Verifier


class CurriculumSettings(Settings):
    """Rule for the levels that a generation aims at; the answers hold where a kind says nothing else."""

    ignores_results: ClassVar[bool] = False
    """Whether the aim rises with every generation, whatever the results."""
    aims_by_start: ClassVar[bool] = False
    """Whether the aims depend on the accuracy of the weights that a generation starts from."""

    @property
    def given(self) -> tuple[int, ...]:
        """The levels that every generation aims at; empty where results decide."""
        return ()

    @property
    def num_targets(self) -> int:
        """Largest number of levels aimed at together."""
        return 1

    @abstractmethod
    def targets(self, accuracies: Mapping[int, float], *, base_level: int, rise: int, trained: int) -> tuple[int, ...]:
        """Return the levels to aim at, ascending, as if the task had no last level (`selection/curriculum.py`).

        `accuracies`: held-out accuracy by level. `rise`: see `UncheckedRecipe.rise`. `trained`: highest level that the
        starting weights were trained on.
        """

    def highest_aim(self, reached: int, *, num_sets: int, fixed: int) -> int:
        """Return the highest aim of `num_sets` sets of siblings that all raise it.

        `reached`: the highest level before them. `fixed`: the last set's aim if each set raises it by one.
        """
        return reached + num_sets * self.num_targets


def _first_below(bound: float, accuracies: Mapping[int, float], *, base_level: int) -> int:
    """Return the first level beyond `base_level` whose accuracy is below a bound or was not measured."""
    first = base_level + 1
    while accuracies.get(first, -1.0) >= bound:
        first += 1
    return first


class NextLevel(CurriculumSettings):
    """Aim at the first level that is not reached."""

    type: Literal["next"] = "next"
    raise_at: float = Field(default=0.9, gt=0, le=1)
    """Held-out accuracy from which a level counts as reached and the aim moves up by one."""

    def targets(self, accuracies: Mapping[int, float], *, base_level: int, rise: int, trained: int) -> tuple[int, ...]:
        """Return the first level that is not reached."""
        return (_first_below(self.raise_at, accuracies, base_level=base_level),)


class Accelerated(CurriculumSettings):
    """Aim at all next levels together, up to the first one below `until`."""

    type: Literal["accelerated"] = "accelerated"
    raise_at: float = Field(default=0.9, gt=0, le=1)
    """Held-out accuracy from which a level counts as reached."""
    until: float = Field(default=0.5, ge=0, le=1)
    """The first level below this accuracy is the last one aimed at."""
    max_levels: int = Field(default=4, ge=1)
    """Largest number of levels aimed at together."""

    @property
    def num_targets(self) -> int:
        return self.max_levels

    def targets(self, accuracies: Mapping[int, float], *, base_level: int, rise: int, trained: int) -> tuple[int, ...]:
        """Return the first level that is not reached, and those after it up to the first one below `until`."""
        found = [_first_below(self.raise_at, accuracies, base_level=base_level)]
        while len(found) < self.max_levels and accuracies.get(found[-1], -1.0) >= self.until:
            found.append(found[-1] + 1)
        return tuple(found)

    @model_validator(mode="after")
    def _can_accelerate(self) -> "Accelerated":
        if self.until >= self.raise_at:
            raise ValueError(
                f"until {self.until} is not below raise_at {self.raise_at}, so no second level is ever aimed at; "
                "lower until, or use type: next"
            )
        return self


class Solved(CurriculumSettings):
    """Aim at all levels that the starting weights solve without having been trained on them, or else at the first one
    that they do not solve.

    It serves labels of the model's own, which are right only where the model is (arXiv:2502.01612, accelerated), in
    stages where each generation starts from the one before.
    """

    aims_by_start: ClassVar[bool] = True
    type: Literal["solved"] = "solved"
    solved_at: float = Field(default=0.99, gt=0, le=1)
    """Held-out accuracy from which a level counts as solved."""
    max_levels: int = Field(default=4, ge=1)
    """Largest number of levels aimed at together."""

    @property
    def num_targets(self) -> int:
        return self.max_levels

    def targets(self, accuracies: Mapping[int, float], *, base_level: int, rise: int, trained: int) -> tuple[int, ...]:
        """Return the solved levels right above `trained`, or else the first level that is not solved."""
        # A level that was trained on and not measured again counts as solved.
        known = dict.fromkeys(range(base_level + 1, trained + 1), 1.0) | dict(accuracies)
        first = _first_below(self.solved_at, known, base_level=base_level)
        return tuple(range(max(trained, base_level) + 1, first))[: self.max_levels] or (first,)


class Fixed(CurriculumSettings):
    """Aim one level higher in every generation, whatever the results, as is needed where no verifier tells them.

    Generations of earlier stages count too, and siblings (`branches`) count as one.
    """

    ignores_results: ClassVar[bool] = True
    type: Literal["fixed"] = "fixed"

    def targets(self, accuracies: Mapping[int, float], *, base_level: int, rise: int, trained: int) -> tuple[int, ...]:
        return (base_level + rise,)

    def highest_aim(self, reached: int, *, num_sets: int, fixed: int) -> int:
        return max(reached, fixed)


class Given(CurriculumSettings):
    """Aim at these levels in every generation: for stages that improve a skill on the levels it has, as R1's do.

    Levels that have references may be among them.
    """

    type: Literal["given"] = "given"
    levels: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)
    """The levels, ascending."""

    @field_validator("levels")
    @classmethod
    def _in_order(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        if list(levels) != sorted(set(levels)):
            raise ValueError(f"give each level once, in ascending order: {sorted(set(levels))}")
        return levels

    @property
    def given(self) -> tuple[int, ...]:
        return self.levels

    @property
    def num_targets(self) -> int:
        return len(self.levels)

    def targets(self, accuracies: Mapping[int, float], *, base_level: int, rise: int, trained: int) -> tuple[int, ...]:
        return self.levels

    def highest_aim(self, reached: int, *, num_sets: int, fixed: int) -> int:
        return max(reached, *self.levels)


Curriculum = Annotated[NextLevel | Accelerated | Solved | Fixed | Given, ByType()]


class Cycle(Settings):
    """Settings that several generations in a row share."""

    curriculum: Curriculum = NextLevel()
    """Rule for the levels that a generation aims at."""
    branches: int = Field(default=1, ge=1)
    """Number of siblings: generations in a row that start from the same weights, aim at the same levels and differ in
    their randomness alone. No sibling replays another's answers or skips prompts that another has solved. The gate
    compares each with the champion from before them, at `gate.alpha` over their number. Of those that pass (all, with
    `gate: always`), the one with the most right answers on the target levels becomes champion, the earliest of equals;
    `previous` and `{type: stage}` then mean the best of them."""


class Stage(Cycle):
    """Several generations with steps of their own, as the stages of DeepSeek-R1 (arXiv:2501.12948)."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    """Lower-case letters, digits, `-` and `_`."""
    generations: int = Field(default=1, ge=1)
    """Number of its generations, siblings included."""
    init: Start = "champion"
    """Weights that each of its generations starts from: those of an earlier generation (by place or number), of an
    earlier stage's last one (of branches, the best), or of another model: a fresh one, as a smaller student, or a
    folder. It has no effect in a stage that begins with a merge."""
    steps: tuple[Step, ...] = Field(min_length=1)
    """Steps in order; the last one's weights are the candidate."""
    verifier: Verifier | None = None
    """Judge of the answers that this stage trains on; null takes the recipe's."""
    gate: Literal["compare", "always", "never"] = "compare"
    """`compare`: a candidate is promoted when it is better than the champion. `always`: every candidate is promoted,
    whatever it lost, in stages that prepare the next one (R1's cold start). `never`: candidates stay ungated, as
    students and controls; their answers serve their own descendants alone, and they aim by their own results."""

    @property
    def starts(self) -> tuple[Start, ...]:
        """Models whose weights its generations start from: one, or those that are merged."""
        merge = self.steps[0].as_merge
        return merge.models if merge else (self.init,)

    @property
    def parentless(self) -> str:
        """In words, what its generations start from in place of one parent; empty where they have a parent."""
        if self.steps[0].as_merge:
            return "a merge"
        outside = outside_model(self.init)
        return f"another model ({outside.type_name})" if outside else ""

    def named(self) -> Placed[Model]:
        """Return every model that the stage names, with its place below the stage."""
        found: list[tuple[Place, Model]] = [] if self.steps[0].as_merge else [(("init",), self.init)]
        for index, step in enumerate(self.steps):
            found.extend(below(("steps", index), step.named()))
        for _, name in roles(self.verifier) if self.verifier is not None else ():
            found.append((("verifier",), name))
        return tuple(found)


class Position(NamedTuple):
    """A generation's position in its stage."""

    stage: Stage
    place: Place
    """Place of the stage's settings below `generations`."""
    first: int
    """Number of the stage's first generation."""
    eldest: int
    """Number of its first sibling; without branches, its own."""

    @property
    def siblings(self) -> range:
        """Numbers of the generation and its siblings."""
        return range(self.eldest, self.eldest + self.stage.branches)


class Generations(Cycle):
    count: Annotated[int, Operational()] = Field(default=6, ge=0)
    """Number of generations after generation 0; with stages, at most and by default the sum of theirs."""
    init: Literal["champion", "previous", "base"] = "champion"
    """Weights that a generation starts from; `previous` continues from the last candidate even if the gate rejected
    it."""
    steps: tuple[Step, ...] | None = Field(default=None, min_length=1)
    """Steps of every generation, in order; the last one's weights are the candidate."""
    stages: tuple[Stage, ...] | None = Field(default=None, min_length=1)
    """Stages with steps of their own, instead of `steps`."""

    @model_validator(mode="after")
    def _says_once_what_happens(self) -> "Generations":
        if (self.steps is None) == (self.stages is None):
            raise ValueError(
                "give either steps, which every generation runs, or stages, for generations that differ; for example "
                "steps: [{type: rl}]"
            )
        if self.stages is None:
            return self
        # By value: a recipe that is written out whole, as lineages remember theirs, names every setting.
        fields = type(self).model_fields
        if own := [name for name in ("init", "curriculum", "branches") if getattr(self, name) != fields[name].default]:
            raise ValueError(f"{own[0]} belongs to each of the stages; move it there")
        names = [stage.name for stage in self.stages]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two stages are called {twice}; give each a name of its own")
        held = sum(stage.generations for stage in self.stages)
        if "count" not in self.model_fields_set:
            # The class is frozen for everyone else; this is still part of its making.
            object.__setattr__(self, "count", held)
        if self.count > held:
            raise ValueError(
                f"the stages hold {held} generations and count asks for {self.count}; lower count, or raise a stage's "
                "generations"
            )
        for stage in self.stages:
            if stage.generations % stage.branches:
                whole = -(-stage.generations // stage.branches) * stage.branches
                raise ValueError(
                    f"stage {stage.name} has {stage.generations} generations, which is no multiple of its branches "
                    f"({stage.branches}); raise generations to {whole}"
                )
        return self

    def parts(self) -> Iterator[tuple[Place, Stage]]:
        """Yield each stage with its place below `generations`; `steps` are one stage."""
        if self.stages is not None:
            yield from ((("stages", index), stage) for index, stage in enumerate(self.stages))
        else:
            assert self.steps is not None, "steps or stages are given"
            cycle = {"curriculum": self.curriculum, "branches": self.branches, "init": self.init, "steps": self.steps}
            yield (), Stage(name="cycle", generations=max(self.count, 1), **cycle)

    def with_steps(self, change: Callable[[Place, Step], Step]) -> Self:
        """Return the generations with each step replaced by `change` of its place below these settings and itself."""

        def changed(steps: Sequence[Step], *place: str | int) -> tuple[Step, ...]:
            return tuple(change((*place, "steps", index), step) for index, step in enumerate(steps))

        if self.stages is None:
            assert self.steps is not None, "steps or stages are given"
            return self.model_copy(update={"steps": changed(self.steps)})
        stages = (
            stage.model_copy(update={"steps": changed(stage.steps, "stages", index)})
            for index, stage in enumerate(self.stages)
        )
        return self.model_copy(update={"stages": tuple(stages)})

    def position(self, number: int) -> Position:
        """Return the position of generation `number`, 1 or more."""
        first = 1
        for place, stage in self.parts():
            if number < first + stage.generations or self.stages is None:
                return Position(
                    stage=stage, place=place, first=first, eldest=number - (number - first) % stage.branches
                )
            first += stage.generations
        raise AssertionError(f"generation {number} is beyond the stages")

    def num_sets(self, number: int) -> int:
        """Return the number of sets of siblings among generations 1 to `number`; without branches each is a set."""
        total, left = 0, number
        for _, stage in self.parts():
            size = left if self.stages is None else min(stage.generations, left)
            total += -(-size // stage.branches)
            left -= size
        return total

    def ends(self) -> dict[str, int]:
        """Map each stage's name to the number of its last generation."""
        stages = self.stages or ()
        return dict(
            zip((stage.name for stage in stages), accumulate(stage.generations for stage in stages), strict=True)
        )

    def youngest(self, name: Model, *, number: int) -> int | None:
        """Return the generation that a name means in generation `number`; of siblings, the last one.

        None for the champion and the parent, which the recipe does not say, and for models outside the lineage.
        """
        match name:
            case StageEnd():
                return self.ends()[name.stage]
            case int():
                return name
            case "base":
                return 0
            case "previous":
                return self.position(number).eldest - 1
        return None
