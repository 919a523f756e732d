"""From a step's type to what makes its rounds."""

from bootstrap.config.steps import RlStep, SelfPlayStep, Step
from bootstrap.stages.context import Context, Plan
from bootstrap.stages.reinforcement import RlTrainer
from bootstrap.stages.self_play import SelfPlayTrainer
from bootstrap.stages.step import Trainer
from bootstrap.stages.supervised import SupervisedTrainer


def build_trainer(context: Context, plan: Plan, step: Step, *, index: int) -> Trainer:
    """Return the trainer of one step of a generation; `index` is its place."""
    if isinstance(step, RlStep):
        return RlTrainer(context, plan, step, index=index)
    if isinstance(step, SelfPlayStep):
        return SelfPlayTrainer(context, plan, step, index=index)
    return SupervisedTrainer(context, plan, step, index=index)
