"""What the settings of a user's own task, step or algorithm share: its name, its options, the hash of its source."""

from collections.abc import Callable
from typing import Any, ClassVar, Self

from pydantic import Field

from bootstrap.config.base import Settings
from bootstrap.plugins import USES, Kind


class PluginSettings(Settings):
    """A function or class of the user's own, which runs in the driver's process with all its rights."""

    kind: ClassVar[Kind]
    uses: str = Field(pattern=USES)
    """`module:name` of an importable module, or the name of an entry point in the kind's group."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Its further keyword arguments."""
    source: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the meaning of its source: its module, and what that uses of its neighbours. A run fills it in; a
    recipe that names it refuses another source."""

    def found(self) -> Callable[..., Any]:
        """Return the function or class.

        Raises RecipeError where it is missing, its source is not `source`, or it does not take `options`.
        """
        function, _ = self._found()
        return function

    def pinned(self) -> Self:
        """Return the settings with `source` filled in, so that a lineage's identity holds it.

        Raises RecipeError as `found`.
        """
        return self.model_copy(update={"source": self._found()[1]})

    def _found(self) -> tuple[Callable[..., Any], str]:
        """Return the function or class, and the SHA-256 of its meaning."""
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
