"""What the settings of a user's own task, step or algorithm share: its name, its options, the hash of its source."""

from collections.abc import Callable
from typing import Any, ClassVar, Self

from pydantic import Field

from bootstrap.config.base import Settings
from bootstrap.plugins import USES, Kind


class PluginSettings(Settings):
    """A function or class of the user's own."""

    kind: ClassVar[Kind]
    uses: str = Field(pattern=USES)
    """`module:name` that can be imported, or the name of an entry point in the group `bootstrap.algorithms`,
    `bootstrap.steps` or `bootstrap.tasks`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further keyword arguments of it."""
    source: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of what its module means, with what that uses of its neighbours. A run pins it; written into the recipe,
    another source is refused."""

    def found(self) -> Callable[..., Any]:
        """Return the function or class. Raises RecipeError where it is missing or not `source`, or does not take
        `options`."""
        function, _ = self._found()
        return function

    def pinned(self) -> Self:
        """Return the settings with `source` filled in, so that a lineage's identity holds what it means.

        Raises RecipeError as `found`.
        """
        return self.model_copy(update={"source": self._found()[1]})

    def _found(self) -> tuple[Callable[..., Any], str]:
        """Return it, and the SHA-256 of what it means."""
        kind = self.kind
        function = kind.find(self.uses)
        source = kind.meaning(function, self.uses)
        if self.source not in (None, source):
            raise kind.error(
                f"the {kind.name} {self.uses} has changed: its source is {source[:16]}..., `source` says "
                f"{self.source[:16]}...; restore it, or remove `source` and grow a lineage of its own (--lineage NAME)"
            )
        kind.check_signature(function, self.uses, self.options, *kind.arguments, **dict.fromkeys(kind.keywords, ""))
        return function, source
