"""Faults inside a driver's process: each function changes what a module does before the command begins.

A count, never a clock, decides when a fault comes, so that it comes at the same place each time.
"""

import errno
import itertools
import os
import random
import time
from collections.abc import Callable
from typing import Any

from bootstrap.store.durable import Files

FULL_AT = 150
"""Operations on the disk before it is full: in the middle of generation 1."""


def disk_full() -> None:
    """Let every write fail for want of space, from the middle of generation 1 on."""
    _fail("write", errno.ENOSPC, once=False)


def inodes_used_up() -> None:
    """Let no file be created, from the middle of generation 1 on."""
    _fail("open", errno.ENOSPC, once=False)


def disk_read_only() -> None:
    """Let every change fail, as on a file system that the kernel has made read-only after an error."""
    for operation in ("open", "mkdir", "rename", "link", "unlink"):
        _fail(operation, errno.EROFS, once=False)


def disk_error_once() -> None:
    """Let one sync fail."""
    _fail("fsync", errno.EIO, once=True)


def clock_jumps() -> None:
    """Let the clock of the day jump by up to ten days each way at each look."""
    generator, true = random.Random(0), time.time
    time.time = lambda: true() + generator.uniform(-864_000, 864_000)


def _fail(operation: str, code: int, *, once: bool) -> None:
    true, count = getattr(Files, operation), itertools.count()

    def failing(*arguments: Any, **named: Any) -> Any:
        number = next(count)
        if number == FULL_AT or (number > FULL_AT and not once):
            raise OSError(code, os.strerror(code))
        return true(*arguments, **named)

    keep: Callable[..., Any] = failing if operation == "open" else staticmethod(failing)
    setattr(Files, operation, keep)
