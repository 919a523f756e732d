"""The recipe: one YAML file that says everything about a lineage."""

import hashlib
import json
from typing import Any

from pydantic import Field, model_validator

from bootstrap.config.base import Settings
from bootstrap.config.base_model import BaseModelSource, ScratchModel
from bootstrap.config.evaluation import Evaluation, Gate
from bootstrap.config.generations import Generations
from bootstrap.config.resources import Resources, Tracking
from bootstrap.config.steps import DistillStep, Rejection, RlStep, SftStep, Step
from bootstrap.config.tasks import AdditionTask, Task
from bootstrap.config.verifiers import ExactVerifier, Verifier


class Base(Settings):
    """Generation 0."""

    model: BaseModelSource = ScratchModel()
    steps: tuple[Step, ...] = ()
    """Training before the lineage begins; its references come from levels up to the task's `base_level`."""


class Recipe(Settings):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    """Names the lineage and its folder: lower-case letters, digits, `-` and `_`."""
    description: str = ""
    seed: int = Field(default=0, ge=0)
    """Root of all randomness."""
    task: Task
    verifier: Verifier = ExactVerifier()
    base: Base = Base()
    generations: Generations
    evaluation: Evaluation = Evaluation()
    gate: Gate = Gate()
    max_unverifiable: float = Field(default=0.02, ge=0, le=1)
    """Largest share of UNVERIFIABLE verdicts in a stage before the run stops."""
    resources: Resources = Resources()
    tracking: Tracking = Tracking()

    @model_validator(mode="after")
    def _combinations_that_work(self) -> "Recipe":
        for place, steps in (("base.steps", self.base.steps), ("generations.steps", self.generations.steps)):
            for index, step in enumerate(steps):
                _check_step(step, f"{place}[{index}]", recipe=self, is_base=place == "base.steps")
        if isinstance(self.base.model, ScratchModel) and not self.base.steps:
            raise ValueError(
                "base.model is scratch and base.steps is empty: random weights give no right answer to learn from; "
                "add an sft step on references, for example base: {steps: [{type: sft, updates: 1200}]}"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """What a lineage's results depend on: everything except names, length, resources and tracking."""
        data = self.model_dump(mode="json", exclude={"name", "description", "resources", "tracking"})
        del data["generations"]["count"]
        return data

    def digest(self) -> str:
        """SHA-256 of `identity` as canonical JSON."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _check_step(step: Step, place: str, *, recipe: Recipe, is_base: bool) -> None:
    """Refuse steps that cannot learn or that break the lineage's promises. Raises ValueError with the remedy."""
    stones = step.source.stepping_stones if isinstance(step, SftStep) and isinstance(step.source, Rejection) else 0.0
    if isinstance(step, RlStep):
        stones = step.stepping_stones
    if stones and not isinstance(recipe.task, AdditionTask):
        raise ValueError(
            f"{place}.stepping_stones needs a task with two operands; task {recipe.task.type} has one: remove the key"
        )
    distillation = getattr(step, "distillation", None)
    if is_base and not (isinstance(step, SftStep) and step.source.type == "references"):
        raise ValueError(
            f"{place}: generation 0 has no ancestors to sample or to learn from; use an sft step with source references, "
            "and move this step to generations.steps"
        )
    if isinstance(step, DistillStep | RlStep) and distillation and distillation.loss == "forward_kl":
        teacher = distillation.teacher
        if isinstance(teacher, int) and teacher > recipe.generations.count:
            raise ValueError(
                f"{place}.distillation.teacher names generation {teacher}, but the lineage ends at "
                f"{recipe.generations.count}; name an earlier one, or parent, champion or base"
            )
