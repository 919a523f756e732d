"""Where a task's rows lie, and the hash that pins them: files, folders saved by `datasets`, data sets of the hub.

Left out: the meaning of the bytes (`prompts/readers.py`), and reading from the hub (`prompts/hub.py`).
"""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from bootstrap.canonical import sha256
from bootstrap.config.base import Settings
from bootstrap.config.faults import NotOfForm
from bootstrap.reading import parsed

FORMS = "a path, a list of them, or {hub: NAME, split: SPLIT, revision: COMMIT}"
"""The forms of `Data`, for messages."""
HUB_READER = "bootstrap.prompts.hub:load"
"""Returns the `Source` of a `HubData`."""
PARQUET = b"PAR1"
"""First bytes of a Parquet file."""
MOST_BYTES = 8 * 2**30
"""Of one file of rows: all of it is held in memory, several times over."""


class HubData(Settings):
    """A data set of the Hugging Face hub, read with the `datasets` library."""

    hub: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")
    """Name of the data set, as `openai/gsm8k`."""
    config: str | None = Field(default=None, min_length=1)
    """Its configuration, as `main`; null where it has only one."""
    split: str = Field(min_length=1)
    """The split to read, as `train`."""
    revision: str = Field(pattern=r"^[0-9a-f]{40}$")
    """Commit of the data set's repository, all 40 digits, so that its content is pinned."""

    @property
    def told(self) -> str:
        """The data set in a few words."""
        return "/".join(filter(None, (self.hub, self.config, self.split))) + f"@{self.revision[:8]}"


def _form(data: Any) -> str | None:
    match data:
        case str():
            return "one file"
        case dict() | HubData():
            return "one data set"
        case list() | tuple():
            return "several"
    return None


def _one_or_several(data: Any) -> Any:
    if _form(data) is None:
        raise NotOfForm(FORMS)
    return data


def _one(data: Any) -> Any:
    if _form(data) in (None, "several"):
        raise NotOfForm(FORMS.replace(" a list of them,", ""))
    return data


_File = Annotated[str, Field(min_length=1), Tag("one file")]
_DataSet = Annotated[HubData, Tag("one data set")]
_One = Annotated[_File | _DataSet, Discriminator(_form), BeforeValidator(_one)]
_Several = Annotated[tuple[_One, ...], Field(min_length=1), Tag("several")]
Data = Annotated[_File | _DataSet | _Several, Discriminator(_form), BeforeValidator(_one_or_several)]
"""One or several places of rows."""


def places_of(data: Data) -> tuple[str | HubData, ...]:
    """Return the places, in order."""
    return data if isinstance(data, tuple) else (data,)


def told_of(data: Data) -> str:
    """Return the places in a few words."""
    first, *others = [place if isinstance(place, str) else place.told for place in places_of(data)]
    return first if not others else f"{first} and {len(others)} more"


def started_at(folder: Path, data: Data) -> Data:
    """Return the places with paths that start at a folder made absolute."""
    match data:
        case str():
            # Path.expanduser raises where there is no such user; this leaves the path as it is, which is then missing.
            return str((folder / os.path.expanduser(data)).resolve())
        case tuple():
            found = tuple(started_at(folder, place) for place in data)
            return found  # pyright: ignore[reportReturnType]  # lists do not nest
    return data


@dataclass(frozen=True, kw_only=True)
class Source:
    """The content of one place."""

    told: str
    """The path, or the data set's name."""
    kind: Literal["lines", "csv", "parquet", "arrow"]
    """`lines`: JSON, one object a line. `arrow`: streams of Arrow record batches."""
    pieces: tuple[bytes, ...]
    """The files' bytes, in the order of their rows."""
    digest: str
    """SHA-256 of the content."""


def read(data: Data) -> tuple[Source, ...]:
    """Return the content of each place, in order. Raises ValueError, with the remedy, for one that cannot be read."""
    return tuple(_read(place) for place in places_of(data))


def digest_of(sources: Sequence[Source]) -> str:
    """Return the SHA-256 of a file's bytes, or of the digests of several sources."""
    return _joined([source.digest for source in sources])


def content_of(path: Path, *, most: int) -> bytes:
    """Return a file's bytes, at most `most`.

    Raises ValueError, with the remedy, for a larger file and for what may never end, as a pipe or a device; OSError.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise ValueError(f"{path} is a pipe or a device; write its content to a file, and name that")
    if found.st_size > most and stat.S_ISREG(found.st_mode):
        raise ValueError(
            f"{path} holds {found.st_size:,} bytes, and at most {most:,} are read into memory; name a smaller file"
        )
    return path.read_bytes()


def _joined(digests: Sequence[str]) -> str:
    return digests[0] if len(digests) == 1 else sha256("\n".join(digests).encode())


def _read(place: str | HubData) -> Source:
    if not isinstance(place, str):
        return resolve_name(HUB_READER)(place)
    # Path.is_dir raises where a name is too long, and for others that no file can have.
    if os.path.isdir(place):
        return _saved(Path(place))
    data = _bytes(Path(place))
    suffix = Path(place).suffix.lower()
    kind = "parquet" if suffix == ".parquet" or data[:4] == PARQUET else "csv" if suffix == ".csv" else "lines"
    return Source(told=place, kind=kind, pieces=(data,), digest=sha256(data))


def _bytes(path: Path) -> bytes:
    try:
        return content_of(path, most=MOST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(
            f"there is no file {path}; relative paths start at the recipe's folder, and a data set of the hub is "
            "written {hub: NAME, split: SPLIT, revision: COMMIT}"
        ) from None
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}; correct the path, or make the file readable") from None


def _saved(folder: Path) -> Source:
    """Return a folder that `Dataset.save_to_disk` wrote."""
    if (folder / "dataset_dict.json").is_file():
        splits = [name for name in _listed(_json(folder / "dataset_dict.json"), "splits") if (folder / name).is_dir()]
        raise ValueError(
            f"{folder} holds the splits {', '.join(splits) or 'of a data set, and none of them is there'}; name one "
            f"of them, for example {folder / (splits[0] if splits else 'train')}"
        )
    if not (folder / "state.json").is_file():
        raise ValueError(
            f"{folder} is a folder, and no data set that `datasets` saved (save_to_disk); name a JSON Lines, CSV or "
            "Parquet file, or several as a list"
        )
    names = list(_data_files(_json(folder / "state.json")))
    if not names or any(Path(name).name != name for name in names):
        raise ValueError(f"{folder / 'state.json'} names no data files of this folder; save the data set again")
    pieces = tuple(_bytes(folder / name) for name in names)
    return Source(told=str(folder), kind="arrow", pieces=pieces, digest=_joined([sha256(piece) for piece in pieces]))


def _data_files(state: Any) -> Iterator[str]:
    for entry in _listed(state, "_data_files", of=dict):
        if isinstance(name := entry.get("filename"), str):
            yield name


def _listed(data: Any, key: str, *, of: type = str) -> list[Any]:
    found = data.get(key) if isinstance(data, Mapping) else None
    return [entry for entry in found if isinstance(entry, of)] if isinstance(found, list) else []


def _json(path: Path) -> Any:
    data = _bytes(path)
    try:
        return parsed(data, strict=False)
    except ValueError:
        raise ValueError(f"{path} is not valid JSON; save the data set again") from None
