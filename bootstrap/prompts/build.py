"""From a task's settings to the task: imports the builder that the settings name."""

import importlib

from bootstrap.config import tasks
from bootstrap.prompts.task import Task


def build_task(settings: tasks.Task) -> Task:
    """Return the task that the settings describe. Raises RecipeError when a level would have an empty split."""
    module, name = settings.built_by.split(":")
    return getattr(importlib.import_module(module), name)(settings)
