"""What the settings of a user's own task or algorithm share: its name, its options, and the hash of its source."""

from typing import Any, ClassVar, Self

from pydantic import Field

from bootstrap.config.base import Settings
from bootstrap.plugins import USES, Kind


class PluginSettings(Settings):
    """A function or class of the user's own."""

    kind: ClassVar[Kind]
    uses: str = Field(pattern=USES)
    """`module:name` that can be imported, or the name of an entry point in the group `bootstrap.algorithms` or
    `bootstrap.tasks`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further keyword arguments of it."""
    source: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of what its module means, with what that uses of its neighbours. A run pins it; written into the recipe,
    another source is refused."""

    def source_found(self) -> str:
        """Return the SHA-256 of what it means. Raises RecipeError where it is not found, or `source` is another."""
        found = self.kind.meaning(self.kind.find(self.uses), self.uses)
        if self.source not in (None, found):
            raise self.kind.error(
                f"the {self.kind.name} {self.uses} has changed: its source is {found[:16]}..., `source` says "
                f"{self.source[:16]}...; restore it, or remove `source` and grow a lineage of its own (--lineage NAME)"
            )
        return found

    def pinned(self) -> Self:
        """Return the settings with `source` filled in, so that a lineage's identity holds what it means.

        Raises RecipeError as `source_found`.
        """
        return self.model_copy(update={"source": self.source_found()})
