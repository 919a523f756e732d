"""The one reader of files that somebody else may have made: stores, copies of lineages, folders of models.

    the folder that a person names          may be a link: it is the person's own word
    everything below it                     folders and regular files, opened part by part; no link is followed

A file is looked at before it is opened, so that a pipe is never waited for and a device never touched. It is read up to
a size that its kind may have, and JSON up to a depth. Every refusal is a `StoreCorrupt` that names the file and the
remedy. One kind of link is known: those of the hub's cache, where a model's files are links to `../../blobs/HASH`.

Left out: what the files mean, and writing (`store/durable.py`). Nothing here holds against a program that changes a
store while it is read; whoever may do that may also write what is read next.
"""

import errno
import io
import json
import math
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from bootstrap.errors import StoreCorrupt, StoreError
from bootstrap.machine import total_memory

MAX_JSON_BYTES = 32 << 20
"""Of a header, a record, a manifest, a mark, a recipe."""
MAX_DOCUMENT_BYTES = 256 << 20
"""Of other JSON and text: a copy's list, an artifact's document, a tokenizer."""
MAX_BYTES = 1 << 60
"""Of weights and tables, whose size stands in a manifest or whose folder the person named."""
MAX_DEPTH = 100
"""Of nested lists and objects: what follows parsing may recurse."""
MAX_DIGITS = 40
"""Of a whole number: Python takes time that grows with the square of them, and floats end at 308."""
PART_BYTES = 1 << 20
READ_EVENT = "bootstrap.read"
"""Audit event of each file that is opened, with its path: the interpreter's own event has the last part alone."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_REMEDY = "put the file itself in its place, or take an intact copy"
FILE, FOLDER, LINK = "a regular file", "a folder", "a symbolic link"
_KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: FOLDER,
    stat.S_IFLNK: LINK,
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}
_BLOB = re.compile(r"\.\./\.\./blobs/[0-9a-f]{40,64}")
"""Where the links of the hub's cache lead."""
_REMEDIES = {
    errno.ENOSPC: "no space is left on the disk: free some space, or choose another folder with --store",
    errno.EDQUOT: "the disk quota is used up: free some space, or choose another folder with --store",
    errno.EROFS: "the file system is read-only: choose another folder with --store",
    errno.EACCES: "permission denied: change the folder's permissions, or choose another folder with --store",
    errno.EPERM: "the operation is not permitted there: choose another folder with --store",
    errno.ENOENT: "the file or its folder does not exist: check the path, or choose another folder with --store",
    errno.ENOTDIR: "a file stands where a folder is needed: move it away, or choose another folder with --store",
}


@contextmanager
def store_errors(path: Path, *, doing: str = "write") -> Iterator[None]:
    """Turn an `OSError` in the block into a `StoreError` about `path`; `FileExistsError` and `StoreError` pass."""
    try:
        yield
    except (StoreError, FileExistsError):
        raise
    except OSError as error:
        raise _failed(error, path, doing=doing) from error


class OpenFile:
    """An open regular file, read where it is needed; a context manager."""

    def __init__(self, path: str, descriptor: int) -> None:
        """Raise StoreCorrupt, and close it, if it is no regular file."""
        self.path, self._descriptor = path, descriptor
        found = os.fstat(descriptor)
        self.size = found.st_size
        try:
            _check_regular(found, path)
        except StoreCorrupt:
            os.close(descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def whole(self) -> bytes:
        """Return all bytes. Raises StoreError."""
        if self.size > PART_BYTES and self.size > total_memory():
            raise StoreError(f"{self.path} has {self.size:,} bytes, more than this machine has memory for")
        try:
            with io.FileIO(self._descriptor, closefd=False) as file:
                return file.readall()
        except MemoryError:
            raise StoreError(f"{self.path} has {self.size:,} bytes, more than there is memory for now") from None
        except OSError as error:
            raise _failed(error, self.path) from error

    def part(self, begin: int, end: int) -> bytes:
        """Return the bytes from `begin` up to `end`, fewer where the file ends before. Raises StoreError."""
        try:
            return os.pread(self._descriptor, end - begin, begin)
        except OSError as error:
            raise _failed(error, self.path) from error

    def parts(self, begin: int, end: int) -> Iterator[bytes]:
        """Yield the same in parts, for what may be larger than memory. Raises StoreCorrupt where the file ends."""
        while begin < end:
            part = self.part(begin, min(end, begin + PART_BYTES))
            if not part:
                raise StoreCorrupt(f"{self.path} ends at byte {begin}, before byte {end}; {_REMEDY}")
            yield part
            begin += len(part)

    def stream(self) -> io.BufferedReader:
        """Return the file as an object to be read from front to back, which ends with this one."""
        return os.fdopen(self._descriptor, "rb", closefd=False)


class Folder:
    """An open folder; a context manager. Names are relative to it and may hold folders: `model/config.json`."""

    def __init__(self, place: str, descriptor: int) -> None:
        self._place, self._descriptor = place, descriptor

    @property
    def path(self) -> Path:
        return Path(self._place)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._descriptor)

    def names(self) -> list[str]:
        """Return what the folder holds, sorted. Raises StoreError."""
        with store_errors(self.path, doing="read"):
            return sorted(os.listdir(self._descriptor))

    def kind(self, name: str) -> str | None:
        """Return what stands directly in the folder under a name, as `a regular file`; None for nothing."""
        with store_errors(self.path / name, doing="read"), suppress(FileNotFoundError):
            return _kind(os.stat(name, dir_fd=self._descriptor, follow_symlinks=False))
        return None

    def folder(self, name: str) -> "Folder":
        """Open a folder directly in it. Raises StoreCorrupt for a link or a file, StoreError where it is missing."""
        place = f"{self._place}/{name}"
        found = _opened_below(self._descriptor, parts_of(name)[0], place)
        if found is None:
            raise _missing(place)
        return Folder(place, found)

    def size(self, name: str) -> int | None:
        """Return a file's bytes; None where it is missing. Raises StoreCorrupt for what is no regular file."""
        found = self._found(name, opened=False)
        return found if isinstance(found, int) else None

    def open_if_there(self, name: str) -> OpenFile | None:
        """Open a file; return None where it is missing. Raises StoreCorrupt for what is no regular file, StoreError."""
        found = self._found(name, opened=True)
        return found if isinstance(found, OpenFile) else None

    def file(self, name: str) -> OpenFile:
        """Open a file. Raises as `open_if_there`, and StoreError where it is missing."""
        found = self.open_if_there(name)
        if found is None:
            raise _missing(self.path / name)
        return found

    def read_if_there(self, name: str, *, most: int) -> bytes | None:
        """Return a file's bytes; None where it is missing.

        Raises StoreCorrupt for what is no regular file or has more than `most` bytes, StoreError.
        """
        file = self.open_if_there(name)
        if file is None:
            return None
        with file:
            if file.size > most:
                raise StoreCorrupt(
                    f"{file.path} has {file.size:,} bytes, more than the {most:,} that such a file may have; {_REMEDY}"
                )
            return file.whole()

    def read(self, name: str, *, most: int) -> bytes:
        """Return a file's bytes. Raises as `read_if_there`, and StoreError where the file is missing."""
        found = self.read_if_there(name, most=most)
        if found is None:
            raise _missing(self.path / name)
        return found

    def parts(self, name: str) -> Iterator[bytes]:
        """Yield a file's bytes in parts. Raises as `file`."""
        with self.file(name) as file:
            yield from file.parts(0, file.size)

    def _found(self, name: str, *, opened: bool) -> OpenFile | int | None:
        """Return an open regular file, or else its size; None where it is missing."""
        *folders, last = parts_of(name)
        folder, way, place = self._descriptor, list[int](), f"{self._place}/{name}"
        try:
            for part in folders:
                found = _opened_below(folder, part, place)
                if found is None:
                    return None
                folder = found
                way.append(found)
            target = self._target(folder, last)
            status = os.stat(target, dir_fd=folder, follow_symlinks=False)
            _check_regular(status, place)
            if not opened:
                return status.st_size
            sys.audit(READ_EVENT, place)
            return OpenFile(place, os.open(target, _FILE, dir_fd=folder))
        except FileNotFoundError:
            return None
        except StoreError:
            raise
        except OSError as error:
            raise _failed(error, place) from error
        finally:
            for one in way:
                os.close(one)

    def _target(self, folder: int, name: str) -> str:
        return name


class NamedFolder(Folder):
    """The open folder of a model that a person named: links of the hub's cache lead to its blobs."""

    def files(self) -> list[str]:
        """Return the names of the files directly in it, sorted; other folders, as of an original checkpoint, are left.

        A pipe, a device or a link to elsewhere among them is found by whoever reads it.
        """
        return [name for name in self.names() if self.kind(name) != FOLDER]

    def contents(self, wanted: Callable[[str], bool]) -> dict[str, bytes]:
        """Return the bytes of those files directly in it whose names are wanted. Raises StoreError, StoreCorrupt."""
        return {name: self.content(name) for name in self.files() if wanted(name)}

    def content(self, name: str) -> bytes:
        """Return the bytes of one of its files, weights or text. Raises as `read`."""
        return self.read(name, most=MAX_BYTES if name.endswith(".safetensors") else MAX_DOCUMENT_BYTES)

    def _target(self, folder: int, name: str) -> str:
        try:
            led = os.readlink(name, dir_fd=folder)
        except OSError:
            return name
        return led if _BLOB.fullmatch(led) else name


@dataclass(frozen=True, slots=True)
class Root:
    """A lineage's folder, or another that lies in a store; constructing it touches nothing.

    The store around it may be a link, the folder itself may not.
    """

    path: Path

    def open(self, *names: str) -> Folder:
        """Open the folder, or the one that `names` lead to below it.

        Raises StoreCorrupt for a link or a file on the way, StoreError where one is missing.
        """
        place = self.path.joinpath(*names)
        found = self.open_if_there(*names)
        if found is None:
            raise _missing(place)
        return found

    def open_if_there(self, *names: str) -> Folder | None:
        """Open the folder as `open` does; return None where it is missing."""
        place = os.fspath(self.path)
        descriptor = _opened_below(None, place, place)
        for name in names:
            if descriptor is None:
                return None
            above, place = descriptor, f"{place}/{name}"
            try:
                descriptor = _opened_below(above, parts_of(name)[0], place)
            finally:
                os.close(above)
        return None if descriptor is None else Folder(place, descriptor)

    def read(self, name: str, *, most: int = MAX_JSON_BYTES) -> bytes:
        """Return the bytes of a file below the folder, as `Folder.read` does."""
        with self.open() as folder:
            return folder.read(name, most=most)

    def read_if_there(self, name: str, *, most: int = MAX_JSON_BYTES) -> bytes | None:
        """Return the bytes of a file below the folder, as `Folder.read_if_there` does; None without the folder, too."""
        if (folder := self.open_if_there()) is None:
            return None
        with folder:
            return folder.read_if_there(name, most=most)

    def size(self, name: str) -> int | None:
        """Return a file's bytes, as `Folder.size` does; None without the folder, too."""
        if (folder := self.open_if_there()) is None:
            return None
        with folder:
            return folder.size(name)

    def parts(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a file below the folder, as `Folder.parts` does."""
        with self.open() as folder:
            yield from folder.parts(name)


def named_folder(path: Path) -> NamedFolder:
    """Open a folder that a person named, which may be a link. Raises StoreError."""
    with store_errors(path, doing="read"):
        return NamedFolder(os.fspath(path), os.open(path, _FOLDER))


def read_named(path: Path, *, most: int) -> bytes:
    """Return the bytes of a file that a person named, which may be a link. Raises as `Folder.read`."""
    real = Path(os.path.realpath(path))
    with named_folder(real.parent) as folder:
        return folder.read(real.name, most=most)


@contextmanager
def open_named(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file that a person named, which may be a link, to be read from front to back. Raises as `Folder.file`."""
    real = Path(os.path.realpath(path))
    with named_folder(real.parent) as folder, folder.file(real.name) as file, file.stream() as stream:
        yield stream


def parts_of(name: str) -> list[str]:
    """Return the parts of a relative name. Raises StoreCorrupt for one that leads elsewhere."""
    parts = name.split("/")
    unsafe = "" in parts or "." in parts or ".." in parts or "\0" in name
    if unsafe or not (name.isascii() or _can_be_encoded(name)):
        raise StoreCorrupt(f"{name!r} names no file below a folder; {_REMEDY}")
    return parts


def _can_be_encoded(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


def parsed(data: bytes, *, strict: bool = True) -> Any:
    """Return the JSON value in `data`. Raises ValueError for what is none, nested too deeply, or with a huge number.

    `strict`: also refuse keys that stand twice in an object and numbers that are not finite, which none of this
    program's records have.
    """
    try:
        if strict:
            found = json.loads(
                data,
                object_pairs_hook=_once,
                parse_int=_whole,
                parse_float=_finite,
                parse_constant=_finite,
            )
        else:
            found = json.loads(data, parse_int=_whole)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        _check_depth(found)
    return found


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return
    raise ValueError(f"it is nested more than {MAX_DEPTH} deep")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands in it twice")
    return found


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"it holds a number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise ValueError(f"it holds the number {text[:MAX_DIGITS]}, which is not finite")
    return found


def _opened_below(above: int | None, name: str, place: str) -> int | None:
    """Open the folder `name` below `above` (None: a path); return None where it is missing. A link is refused."""
    try:
        found = os.stat(name, dir_fd=above, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode):
            raise _refusal(found, place, wanted=FOLDER)
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=above)
    except FileNotFoundError:
        return None
    except StoreError:
        raise
    except OSError as error:
        raise _failed(error, place) from error


def _check_regular(found: os.stat_result, path: object) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise _refusal(found, path, wanted=FILE)


def _kind(found: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(found.st_mode), "a device")


def _refusal(found: os.stat_result, path: object, *, wanted: str) -> StoreCorrupt:
    kind = _kind(found)
    why = ", and nothing below the folder that was named is read through links" if kind == LINK else ""
    return StoreCorrupt(f"{path} is {kind}, where {wanted} is needed{why}; {_REMEDY}")


def _failed(error: OSError, path: object, *, doing: str = "read") -> StoreError:
    remedy = f"{error.strerror}: check the disk, or choose another folder with --store"
    return StoreError(f"cannot {doing} {path}: {_REMEDIES.get(error.errno or 0, remedy)}")


def _missing(path: object) -> StoreError:
    return StoreError(f"cannot read {path}: {_REMEDIES[errno.ENOENT]}")
