"""Verifiers: what they cannot tell of the answers that they judge."""

from collections.abc import Iterator
from typing import NamedTuple

from bootstrap.config.answers import VerifierSettings
from bootstrap.config.base import Place
from bootstrap.config.conflicts import Conflict
from bootstrap.config.models import roles
from bootstrap.config.tasks import SingleTask, Task, tasks_of
from bootstrap.config.unchecked import UncheckedRecipe
from bootstrap.config.verifiers import Verifier


class Judged(NamedTuple):
    """One task that prompts come from, with what judges its answers."""

    place: Place
    """Where the verifier stands."""
    task: SingleTask
    verifier: VerifierSettings


def judged(task: Task, verifier: Verifier, place: Place) -> Iterator[Judged]:
    """Yield each task that prompts come from with the verifier of its answers, where it has one."""
    for name, one in tasks_of(task).items():
        if own := verifier.of_task(name):
            below, verifier_of_task = own
            yield Judged((*place, *below), one, verifier_of_task)


def _own(recipe: UncheckedRecipe) -> dict[Place, Verifier]:
    """Return place -> verifier of what judges the recipe's own task."""
    return {**recipe.verifiers(), recipe.eval_verifier_place: recipe.eval_verifier}


def _everywhere(recipe: UncheckedRecipe) -> Iterator[tuple[Task, Verifier, Place]]:
    """Yield (task, verifier, place) of everything that is judged: the recipe's own task, and the panel's."""
    yield from ((recipe.task, verifier, place) for place, verifier in _own(recipe).items())
    for name, watched in recipe.evaluation.panel.items():
        yield watched.task, watched.verifier, ("evaluation", "panel", name, "verifier")


def _with_parts(verifier: VerifierSettings, place: Place) -> Iterator[tuple[VerifierSettings, Place]]:
    """Yield a verifier and those that it is made of, each with its place."""
    yield verifier, place
    for below, part in verifier.parts():
        yield from _with_parts(part, (*place, *below))


def verifier_by_task_of_one_task(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """A verifier for each part needs a mixture."""
    for task, verifier, place in _everywhere(recipe):
        if verifier.judged_parts is not None and task.part_names is None:
            yield Conflict(
                place, f"task {task.type} is one task; name its verifier alone, or use task: {{type: mixture, ...}}"
            )


def part_without_verifier(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """A verifier for each part has one for every part."""
    for task, verifier, place in _everywhere(recipe):
        if verifier.judged_parts is None or task.part_names is None:
            continue
        if missing := sorted(task.part_names - verifier.judged_parts):
            yield Conflict((*place, "tasks"), f"nothing judges part {', '.join(missing)}; name a verifier for it")


def verifier_of_no_part(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """A verifier for each part names parts that there are."""
    for task, verifier, place in _everywhere(recipe):
        if verifier.judged_parts is None or task.part_names is None:
            continue
        if strange := sorted(verifier.judged_parts - task.part_names):
            yield Conflict(
                (*place, "tasks"),
                f"the mixture has no part {', '.join(strange)}; its parts are {', '.join(sorted(task.part_names))}",
            )


def form_without_answer(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """What looks at form alone cannot decide by itself.

    A part of a mixture may be trained on by its form alone, as R1's general prompts are, where the gate looks at
    answers.
    """
    for place, verifier in _own(recipe).items():
        for spot, _, one in judged(recipe.task, verifier, place):
            if one.judges == "form" and (spot == place or place == recipe.eval_verifier_place):
                other = "" if spot == place else ", or judge held-out answers otherwise (evaluation.verifier)"
                yield Conflict(
                    spot,
                    f"{one.type} looks at the form of answers and cannot tell right from wrong; put it into a rubric "
                    f"beside a verifier that decides, for example exact{other}",
                )


def references_that_it_cannot_read(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """A verifier that compares answers reads the task's references."""
    for task, verifier, place in _everywhere(recipe):
        for spot, one, judge in judged(task, verifier, place):
            for part, at in _with_parts(judge, spot):
                if part.judges == "answer" and part.reads not in (None, one.references):
                    text = one.references == "text"
                    instead = "exact, numeric or another that compares text" if text else f"type: {one.references}"
                    yield Conflict(
                        at,
                        f"{part.type} cannot read the references of task {one.type}, which are {one.references}; use "
                        f"{instead}",
                    )


def penalty_that_never_acts(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """A penalty of length begins where answers still go on."""
    for place, verifier in _own(recipe).items():
        for spot, _, one in judged(recipe.task, verifier, place):
            for part, at in _with_parts(one, spot):
                if part.free_tokens is None or part.free_tokens < (limit := _most_answer_tokens(recipe)):
                    continue
                limited = any(task.has_answer_limit for task in tasks_of(recipe.task).values())
                raised = ", or raise the task's max_answer_tokens" if limited else ""
                yield Conflict(
                    (*at, "max_tokens"),
                    f"the penalty begins after {part.free_tokens} tokens (max_tokens less soft_tokens), and no answer "
                    f"may have more than {limit}, so it never acts; lower max_tokens to {limit} or less{raised}",
                )


def _most_answer_tokens(recipe: UncheckedRecipe) -> int:
    return max(task.most_answer_tokens(recipe.highest_level()) for task in tasks_of(recipe.task).values())


def judge_without_words(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """Generations of a lineage from scratch cannot judge."""
    for place, verifier in _own(recipe).items():
        if recipe.base.model.is_scratch and any(role == "judge" for role, _ in roles(verifier)):
            yield Conflict(
                place,
                "generations of this lineage know the task's characters alone and can say no verdict; start from a "
                "language model (base.model: {type: folder, path: ...}), or let an endpoint judge",
            )


def eval_verifier_of_groups(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """Held-out prompts are answered once, so no group can be compared."""
    for spot, _, one in judged(recipe.task, recipe.eval_verifier, recipe.eval_verifier_place):
        if one.judges == "group":
            yield Conflict(
                spot,
                f"{one.type} compares the answers of a group, and held-out prompts are answered once; set "
                "evaluation.verifier to one with references, for example {type: exact}",
            )


def eval_verifier_by_chance(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """Held-out answers are judged by what they say."""
    for spot, _, one in judged(recipe.task, recipe.eval_verifier, recipe.eval_verifier_place):
        if one.judges == "nothing":
            yield Conflict(
                spot,
                f"{one.type} tells nothing about held-out answers, so the gate would toss coins too; set "
                "evaluation.verifier to one with references, for example {type: exact}",
            )


def eval_verifier_that_drifts(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """Held-out answers are judged alike in all generations."""
    if roles(recipe.eval_verifier):
        yield Conflict(
            recipe.eval_verifier_place,
            f"{recipe.eval_verifier.type} asks generations of the lineage, so its verdicts on them would drift with "
            f"them; "
            "set evaluation.verifier to one that asks none, for example {type: exact}",
        )


RULES = (
    verifier_by_task_of_one_task,
    part_without_verifier,
    verifier_of_no_part,
    form_without_answer,
    references_that_it_cannot_read,
    penalty_that_never_acts,
    judge_without_words,
    eval_verifier_of_groups,
    eval_verifier_by_chance,
    eval_verifier_that_drifts,
)
