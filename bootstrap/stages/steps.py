"""The steps of a generation, one after the other: each trains, by the trainer that it names, or merges."""

import importlib
from typing import Any

from bootstrap.config.step import StepSettings
from bootstrap.stages.context import Context, Meter, Plan
from bootstrap.stages.merge import run_merge
from bootstrap.stages.step import StepResult, run_step
from bootstrap.stages.trainer import Trainer


def run_steps(context: Context, plan: Plan, *, meter: Meter) -> list[StepResult]:
    """Return the finished steps; each starts from the weights of the one before."""
    start, results = plan.start, list[StepResult]()
    for index, step in enumerate(context.recipe.steps_of(plan.number)):
        if (merge := step.as_merge) is not None:
            results.append(run_merge(context, plan, merge, index=index, meter=meter))
        if (training := step.as_training) is not None:
            trainer = build_trainer(context, plan, training, index=index)
            results.append(run_step(trainer, start=start, meter=meter))
        start = results[-1].checkpoint
    return results


def build_trainer(context: Context, plan: Plan, step: StepSettings, *, index: int) -> Trainer[Any]:
    """Return the trainer that a step names; `index`: the step's place in its generation."""
    module, name = step.trainer.split(":")
    return getattr(importlib.import_module(module), name)(context, plan, step, index=index)
