"""The record of freed weights, by which files that `bootstrap gc` has removed are told from lost ones.

    <artifact>/freed.json    {"files": ["model.safetensors"], "generations": [3], "lineage": "addition", "when": ...}

It lies in the artifact's own folder, so it goes where the folder goes, and outside the ledger's hash chain, which stays
as it is. Only weights can be freed: a mark that names any other file counts for nothing. Left out: which weights are
freed (`gc.py`).
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import Field, ValidationError

from bootstrap.canonical import canonical_json
from bootstrap.errors import WeightsFreed
from bootstrap.records import Record
from bootstrap.store import durable
from bootstrap.store.fingerprint import ADAPTER_WEIGHTS, MODEL_WEIGHTS

FILE_NAME = "freed.json"
WEIGHTS = (MODEL_WEIGHTS, ADAPTER_WEIGHTS)
"""Names of the files that can be freed."""


_Shown = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$", max_length=255)]
"""Text that may be printed as it is."""


class Freed(Record):
    """The content of `freed.json`."""

    lineage: _Shown
    generations: tuple[int, ...]
    """Numbers of the generations that have these weights; empty for weights between two steps."""
    files: tuple[str, ...]
    when: _Shown
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


def mark_of(folder: Path, gone: Sequence[str]) -> Freed | None:
    """Return what the mark in an artifact's folder says of the missing files `gone`, which become its `files`.

    None where no file is missing, and where the mark is missing, damaged, or does not name all of them: then they are
    lost. Raises StoreError.
    """
    if not gone or not all(map(can_be_freed, gone)):
        return None
    data = durable.read_if_there(folder / FILE_NAME)
    try:
        found = Freed.model_validate_json(data or b"")
    except ValidationError:
        return None
    return found.model_copy(update={"files": tuple(gone)}) if set(gone) <= set(found.files) else None


def freed_error(mark: Freed) -> WeightsFreed:
    """Return the error about weights that are asked for and were freed."""
    which = f"gen-{mark.generations[0]}" if mark.generations else "GENERATION"
    return WeightsFreed(
        f"the weights of {mark.names} of lineage {mark.lineage} were freed by `bootstrap gc` ({mark.when}); put a copy "
        f"back with `bootstrap gc --restore DIR`, or first make them again with `bootstrap reproduce {which} --lineage "
        f"{mark.lineage} --into DIR`"
    )
