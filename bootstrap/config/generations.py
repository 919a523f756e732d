"""How generations follow one another: where each starts, what it aims at, what it does."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from bootstrap.config.base import ByType, Operational, Place, Placed, Settings, below
from bootstrap.config.models import LineageModel, Model, StageEnd, Start, outside_model, roles
from bootstrap.config.steps import Step
from bootstrap.config.verifiers import Verifier


class CurriculumSettings(Settings):
    """How a generation's aims follow from those before; the answers hold where a kind says nothing else."""

    ignores_results: ClassVar[bool] = False
    """Whether the aim rises with every generation, whatever the results."""
    aims_by_start: ClassVar[bool] = False
    """Whether the aims depend on what the weights that a generation starts from can do."""

    @property
    def given(self) -> tuple[int, ...]:
        """The levels aimed at in every generation; empty where results decide."""
        return ()

    @property
    def num_targets(self) -> int:
        """Largest number of levels aimed at together."""
        return 1

    def targets(self, accuracies: Mapping[int, float], *, base_level: int, rise: int, trained: int) -> tuple[int, ...]:
        """Return the levels aimed at, ascending, as if the task had no last one (`selection/curriculum.py`)."""
        raise NotImplementedError

    def highest_aim(self, reached: int, *, num_sets: int, fixed: int) -> int:
        """Return the highest level aimed at within `num_sets` sets of siblings that all raise the aim.

        `reached`: the highest level before them. `fixed`: where the last set aims if each set raises the aim by one.
        """
        return reached + num_sets * self.num_targets


def _first_below(bound: float, accuracies: Mapping[int, float], *, base_level: int) -> int:
    """Return the first level beyond the base's whose accuracy is below a bound, or was not measured."""
    first = base_level + 1
    while accuracies.get(first, -1.0) >= bound:
        first += 1
    return first


class NextLevel(CurriculumSettings):
    """Aim at the first level that is not reached."""

    type: Literal["next"] = "next"
    raise_at: float = Field(default=0.9, gt=0, le=1)
    """Held-out accuracy from which a level counts as reached and the aim moves one up."""

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
        """`max_levels`."""
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
    """Aim at all levels together that are solved already without having been trained on, or else at the first one that
    is not solved: for labels of the model's own, which are right only where the model is (arXiv:2502.01612,
    accelerated). For lines that go on from themselves: the weights that a generation starts from decide."""

    aims_by_start: ClassVar[bool] = True
    type: Literal["solved"] = "solved"
    solved_at: float = Field(default=0.99, gt=0, le=1)
    """Held-out accuracy from which a level counts as solved."""
    max_levels: int = Field(default=4, ge=1)
    """Largest number of levels aimed at together."""

    @property
    def num_targets(self) -> int:
        """`max_levels`."""
        return self.max_levels

    def targets(self, accuracies: Mapping[int, float], *, base_level: int, rise: int, trained: int) -> tuple[int, ...]:
        """Return the levels above `trained` that are solved without a gap, or else the first one that is not."""
        # What was trained on and not measured again is no first level without an answer.
        known = dict.fromkeys(range(base_level + 1, trained + 1), 1.0) | dict(accuracies)
        first = _first_below(self.solved_at, known, base_level=base_level)
        return tuple(range(max(trained, base_level) + 1, first))[: self.max_levels] or (first,)


class Fixed(CurriculumSettings):
    """Aim one level higher in every generation, whatever the results: what is left where no verifier tells them.

    Generations of earlier stages count too, and siblings (`branches`) as one."""

    ignores_results: ClassVar[bool] = True
    type: Literal["fixed"] = "fixed"

    def targets(self, accuracies: Mapping[int, float], *, base_level: int, rise: int, trained: int) -> tuple[int, ...]:
        """Return the level that the schedule has come to."""
        return (base_level + rise,)

    def highest_aim(self, reached: int, *, num_sets: int, fixed: int) -> int:
        """Return where the last set of siblings aims, or what was reached before."""
        return max(reached, fixed)


class Given(CurriculumSettings):
    """Aim at these levels in every generation: for stages that make a skill better where it is, as R1's, and not
    longer. Levels that have references may be among them."""

    type: Literal["given"] = "given"
    levels: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)

    @field_validator("levels")
    @classmethod
    def _in_order(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        if list(levels) != sorted(set(levels)):
            raise ValueError(f"give each level once, in ascending order: {sorted(set(levels))}")
        return levels

    @property
    def given(self) -> tuple[int, ...]:
        """`levels`."""
        return self.levels

    @property
    def num_targets(self) -> int:
        """How many levels are given."""
        return len(self.levels)

    def targets(self, accuracies: Mapping[int, float], *, base_level: int, rise: int, trained: int) -> tuple[int, ...]:
        """Return `levels`."""
        return self.levels

    def highest_aim(self, reached: int, *, num_sets: int, fixed: int) -> int:
        """Return the highest of the levels, or what was reached before."""
        return max(reached, *self.levels)


Curriculum = Annotated[NextLevel | Accelerated | Solved | Fixed | Given, ByType()]


class Cycle(Settings):
    """What several generations in a row share."""

    curriculum: Curriculum = NextLevel()
    branches: int = Field(default=1, ge=1)
    """Children of one parent, of which the best is kept: so many generations in a row start from the same weights, aim
    at the same levels and differ in their randomness alone: none replays what another has answered, nor is spared what
    it has solved. The gate compares each with the champion from before them, at `gate.alpha` over their number; of
    those that pass (with `gate: always` all), the one with the most right answers on the levels aimed at is champion,
    the earliest of equals, and `previous` or `{type: stage}` then name the best of them."""


class Stage(Cycle):
    """A stretch of generations with steps of their own, as the stages of DeepSeek-R1 (arXiv:2501.12948)."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    """Lower-case letters, digits, `-` and `_`."""
    generations: int = Field(default=1, ge=1)
    init: Start = "champion"
    """Whose weights each of its generations starts from: an earlier generation's by place or number, the last one's of
    an earlier stage (of branches, the best one's), or those of another model: a fresh one (a smaller student) or a
    folder's. A stage that begins with a merge has no use for it."""
    steps: tuple[Step, ...] = Field(min_length=1)
    """Run in order; the last one's weights are the candidate."""
    verifier: Verifier | None = None
    """Judges what this stage trains on; null takes the recipe's."""
    gate: Literal["compare", "always", "never"] = "compare"
    """`compare`: promoted when better than the champion. `always`: promoted by the recipe's word, whatever it lost, for
    stages that prepare the next one (R1's cold start). `never`: left ungated, for students and controls; its answers
    serve its own descendants alone, and it aims by its own results."""

    @property
    def starts(self) -> tuple[Start, ...]:
        """Whose weights its generations start from: one model's, or those that are merged."""
        merge = self.steps[0].as_merge
        return merge.models if merge else (self.init,)

    @property
    def parentless(self) -> str:
        """What its generations start from in the place of one parent, in words; empty where they have one."""
        if self.steps[0].as_merge:
            return "a merge"
        outside = outside_model(self.init)
        return f"another model ({outside.type})" if outside else ""

    def named(self) -> Placed[Model]:
        """Return (place below the stage, name) of every model that the stage itself names."""
        start = () if self.steps[0].as_merge else ((("init",), self.init),)
        steps = (part for index, step in enumerate(self.steps) for part in below(("steps", index), step.named()))
        asked = roles(self.verifier) if self.verifier is not None else ()
        return (*start, *steps, *((("verifier",), name) for _, name in asked))


class Position(NamedTuple):
    """Where a generation stands in its stage."""

    stage: Stage
    place: Place
    """Where the stage's settings stand in the recipe, below `generations`."""
    first: int
    """Number of the stage's first generation."""
    eldest: int
    """Number of the first of the siblings that start from one parent; the generation itself without branches."""

    @property
    def siblings(self) -> range:
        """The numbers of those that start from one parent, the generation itself among them."""
        return range(self.eldest, self.eldest + self.stage.branches)


class Generations(Cycle):
    count: Annotated[int, Operational()] = Field(default=6, ge=0)
    """Generations after generation 0; with stages, as many as they have together unless a lower number is given."""
    init: Literal["champion", "previous", "base"] = "champion"
    """Whose weights a generation starts from; `previous` continues from the last candidate even if the gate rejected
    it."""
    steps: tuple[Step, ...] | None = Field(default=None, min_length=1)
    """What every generation does, in order; the last one's weights are the candidate."""
    stages: tuple[Stage, ...] | None = Field(default=None, min_length=1)
    """Stretches of generations that differ, instead of `steps`."""

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
        """Yield each stage with its place below `generations`; `steps` count as one stage."""
        if self.stages is not None:
            yield from ((("stages", index), stage) for index, stage in enumerate(self.stages))
        else:
            assert self.steps is not None, "steps or stages are given"
            cycle = {"curriculum": self.curriculum, "branches": self.branches, "init": self.init, "steps": self.steps}
            yield (), Stage(name="cycle", generations=max(self.count, 1), **cycle)

    def with_steps(self, change: Callable[[Place, Step], Step]) -> Self:
        """Return the same generations with steps as `change` makes them of each place below these settings and step."""

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
        """Return where generation `number`, 1 or more, stands."""
        first = 1
        for place, stage in self.parts():
            if number < first + stage.generations or self.stages is None:
                return Position(
                    stage=stage, place=place, first=first, eldest=number - (number - first) % stage.branches
                )
            first += stage.generations
        raise AssertionError(f"generation {number} is beyond the stages")

    def num_sets(self, number: int) -> int:
        """Return how many sets of siblings generations 1 to `number` make up; without branches each is one itself."""
        total, left = 0, number
        for _, stage in self.parts():
            size = left if self.stages is None else min(stage.generations, left)
            total += -(-size // stage.branches)
            left -= size
        return total

    def ends(self) -> dict[str, int]:
        """Return stage -> the number of its last generation."""
        stages = self.stages or ()
        return dict(
            zip((stage.name for stage in stages), accumulate(stage.generations for stage in stages), strict=True)
        )

    def youngest(self, name: LineageModel, *, number: int) -> int | None:
        """Return the generation that a name means in generation `number`; of siblings, one of which it means, the last.

        None for the champion and the parent, which the recipe does not say.
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
