"""The settings of a recipe, and what follows from them; whether they can work together is for `recipe.py` to say."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from bootstrap.canonical import digest_of
from bootstrap.config.answers import ExactVerifier
from bootstrap.config.base import Operational, Place, Settings, identity_of
from bootstrap.config.base_model import BaseModelSource, ScratchModel
from bootstrap.config.evaluation import EvaluationSettings, Gate
from bootstrap.config.generations import Generations
from bootstrap.config.guards import DEFAULT_GUARDS, DiagnosticsSettings, Guard
from bootstrap.config.resources import Resources, Tracking
from bootstrap.config.steps import Step
from bootstrap.config.tasks import Task, tasks_of
from bootstrap.config.training import Training
from bootstrap.config.verifiers import Verifier


class Base(Settings):
    """Generation 0."""

    model: BaseModelSource = ScratchModel()
    steps: tuple[Step, ...] = ()
    """Training before the lineage begins; its references come from levels up to the task's `base_level`."""


class UncheckedRecipe(Settings):
    """All settings of a lineage, and what follows from them."""

    name: Annotated[str, Operational()] = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    """Names the lineage and its folder: lower-case letters, digits, `-` and `_`."""
    description: Annotated[str, Operational()] = ""
    """What the recipe shows, for readers and for the lineage's pages."""
    seed: int = Field(default=0, ge=0)
    """Root of all randomness."""
    task: Task
    verifier: Verifier = ExactVerifier()
    base: Base = Base()
    training: Training = Training()
    generations: Generations
    evaluation: EvaluationSettings = EvaluationSettings()
    gate: Gate = Gate()
    diagnostics: DiagnosticsSettings = DiagnosticsSettings()
    guards: tuple[Guard, ...] = DEFAULT_GUARDS
    """Bounds that a generation's diagnostics have to keep. A list given here takes the place of the default warnings,
    and may name a metric several times, for example to warn early and to roll back late; [] is none."""
    max_unverifiable: Annotated[float, Operational()] = Field(default=0.02, ge=0, le=1)
    """Largest share of UNVERIFIABLE verdicts, in a round of sampling or a level's evaluation, before the run stops."""
    resources: Annotated[Resources, Operational()] = Resources()
    tracking: Annotated[Tracking, Operational()] = Tracking()

    @property
    def eval_verifier(self) -> Verifier:
        """What judges held-out answers."""
        return self.evaluation.verifier or self.verifier

    @property
    def eval_verifier_place(self) -> Place:
        """Where it stands."""
        return ("evaluation", "verifier") if self.evaluation.verifier else ("verifier",)

    @property
    def start_level(self) -> int:
        """Highest level that generation 0 is trained for: that of the references, or what a fork comes with."""
        return max(self.task.base_level, self.base.model.trained_level)

    @property
    def has_fixed_data(self) -> bool:
        """Whether some of its questions are a given set, such as a file's."""
        return any(task.is_fixed for task in tasks_of(self.task).values())

    @property
    def spends_over_lineage(self) -> bool:
        """Whether all generations that are compared share the gate's alpha."""
        spending = self.gate.spending
        return spending == "lineage" or (spending == "auto" and self.has_fixed_data)

    @property
    def num_compared(self) -> int:
        """How often the gate compares a candidate with the champion, siblings counted as one."""
        generations, first, total = self.generations, 1, 0
        while first <= generations.count:
            stage = generations.position(first).stage
            total += stage.gate == "compare"
            first += stage.branches
        return total

    def highest_level(self) -> int:
        """Highest level looked at when every generation raises the aim as its curriculum plans."""
        reaches = [step.proposal_reach or 0 for _, step in self.generation_steps()]
        return self.highest_aim() + max([self.evaluation.lookahead, *reaches])

    def highest_aim(self) -> int:
        """Highest level aimed at then; a task may end below it."""
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
        """Return how many levels above the task's base level the curriculum `fixed` aims in a generation.

        One for each set of siblings up to it, whatever their stage; the levels that a fork comes with count as grown.
        """
        return self.generations.num_sets(number) + self.start_level - self.task.base_level

    def steps_of(self, number: int) -> tuple[Step, ...]:
        """Return the training steps of a generation."""
        return self.generations.position(number).stage.steps if number else self.base.steps

    def stage_name(self, number: int) -> str:
        """Return the name of a generation's stage; empty for generation 0 and where all generations do the same."""
        return self.generations.position(number).stage.name if number and self.generations.stages else ""

    def gate_of(self, number: int) -> Literal["compare", "always", "never"]:
        """Return what the gate does with a generation."""
        return self.generations.position(number).stage.gate if number else "always"

    def verifier_place(self, number: int) -> Place:
        """Return where the verifier stands that judges what a generation trains on."""
        if number:
            position = self.generations.position(number)
            if position.stage.verifier is not None:
                return ("generations", *position.place, "verifier")
        return ("verifier",)

    def verifiers(self) -> dict[Place, Verifier]:
        """Return place -> verifier of everything that judges answers trained on."""
        parts = ((("generations", *place), stage.verifier) for place, stage in self.generations.parts())
        own = {(*place, "verifier"): verifier for place, verifier in parts if verifier is not None}
        return {("verifier",): self.verifier, **own}

    def generation_steps(self) -> Iterator[tuple[Place, Step]]:
        """Yield (place, step) of all steps but generation 0's."""
        for place, stage in self.generations.parts():
            for index, step in enumerate(stage.steps):
                yield ("generations", *place, "steps", index), step

    def identity(self) -> dict[str, Any]:
        """What a lineage's results depend on: not names, length, places, nor when a run saves or stops."""
        return identity_of(self)

    def digest(self) -> str:
        """SHA-256 of `identity` as canonical JSON."""
        return digest_of(self.identity())
