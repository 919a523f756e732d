"""bootstrap: cycle language models through generations. `Lineage` answers questions about one that has grown."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bootstrap.api import Lineage as Lineage

__version__ = "0.1.0"
__all__ = ["Lineage", "__version__"]


def __getattr__(name: str) -> Any:
    """Return `Lineage`, loaded when it is first asked for: the commands that need none start faster."""
    if name == "Lineage":
        from bootstrap.api import Lineage

        return Lineage
    raise AttributeError(f"module 'bootstrap' has no attribute {name!r}")
