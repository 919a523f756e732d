"""Folders and files that a recipe names: models' folders must exist and fit one another, tasks' files be readable.

Weights are not read. Checks of settings alone are in `conflicts/`.
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bootstrap.config.base import Place
from bootstrap.config.base_model import ModelSettings, scratch_vocabulary
from bootstrap.config.generations import Generations, Stage
from bootstrap.config.model_files import json_in, missing_files
from bootstrap.config.model_origins import ModelOrigins
from bootstrap.config.model_texts import check_texts_in, vocabulary
from bootstrap.config.models import outside_model
from bootstrap.config.problems import RecipeProblem
from bootstrap.config.recipe import Recipe
from bootstrap.config.steps import Step
from bootstrap.config.tasks import SingleTask, Task, tasks_of, with_tasks
from bootstrap.errors import ModelFault, StoreError

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/(?P<name>[A-Za-z0-9][\w.-]*)(@[\w./-]+)?")
"""`owner/name` or `owner/name@revision`."""


def folder_problems(recipe: Recipe) -> Iterator[RecipeProblem]:
    """Yield problems of the Hugging Face folders that the recipe names: missing files, vocabularies that do not fit."""
    if (folder := recipe.base.model.folder) is not None:
        place = ("base", "model", "path")
        if problem := _folder_problem(folder, written=recipe.base.model.written):
            yield RecipeProblem(place, problem)
        else:
            tokenizer, config = (json_in(folder / name) for name in ("tokenizer.json", "config.json"))
            yield from (RecipeProblem(place, each) for each in fit_problems(recipe, tokenizer=tokenizer, config=config))
    for place, stage in recipe.generations.parts():
        for below, name in stage.named():
            model = outside_model(name)
            if model is None or model.folder is None:
                continue
            if problem := _folder_problem(model.folder, written=model.written):
                yield RecipeProblem(("generations", *place, *below, "path"), problem)
    yield from _comparison_problems(recipe)


def fit_problems(recipe: Recipe, *, tokenizer: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the tasks that a model, by tokenizer.json and config.json, cannot read or hold at full length."""
    known, positions = vocabulary(tokenizer), config.get("max_position_embeddings")
    asked = [(recipe.task, recipe.highest_level(), f"task {recipe.task.type}", "lower generations.count")]
    for name, watched in recipe.evaluation.panel.items():
        asked.append((watched.task, max(watched.asked), f"task {name} of the panel", "ask lower levels"))
    for task, level, name, remedy in asked:
        unknown = [character for character in task.characters if character not in known]
        if unknown and tokenizer["model"].get("type") == "WordLevel":
            yield (
                f"its tokenizer does not know {' '.join(unknown)} of {name}; "
                "start from a model grown on this task, or from scratch"
            )
        needed = task.longest_sequence(level)
        if type(positions) is int and positions < needed:
            if any(one.counts_tokens for one in tasks_of(task).values()):
                remedy = "lower its max_prompt_tokens or max_answer_tokens"
            has_levels = not all(one.is_fixed for one in tasks_of(task).values())
            what = f"level {level} of {name}" if has_levels else f"the longest row that {name} allows"
            yield (
                f"the model holds {positions} tokens, {what} needs {needed}; "
                f"{remedy}, or start from a model with a longer context"
            )


def with_token_limits(recipe: Recipe, *, context: int | None = None) -> Recipe:
    """Return the recipe with the limits in tokens that its tasks leave to the context of the models in folders.

    The shortest context of the base and of what stages start from decides; `context`: tokens that a fork's base holds.
    Folders that cannot be read count nothing; `folder_problems` tells of them.
    """
    starts = [recipe.base.model, *(outside_model(stage.init) for _, stage in recipe.generations.parts())]
    folders = [start.folder for start in starts if start is not None and start.folder is not None]
    known = [positions for positions in (context, *map(_positions, folders)) if positions is not None]
    if not known:
        return recipe
    shortest = min(known)

    def within(task: Task) -> Task:
        return with_tasks(task, {name: one.within(shortest) for name, one in tasks_of(task).items()})

    panel = {
        name: watched.model_copy(update={"task": within(watched.task)})
        for name, watched in recipe.evaluation.panel.items()
    }
    evaluation = recipe.evaluation.model_copy(update={"panel": panel})
    return recipe.model_copy(update={"task": within(recipe.task), "evaluation": evaluation})


def _positions(folder: Path) -> int | None:
    """Return the positions of a folder's model; None where its files do not say."""
    try:
        return positions_of(json_in(folder / "config.json"))
    except (OSError, ValueError, AttributeError):
        return None


def positions_of(config: Mapping[str, Any]) -> int | None:
    """Return the positions of a model by its config.json; None where that does not say."""
    found = config.get("max_position_embeddings")
    return found if type(found) is int and found > 0 else None


def with_files_pinned(recipe: Recipe) -> tuple[Recipe, list[RecipeProblem]]:
    """Return the recipe with the hashes of tasks' files, of few-shot examples and of the user's own code, and the
    problems of reading them."""
    problems: list[RecipeProblem] = []

    def pinned(place: Place, step: Step) -> Step:
        try:
            return step.pinned()
        except ValueError as error:
            problems.append(RecipeProblem(("generations", *place, *step.pinned_by), str(error)))
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
        "generations": _with_starts_pinned(recipe.generations.with_steps(pinned), problems),
        "base": recipe.base.model_copy(
            update={"model": _model_pinned(recipe.base.model, ("base", "model"), problems)},
        ),
    }
    return recipe.model_copy(update=changes), problems


def _pinned(task: Task, place: Place, problems: list[RecipeProblem]) -> Task:
    """Return a task with its files' hashes; files that cannot be read join `problems`."""
    pinned = dict[str, SingleTask]()
    for name, one in tasks_of(task).items():
        try:
            pinned[name] = one.pinned()
        except ValueError as error:
            setting = getattr(error, "setting", one.pinned_by)
            problems.append(RecipeProblem((*place, *task.place_of(name), setting), str(error)))
    return with_tasks(task, pinned)


def _with_starts_pinned(generations: Generations, problems: list[RecipeProblem]) -> Generations:
    """Return the generations with the examples of the models that stages start from pinned, as `_model_pinned`."""
    if generations.stages is None:
        return generations
    stages = list[Stage]()
    for index, stage in enumerate(generations.stages):
        model = outside_model(stage.init)
        place = ("generations", "stages", index, "init")
        stages.append(
            stage if model is None else stage.model_copy(update={"init": _model_pinned(model, place, problems)})
        )
    return generations.model_copy(update={"stages": tuple(stages)})


def _model_pinned(model: ModelSettings, place: Place, problems: list[RecipeProblem]) -> ModelSettings:
    """Return a model with the hash of its few-shot examples; a file that cannot be read joins `problems`."""
    if (pretrained := model.as_pretrained) is None:
        return model
    try:
        return pretrained.pinned()
    except ValueError as error:
        problems.append(RecipeProblem((*place, "examples"), str(error)))
    return model


# --- one folder --------------------------------------------------------------------------------------------------


def _folder_problem(folder: Path, *, written: str | None = None) -> str | None:
    """Return the problem of a model's folder with the remedy; None without one. `written`: as the recipe names it."""
    try:
        return _content_problem(folder, written)
    except StoreError as error:
        return str(error)
    except OSError as error:
        return f"cannot read {error.filename or folder}: {error.strerror}; make the folder and its files readable"


def _content_problem(folder: Path, written: str | None) -> str | None:
    if not folder.is_dir():
        if written is not None and (hub := _HUB_ID.fullmatch(written)):
            target, recipe_folder = f"models/{hub['name'].lower()}", folder.parents[written.count("/")]
            return (
                f"there is no folder {folder}; if {written} is a model on the hub, fetch it with `bootstrap import "
                f"{written} {recipe_folder / target}` and set path: {target}; relative paths start at the recipe's "
                "folder"
            )
        return (
            f"there is no folder {folder}; fetch it with `bootstrap import SOURCE DIR`, or mend the path: relative "
            "ones start at the recipe's folder"
        )
    if missing := missing_files(folder):
        return missing
    try:
        check_texts_in(folder)
    except ModelFault as fault:
        return f"{folder}/{fault}; fetch or export the model again, with its fast tokenizer"
    return None


# --- models that are compared token by token ---------------------------------------------------------------------


class _Outputs(NamedTuple):
    """The tokens that a model can predict."""

    vocabulary: Mapping[str, int]
    rows: float
    """Rows of its output matrix, often more than there are tokens; infinite where its folder does not say."""


def _comparison_problems(recipe: Recipe) -> Iterator[RecipeProblem]:
    """Yield the teachers and references that cannot be compared with their students token by token, where known."""
    last = sum(stage.generations for _, stage in recipe.generations.parts())
    origins, said = ModelOrigins(recipe, last=last), set[Place]()
    found = dict[ModelSettings | None, _Outputs | None]()

    def outputs(model: ModelSettings | None) -> _Outputs | None:
        if model not in found:
            found[model] = _outputs(model, task=recipe.task)
        return found[model]

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
                drawn = min(max(student.vocabulary.values()) + 1, student.rows)
                if difference := _difference(known.vocabulary, student.vocabulary):
                    problem = f"the {who}'s vocabulary is not the student's ({difference})"
                elif known.rows < drawn:
                    problem = f"the {who} has outputs for {known.rows} of the {drawn} tokens that the student can draw"
                else:
                    continue
                said.add(place)
                yield RecipeProblem(
                    place,
                    f"{problem}, and their distributions are compared token by token; use {instead} with the same "
                    "tokenizer",
                )


def _outputs(model: ModelSettings | None, *, task: Task) -> _Outputs | None:
    """Return the tokens that a model can predict; None where unknown, or where its folder has problems."""
    if model is None:
        return None
    if model.is_scratch:
        known = scratch_vocabulary(task.characters)
        return _Outputs(known, len(known))
    if model.folder is None or _folder_problem(model.folder) is not None:
        return None
    count = json_in(model.folder / "config.json").get("vocab_size")
    known = vocabulary(json_in(model.folder / "tokenizer.json"))
    return _Outputs(known, count if type(count) is int else math.inf)


def _difference(one: Mapping[str, int], other: Mapping[str, int]) -> str | None:
    if one == other:
        return None
    if len(one) != len(other):
        return f"{len(one)} tokens against {len(other)}"
    token = min(token for token in {**one, **other} if one.get(token) != other.get(token))
    return f"for example {token!r} is {one.get(token, 'absent')} against {other.get(token, 'absent')}"
