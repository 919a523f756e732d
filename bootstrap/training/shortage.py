"""A full disk or too little memory, while a model is opened distinguished from faults of the model's files.

Libraries wrap system errors in their own, and torch has no type for a failed allocation, so the whole chain of causes
is read. Left out: processes that the kernel kills for lack of memory.
"""

import errno
import gc
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError

from bootstrap.errors import BootstrapError, RecipeError, StoreError

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_MEMORY = re.compile(r"(not enough|out of|can't allocate|cannot allocate) memory|std::bad_alloc|ALLOC_FAILED", re.I)
_WANTED = re.compile(r"tried to allocate (\d+) bytes", re.I)
_MOST = 8
"""Most bytes in memory per byte of weights: float8 opened as float64."""


@contextmanager
def told(place: str, *, weights: int | None = None) -> Iterator[None]:
    """Report a full disk or too little memory, with a remedy, while the block opens the model at `place`.

    `weights`: their bytes, if known; one allocation of far more is a fault of the files. Raises StoreError for a full
    disk, RecipeError for too little memory; other errors pass.
    """
    try:
        yield
    except Exception as error:
        for cause in _causes(error):
            match cause:
                case StoreError():
                    raise StoreError(str(cause)) from error
                case OSError(errno=int(code), filename=file) if code in _DISK:
                    where = "" if file is None else f": {file}"
                    raise StoreError(
                        f"{place} cannot be opened: {os.strerror(code)}{where}; free some space, or name folders that "
                        "have some: TMPDIR for temporary files, HF_HOME for what is fetched from the hub"
                    ) from error
            if is_of_memory(cause, weights):
                holds = "" if weights is None else f" ({weights / 2**30:.3g} GiB)"
                raise RecipeError(
                    f"{place} cannot be opened: the memory does not suffice; opening it takes several times what its "
                    f"weights take{holds}, so end other programs, or import it on a machine with more memory"
                ) from error
        raise


def give_back() -> None:
    """Give what a failed pass held back to the device, once its error is gone, whose frames hold it."""
    # Only a process that holds a model has torch loaded.
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its chain of causes."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def is_of_memory(error: BaseException, weights: int | None = None) -> bool:
    """Whether an error says that memory ran out; `weights`: bytes of the file being opened, if any."""
    match error:
        case MemoryError() | OSError(errno=errno.ENOMEM):
            return True
        # This program's own messages are not read.
        case BootstrapError():
            return False
        # RuntimeError is torch's.
        case RuntimeError() | OSError() | SafetensorError():
            wanted = _WANTED.search(str(error))
            is_fault = wanted and weights is not None and int(wanted[1]) > _MOST * weights
            return not is_fault and _MEMORY.search(str(error)) is not None
    return False
