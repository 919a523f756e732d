"""A lineage's copy as one tar file or as a folder: written, and read as something that a stranger made.

    quickstart.tar      quickstart/copy.json first, then every file that it lists, in its order; not compressed
    quickstart/         the same files

`tar xf` unpacks the file to the folder. Weights and Parquet hardly shrink, and what is not compressed cannot unpack to
more than it is. The list comes first, so that a reader knows every name and size before it takes in anything.

Read are plain files under the listed names, each of the listed size and SHA-256. Links, devices, sparse and unlisted
files, and names that lead elsewhere are refused; nothing is written here. Left out: whether the files are a sound
lineage (`transfer.py`).
"""

import hashlib
import os
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from bootstrap import reading
from bootstrap.errors import StoreCorrupt, StoreError
from bootstrap.reading import MAX_DOCUMENT_BYTES, Folder, NamedFolder, Root, named_folder, open_named
from bootstrap.store import durable
from bootstrap.store.copies import LIST_NAME, CopyList, ListedFile, check_layout, read_list

SUFFIX = ".tar"
_BLOCK = tarfile.BLOCKSIZE
_CHUNK = 1 << 20
_USTAR_SIZES = 8**11
_REMEDY = "export the lineage again"
_AGAIN = "something writes to the store's files; export again"


def parts_of_archive(listed: CopyList, root: Path, beside: Mapping[str, bytes]) -> Iterator[bytes]:
    """Yield the bytes of a tar file with the list and every file that it names, from the lineage's folder `root`.

    `beside`: name -> content that stands for the file in the folder. Equal lists give equal bytes. Raises StoreError,
    StoreCorrupt for a file that is not as listed.
    """
    head = listed.to_file()
    yield from _member(f"{listed.lineage}/{LIST_NAME}", len(head), [head])
    for name, parts in contents_of(listed, root, beside):
        yield from _member(f"{listed.lineage}/{name}", listed.files[name].size, parts)
    yield bytes(2 * _BLOCK)


def contents_of(listed: CopyList, root: Path, beside: Mapping[str, bytes]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield (name, parts of its content) of every listed file of the lineage's folder `root`; raises as above."""
    for name, file in listed.files.items():
        parts = iter([beside[name]]) if name in beside else Root(root).parts(name)
        yield name, _proved(parts, file, place=str(root / name), remedy=_AGAIN)


class Copy(ABC):
    """A copy on disk that a stranger may have made, open for reading once from front to back."""

    def __init__(self, place: Path, listed: CopyList) -> None:
        self.place, self.listed = place, listed

    @abstractmethod
    def contents(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Yield (name, parts of its content) of every listed file, each to be read before the next.

        Raises StoreCorrupt naming the file that is missing, not listed, given twice, no plain file, or not as listed.
        """

    def _refusal(self, fault: str) -> StoreCorrupt:
        return StoreCorrupt(f"{self.place} is no sound copy of a lineage: {fault}; {_REMEDY}")


def is_copy(path: Path) -> bool:
    """Whether `path` is the copy of a lineage by its name (a tar file) or its content (a folder with a list)."""
    with durable.store_errors(path, doing="read"):
        return os.path.lexists(path / LIST_NAME) if path.is_dir() else path.suffix == SUFFIX


@contextmanager
def opened(path: Path) -> Iterator[Copy]:
    """Open the copy in the tar file or folder `path`. Raises StoreError, StoreCorrupt."""
    with durable.store_errors(path, doing="read"):
        is_folder = path.is_dir()
    if is_folder:
        with named_folder(path) as folder:
            yield FolderCopy(path, folder)
    else:
        with open_named(path) as file:
            yield TarCopy(path, file)


class FolderCopy(Copy):
    """A copy that is a folder."""

    def __init__(self, place: Path, folder: NamedFolder) -> None:
        self._folder = folder
        data = folder.read(LIST_NAME, most=MAX_DOCUMENT_BYTES)
        super().__init__(place, read_list(data, place=str(place / LIST_NAME)))

    def contents(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        there = set(self._walk(self._folder))
        if stray := sorted(there - self.listed.files.keys() - {LIST_NAME}):
            raise self._refusal(f"it holds {stray[0][:200]!r}, which {LIST_NAME} does not list")
        if lost := sorted(self.listed.files.keys() - there):
            raise self._refusal(f"{lost[0]} is missing")
        for name, file in self.listed.files.items():
            place = f"{self.place / name}"
            yield name, _proved(self._folder.parts(name), file, place=place, remedy=_REMEDY)

    def _walk(self, folder: Folder) -> Iterator[str]:
        """Yield the names of all files below a folder. Raises StoreCorrupt for anything else than files and folders."""
        for entry in folder.names():
            name = (folder.path / entry).relative_to(self.place).as_posix()
            match folder.kind(entry):
                case reading.FOLDER:
                    # Four parts are the deepest that a lineage has.
                    if name.count("/") > 2:
                        raise self._refusal(f"{name[:200]!r} is no folder of a lineage")
                    with folder.folder(entry) as inner:
                        yield from self._walk(inner)
                case reading.FILE:
                    yield name
                case _:
                    raise self._refusal(f"{name[:200]!r} is a link or a device")


class TarCopy(Copy):
    """A copy that is a tar file, read block by block: no extension of the format is interpreted."""

    def __init__(self, place: Path, file: BinaryIO) -> None:
        self.place, self._file = place, file
        header = self._header()
        if header is None or not header.name.endswith(f"/{LIST_NAME}"):
            raise self._refusal(f"it does not begin with {LIST_NAME}")
        if header.size > MAX_DOCUMENT_BYTES:
            raise self._refusal(f"{LIST_NAME} has {header.size} bytes, more than {MAX_DOCUMENT_BYTES}")
        self._top = header.name.removesuffix(LIST_NAME)
        data = b"".join(self._body(header.size))
        super().__init__(place, read_list(data, place=f"{place}: {LIST_NAME}"))

    def contents(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        left = dict(self.listed.files)
        while (header := self._header()) is not None:
            name = header.name.removeprefix(self._top)
            if name == header.name or name not in left:
                twice = name in self.listed.files
                raise self._refusal(f"it holds {header.name[:200]!r}{' twice' if twice else ', which is not listed'}")
            file = left.pop(check_layout(name, place=str(self.place)))
            if header.size != file.size:
                raise self._refusal(f"{name} has {header.size} bytes, {file.size} are listed")
            yield name, _proved(self._body(header.size), file, place=f"{self.place}: {name}", remedy=_REMEDY)
        if left:
            raise self._refusal(f"{min(left)} is missing")

    def _header(self) -> tarfile.TarInfo | None:
        """Return the next file's header; None at the end. Raises StoreCorrupt for what is no plain file."""
        with durable.store_errors(self.place, doing="read"):
            block = self._file.read(_BLOCK)
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except tarfile.HeaderError as error:
            if block == bytes(_BLOCK):
                return None
            reason = "it ends in the middle" if len(block) < _BLOCK else f"{error} at byte {self._file.tell() - _BLOCK}"
            raise self._refusal(reason) from None
        except UnicodeDecodeError:
            raise self._refusal(f"a name is no UTF-8 text at byte {self._file.tell() - _BLOCK}") from None
        if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or header.size < 0:
            kind = "a folder" if header.isdir() else "a link, a device or an extension of the format"
            raise self._refusal(f"{header.name[:200]!r} is {kind}; a copy has plain files alone")
        return header

    def _body(self, size: int) -> Iterator[bytes]:
        left = size
        while left:
            with durable.store_errors(self.place, doing="read"):
                part = self._file.read(min(left, _CHUNK))
            if not part:
                raise self._refusal("it ends in the middle of a file")
            left -= len(part)
            yield part
        with durable.store_errors(self.place, doing="read"):
            self._file.read(-size % _BLOCK)


def _proved(parts: Iterator[bytes], file: ListedFile, *, place: str, remedy: str) -> Iterator[bytes]:
    """Yield the parts of a file's content. Raises StoreCorrupt where they differ, at the end at the latest."""
    digest, size = hashlib.sha256(), 0
    for part in parts:
        size += len(part)
        if size > file.size:
            raise StoreCorrupt(f"{place} has more than the {file.size} bytes that are listed; {remedy}")
        digest.update(part)
        yield part
    if size != file.size:
        raise StoreCorrupt(f"{place} has {size} bytes, {file.size} are listed; {remedy}")
    if (found := digest.hexdigest()) != file.sha256:
        raise StoreCorrupt(f"{place} is not as listed: expected SHA-256 {file.sha256}, found {found}; {remedy}")


def _member(name: str, size: int, parts: Iterator[bytes] | list[bytes]) -> Iterator[bytes]:
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, durable.WRITABLE
    # Both forms are one block: the older one cannot say more than 8 GiB, the newer one has shorter names.
    newer = size >= _USTAR_SIZES
    try:
        block = header.tobuf(tarfile.GNU_FORMAT if newer else tarfile.USTAR_FORMAT, "utf-8", "strict")
    except ValueError as error:
        raise StoreError(f"{name} does not fit into a tar file ({error}); export into a folder instead") from None
    if len(block) != _BLOCK:
        raise StoreError(f"{PurePosixPath(name)} is too long a name for a tar file; export into a folder instead")
    yield block
    yield from parts
    yield bytes(-size % _BLOCK)
