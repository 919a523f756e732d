"""What a recipe names on disk: models' folders, which must be there and fit one another, and tasks' files.

Weights are not read. What settings alone can tell is for `conflicts/`.
"""

import json
import math
from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from bootstrap.config.base import Place
from bootstrap.config.base_model import ModelSettings, missing_files, scratch_vocabulary
from bootstrap.config.model_origins import ModelOrigins
from bootstrap.config.models import outside_model
from bootstrap.config.problems import RecipeProblem
from bootstrap.config.recipe import Recipe
from bootstrap.config.steps import Step
from bootstrap.config.tasks import Task, tasks_of


def folder_problems(recipe: Recipe) -> Iterator[RecipeProblem]:
    """Check every Hugging Face folder that the recipe names: complete, with a vocabulary that fits."""
    if (folder := recipe.base.model.folder) is not None:
        place = ("base", "model", "path")
        if problem := _folder_problem(folder):
            yield RecipeProblem(place, problem)
        else:
            tokenizer, config = (_json(folder / name) for name in ("tokenizer.json", "config.json"))
            yield from (RecipeProblem(place, each) for each in fit_problems(recipe, tokenizer=tokenizer, config=config))
    for place, stage in recipe.generations.parts():
        for below, name in stage.named():
            model = outside_model(name)
            if model is not None and model.folder is not None and (problem := _folder_problem(model.folder)):
                yield RecipeProblem(("generations", *place, *below, "path"), problem)
    yield from _comparison_problems(recipe)


def fit_problems(recipe: Recipe, *, tokenizer: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    """Say where a model, by its tokenizer.json and config.json, cannot read a task or hold its longest sequence."""
    vocabulary, positions = _vocabulary(tokenizer), config.get("max_position_embeddings")
    asked = [(recipe.task, recipe.highest_level(), f"task {recipe.task.type}", "lower generations.count")]
    for name, watched in recipe.evaluation.panel.items():
        asked.append((watched.task, max(watched.asked), f"task {name} of the panel", "ask lower levels"))
    for task, level, name, remedy in asked:
        unknown = [character for character in task.characters if character not in vocabulary]
        if unknown and tokenizer["model"].get("type") == "WordLevel":
            yield (
                f"its tokenizer does not know {' '.join(unknown)} of {name}; "
                "start from a model grown on this task, or from scratch"
            )
        needed = task.longest_sequence(level)
        if isinstance(positions, int) and positions < needed:
            yield (
                f"the model holds {positions} tokens, level {level} of {name} needs {needed}; "
                f"{remedy}, or start from a model with a longer context"
            )


def with_files_pinned(recipe: Recipe) -> tuple[Recipe, list[RecipeProblem]]:
    """Return the recipe pinned to what tasks' files hold and the user's own code means, and what cannot be read."""
    problems: list[RecipeProblem] = []

    def pinned(place: Place, step: Step) -> Step:
        try:
            return step.pinned()
        except ValueError as error:
            problems.append(RecipeProblem(("generations", *place, "algorithm", "uses"), str(error)))
        return step

    panel = {
        name: watched.model_copy(
            update={"task": _pinned(watched.task, ("evaluation", "panel", name, "task"), problems)}
        )
        for name, watched in recipe.evaluation.panel.items()
    }
    changes = {
        "task": _pinned(recipe.task, ("task",), problems),
        "evaluation": recipe.evaluation.model_copy(update={"panel": panel}),
        "generations": recipe.generations.with_steps(pinned),
    }
    return recipe.model_copy(update=changes), problems


def _pinned(task: Task, place: Place, problems: list[RecipeProblem]) -> Task:
    """Return a task with its files pinned; what cannot be read joins `problems`."""
    pinned = {}
    for name, one in tasks_of(task).items():
        try:
            pinned[name] = one.pinned()
        except ValueError as error:
            problems.append(RecipeProblem((*place, *task.place_of(name), one.pinned_by), str(error)))
    return task.with_tasks(pinned)


# --- one folder --------------------------------------------------------------------------------------------------


def _folder_problem(folder: Path) -> str | None:
    """Return what is wrong with a model's folder and what to do; None where nothing is."""
    try:
        return _content_problem(folder)
    except OSError as error:
        return f"cannot read {error.filename or folder}: {error.strerror}; make the folder and its files readable"


def _content_problem(folder: Path) -> str | None:
    if not folder.is_dir():
        return f"there is no folder {folder}; relative paths start at the recipe's folder"
    if missing := missing_files(folder):
        return missing
    for name in ("config.json", "tokenizer.json"):
        try:
            content = _json(folder / name)
        except ValueError:
            return f"{folder / name} is not valid JSON; fetch or export the model again"
        if not isinstance(content, dict):
            return f"{folder / name} is no JSON object; fetch or export the model again"
    try:
        _vocabulary(_json(folder / "tokenizer.json"))
    except (KeyError, TypeError, ValueError):
        return (
            f"{folder / 'tokenizer.json'} holds no vocabulary (model.vocab); save the model's fast tokenizer with "
            "save_pretrained"
        )
    return None


def _json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _vocabulary(tokenizer: Mapping[str, Any]) -> dict[str, int]:
    """Return token -> id of a tokenizer.json, added tokens included.

    Raises KeyError, TypeError or ValueError for a file of another form.
    """
    vocabulary = tokenizer["model"]["vocab"]
    if isinstance(vocabulary, list):
        # Unigram models list (token, score) in the order of their ids.
        vocabulary = {token: index for index, (token, _) in enumerate(vocabulary)}
    return dict(vocabulary) | {token["content"]: token["id"] for token in tokenizer.get("added_tokens") or ()}


# --- models that are compared token by token ---------------------------------------------------------------------


class _Outputs(NamedTuple):
    """What a model can say."""

    vocabulary: Mapping[str, int]
    count: float
    """Rows of its output matrix, which mostly are some more than the tokens; infinite where its folder does not say."""


def _comparison_problems(recipe: Recipe) -> Iterator[RecipeProblem]:
    """Check that teachers and references can be compared with their students token by token, as far as is known."""
    last = sum(stage.generations for _, stage in recipe.generations.parts())
    origins, said = ModelOrigins(recipe, last=last), set[Place]()
    outputs = cache(partial(_outputs, task=recipe.task))
    for number in range(1, last + 1):
        student = outputs(origins.of(number))
        for index, step in enumerate(recipe.steps_of(number)):
            for below, model in (*step.teachers(), *step.references()):
                place = ("generations", *recipe.generations.position(number).place, "steps", index, *below)
                known = outputs(origins.named(model, number=number))
                if student is None or known is None or place in said:
                    continue
                is_teacher = (below, model) in step.teachers()
                who, instead = ("teacher", "loss: ce, or a teacher") if is_teacher else ("reference", "a reference")
                drawn = min(max(student.vocabulary.values()) + 1, student.count)
                if difference := _difference(known.vocabulary, student.vocabulary):
                    problem = f"the {who}'s vocabulary is not the student's ({difference})"
                elif known.count < drawn:
                    problem = f"the {who} has outputs for {known.count} of the {drawn} tokens that the student can draw"
                else:
                    continue
                said.add(place)
                yield RecipeProblem(
                    place,
                    f"{problem}, and their distributions are compared token by token; use {instead} with the same "
                    "tokenizer",
                )


def _outputs(model: ModelSettings | None, *, task: Task) -> _Outputs | None:
    """Return what a model can say; None where that is not known, or its folder has problems of its own."""
    if model is None:
        return None
    if model.is_scratch:
        vocabulary = scratch_vocabulary(task.characters)
        return _Outputs(vocabulary, len(vocabulary))
    if model.folder is None or _folder_problem(model.folder) is not None:
        return None
    count = _json(model.folder / "config.json").get("vocab_size")
    vocabulary = _vocabulary(_json(model.folder / "tokenizer.json"))
    return _Outputs(vocabulary, count if isinstance(count, int) else math.inf)


def _difference(one: Mapping[str, int], other: Mapping[str, int]) -> str | None:
    if one == other:
        return None
    if len(one) != len(other):
        return f"{len(one)} tokens against {len(other)}"
    token = min(token for token in {**one, **other} if one.get(token) != other.get(token))
    return f"for example {token!r} is {one.get(token, 'absent')} against {other.get(token, 'absent')}"
