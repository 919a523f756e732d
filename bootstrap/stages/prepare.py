"""What a generation sets out with: its models' weights, its levels, the bar and the replay pool.

A function of the recipe and the lineage. Which generations the recipe's names mean is `resolver.py`'s.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from bootstrap.config.models import Model, outside_model
from bootstrap.config.recipe import Recipe
from bootstrap.config.training import Training
from bootstrap.evaluation.protection import Protected
from bootstrap.evaluation.report import accuracies
from bootstrap.records import Checkpoint
from bootstrap.selection.curriculum import replay_levels, trained_level
from bootstrap.selection.replay import PoolEntry, ReplayPool
from bootstrap.selection.retirement import PassRates
from bootstrap.stages.answers import answers_of, contributors, rates_of
from bootstrap.stages.bar import reached
from bootstrap.stages.context import Context, Plan
from bootstrap.stages.heldout import known_report
from bootstrap.stages.resolver import Found, NamedModel, Resolver, decided
from bootstrap.stages.visits import history
from bootstrap.stages.weights import provide_base, weights_in_folder, weights_of, weights_of_model
from bootstrap.store.ancestry import ancestors
from bootstrap.store.ledger import Entry


def training_of(recipe: Recipe, entries: Sequence[Entry]) -> Training:
    """Return the recipe's settings; once a lineage has grown, `auto` is the precision that it began with.

    The gate compares stored answers with new ones, and these are to differ by their weights alone.
    """
    recorded = entries[-1].annotations.environment.get("precision") if entries else None
    if recorded is None or recipe.training.precision != "auto":
        return recipe.training
    return Training.model_validate({**recipe.training.model_dump(), "precision": recorded})


def prepare(context: Context, entries: Sequence[Entry], number: int) -> Plan:
    """Return the plan of the next generation, whose start and teachers the workers hold then."""
    recipe, committed = context.recipe, [entry.generation for entry in entries]
    provide_base(context, entries)
    models = Resolver(recipe, committed, number)
    aimed = models.aims(
        highest=context.task.highest_level,
        accuracies=lambda one: accuracies(committed[one].report),
        trained=lambda one: max(
            trained_level(recipe, earlier, committed[earlier].target_levels) for earlier in ancestors(entries, (one,))
        ),
    )
    if models.champion is None:
        start = weights_of_model(context, recipe.base.model, number=0)
        return Plan(number=0, init=None, start=start, shape=context.pool.shape(), target_levels=aimed)
    position, champion = recipe.generations.position(number), decided(models.champion)
    merged = _inside(context, entries, models.merged)
    if merged:
        # A merge leaves nothing of what it starts from, so one of its models stands in.
        _, start = next(iter(merged.values()))
    elif models.init is not None:
        start = weights_of(context, entries, decided(models.init))
    else:
        outside = outside_model(position.stage.init)
        assert outside is not None, "what has no parent and merges nothing starts from another model"
        start = weights_of_model(context, outside, number=position.first)
    context.pool.hold(start)
    teachers = _named(context, entries, models.teachers)
    parents = sorted(map(decided, models.parents))
    able, own = contributors(entries, parents, siblings=position.siblings), ancestors(entries, parents)
    pool = ReplayPool(answer for earlier in able for answer in _answers(context, earlier))
    plan = Plan(
        number=number,
        champion=champion,
        init=None if models.init is None else decided(models.init),
        parents=tuple(parents),
        start=start,
        shape=context.pool.shape(),
        target_levels=aimed,
        replay_levels=replay_levels(aimed, held=pool.levels),
        protected=Protected()
        if position.stage.gate == "never"
        else reached(
            recipe,
            committed,
            champion=champion,
            highest=context.task.highest_level,
            report_of=partial(known_report, context, entries),
        ),
        pool=pool,
        teachers=teachers,
        samplers=_named(context, entries, models.samplers),
        merged=merged,
        references=_named(context, entries, models.references),
        # What others have solved, these weights have yet to learn.
        rates=_rates(context, [entry for entry in able if entry.generation.number in own])
        if any(step.retires for step in position.stage.steps)
        else PassRates(),
        visits=history(context, able, own=own) if any(step.draws_epochs for step in position.stage.steps) else (),
        asked=_inside(context, entries, models.asked),
    )
    context.pool.broadcast("drop_teachers")
    for _, checkpoint in teachers.values():
        context.pool.load_teacher(checkpoint)
    return plan


def _inside(
    context: Context, entries: Sequence[Entry], models: Mapping[NamedModel, Found]
) -> dict[NamedModel, tuple[int, Checkpoint]]:
    """Return each model's generation and weights."""
    numbers = {name: decided(found) for name, found in models.items()}
    return {name: (number, weights_of(context, entries, number)) for name, number in numbers.items()}


def _named(
    context: Context, entries: Sequence[Entry], models: Mapping[NamedModel, Found | None]
) -> dict[NamedModel, tuple[int | None, Checkpoint]]:
    """Return each model's generation and weights; None and its folder's weights outside the lineage."""
    numbers = {name: None if found is None else decided(found) for name, found in models.items()}
    return {
        name: (number, _outside(name) if number is None else weights_of(context, entries, number))
        for name, number in numbers.items()
    }


def _outside(name: Model) -> Checkpoint:
    outside = outside_model(name)
    assert outside is not None and outside.folder is not None, f"{name} is no model in a folder"
    return weights_in_folder(outside.folder)


def _rates(context: Context, earlier: Sequence[Entry]) -> PassRates:
    """Return prompt -> (right, judged) over the steps of these generations that tell pass rates."""
    total = PassRates()
    for entry in earlier:
        number = entry.generation.number
        if number not in context.rates:
            sampled = [step.tells_rates for step in context.recipe.steps_of(number)]
            context.rates[number] = rates_of(context.store, entry.generation, sampled=sampled)
        total.merge(context.rates[number])
    return total


def _answers(context: Context, entry: Entry) -> list[PoolEntry]:
    """Return what one generation gives to the replay pool, in the order it was sampled."""
    number = entry.generation.number
    if number not in context.answers:
        context.answers[number] = list(answers_of(context.store, entry.generation))
    return context.answers[number]
