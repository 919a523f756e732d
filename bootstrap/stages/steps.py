"""The steps of a generation, one after the other: each trains, by the trainer that it names, or merges."""

import importlib
from dataclasses import replace
from typing import Any

from bootstrap.config.step import StepSettings
from bootstrap.stages.context import Context, Meter, Plan
from bootstrap.stages.merge import run_merge
from bootstrap.stages.step import StepResult, run_step
from bootstrap.stages.tables import Tables
from bootstrap.stages.trainer import Trainer
from bootstrap.stages.visits import visits_of


def run_steps(context: Context, plan: Plan, *, meter: Meter) -> list[StepResult]:
    """Return the finished steps; each starts from the weights of the one before."""
    start, results, steps = plan.start, list[StepResult](), context.recipe.steps_of(plan.number)
    by_epochs = any(step.draws_epochs for step in steps)
    for index, step in enumerate(steps):
        if (merge := step.as_merge) is not None:
            results.append(run_merge(context, plan, merge, index=index, meter=meter))
        if (training := step.as_training) is not None:
            trainer = build_trainer(context, plan, training, index=index)
            if not plan.pool and any(replay.from_pool for _, replay in training.replays()):
                message = "nothing to replay yet: the lineage has no verified answers"
                context.observe(plan.event("train", 0, training.num_rounds, message=message))
            results.append(run_step(trainer, start=start, meter=meter))
            if by_epochs and training.draws():
                tables = Tables.read(results[-1].artifact)
                visits = visits_of(tables.rollouts, tables.verdicts, measured=training.measures)
                plan = replace(plan, visits=(*plan.visits, *visits))
        start = results[-1].checkpoint
    return results


def build_trainer(context: Context, plan: Plan, step: StepSettings, *, index: int) -> Trainer[Any]:
    """Return the trainer that a step names; `index`: the step's place in its generation."""
    module, name = step.trainer.split(":")
    return getattr(importlib.import_module(module), name)(context, plan, step, index=index)
