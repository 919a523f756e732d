"""The only module that writes files. A file or folder is complete or absent, and durable once the call has returned.

A file is written under a temporary name in its own folder, synced, then given its real name, and the folder is synced.
A folder is staged the same way, as a whole. A killed writer leaves only names that begin with `TEMPORARY_PREFIX`, which
`sweep` removes. It may also have renamed without reaching its sync, so `sweep` syncs the folder: files that the next
run builds on must not vanish afterwards.

Every failing file operation becomes a `StoreError` that names the path and the remedy, except `FileExistsError`, which
is an answer. Left out: locking (`lock.py`), hashing and naming (`artifacts.py`), the order of records (`ledger.py`).
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from bootstrap.errors import StoreCorrupt, StoreError
from bootstrap.reading import store_errors

TEMPORARY_PREFIX = ".tmp-"
WRITABLE = 0o644
READ_ONLY = 0o444
"""Mode of a file that is never written again: only the file descriptor that creates it may write."""


class Files:
    """The operations that change a disk, one per system call, so that tests can make them fail or lose data."""

    write, fsync, close = staticmethod(os.write), staticmethod(os.fsync), staticmethod(os.close)
    rename, link, unlink = staticmethod(os.rename), staticmethod(os.link), staticmethod(os.unlink)
    mkdir, rmdir = staticmethod(os.mkdir), staticmethod(os.rmdir)

    def open(self, path: Path, flags: int, mode: int = WRITABLE) -> int:
        return os.open(path, flags | os.O_CLOEXEC, mode)


OS = Files()


def check_name(name: str, *, depth: int = 1) -> PurePosixPath:
    """Return `name` as a relative path of at most `depth` parts. Raises StoreError if it can lead elsewhere."""
    parts = name.split("/")
    unsafe = any(part in ("", ".", "..") or part.startswith(TEMPORARY_PREFIX) for part in parts)
    if unsafe or len(parts) > depth or "\\" in name or "\0" in name:
        raise StoreError(
            f"{name!r} cannot name a stored file: use a relative name of at most {depth} parts, "
            f"without `..`, `\\` and the prefix {TEMPORARY_PREFIX}"
        )
    return PurePosixPath(name)


def make_folder(path: Path, *, files: Files = OS) -> None:
    """Create the folder `path` and its missing ancestors, durable once this returns. Raises StoreError."""
    path = path.absolute()
    with store_errors(path):
        missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
        for folder in reversed(missing):
            try:
                files.mkdir(folder)
            except FileExistsError as error:
                if not folder.is_dir():
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from error
            _sync_folder(folder.parent, files=files)
        if not missing:
            # A killed run may have created it without reaching the sync. An unreadable parent cannot be synced.
            with suppress(PermissionError):
                _sync_folder(path.parent, files=files)


def write_file(path: Path, data: bytes, *, files: Files = OS) -> None:
    """Replace or create the file `path`: readers see the old content or all of `data`. Raises StoreError."""
    temporary = temporary_beside(path)
    with store_errors(path), _discarded_on_failure(temporary, files=files):
        _create(temporary, data, files=files, mode=WRITABLE)
        files.rename(temporary, path)
        _sync_folder(path.parent, files=files)


def create_exclusively(path: Path, data: bytes, *, files: Files = OS) -> None:
    """Create the read-only file `path`, never torn. Raises FileExistsError if it exists, else StoreError."""
    temporary = temporary_beside(path)
    with store_errors(path), _discarded_on_failure(temporary, files=files):
        _create(temporary, data, files=files, mode=READ_ONLY)
        files.link(temporary, path)
        files.unlink(temporary)
        _sync_folder(path.parent, files=files)


def create_from(path: Path, parts: Iterable[bytes | memoryview], *, files: Files = OS) -> None:
    """Create the file `path` from its consecutive parts, never torn; they may be more than memory holds.

    Raises FileExistsError if it exists, else StoreError, and what `parts` raises.
    """
    temporary = temporary_beside(path)
    with store_errors(path), _discarded_on_failure(temporary, files=files):
        _create_from(temporary, parts, files=files, mode=WRITABLE)
        files.link(temporary, path)
        files.unlink(temporary)
        _sync_folder(path.parent, files=files)


def temporary_folder(path: Path, *, files: Files = OS) -> Path:
    """Return a new folder beside `path` under a name that readers skip, for `fill_folder`. Raises StoreError."""
    temporary = temporary_beside(path)
    with store_errors(path):
        files.mkdir(temporary)
    return temporary


def fill_folder(path: Path, contents: Iterable[tuple[str, Iterable[bytes]]], *, files: Files = OS) -> None:
    """Create read-only files below the folder `path`, each from its parts: (name of at most four parts, parts).

    All of them are durable once this returns, and some are there before: the folder has a temporary name, which readers
    skip, until `give_name`. Raises StoreError, and what `contents` raises.
    """
    assert is_temporary(path), "readers would see half of it"
    folders = {path}
    with store_errors(path):
        for name, parts in contents:
            target = path / check_name(name, depth=4)
            missing = [folder for folder in target.parents if folder.is_relative_to(path) and folder not in folders]
            try:
                for folder in reversed(missing):
                    files.mkdir(folder)
                    folders.add(folder)
                _create_from(target, parts, files=files, mode=READ_ONLY)
            except FileExistsError:
                raise StoreError(f"{target} is written twice; make the copy again") from None
        for folder in sorted(folders, reverse=True):
            _sync_folder(folder, files=files)


def give_name(staged: Path, path: Path, *, files: Files = OS) -> bool:
    """Rename the folder `staged` to `path` beside it, durable once this returns.

    Returns False, changing nothing, if a file or a non-empty folder is there. Raises StoreError.
    """
    with store_errors(path):
        try:
            files.rename(staged, path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            return False
        _sync_folder(path.parent, files=files)
    return True


def discard(path: Path, *, files: Files = OS) -> None:
    """Remove a folder under a temporary name, which readers skip, so that a killed removal leaves no more than before.

    A missing one is no error. Raises StoreError.
    """
    assert is_temporary(path), "readers would see half of it"
    with store_errors(path, doing="remove"), suppress(FileNotFoundError):
        _remove(path, files=files)
        _sync_folder(path.parent, files=files)


def write_folder(path: Path, contents: Mapping[str, bytes], *, files: Files = OS, mode: int = WRITABLE) -> bool:
    """Create the folder `path` with the files `contents` (name -> bytes): all of them or none.

    Names may hold one subfolder (`model/config.json`). Returns False, changing nothing, if a non-empty folder exists
    there. Raises StoreError.
    """
    return write_parts(path, {name: (data,) for name, data in contents.items()}, files=files, mode=mode)


def write_parts(
    path: Path, contents: Mapping[str, Iterable[bytes]], *, files: Files = OS, mode: int = WRITABLE
) -> bool:
    """Create a folder as `write_folder` does, each file from its parts. Raises StoreError, and what the parts raise."""
    names = {check_name(name, depth=2): parts for name, parts in contents.items()}
    stage = temporary_beside(path)
    with store_errors(path), _discarded_on_failure(stage, files=files):
        is_new = not (path.is_dir() and any(path.iterdir()))
        if is_new:
            files.mkdir(stage)
            folders = sorted({stage / name.parent for name in names} | {stage})
            for folder in folders[1:]:
                files.mkdir(folder)
            for name, parts in sorted(names.items()):
                _create_from(stage / name, parts, files=files, mode=mode)
            for folder in reversed(folders):
                _sync_folder(folder, files=files)
            try:
                files.rename(stage, path)
            except OSError as error:
                # Another process has finished the same folder since the check above.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                is_new = False
        _sync_folder(path.parent, files=files)
    return is_new


def remove_file(path: Path, *, files: Files = OS) -> None:
    """Remove the file `path`; a missing one is no error. Raises StoreError."""
    with store_errors(path, doing="remove"), suppress(FileNotFoundError):
        files.unlink(path)
        _sync_folder(path.parent, files=files)


def remove_folder(path: Path, *, files: Files = OS) -> None:
    """Remove the folder `path`; readers see all of it or none. A missing one is no error. Raises StoreError."""
    if not path.exists():
        return
    temporary = temporary_beside(path)
    with store_errors(path, doing="remove"):
        files.rename(path, temporary)
        _sync_folder(path.parent, files=files)
        _remove(temporary, files=files)


def rename_folder(path: Path, name: str, *, files: Files = OS) -> bool:
    """Give the folder `path` another name in its folder; return False, changing nothing, if there is none or one of it.

    Raises StoreError.
    """
    with store_errors(path):
        if not path.is_dir() or os.path.lexists(path.with_name(name)):
            return False
        files.rename(path, path.with_name(name))
        _sync_folder(path.parent, files=files)
    return True


def sweep(folder: Path, *, files: Files = OS) -> int:
    """Remove what killed writers left directly in `folder`, sync it, and return the number of leftovers.

    Only the folder's one writer may call it: the temporary files of a living writer would be removed too. Raises
    StoreError.
    """
    with store_errors(folder):
        leftovers = sorted(path for path in folder.iterdir() if is_temporary(path))
        for leftover in leftovers:
            _remove(leftover, files=files)
        _sync_folder(folder, files=files)
    return len(leftovers)


def is_temporary(path: Path) -> bool:
    """Whether `path` is a writer's temporary name, which readers skip."""
    return path.name.startswith(TEMPORARY_PREFIX)


def open_for_lock(path: Path) -> int:
    """Open the file `path` for reading and writing, created if missing; return its descriptor.

    Raises StoreError, and StoreCorrupt for a link or what else is no regular file: what it leads to would be written.
    """
    with store_errors(path):
        if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
            raise StoreCorrupt(f"{path} is no regular file; remove it, and the next run writes it again")
        return OS.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK)


def overwrite(descriptor: int, data: bytes) -> None:
    """Replace an open file's content in place, neither atomic nor synced: for the note in a held lock."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, data, 0)


def temporary_beside(path: Path) -> Path:
    """Return a path beside `path` under a new name that readers skip."""
    return path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"


def _create(path: Path, data: bytes, *, files: Files, mode: int) -> None:
    """Create `path` with `data`, synced; the folder is not synced. On failure a part may stay."""
    _create_from(path, (data,), files=files, mode=mode)


def _create_from(path: Path, parts: Iterable[bytes | memoryview], *, files: Files, mode: int) -> None:
    descriptor = files.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        for part in parts:
            rest = memoryview(part)
            while rest:
                rest = rest[files.write(descriptor, rest) :]
        files.fsync(descriptor)
    finally:
        files.close(descriptor)


def _sync_folder(path: Path, *, files: Files) -> None:
    descriptor = files.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        files.fsync(descriptor)
    finally:
        files.close(descriptor)


def _remove(path: Path, *, files: Files) -> None:
    if path.is_dir() and not path.is_symlink():
        for child in sorted(path.iterdir()):
            _remove(child, files=files)
        files.rmdir(path)
    else:
        files.unlink(path)


@contextmanager
def _discarded_on_failure(temporary: Path, *, files: Files) -> Iterator[None]:
    """Remove `temporary` if the block leaves it behind. If that fails too, `sweep` finds it later."""
    try:
        yield
    finally:
        with suppress(OSError):
            if os.path.lexists(temporary):
                _remove(temporary, files=files)
