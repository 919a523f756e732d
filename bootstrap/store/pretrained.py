"""The pretrained model that weights go back to: a file beside them, which every descendant takes over.

    import.json    {"fingerprint", "licence", "num_parameters", "source": {"type", "name", ...}}, of the model imported

`bootstrap import` writes it. What stands in it comes from where the model does, so it is read as foreign text: single
lines of bounded length. Left out: which models' licences permit what.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bootstrap.store.artifacts import Artifact

IMPORT = "import.json"
MAX_CHARACTERS = 200
"""Of each of its texts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pretrained:
    """Where a pretrained model comes from, and on what terms."""

    name: str
    """`owner/name` on the hub, or that of the file or folder."""
    source: str
    """In words, with its revision or its hash: `hub owner/name@0123abc`."""
    licence: str | None
    """As its source names it, or whoever imported it; None where nobody has."""


def pretrained_of(artifact: Artifact) -> Pretrained | None:
    """Return what the weights in an artifact go back to; None for those from scratch and for models not imported.

    Raises StoreCorrupt when the file differs from its hash.
    """
    if IMPORT not in artifact.files:
        return None
    try:
        found = json.loads(artifact.read(IMPORT))
        source = dict(found["source"])
        licence = found["licence"]
    # A file of this name that `bootstrap import` has not written.
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    name = _line(source.get("name", ""))
    return Pretrained(
        name=name,
        source=_line(f"{source.get('type', '')} {name}{_pin(source)}"),
        licence=_line(licence) or None if licence is not None else None,
    )


def _pin(source: Mapping[str, Any]) -> str:
    if "revision" in source:
        return f"@{_line(source['revision'])}"
    return f", sha256 {_line(source['sha256'])}" if "sha256" in source else ""


def _line(text: object) -> str:
    shown = "".join(c if c.isprintable() else " " for c in str(text)[: 4 * MAX_CHARACTERS])
    return " ".join(shown.split())[:MAX_CHARACTERS]
