"""The dry run: what a recipe would do, generation by generation, and what it would cost. Touches nothing.

Committed generations are shown with what became of them. What the others may become is `outlook.py`'s, what they cost
`estimate.py`'s.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from pydantic import Field, computed_field

from bootstrap.config.models import Teacher, told
from bootstrap.config.recipe import Recipe
from bootstrap.config.sources import Replay
from bootstrap.config.step import Words
from bootstrap.config.steps import Step
from bootstrap.config.usual import unusual
from bootstrap.levels import level_range
from bootstrap.planning import overhead
from bootstrap.planning.estimate import CostEstimates
from bootstrap.planning.fits import require_fit
from bootstrap.planning.fixed_data import Contributions, check_replay, notes_on_fixed_data
from bootstrap.planning.notes import SPENT, is_unfiltered, notes, notes_on_data, too_full
from bootstrap.planning.outlook import alpha_is_spent, outlook
from bootstrap.planning.samplers import check_samplers
from bootstrap.records import Record
from bootstrap.scoring.verifier import Tools
from bootstrap.selection.curriculum import drawn_levels, replay_levels
from bootstrap.stages.checks import check_tasks
from bootstrap.stages.fitting import TextModel
from bootstrap.stages.resolver import Resolver
from bootstrap.store.ledger import Entry


class StepPlan(Record):
    """One training step: what it does, in words, and how much."""

    type: str
    summary: str
    updates: int
    data: str
    teachers: tuple[str, ...]


class GenerationPlan(Record):
    """One generation, committed or to come."""

    number: int
    status: str
    """`planned`, or the outcome of a committed one."""
    start: str
    """Description of the starting weights, as `champion (gen-1 if promoted)`."""
    parent: int | None
    """Number of the generation that it starts from; None for generation 0, and while the gate has yet to decide it."""
    teachers: tuple[int, ...] | None
    """The generations it learns from by distillation; None while the gate has yet to decide one of them."""
    target_levels: tuple[int, ...]
    """Levels that it aims at; of one to come, if each before it is promoted and masters what it trains on."""
    most_levels: tuple[int, ...]
    """Levels that it may aim at together, where results that are yet to come decide how many (`accelerated`,
    `solved`)."""
    steps: tuple[StepPlan, ...]
    tokens: dict[str, int]
    """By phase: generate, train, evaluate; recorded counts for a committed generation."""
    flops: dict[str, float]
    seconds: float
    """Wall time: measured for a committed generation."""

    @computed_field
    @property
    def name(self) -> str:
        return f"gen-{self.number}"


class LineagePlan(Record):
    """The whole dry run."""

    lineage: str
    recipe_digest: str
    workers: int
    shard: int = 1
    """Workers that hold one copy of the model together."""
    num_parameters: int
    memory_bytes_per_worker: int
    """At its fullest: weights, gradients, optimizer state, caches and activations; without Python and torch
    themselves. 0 where the model's sizes do not tell."""
    least_memory_bytes_per_worker: int
    """The same with one sequence at a time."""
    memory_limit: int | None = None
    """Bytes that a worker may take; None where only the workers can tell."""
    memory_bytes_per_sampler: int = 0
    """As of a worker, of each process of `resources.samplers`; 0 without them."""
    least_memory_bytes_per_sampler: int = 0
    bytes_per_update: int = 0
    """Bytes that each worker sends the others in an update, in the mean: gradients and new weights. Of workers that
    share a model, in an update of one pass: weights for the pass, and gradients."""
    bytes_per_sync: int = 0
    """Bytes of weights that each sampler gets before a round that samples; 0 without samplers."""
    rollout_rows: int
    """Most sequences, of the longest kind, that a worker decodes together."""
    train_tokens: int
    """Most tokens, of such sequences, in one training pass of a worker."""
    calibrated: bool
    """Whether `seconds` rest on committed generations instead of assumed rates."""
    start_up_seconds: float
    """Until the workers are ready; 0 where no generation is to be grown."""
    publishing_seconds: float
    """After the last commit, until MLflow shows it; 0 where no generation is to be grown."""
    generations: tuple[GenerationPlan, ...]
    notes: tuple[str, ...] = Field(default=())
    """What a reader of the recipe should know: controls, and settings that limit what can be learnt."""
    warnings: tuple[str, ...] = Field(default=())
    """Settings far outside their usual ranges (`config/usual.py`)."""

    @property
    def planned(self) -> tuple[GenerationPlan, ...]:
        return tuple(generation for generation in self.generations if generation.status == "planned")

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON data, with the totals of what is still to be done."""
        totals = {
            "tokens": sum(sum(generation.tokens.values()) for generation in self.planned),
            "flops": sum(sum(generation.flops.values()) for generation in self.planned),
            "seconds": self.start_up_seconds
            + sum(generation.seconds for generation in self.planned)
            + self.publishing_seconds,
        }
        return {**self.model_dump(mode="json"), "remaining": totals}


def make_plan(
    recipe: Recipe,
    *,
    lineage: str,
    workers: int,
    entries: Sequence[Entry] = (),
    config: dict[str, Any] | None = None,
    models: Sequence[TextModel] | None = None,
    tools: Tools | None = None,
    memory: int | None = None,
    local: bool = False,
) -> LineagePlan:
    """Return the plan of `recipe` on `workers` processes, `entries` being what its lineage has committed so far.

    `config`: the base model's configuration in Hugging Face terms, which the recipe of a fork does not lead to.
    `models`: what reads the rows of files (`stages/fitting.py`); None for the recipe's folders. `memory`: bytes that a
    worker may take; None where only the workers can tell. `tools`: what the verifiers use that read the rows of a file.
    `local`: whether the run does without Ray. Raises RecipeError when the verifiers can use too few rows.
    """
    committed = [entry.generation for entry in entries]
    last = max(recipe.generations.count, len(committed) - 1)
    resolvers = [Resolver(recipe, committed, number) for number in range(last + 1)]
    estimates = CostEstimates(recipe, resolvers, config=config, models=models, tools=tools)
    contributions = Contributions(recipe, committed, resolvers)
    if len(committed) <= last:
        require_fit(recipe, lambda one, room: estimates.memory(room, recipe=one), workers=workers, memory=memory)
        check_samplers(recipe, estimates.of(0).model.config)
        check_tasks(recipe, estimates.task, estimates.panel)
        check_replay(recipe, contributions, range(len(committed), last + 1))
    pace = estimates.pace(entries)
    has_levels = not recipe.is_on_fixed_data or estimates.task.highest_level != 1
    generations: list[GenerationPlan] = []
    for number, one in enumerate(outlook(recipe, committed, resolvers, highest=estimates.task.highest_level)):
        if number < len(committed):
            seconds, compute = entries[number].annotations.seconds, committed[number].compute
            status, tokens, flops = committed[number].outcome.value, dict(compute.tokens), dict(compute.flops)
            took = sum(seconds.values())
        else:
            estimate = estimates.of(number)
            status = "planned"
            tokens, flops = estimate.tokens(number, one.target_levels), estimate.flops(number, one.target_levels)
            took = pace * estimate.seconds(number, one.target_levels, workers=workers)
        generations.append(
            GenerationPlan(
                number=number,
                status=status,
                start=one.start,
                parent=one.parent,
                teachers=one.teachers,
                target_levels=one.target_levels,
                most_levels=one.most_levels,
                steps=tuple(
                    _describe(recipe, step, one.target_levels, number=number, has_levels=has_levels)
                    for step in recipe.steps_of(number)
                ),
                tokens=tokens,
                flops=flops,
                seconds=took,
            )
        )
    levels = {level for generation in generations for level in generation.target_levels}
    fullest = estimates.memory(memory)
    to_come = len(generations) - len(committed)
    return LineagePlan(
        lineage=lineage,
        recipe_digest=recipe.digest(),
        workers=workers,
        shard=recipe.resources.shard,
        num_parameters=estimates.of(0).model.shape.num_parameters,
        memory_bytes_per_worker=fullest.needed,
        least_memory_bytes_per_worker=fullest.least,
        memory_limit=memory,
        memory_bytes_per_sampler=fullest.sampler_needed,
        least_memory_bytes_per_sampler=fullest.sampler_least,
        bytes_per_update=fullest.bytes_per_update(workers),
        bytes_per_sync=fullest.bytes_per_sync if recipe.resources.samplers else 0,
        rollout_rows=fullest.rollout_rows,
        train_tokens=fullest.train_tokens,
        calibrated=bool(entries),
        start_up_seconds=overhead.start_up(local=local) if to_come else 0.0,
        publishing_seconds=overhead.publishing(waiting=to_come) if to_come else 0.0,
        generations=tuple(generations),
        notes=(
            *notes(recipe),
            *too_full(least=fullest.least_of_all, memory=memory),
            *([SPENT] if alpha_is_spent(recipe, committed) else []),
            *notes_on_data(estimates, levels=levels),
            *notes_on_fixed_data(
                recipe,
                estimates.task,
                contributions,
                [generation.target_levels for generation in generations],
                first=len(committed),
            ),
        ),
        warnings=tuple(unusual(recipe)),
    )


def _describe(recipe: Recipe, step: Step, targets: Sequence[int], *, number: int, has_levels: bool) -> StepPlan:
    """Return a step in words; `has_levels`: whether the task has other than one level."""
    words = Words(
        drawn=level_range(drawn_levels(step, targets)) if has_levels else "train prompts",
        judged=f"judged by {recipe.verifier_of(number).type}",
        references=_references(recipe) if has_levels else "references",
        replayed=partial(_replayed, recipe, targets=targets),
        highest=targets[-1],
    )
    return StepPlan(
        type=step.type,
        summary=step.summary,
        updates=step.num_rounds,
        data=step.data(words),
        teachers=tuple(dict.fromkeys(_teacher(one) for _, one in step.teachers())),
    )


def _teacher(name: Teacher) -> str:
    """Return a teacher's place in the lineage as the recipe writes it, or in words which model it is."""
    match name:
        case str():
            return name
    return told(name)


def _references(recipe: Recipe) -> str:
    return f"references of {level_range(range(1, recipe.task.base_level + 1))}"


def _replayed(recipe: Recipe, replay: Replay, *, targets: Sequence[int]) -> str:
    """Return in words what is replayed."""
    base = _references(recipe)
    if replay.from_pool:
        whose = "the parent generation's" if replay.data == "latest" else "the lineage's"
        which = "verified answers that differ" if replay.answers == "all" else f"{replay.answers} verified answers"
        words = f"{whose} {which}"
        words += f", {replay.decay:g} as likely with each generation of age" if replay.decay < 1 else ""
        return words + (f", at least {replay.min_reference_share:.0%} references" if replay.min_reference_share else "")
    kept = "own" if is_unfiltered(step for _, step in recipe.generation_steps()) else "verified"
    # Between the base's level and the targets lie the levels that only the lineage's own answers can replay.
    grown = [level for level in replay_levels(targets) if level > recipe.task.base_level]
    words = {
        "accumulate": f"{base} and the lineage's {kept} answers of {level_range(grown)}" if grown else base,
        "latest": f"the parent generation's {kept} answers",
        "references": base,
    }[replay.data]
    words += f", {replay.decay:g} as likely with each generation of age" if replay.decay < 1 else ""
    return words + (f", at least {replay.min_reference_share:.0%} references" if replay.min_reference_share else "")
