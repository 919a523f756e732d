"""The texts of held-out prompts by id, made again from the recipe: an evaluation keeps only those of a few.

Left out: prompts of a task of the user's own, whose code is not run for a look at a lineage.
"""

from collections.abc import Collection

from bootstrap.config.recipe import Recipe
from bootstrap.config.tasks import Task as TaskSettings
from bootstrap.errors import RecipeError
from bootstrap.prompts.build import build_task


def heldout_texts(recipe: Recipe, levels: Collection[int]) -> dict[str, str]:
    """Return prompt id -> text of the held-out prompts of these levels, and of the panel.

    A task of which this machine lacks the files gives none.
    """
    found = _texts(recipe.task, sorted(levels), count=recipe.evaluation.most_prompts)
    for watched in recipe.evaluation.panel.values():
        found |= _texts(watched.task, watched.asked, count=watched.prompts_per_level)
    return found


def _texts(settings: TaskSettings, levels: Collection[int], *, count: int) -> dict[str, str]:
    try:
        task = build_task(settings)
        prompts = [prompt for level in levels for prompt in task.heldout(level, count)]
    except RecipeError:
        return {}
    return {prompt.id: prompt.text for prompt in prompts}
