"""The settings of a recipe, and what follows from them. `recipe.py` checks whether they can work together."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from bootstrap import schema
from bootstrap.canonical import digest_of
from bootstrap.config.answers import ExactVerifier
from bootstrap.config.base import Operational, Place, Settings, identity_of
from bootstrap.config.base_model import BaseModelSource, ScratchModel
from bootstrap.config.evaluation import EvaluationSettings, Gate
from bootstrap.config.generations import Generations
from bootstrap.config.guards import DEFAULT_GUARDS, LATER_GUARDS, DiagnosticsSettings, Guard
from bootstrap.config.resources import Notify, Resources, Tracking
from bootstrap.config.steps import Step
from bootstrap.config.tasks import Task, tasks_of
from bootstrap.config.training import Training
from bootstrap.config.verifiers import Verifier


class Base(Settings):
    """Generation 0."""

    model: BaseModelSource = ScratchModel()
    """Weights before these steps."""
    steps: tuple[Step, ...] = ()
    """Training before the lineage begins, on references of levels up to the task's `base_level`."""


class UncheckedRecipe(Settings):
    """All settings of a lineage, and what follows from them."""

    name: Annotated[str, Operational()] = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    """Name of the lineage and its folder: lower-case letters, digits, `-` and `_`."""
    description: Annotated[str, Operational()] = ""
    """Purpose of the recipe, for readers and for the lineage's pages."""
    seed: int = Field(default=0, ge=0)
    """Root of all randomness."""
    task: Task
    """Source of prompts."""
    verifier: Verifier = ExactVerifier()
    """Judge of answers that are trained on; held-out ones too unless `evaluation.verifier` is given."""
    base: Base = Base()
    """Generation 0: the start of the lineage."""
    training: Training = Training()
    """Weights that are trained, and their precision."""
    generations: Generations
    """Generations after generation 0."""
    evaluation: EvaluationSettings = EvaluationSettings()
    """Evaluation of every generation on held-out prompts."""
    gate: Gate = Gate()
    """Rules of promotion."""
    diagnostics: DiagnosticsSettings = DiagnosticsSettings()
    """Measurement of diagnostics."""
    guards: tuple[Guard, ...] = DEFAULT_GUARDS
    """Bounds on a generation's diagnostics. A list replaces the default warnings and may name a metric several times,
    for example to warn early and to roll back late; the warning of `accuracy_jump` stays unless the list names that
    metric. [] has none."""
    max_unverifiable: Annotated[float, Operational()] = Field(default=0.02, ge=0, le=1)
    """Largest share of UNVERIFIABLE verdicts in a round of sampling or a level's evaluation; beyond it the run
    stops."""
    resources: Annotated[Resources, Operational()] = Resources()
    """Workers and limits on waiting."""
    tracking: Annotated[Tracking, Operational()] = Tracking()
    """The MLflow server."""
    notify: Annotated[Notify | None, Operational()] = None
    """Address that is told of promotions, rejections, broken guards and the end of the run; null tells no one. Like
    `tracking`, lineages do not remember it."""

    @model_validator(mode="after")
    def _written_out(self) -> Self:
        """Write out nulls whose meaning the kind of task decides, so that a stored recipe says what it means."""
        fixed, epochs = self.has_fixed_data_alone, self.is_on_fixed_data
        generations = self.generations.with_steps(lambda _, step: step.written_out(fixed=fixed, epochs=epochs))
        steps = tuple(step.written_out(fixed=fixed, epochs=epochs) for step in self.base.steps)
        base = self.base.model_copy(update={"steps": steps})
        # The class is frozen for everyone else; this is still part of its making.
        object.__setattr__(self, "base", base)
        object.__setattr__(self, "generations", generations)
        object.__setattr__(self, "evaluation", self.evaluation.written_out(fixed=epochs))
        return self

    @property
    def all_guards(self) -> tuple[Guard, ...]:
        """`guards`, and the warnings that they leave in place."""
        own = {guard.metric for guard in self.guards}
        return (*self.guards, *(guard for guard in LATER_GUARDS if own and guard.metric not in own))

    @property
    def eval_verifier(self) -> Verifier:
        """Eval verifier, which judges held-out answers."""
        return self.evaluation.verifier or self.verifier

    @property
    def eval_verifier_place(self) -> Place:
        """Place of the eval verifier."""
        return ("evaluation", "verifier") if self.evaluation.verifier else ("verifier",)

    @property
    def start_level(self) -> int:
        """Highest level that generation 0 is trained for: that of the references, or a fork's."""
        return max(self.task.base_level, self.base.model.trained_level)

    @property
    def has_fixed_data(self) -> bool:
        """Whether some of its questions are a fixed set, as a file's."""
        return any(task.is_fixed for task in tasks_of(self.task).values())

    @property
    def has_fixed_data_alone(self) -> bool:
        """Whether all of its questions are fixed sets: a file's, or those of a mixture of files."""
        return all(task.is_fixed for task in tasks_of(self.task).values())

    @property
    def is_on_fixed_data(self) -> bool:
        """Whether all of its questions are one fixed set, so that the same prompts come again and again."""
        return self.task.part_names is None and self.has_fixed_data

    @property
    def spends_over_lineage(self) -> bool:
        """Whether all comparisons of the lineage share the gate's alpha."""
        spending = self.gate.spending
        return spending == "lineage" or (spending == "auto" and self.has_fixed_data)

    @property
    def num_compared(self) -> int:
        """Number of comparisons of candidates with champions; siblings count as one."""
        generations, first, total = self.generations, 1, 0
        while first <= generations.count:
            stage = generations.position(first).stage
            total += stage.gate == "compare"
            first += stage.branches
        return total

    def highest_level(self) -> int:
        """Highest level that is evaluated or proposed if every generation raises the aim as its curriculum plans."""
        reaches = [step.proposal_reach or 0 for _, step in self.generation_steps()]
        return self.highest_aim() + max([self.evaluation.lookahead, *reaches])

    def highest_aim(self) -> int:
        """Highest aim in that case; the task may end below it."""
        generations, done = self.generations, 0
        reached = self.start_level
        for _, stage in generations.parts():
            if done == generations.count:
                break
            before, done = done, min(done + stage.generations, generations.count)
            num_sets = generations.num_sets(done) - generations.num_sets(before)
            fixed = self.task.base_level + self.rise(done)
            reached = stage.curriculum.highest_aim(reached, num_sets=num_sets, fixed=fixed)
        return reached

    def rise(self, number: int) -> int:
        """Return the levels above `task.base_level` that the curriculum `fixed` aims at in a generation.

        One for each set of siblings up to it, whatever their stage, beside the levels of a fork's start.
        """
        return self.generations.num_sets(number) + self.start_level - self.task.base_level

    def steps_of(self, number: int) -> tuple[Step, ...]:
        """Return the training steps of a generation."""
        return self.generations.position(number).stage.steps if number else self.base.steps

    def stage_name(self, number: int) -> str:
        """Return the name of a generation's stage; empty for generation 0 and in a recipe without stages."""
        return self.generations.position(number).stage.name if number and self.generations.stages else ""

    def gate_of(self, number: int) -> Literal["compare", "always", "never"]:
        """Return the gate's rule for a generation."""
        return self.generations.position(number).stage.gate if number else "always"

    def verifier_place(self, number: int) -> Place:
        """Return the place of the verifier that judges a generation's training answers."""
        if number:
            position = self.generations.position(number)
            if position.stage.verifier is not None:
                return ("generations", *position.place, "verifier")
        return ("verifier",)

    def verifier_of(self, number: int) -> Verifier:
        """Return the verifier that judges what a generation trains on."""
        return self.verifiers()[self.verifier_place(number)]

    def verifiers(self) -> dict[Place, Verifier]:
        """Map place to verifier for every verifier of training answers."""
        parts = ((("generations", *place), stage.verifier) for place, stage in self.generations.parts())
        own = {(*place, "verifier"): verifier for place, verifier in parts if verifier is not None}
        return {("verifier",): self.verifier, **own}

    def generation_steps(self) -> Iterator[tuple[Place, Step]]:
        """Yield every step but generation 0's with its place."""
        for place, stage in self.generations.parts():
            for index, step in enumerate(stage.steps):
                yield ("generations", *place, "steps", index), step

    def identity(self) -> dict[str, Any]:
        """Return the settings that a lineage's results depend on, as JSON data."""
        return identity_of(self)

    def digest(self) -> str:
        """SHA-256 of `identity`, as it is hashed (`schema.py`), as canonical JSON."""
        return digest_of(schema.hashed(self.identity()))
