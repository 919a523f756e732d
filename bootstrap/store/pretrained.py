"""The pretrained model that weights derive from: a file beside them, which every descendant inherits.

    import.json    {"fingerprint", "licence", "num_parameters", "source": {"type", "name", ...}} of the imported model;
                   "exported": fingerprint of a descendant's weights, beside these

`bootstrap import` writes it, `bootstrap export` adds to it. Its content comes from the model's source, so it is read as
foreign text: single lines of bounded length. Left out: what a licence permits.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bootstrap.canonical import json_file
from bootstrap.errors import StoreCorrupt
from bootstrap.reading import parsed
from bootstrap.store.artifacts import Artifact
from bootstrap.store.fingerprint import fingerprint_model
from bootstrap.store.on_disk import FolderFiles, entries

IMPORT = "import.json"
EXPORTED = "exported"
MAX_CHARACTERS = 200
"""Longest text that is taken from the file."""
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pretrained:
    """A pretrained model's source and licence."""

    name: str
    """`owner/name` on the hub, or the name of the file or folder."""
    source: str
    """In words, with revision or hash: `hub owner/name@0123abc`."""
    licence: str | None
    """As named by the source or by the importing person; None if neither named one."""

    @property
    def hub_id(self) -> str | None:
        """`owner/name` of a model of the hub; None for a file or folder."""
        return self.name if self.source.startswith("hub ") and _HUB_ID.fullmatch(self.name) else None


def pretrained_of(artifact: Artifact) -> Pretrained | None:
    """Return the pretrained model that an artifact's weights derive from; None for fresh or not imported weights.

    Raises StoreCorrupt if the file differs from its hash.
    """
    found = _facts({IMPORT: artifact.content(IMPORT)}) if IMPORT in artifact.files else None
    if found is None:
        return None
    source, licence = found["source"], found["licence"]
    name = _line(source.get("name", ""))
    return Pretrained(
        name=name,
        source=_line(f"{source.get('type', '')} {name}{_pin(source)}"),
        licence=_line(licence) or None if licence is not None else None,
    )


def licence_named(data: bytes) -> str | None:
    """Return the licence in an `import.json`; None where it names none, or is another program's."""
    licence = (_facts({IMPORT: data}) or {}).get("licence")
    return None if licence is None else _line(licence) or None


def to_file(facts: Mapping[str, Any]) -> bytes:
    """Return the content of `import.json`; equal facts give equal bytes."""
    return json_file(facts, indent=2)


def exported(files: Mapping[str, bytes], *, fingerprint: str) -> dict[str, bytes]:
    """Return the files of a descendant's folder, with its own fingerprint added to `import.json` where there is one."""
    found = _facts(files)
    return dict(files) if found is None else {**files, IMPORT: to_file({**found, EXPORTED: fingerprint})}


def taken_over(files: Mapping[str, bytes]) -> FolderFiles:
    """Return the files that descendants inherit: without the fingerprint of the exported weights."""
    found, kept = _facts(files), FolderFiles(entries(files), keeps=files)
    if found is None or EXPORTED not in found:
        return kept
    return kept | {IMPORT: to_file({key: value for key, value in found.items() if key != EXPORTED})}


def other_weights(files: Mapping[str, bytes]) -> str | None:
    """Return a description of a whole model's weights if they are not those that `import.json` names.

    None if they are the same, byte for byte, or if the file names none.
    """
    found = _facts(files) or {}
    told = [found[key] for key in ("fingerprint", EXPORTED) if isinstance(found.get(key), str)]
    if not told:
        return None
    wanted = _line(told[-1])[:16]
    try:
        computed = fingerprint_model(files)
    except StoreCorrupt:
        return f"unreadable weights, not the weights {wanted}"
    return None if computed in told else f"the weights {computed[:16]}, not {wanted}"


def _facts(files: Mapping[str, bytes]) -> dict[str, Any] | None:
    """Return the content of `import.json`; None without one, or if the file is another program's."""
    try:
        found = parsed(files[IMPORT], strict=False)
        return {**found, "source": dict(found["source"]), "licence": found["licence"]}
    except (ValueError, TypeError, LookupError):
        return None


def _pin(source: Mapping[str, Any]) -> str:
    if "revision" in source:
        return f"@{_line(source['revision'])}"
    return f", sha256 {_line(source['sha256'])}" if "sha256" in source else ""


def _line(text: object) -> str:
    shown = "".join(c if c.isprintable() else " " for c in str(text)[: 4 * MAX_CHARACTERS])
    return " ".join(shown.split())[:MAX_CHARACTERS]
