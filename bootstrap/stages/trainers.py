"""From a step to what makes its rounds."""

import importlib

from bootstrap.config.steps import Step
from bootstrap.stages.context import Context, Plan
from bootstrap.stages.step import Trainer


def build_trainer(context: Context, plan: Plan, step: Step, *, index: int) -> Trainer:
    """Return the trainer that a step of a generation names; `index` is its place."""
    module, name = step.trainer.split(":")
    return getattr(importlib.import_module(module), name)(context, plan, step, index=index)
