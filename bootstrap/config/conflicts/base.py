"""Generation 0: what it starts from, and the steps that train it before the lineage begins."""

from collections.abc import Iterator
from typing import NamedTuple

from bootstrap.config.base import Place, dotted
from bootstrap.config.base_model import ModelSettings
from bootstrap.config.conflicts import Conflict
from bootstrap.config.models import outside_model, reply_limits
from bootstrap.config.tasks import Task, tasks_of
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
    """An answer needs room for its end beyond the tokens before which it cannot end."""
    asked, replies = [*_answer_limits(recipe)], [*_reply_limits(recipe)]
    # Whether a verifier asks a model that a later stage starts from depends on the gate.
    starts: list[tuple[Place, ModelSettings, list[_Limit]]]
    starts = [(("base", "model"), recipe.base.model, [*asked, *replies])]
    for below, stage in recipe.generations.parts():
        if (outside := outside_model(stage.init)) is not None:
            starts.append((("generations", *below, "init"), outside, asked))
    for place, start, limits in starts:
        model = start.as_pretrained
        for what, limit, remedy in limits:
            if model is not None and model.min_new_tokens >= limit:
                yield Conflict(
                    (*place, "min_new_tokens"),
                    f"an answer cannot end before {model.min_new_tokens} tokens, and {what} is cut at {limit}; lower "
                    f"min_new_tokens{remedy}",
                )


class _Limit(NamedTuple):
    what: str
    """What is cut, in words."""
    tokens: int
    remedy: str
    """Beside lowering the least length, in words."""


def _answer_limits(recipe: UncheckedRecipe) -> Iterator[_Limit]:
    """Yield the limits on answers to the tasks, the panel's included."""
    asked: list[tuple[Place, Task, int]] = [(("task",), recipe.task, recipe.highest_level())]
    for name, watched in recipe.evaluation.panel.items():
        asked.append((("evaluation", "panel", name, "task"), watched.task, max(watched.asked)))
    for place, task, level in asked:
        for name, one in tasks_of(task).items():
            spot = dotted((*place, *task.place_of(name)))
            # Lower levels may have lower limits, and need not be asked.
            limit = one.answer_limit or one.most_answer_tokens(level)
            yield _Limit(
                f"one to {spot}", limit, f", or raise {spot}.max_answer_tokens" if one.has_answer_limit else ""
            )


def _reply_limits(recipe: UncheckedRecipe) -> Iterator[_Limit]:
    """Yield the limits on what generations of the lineage say to verifiers."""
    verifiers = {**recipe.verifiers(), recipe.eval_verifier_place: recipe.eval_verifier}
    for place, verifier in verifiers.items():
        for below, limit in reply_limits(verifier):
            spot = dotted((*place, *below))
            yield _Limit("one to the verifier", limit, f", or raise {spot}")


RULES = (
    steps_that_need_ancestors,
    adapter_of_random_weights,
    untrained_base,
    references_cut_short,
    characters_unknown,
    base_too_short,
    answers_that_cannot_end,
)
