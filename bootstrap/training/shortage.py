"""A full disk or too little memory while a model is opened, told apart from what is wrong with the model's files.

Libraries wrap what the system says in errors of their own, and torch has no type for a failed allocation, so the whole
chain of causes is read. Left out: processes that the kernel kills for want of memory, which say nothing any more.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError

from bootstrap.errors import BootstrapError, RecipeError, StoreError

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_MEMORY = re.compile(r"(not enough|out of|can't allocate|cannot allocate) memory|std::bad_alloc", re.I)
_WANTED = re.compile(r"tried to allocate (\d+) bytes", re.I)
_MOST = 8
"""Bytes that a byte of weights becomes at most where it is opened: one of float8 in float64."""


@contextmanager
def told(place: str, *, weights: int | None = None) -> Iterator[None]:
    """Tell what this machine lacks while the block opens the model at `place`, with a remedy.

    `weights`: their bytes, if known; what asks for far more in one piece is no shortage. Raises StoreError for want of
    room on a disk, RecipeError for want of memory; everything else passes.
    """
    try:
        yield
    except Exception as error:
        for cause in _causes(error):
            if isinstance(cause, StoreError):
                raise StoreError(str(cause)) from error
            if isinstance(cause, OSError) and cause.errno in _DISK:
                raise StoreError(
                    f"{place} cannot be opened: {os.strerror(cause.errno)}{_where(cause)}; free some space, or name "
                    "folders that have some: TMPDIR for temporary files, HF_HOME for what is fetched from the hub"
                ) from error
            if _is_of_memory(cause, weights):
                holds = "" if weights is None else f" ({weights / 2**30:.3g} GiB)"
                raise RecipeError(
                    f"{place} cannot be opened: the memory does not suffice; opening it takes several times what its "
                    f"weights take{holds}, so end other programs, or import it on a machine with more memory"
                ) from error
        raise


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it goes back to."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _where(error: OSError) -> str:
    return "" if error.filename is None else f": {error.filename}"


def _is_of_memory(error: BaseException, weights: int | None) -> bool:
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    # RuntimeError is torch's; what this program says itself is not read.
    if isinstance(error, BootstrapError) or not isinstance(error, RuntimeError | OSError | SafetensorError):
        return False
    wanted = _WANTED.search(str(error))
    if wanted and weights is not None and int(wanted[1]) > _MOST * weights:
        return False
    return _MEMORY.search(str(error)) is not None
