"""The record of freed weights, by which files that `bootstrap gc` has removed are told from lost ones.

    <artifact>/freed.json    {"files": ["model.safetensors"], "generations": [3], "lineage": "addition", "when": ...}

It lies in the artifact's own folder, so it goes where the folder goes, and outside the ledger's hash chain, which stays
as it is. Only weights can be freed: a mark that names any other file counts for nothing. Left out: which weights are
freed (`gc.py`).
"""

import shlex
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import Field, ValidationError

from bootstrap.canonical import canonical_json
from bootstrap.errors import WeightsFreed
from bootstrap.reading import MAX_JSON_BYTES, Folder
from bootstrap.records import Record
from bootstrap.store.fingerprint import ADAPTER_WEIGHTS, MODEL_WEIGHTS

FILE_NAME = "freed.json"
WEIGHTS = (MODEL_WEIGHTS, ADAPTER_WEIGHTS)
"""Names of the files that can be freed."""


_Printable = Annotated[str, Field(pattern=r"^[^\p{C}\p{Zl}\p{Zp}]*$", max_length=255)]
"""Text without control characters, such that turn the line around included."""
_DATE, _CLOCK, _ZONE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}", r"[0-9]{2}:[0-9]{2}:[0-9]{2}", r"(Z|[+-][0-9]{2}:[0-9]{2})"
_Time = Annotated[str, Field(pattern=f"^{_DATE}(T{_CLOCK}{_ZONE})?$")]


class Freed(Record):
    """The content of `freed.json`."""

    lineage: _Printable
    """Folder of the lineage, for whoever reads the file: the artifact may have been taken elsewhere."""
    generations: tuple[int, ...]
    """Numbers of the generations that have these weights; empty for weights between two steps."""
    files: tuple[str, ...]
    when: _Time
    """ISO 8601, UTC."""

    @property
    def names(self) -> str:
        """The generations in words."""
        return ", ".join(f"gen-{number}" for number in self.generations) or "a step inside a generation"

    def to_file(self) -> bytes:
        """Return the content of the file."""
        return canonical_json(self.model_dump(mode="json"))


def can_be_freed(name: str) -> bool:
    """Whether an artifact's file holds weights."""
    return PurePosixPath(name).name in WEIGHTS


def mark_of(folder: Folder, gone: Sequence[str]) -> Freed | None:
    """Return what the mark in an artifact's folder says of the missing files `gone`, which become its `files`.

    None where no file is missing, and where the mark is missing, damaged, or does not name all of them: then they are
    lost. Raises StoreError.
    """
    if not gone or not all(map(can_be_freed, gone)):
        return None
    data = folder.read_if_there(FILE_NAME, most=MAX_JSON_BYTES)
    try:
        found = Freed.model_validate_json(data or b"")
    except ValidationError:
        return None
    return found.model_copy(update={"files": tuple(gone)}) if set(gone) <= set(found.files) else None


def freed_error(mark: Freed, folder: Path) -> WeightsFreed:
    """Return the error about weights that are asked for and were freed; `folder`: their artifact's, in its lineage."""
    # The mark may be a stranger's, so the commands name the lineage by where it lies.
    root = folder.parent.parent
    which = f"gen-{mark.generations[0]}" if mark.generations else "GENERATION"
    where = ("--store", str(root.parent), "--lineage", root.name)
    again = shlex.join(("bootstrap", "reproduce", which, *where, "--into", "DIR"))
    return WeightsFreed(
        f"the weights of {mark.names} of lineage {root.name} were freed by `bootstrap gc` ({mark.when}); put a copy "
        f"back with `{restore_command('DIR', root)}`, or first make them again with `{again}`"
    )


def restore_command(place: object, root: Path) -> str:
    """Return the command that puts freed weights of the lineage in the folder `root` back from `place`."""
    return shlex.join(("bootstrap", "gc", "--restore", str(place), "--store", str(root.parent), "--lineage", root.name))


def unpack_command(archive: Path) -> str:
    """Return the command that unpacks a copy in a tar file into a new folder DIR, which `restore_command` takes."""
    return f"mkdir DIR && tar xf {shlex.quote(str(archive))} -C DIR"
