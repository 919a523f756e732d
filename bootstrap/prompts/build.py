"""Builds the task from a recipe's settings, by the builder that these name."""

import importlib

from bootstrap.config import tasks
from bootstrap.prompts.task import Task


def build_task(settings: tasks.Task) -> Task:
    """Return the task that the settings describe. Raises RecipeError when a level would have an empty split."""
    module, name = settings.built_by.split(":")
    return getattr(importlib.import_module(module), name)(settings)
