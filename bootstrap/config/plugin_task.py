"""A task of the user's own."""

from typing import ClassVar, Literal

from pydantic import Field

from bootstrap.config.plugins import PluginSettings
from bootstrap.config.task import OpenTask
from bootstrap.errors import RecipeError
from bootstrap.plugins import Kind


class PluginTask(PluginSettings, OpenTask):
    """A task of the user's own: a class that makes prompts and answers them (`prompts/plugin.py`).

    Which prompts are held out is decided here, by the hash of each, and never told to it.
    """

    kind: ClassVar[Kind] = Kind(
        name="task",
        results="prompts",
        written="class Task, with num_prompts(level), prompt(level, number), answer(prompt) and wrong_answers(prompt)",
        error=RecipeError,
    )
    built_by: ClassVar[str] = "bootstrap.prompts.plugin:PluginPrompts"
    pinned_by: ClassVar[str] = "uses"
    question_kind: ClassVar[str | None] = "plugin"
    type: Literal["plugin"] = "plugin"
    levels: int = Field(ge=1)
    """Its last level."""
    base_level: int = Field(default=1, ge=1)

    @property
    def highest_level(self) -> int:
        """`levels`."""
        return self.levels

    @property
    def question_sources(self) -> frozenset[str]:
        """Its name."""
        return frozenset({self.uses})
