"""The texts of held-out prompts by id, made again from the recipe: an evaluation keeps only those of a few.

The recipe may be somebody else's. Left out are therefore prompts of tasks that import code, ask the hub for a data set,
or name a file without the hash of its content, which could be any file of this machine.
"""

from collections.abc import Collection

from bootstrap.config.recipe import Recipe
from bootstrap.config.tasks import SingleTask, tasks_of
from bootstrap.config.tasks import Task as TaskSettings
from bootstrap.errors import RecipeError
from bootstrap.prompts.build import build_task

_PINS = {"path": "content", "heldout": "heldout_content"}
"""Setting that names a file -> the setting that holds the SHA-256 of what the file must hold."""


def heldout_texts(recipe: Recipe, levels: Collection[int]) -> dict[str, str]:
    """Return prompt id -> text of the held-out prompts of these levels, and of the panel.

    A task of which this machine lacks the files gives none.
    """
    found = _texts(recipe.task, sorted(levels), count=recipe.evaluation.most_prompts)
    for watched in recipe.evaluation.panel.values():
        found |= _texts(watched.task, watched.asked, count=watched.prompts_per_level)
    return found


def _texts(settings: TaskSettings, levels: Collection[int], *, count: int) -> dict[str, str]:
    if not all(map(_is_harmless, tasks_of(settings).values())):
        return {}
    try:
        task = build_task(settings)
        prompts = [prompt for level in levels for prompt in task.heldout(level, count)]
    except RecipeError:
        return {}
    return {prompt.id: prompt.text for prompt in prompts}


def _is_harmless(task: SingleTask) -> bool:
    """Whether a task's prompts can be had without code of others, a network, and files that it does not pin."""
    is_pinned = all(getattr(task, _PINS.get(setting, ""), None) is not None for setting, _ in task.paths)
    return is_pinned and not task.runs_own_code and not task.downloads
