"""Generation 0: what it starts from, and the steps that train it before the lineage begins."""

from collections.abc import Iterator

from bootstrap.config.base import Place, dotted
from bootstrap.config.conflicts import Conflict
from bootstrap.config.models import answer_limits, outside_model
from bootstrap.config.tasks import tasks_of
from bootstrap.config.unchecked import UncheckedRecipe


def steps_that_need_ancestors(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """Generation 0 learns from references alone: no model came before it."""
    for index, step in enumerate(recipe.base.steps):
        if not step.shown():
            yield Conflict(
                ("base", "steps", index),
                "generation 0 has no ancestors to sample or to learn from; use an sft step with source references, "
                "and move this step to generations.steps",
            )


def adapter_of_random_weights(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """An adapter needs a pretrained base."""
    if recipe.base.model.is_scratch and recipe.training.adapter is not None:
        yield Conflict(
            ("training", "adapter"),
            "a model from scratch has nothing to adapt; remove training.adapter, or start from a pretrained folder "
            "(base.model of type folder)",
        )


def untrained_base(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """Random weights need a first step on references."""
    if recipe.base.model.is_scratch and not recipe.base.steps:
        yield Conflict(
            ("base", "steps"),
            "base.model is scratch and base.steps is empty: random weights give no right answer to learn from; "
            "add an sft step on references, for example base: {steps: [{type: sft, updates: 1200}]}",
        )


def references_cut_short(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """A model from scratch has one token a character, so an answer's limit must hold the longest reference."""
    if not recipe.base.model.is_scratch:
        return
    for name, task in tasks_of(recipe.task).items():
        if (longest := task.cut_reference) is not None:
            yield Conflict(
                ("task", *recipe.task.place_of(name), "max_answer_tokens"),
                f"max_answer_tokens {task.answer_limit} does not hold the longest reference (max_answer_length "
                f"{longest} characters) and its end, since a model from scratch has one token per character; remove "
                "it, raise it, or lower max_answer_length",
            )


def characters_unknown(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """A model from scratch has the task's characters as its vocabulary, and positions for its longest row."""
    starts = [recipe.base.model, *(outside_model(stage.init) for _, stage in recipe.generations.parts())]
    if not any(start is not None and start.is_scratch for start in starts):
        return
    for name, task in tasks_of(recipe.task).items():
        for setting in task.without_limits:
            yield Conflict(
                ("task", *recipe.task.place_of(name), setting),
                "null leaves the limit to a pretrained model's tokenizer and context, and a model from scratch has "
                "neither; give the value, or start from a pretrained folder (base.model of type folder)",
            )


def base_too_short(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """The base must hold the longest sequence that the lineage can reach."""
    if (length := recipe.base.model.declared_length) is None:
        return
    needed = recipe.task.longest_sequence(recipe.highest_level())
    if length < needed:
        yield Conflict(
            ("base", "model", "max_length"),
            f"{length} tokens are too few for level {recipe.highest_level()}, which "
            f"{recipe.generations.count} generations can reach; set max_length: {needed} or more, "
            "or lower generations.count",
        )


def answers_that_cannot_end(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """An answer needs room for its end beyond the tokens before which it cannot end, a verifier's question too."""
    model = recipe.base.model.as_pretrained
    if model is None:
        return
    limits: list[tuple[Place, int | None]] = [
        (("task", *recipe.task.place_of(name), "max_answer_tokens"), task.answer_limit)
        for name, task in tasks_of(recipe.task).items()
    ]
    verifiers = dict(recipe.verifiers())
    if recipe.evaluation.verifier is not None:
        verifiers["evaluation", "verifier"] = recipe.evaluation.verifier
    limits += [((*at, *place), most) for at, one in verifiers.items() for place, most in answer_limits(one)]
    for place, limit in limits:
        if limit is not None and model.min_new_tokens >= limit:
            yield Conflict(
                ("base", "model", "min_new_tokens"),
                f"an answer cannot end before {model.min_new_tokens} tokens and is cut at {limit}; lower "
                f"min_new_tokens, or raise {dotted(place)}",
            )


RULES = (
    steps_that_need_ancestors,
    adapter_of_random_weights,
    untrained_base,
    references_cut_short,
    characters_unknown,
    base_too_short,
    answers_that_cannot_end,
)
