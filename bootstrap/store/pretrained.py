"""The pretrained model that weights go back to: a file beside them, which every descendant takes over.

    import.json    {"fingerprint", "licence", "num_parameters", "source": {"type", "name", ...}}, of the model imported;
                   "exported", beside a descendant's weights: their fingerprint

`bootstrap import` writes it, `bootstrap export` adds to it. What stands in it comes from where the model does, so it is
read as foreign text: single lines of bounded length. Left out: which models' licences permit what.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bootstrap.canonical import json_file
from bootstrap.errors import StoreCorrupt
from bootstrap.store.artifacts import Artifact
from bootstrap.store.fingerprint import MODEL_WEIGHTS, fingerprint_safetensors

IMPORT = "import.json"
EXPORTED = "exported"
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
    found = _facts({IMPORT: artifact.read(IMPORT)}) if IMPORT in artifact.files else None
    if found is None:
        return None
    source, licence = found["source"], found["licence"]
    name = _line(source.get("name", ""))
    return Pretrained(
        name=name,
        source=_line(f"{source.get('type', '')} {name}{_pin(source)}"),
        licence=_line(licence) or None if licence is not None else None,
    )


def to_file(facts: Mapping[str, Any]) -> bytes:
    """Return the content of `import.json`; equal facts give equal bytes."""
    return json_file(facts, indent=2)


def exported(files: Mapping[str, bytes], *, fingerprint: str) -> dict[str, bytes]:
    """Return the files of a descendant's folder, its own fingerprint added to what says where it comes from."""
    found = _facts(files)
    return dict(files) if found is None else {**files, IMPORT: to_file({**found, EXPORTED: fingerprint})}


def taken_over(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files of a folder as descendants take them over, which have weights of their own."""
    found = _facts(files)
    if found is None or EXPORTED not in found:
        return dict(files)
    return {**files, IMPORT: to_file({key: value for key, value in found.items() if key != EXPORTED})}


def other_weights(files: Mapping[str, bytes]) -> str | None:
    """Return in words what a whole model's folder holds if its weights are not those that `import.json` is about.

    None where they are, byte for byte, and where nothing is said about them.
    """
    found = _facts(files) or {}
    told = [found[key] for key in ("fingerprint", EXPORTED) if isinstance(found.get(key), str)]
    if not told:
        return None
    wanted = _line(told[-1])[:16]
    try:
        computed = fingerprint_safetensors(files[MODEL_WEIGHTS])
    except StoreCorrupt:
        return f"what cannot be read, not the weights {wanted}"
    return None if computed in told else f"the weights {computed[:16]}, not {wanted}"


def _facts(files: Mapping[str, bytes]) -> dict[str, Any] | None:
    """Return what `import.json` says; None without one, and for a file of this name that is another program's."""
    try:
        found = json.loads(files[IMPORT])
        return {**found, "source": dict(found["source"]), "licence": found["licence"]}
    except (ValueError, TypeError, LookupError, RecursionError):
        return None


def _pin(source: Mapping[str, Any]) -> str:
    if "revision" in source:
        return f"@{_line(source['revision'])}"
    return f", sha256 {_line(source['sha256'])}" if "sha256" in source else ""


def _line(text: object) -> str:
    shown = "".join(c if c.isprintable() else " " for c in str(text)[: 4 * MAX_CHARACTERS])
    return " ".join(shown.split())[:MAX_CHARACTERS]
