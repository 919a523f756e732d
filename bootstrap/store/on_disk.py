"""A folder's files by name, of which large ones stay on the disk until they are asked for.

    files["config.json"]     the bytes, as of any mapping
    entries(files)           name -> bytes, or where the file lies, for whoever reads it in parts or elsewhere

So a model may be larger than the memory of the process that drives its workers. Left out: what the files mean.
"""

import hashlib
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bootstrap.canonical import sha256_of
from bootstrap.errors import StoreCorrupt, StoreError
from bootstrap.reading import OpenFile, Root
from bootstrap.store import durable

LARGE = 2**30
"""Bytes from which a file of a stored model stays on the disk."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that this program wrote or a person named, on a disk that all processes see under the same path."""

    path: Path
    size: int
    sha256: str | None = None
    """What the record says of it; None for a file that no record names yet."""

    def opened(self) -> OpenFile:
        """Open it. Raises StoreError where it is missing, StoreCorrupt for one of another size, a link or no file."""
        with Root(self.path.parent).open() as folder:
            file = folder.file(self.path.name)
        if file.size != self.size:
            with file:
                raise self._corrupt(f"expected {self.size} bytes, found {file.size}")
        return file

    def parts(self) -> Iterator[bytes]:
        """Yield its bytes in parts; raises StoreCorrupt at the end if they are not those of the record."""
        digest = hashlib.sha256()
        with self.opened() as file:
            for part in file.parts(0, file.size):
                digest.update(part)
                yield part
        self._check(digest.hexdigest())

    def read(self) -> bytes:
        """Return its bytes. Raises StoreError, StoreCorrupt."""
        with self.opened() as file:
            data = file.whole()
        self._check(sha256_of([data]))
        return data

    def check(self) -> None:
        """Raise StoreCorrupt if it is not what the record says."""
        for _ in self.parts():
            pass

    def _check(self, found: str) -> None:
        if self.sha256 not in (None, found):
            raise self._corrupt(f"expected SHA-256 {self.sha256}, found {found}")

    def _corrupt(self, fault: str) -> StoreCorrupt:
        return StoreCorrupt(f"{self.path} is corrupt: {fault}; restore it from a copy of the store")


Entry = bytes | StoredFile


class FolderFiles(Mapping[str, bytes]):
    """Files by name; one on the disk is read each time that it is asked for."""

    def __init__(self, entries: Mapping[str, Entry], *, keeps: object = None) -> None:
        """`keeps`: what must live as long as the files are needed in this process."""
        self.entries, self.keeps = dict(entries), keeps

    def __reduce__(self) -> tuple[type["FolderFiles"], tuple[Mapping[str, Entry]]]:
        # Another process keeps nothing alive here.
        return FolderFiles, (self.entries,)

    def __getitem__(self, name: str) -> bytes:
        entry = self.entries[name]
        return entry if isinstance(entry, bytes) else entry.read()

    def __contains__(self, name: object) -> bool:
        # A mapping would read the file to find out.
        return name in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __or__(self, others: Mapping[str, bytes]) -> "FolderFiles":
        return FolderFiles({**self.entries, **entries(others)}, keeps=(self, others))


def entries(files: Mapping[str, bytes]) -> Mapping[str, Entry]:
    """Return a folder's files, those on the disk as where they lie."""
    return files.entries if isinstance(files, FolderFiles) else files


def size_of(files: Mapping[str, bytes]) -> int:
    """Return the bytes of all files, without reading any."""
    return sum(len(one) if isinstance(one, bytes) else one.size for one in entries(files).values())


def parts_of(entry: Entry) -> Iterator[bytes]:
    """Yield a file's bytes in parts. Raises StoreError, StoreCorrupt."""
    if isinstance(entry, bytes):
        yield entry
    else:
        yield from entry.parts()


def renamed(files: Mapping[str, bytes], name: Callable[[str], str]) -> FolderFiles:
    """Return the same files under other names."""
    return FolderFiles({name(old): entry for old, entry in entries(files).items()}, keeps=files)


@contextmanager
def opened(files: Mapping[str, bytes]) -> Iterator[Mapping[str, bytes | OpenFile]]:
    """Yield the files with those on the disk open, to be read in parts. Raises StoreError, StoreCorrupt."""
    with ExitStack() as stack:
        yield {
            name: one if isinstance(one, bytes) else stack.enter_context(one.opened())
            for name, one in entries(files).items()
        }


class _Written:
    """The life of a folder that this run wrote."""


def written(folder: Path) -> FolderFiles:
    """Return what a process of this run wrote into a folder, which is removed once nobody here needs the files.

    The folder has a temporary name, so that the next run removes what a killed one leaves. Raises StoreError.
    """
    with Root(folder).open() as found:
        sizes = {name: found.size(name) for name in found.names()}
    life = _Written()
    weakref.finalize(life, _remove, folder)
    files = {name: StoredFile(folder / name, size) for name, size in sizes.items() if size is not None}
    return FolderFiles(files, keeps=life)


def _remove(folder: Path) -> None:
    # What stays is removed by the next run.
    with suppress(StoreError):
        durable.discard(folder)
