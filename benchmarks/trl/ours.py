"""This project's side: rounds of an `rl` step in this process, as a run takes them between checkpoints."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.trl.shared import (
    ALMOST_HALF,
    BASES,
    GROUP,
    QUICKSTART,
    STEP_LEVEL,
    STEP_LR,
    STEP_PROMPTS,
    STEP_TOKENS,
    WARM_UP,
    Climb,
    now,
    recipe_of,
)
from bootstrap.config.load import load_recipe
from bootstrap.config.recipe import Recipe
from bootstrap.config.steps import RlStep
from bootstrap.loop import run
from bootstrap.pool import LocalPool
from bootstrap.prompts.build import build_task
from bootstrap.records import Batch, Checkpoint, Sampling, Status
from bootstrap.roles import colocated
from bootstrap.scoring.verifier import Tools
from bootstrap.selection.curriculum import replay_levels
from bootstrap.selection.replay import PoolEntry, ReplayPool
from bootstrap.stages.compared import compare_samplers
from bootstrap.stages.context import Context, Meter, Plan
from bootstrap.stages.limits import settle
from bootstrap.stages.models import LineageModels
from bootstrap.stages.reinforcement import RlTrainer
from bootstrap.stages.tables import Tables
from bootstrap.stages.verifiers import open_verifiers
from bootstrap.stages.weights import weights_in_folder
from bootstrap.store.lineage_store import LineageStore
from bootstrap.training.bounds import UpdateWatch
from bootstrap.training.schedule import schedule_factor


def step_overrides(*, every_answer: bool) -> list[str]:
    """Return what makes the quickstart's `rl` step the one that is compared step by step.

    `every_answer`: an algorithm that compares all answers of the round, so that each has an advantage.
    """
    optimizer = f"{{type: adamw, lr: {STEP_LR:.7f}}}"
    return [
        f"generations.steps[0].prompts_per_update={STEP_PROMPTS}",
        f"generations.steps[0].group_size={GROUP}",
        f"generations.steps[0].optimizer={optimizer}",
        "generations.steps[0].distillation=null",
        *(["generations.steps[0].algorithm={type: reinforce_pp}"] if every_answer else []),
    ]


@contextmanager
def opened(recipe: Recipe, folder: Path) -> Iterator[Context]:
    """Yield the context of a run with one worker in this process, as `loop.run` makes it."""
    roles = colocated(LocalPool(1, batch_rows=recipe.resources.batch_rows))
    task, store = build_task(recipe.task), LineageStore(folder / "lineage")
    store.open("beside", identity=recipe.identity())
    training = roles.configure(recipe.training)
    observe = settle(recipe, store, roles, generation=0, observe=lambda event: None)
    models = LineageModels(roles.samplers)
    with open_verifiers(recipe, task, Tools(models=models)) as (verifiers, eval_verifier, panel):
        yield Context(
            recipe=recipe,
            training=training,
            task=task,
            verifiers=verifiers,
            verifier=verifiers[("verifier",)],
            eval_verifier=eval_verifier,
            panel=panel,
            models=models,
            store=store,
            roles=roles,
            observe=observe,
        )


def plan_of(context: Context, start: Checkpoint, *, number: int, level: int, pool: ReplayPool) -> Plan:
    """Return the plan of a generation that aims at one level; the workers hold its start then."""
    context.learners.hold(start)
    return Plan(
        number=number,
        champion=number - 1,
        init=number - 1,
        parents=(number - 1,),
        start=start,
        shape=context.learners.shape(),
        target_levels=(level,),
        replay_levels=replay_levels((level,), held=pool.levels),
        pool=pool,
    )


@dataclass(kw_only=True)
class CpuMeter(Meter):
    """A meter that takes CPU time by phase too."""

    spent: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def clock(self, phase: str) -> Iterator[None]:
        _, began = now()
        with super().clock(phase):
            yield
        self.spent[phase] = self.spent.get(phase, 0.0) + now()[1] - began


class Rounds:
    """Rounds of an `rl` step, each with its updates, as `stages/step.py` runs them between checkpoints."""

    def __init__(self, trainer: RlTrainer, meter: Meter) -> None:
        self.trainer, self.meter, self.tables, self.number = trainer, meter, Tables(), 0
        self.watch = UpdateWatch(trainer.context.training.bounds)
        trainer.context.learners.begin(trainer.step.optimizer, trainer.step.critic)

    def round(self) -> tuple[list[bool], Batch]:
        """Take one round; return whether each answer was right, and the batch of the one update."""
        trainer, step, context = self.trainer, self.trainer.step, self.trainer.context
        context.samplers.take(context.learners.publish())
        before = len(self.tables.rollouts)
        drawn = trainer.round(self.number, self.tables, self.meter)
        compare_samplers(trainer, self.number, self.tables.rollouts[before:], drawn, self.meter, watch=self.watch)
        [batch] = drawn.batches
        factor = schedule_factor(step.schedule, update=self.number, total=step.rounds)
        with self.meter.clock("train"):
            metrics = context.learners.metrics(
                context.learners.update(batch, lr_factor=factor, grad_clip=step.grad_clip)
            )
        self.watch.check(self.number, metrics, difference=metrics.logprob_difference)
        self.number += 1
        return [verdict.status is Status.PASS for verdict in self.tables.verdicts[before:]], batch


def make_bases() -> None:
    """Make the bases of both parts, if they are not there.

    `level`: the quickstart's base, which has seen references of levels 1 to 4. `step`: the same after rounds on further
    levels, until almost half of the answers to the last one are right, so that hardly a group has equal rewards.
    """
    if not (BASES / "level").exists():
        recipe = load_recipe(QUICKSTART, ["generations.count=0"])
        with tempfile.TemporaryDirectory() as folder:
            store = LineageStore(Path(folder) / recipe.name)
            store.open(recipe.name, identity=recipe.identity())
            [entry] = run(
                recipe,
                lineage=recipe.name,
                store=store,
                roles=colocated(LocalPool(1, batch_rows=recipe.resources.batch_rows)),
                publish=lambda: None,
                observe=lambda event: None,
                environment={},
            )
            generation = entry.generation
            _keep("level", store.artifact(generation.artifacts["weights"]).checkpoint(generation.fingerprint))
    if not (BASES / "step").exists():
        recipe = recipe_of(0)
        with tempfile.TemporaryDirectory() as folder, opened(recipe, Path(folder)) as context:
            first = recipe.task.base_level + 1
            _keep("step", climbed(context, climb_of(context, first, STEP_LEVEL, enough=ALMOST_HALF)))


def _keep(part: str, base: Checkpoint) -> None:
    (BASES / part).mkdir(parents=True)
    for name, data in base.files.items():
        (BASES / part / name).write_bytes(data)


def our_steps(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return what some steps of one kind took."""
    recipe = recipe_of(settings["seed"], step_overrides(every_answer=settings["every_answer"]))
    meter = CpuMeter()
    with opened(recipe, folder) as context:
        plan = plan_of(context, weights_in_folder(BASES / "step"), number=1, level=STEP_LEVEL, pool=ReplayPool())
        trainer = RlTrainer(context, plan, _own_step(recipe), index=0)
        trainer.how = Sampling(temperature=1.0, max_new_tokens=STEP_TOKENS)
        rounds = Rounds(trainer, context.meter())
        for _ in range(WARM_UP):
            rounds.round()
        rounds.meter, seen = meter, len(rounds.tables.rollouts)
        began, learned = now(), 0
        for _ in range(settings["updates"]):
            _, batch = rounds.round()
            learned += len(batch.examples)
        wall, spent = (after - before for after, before in zip(now(), began, strict=True))
        rollouts, verdicts = rounds.tables.rollouts[seen:], rounds.tables.verdicts[seen:]
        return {
            "seconds": spent,
            "wall": wall,
            "samples": len(rollouts),
            "sampling": meter.spent["generate"] + meter.spent["score"],
            "tokens": sum(len(one.tokens) for one in rollouts) / len(rollouts),
            "right": sum(one.reward or 0.0 for one in verdicts) / len(verdicts),
            "learned": learned / len(rollouts),
        }


def our_climb(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return when each level was reached."""
    recipe = recipe_of(settings["seed"], settings["overrides"])
    first = recipe.task.base_level + 1
    with opened(recipe, folder) as context:
        last = first + settings["levels"] - 1
        climb = climb_of(context, first, last, every=settings["every"], limit=settings["limit"])
        climbed(context, climb)
        return climb.result()


def climb_of(context: Context, first: int, last: int, **more: Any) -> Climb:
    """Return the curriculum from one level to another, of the weights that the one worker holds."""
    workers = context.learners
    assert isinstance(workers, LocalPool)
    return Climb(task=context.task, level=first, last=last, greedy=lambda: workers.workers[0].engine, **more)


def climbed(context: Context, climb: Climb) -> Checkpoint:
    """Return the weights after a climb from the base of `level`.

    A generation a level, or more: each has a fresh optimizer, and replays the answers of those before it.
    """
    start, pool, number = weights_in_folder(BASES / "level"), ReplayPool(), 0
    context.learners.hold(start)
    while not climb.is_over:
        climb.start()
        number, level = number + 1, climb.drawn_level
        plan = plan_of(context, start, number=number, level=level, pool=pool)
        rounds = Rounds(RlTrainer(context, plan, _own_step(context.recipe), index=0), context.meter())
        while rounds.number < rounds.trainer.step.rounds and climb.drawn_level == level and not climb.is_over:
            right, _ = rounds.round()
            climb.stop()
            climb.after_update(right)
            climb.start()
        kept = {selection.rollout_id for selection in rounds.tables.selections if selection.replay}
        pool.add(
            PoolEntry(
                rollout_id=rollout.id,
                generation=number,
                level=rollout.level,
                prompt_text=rollout.imitated_prompt,
                completion_text=rollout.text,
                task=rollout.task,
            )
            for rollout in rounds.tables.rollouts
            if rollout.id in kept
        )
        start = context.learners.export()
        # The workers hold it already, as after a step of a run.
        context.learners.publish()
        climb.stop()
    return start


def _own_step(recipe: Recipe) -> RlStep:
    """Return the recipe's `rl` step without its early end, since held-out sums end it here."""
    [step] = recipe.steps_of(1)
    assert isinstance(step, RlStep), "the quickstart's generations have one `rl` step"
    return step.model_copy(update={"until": None})
