"""Tasks by which training would draw the prompts that another task, or another part of the same one, holds out.

What only the rows of files can tell is found where they are read (`stages/checks.py`).
"""

from collections.abc import Iterator
from typing import NamedTuple

from bootstrap.config.base import Place
from bootstrap.config.conflicts import Conflict
from bootstrap.config.tasks import SingleTask, Task, tasks_of
from bootstrap.config.unchecked import UncheckedRecipe


class _Asked(NamedTuple):
    """A task with held-out prompts, and the trained tasks that may draw the same ones."""

    place: Place
    task: SingleTask
    others: tuple[SingleTask, ...]
    """Trained tasks that may ask the same questions."""
    asker: str
    """Description of the setting that asks them, for messages."""
    owner: str
    """Description of where the other tasks stand, for messages."""


def _asked(recipe: UncheckedRecipe) -> Iterator[_Asked]:
    yield from _beside(recipe, recipe.task, ("task",), asker="another part holds out", owner="another part")
    for name, watched in recipe.evaluation.panel.items():
        place = ("evaluation", "panel", name, "task")
        yield from _beside(recipe, watched.task, place, asker="the panel would ask", owner="the recipe's own task")


def _beside(recipe: UncheckedRecipe, watched: Task, place: Place, *, asker: str, owner: str) -> Iterator[_Asked]:
    for name, task in tasks_of(watched).items():
        trained = tasks_of(recipe.task).values()
        others = tuple(other for other in trained if other is not task and may_share_questions(task, other))
        # Rows that lie apart are compared where they are read.
        if not all(one.holds_out_by_hash for one in (task, *others)):
            continue
        yield _Asked((*place, *watched.place_of(name)), task, others, asker=asker, owner=owner)


def may_share_questions(one: SingleTask, other: SingleTask) -> bool:
    """Whether two tasks may ask the same questions, as far as their settings tell."""
    if one.type != other.type:
        # Two forms of one question are on one side of the split where the question's hash decides.
        by_question = one.split_rule == other.split_rule == "question"
        return by_question and one.question_kind is not None and one.question_kind == other.question_kind
    if one.question_sources is not None and other.question_sources is not None:
        return bool(one.question_sources & other.question_sources)
    return bool(set(one.characters) & set(other.characters) - {"="})


def split_by_another_rule(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """Tasks that share questions split them by one rule."""
    for asked in _asked(recipe):
        rules = [other.split_rule for other in asked.others if other.split_rule != asked.task.split_rule]
        if rules:
            yield Conflict(
                (*asked.place, "split_by"),
                f"training draws from prompts of {asked.task.type} that {asked.asker}, since {asked.owner} chooses "
                f"what is held out by {rules[0]}; set split_by: {rules[0]}",
            )


def questions_of_another_part(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """Tasks that share a data set keep the same part of its questions, whose hash decides on the split."""
    for asked in _asked(recipe):
        for other in asked.others:
            if not asked.task.split_rule == other.split_rule == "question":
                continue
            kept = other.kept_parts
            for name in (name for name, part in asked.task.kept_parts.items() if name in kept and kept[name] != part):
                yield Conflict(
                    (*asked.place, "datasets"),
                    f"other questions of data set {name} are held out than {asked.owner} holds out, since another "
                    "part of each is kept; give both the same keep",
                )


def larger_share_held_out(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """A trained task holds out no fewer questions than another task that shares them."""
    for asked in _asked(recipe):
        least = min((other.heldout_fraction for other in asked.others), default=1.0)
        if asked.task.heldout_fraction > least:
            yield Conflict(
                (*asked.place, "heldout_fraction"),
                f"training draws from prompts of {asked.task.type} that {asked.asker}, since {asked.owner} holds only "
                f"{least:g} of them out; set {least:g} or less",
            )


RULES = (split_by_another_rule, questions_of_another_part, larger_share_held_out)
