"""A task of the user's own."""

from typing import ClassVar, Literal

from pydantic import Field

from bootstrap.config.plugins import PluginSettings
from bootstrap.config.task import OpenTask
from bootstrap.errors import RecipeError
from bootstrap.plugins import USES, Kind


class PluginTask(PluginSettings, OpenTask):
    """A task of the user's own: a class that makes prompts and answers them (`prompts/plugin.py`).

    The class never learns which prompts are held out: their hashes decide.
    """

    kind: ClassVar[Kind] = Kind(
        name="task",
        results="prompts",
        written="class Task, with num_prompts(level), prompt(level, number), answer(prompt) and wrong_answers(prompt)",
        error=RecipeError,
    )
    built_by: ClassVar[str] = "bootstrap.prompts.plugin:PluginPrompts"
    runs_own_code: ClassVar[bool] = True
    pinned_by: ClassVar[str] = "uses"
    question_kind: ClassVar[str | None] = "plugin"
    type: Literal["plugin"] = "plugin"
    uses: str = Field(pattern=USES)
    """`module:class` of an importable module, or the name of an entry point in the group `bootstrap.tasks`."""
    levels: int = Field(ge=1)
    """The last level."""
    base_level: int = Field(default=1, ge=1)
    """Highest level whose reference answers training may see."""

    @property
    def highest_level(self) -> int:
        return self.levels

    @property
    def question_sources(self) -> frozenset[str]:
        return frozenset({self.uses})
