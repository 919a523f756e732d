"""What only a task's rows can tell of a recipe: levels that are not there, and questions on both sides of a gate.

`check_tasks` refuses what cannot work before anything is grown; `notes_on` says what is worth knowing.
"""

from collections.abc import Iterator, Mapping

from bootstrap.config.base import Place
from bootstrap.config.conflicts import Conflict, dotted
from bootstrap.config.levels import asked_conflicts
from bootstrap.config.recipe import Recipe
from bootstrap.config.tasks import tasks_of
from bootstrap.errors import RecipeError
from bootstrap.prompts.files import Rows
from bootstrap.prompts.overlap import RUN, files_of, kept_from_gates, near_duplicates, rows_of
from bootstrap.prompts.task import Task
from bootstrap.records import Split
from bootstrap.scoring.verifier import printable

SHOWN = 60
"""Characters of a question that are shown."""
EXAMPLES = 2
"""Pairs of questions that are shown."""
SLICES_NAMED = 8


def check_tasks(recipe: Recipe, task: Task, panel: Mapping[str, Task]) -> None:
    """Raise RecipeError, each problem with its place and remedy, where the tasks' rows speak against the recipe.

    `panel`: the tasks of the evaluation's panel, by name.
    """
    problems = [*recipe.level_conflicts(task.highest_level)]
    for name, watched in panel.items():
        asked = recipe.evaluation.panel[name].asked
        problems += asked_conflicts(asked, watched.highest_level, ("evaluation", "panel", name))
    # Where a level is not there, its questions cannot be asked for.
    if not problems and not _is_by_text(recipe, task):
        problems = [*_shared(recipe, task, panel)]
    if problems:
        raise RecipeError("; ".join(f"{dotted(problem.place)}: {problem.message}" for problem in problems))


def notes_on(recipe: Recipe, task: Task, panel: Mapping[str, Task]) -> Iterator[str]:
    """Yield what readers should know of the rows: their slices, near-duplicates, and what a gate asks regardless."""
    if _is_by_text(recipe, task):
        for problem in _shared(recipe, task, panel):
            yield f"{dotted(problem.place)}: {problem.message}"
    for rows in files_of(task).values():
        yield from _slices(rows)
        yield from _near(rows)


def _is_by_text(recipe: Recipe, task: Task) -> bool:
    """Whether rows are split by prompts' texts, as in lineages that were grown so; these may go on."""
    settings = tasks_of(recipe.task)
    return any(settings[name].split_rule == "text" for name in files_of(task))


def _shared(recipe: Recipe, task: Task, panel: Mapping[str, Task]) -> Iterator[Conflict]:
    """Yield where a gate asks questions of files that are trained on or kept for the end."""
    files = files_of(task)
    for name, watched in panel.items():
        wanted = recipe.evaluation.panel[name]
        prompts = [prompt for level in wanted.asked for prompt in watched.heldout(level, wanted.prompts_per_level)]
        asked = {row.question for row in rows_of(watched, prompts)}
        yield from _told(asked, files, ("evaluation", "panel", name, "task"))
    for name, rows in files.items():
        others = {other: part for other, part in files.items() if part is not rows}
        yield from _told({row.question for row in rows.rows(Split.HELDOUT)}, others, ("task", "parts", name, "task"))


def _told(asked: set[str], files: Mapping[str, Rows], place: Place) -> Iterator[Conflict]:
    if shared := sorted(asked & kept_from_gates(files.values())):
        least = min(rows.settings.heldout_fraction for rows in files.values())
        paths = " and ".join(sorted({rows.settings.path for rows in files.values()}))
        yield Conflict(
            place,
            f"{len(shared)} of its {len(asked)} held-out questions are trained on, or kept for the final comparison, "
            f"in {paths}, for example {_short(shared[0])}; set its heldout_fraction to {least:g} or less with "
            "split_by: question in both, which holds out the same questions of each, or take these rows out of one of "
            "the files",
        )


def _slices(rows: Rows) -> Iterator[str]:
    if names := [printable(name) for name in rows.slices]:
        more = f" and {len(names) - SLICES_NAMED} more" if len(names) > SLICES_NAMED else ""
        yield (
            f"rows of {rows.settings.path} are of {len(names)} slice{'' if len(names) == 1 else 's'} "
            f"({rows.settings.slice_column}): {', '.join(names[:SLICES_NAMED])}{more}"
        )


def _near(rows: Rows) -> Iterator[str]:
    found, held = near_duplicates(rows), len(rows.rows(Split.HELDOUT, Split.FINAL))
    if not found:
        return
    pairs = "; ".join(
        f"line {pair.heldout.line} {_short(pair.heldout.question)} and line {pair.train.line} "
        f"{_short(pair.train.question)}"
        for pair in found[:EXAMPLES]
    )
    yield (
        f"{len(found)} of {held} held-out rows of {rows.settings.path} ({len(found) / held:.1%}) are nearly the same "
        f"as rows that are trained on (one text up to numbers, or {RUN} words in a row): {pairs}"
    )


def _short(question: str) -> str:
    """Return a question's beginning in quotation marks, as one line."""
    shown = printable(question[: SHOWN + 1])
    return f'"{shown}"' if len(question) <= SHOWN else f'"{shown[:SHOWN]}..."'
