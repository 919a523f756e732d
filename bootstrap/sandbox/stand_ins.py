"""Replacements for common facilities that the confinement takes away, provided before a program runs.

    facility                        replacement
    `/dev/stdin` and its like       the descriptors that a program holds anyway
    a pair of sockets (`asyncio`)   a pair of pipes, which wakes a loop as well

A program may change everything here; nothing here decides anything.
"""

import builtins
import io
import os
import socket
from typing import Any

STANDARD_STREAMS = {
    f"{folder}/{name}": fd
    for folder, names in {
        "/dev": ("stdin", "stdout", "stderr"),
        "/dev/fd": ("0", "1", "2"),
        "/proc/self/fd": ("0", "1", "2"),
    }.items()
    for fd, name in enumerate(names)
}
"""File -> descriptor."""


def provide() -> None:
    """Install all replacements in this process."""
    builtins.open = io.open = _Opening(io.open, named="file")  # type: ignore[assignment]
    os.open = _Opening(os.open, named="path", is_raw=True)  # type: ignore[assignment]
    socket.socketpair = _pair_of_pipes  # type: ignore[assignment]


class _Opening:
    """Opens files as the replaced function does. An object, since a class would bind a function of Python's.

    `named`: that function's name for its first argument.
    """

    def __init__(self, real: Any, *, named: str, is_raw: bool = False) -> None:
        self._real = real
        self._named = named
        self._is_raw = is_raw

    def __call__(self, *args: Any, **named: Any) -> Any:
        given = args[0] if args else named.get(self._named)
        fd = STANDARD_STREAMS.get(os.fsdecode(given)) if isinstance(given, str | bytes | os.PathLike) else None
        # A file given twice, by place and by name, is refused by the function itself.
        if fd is None or (args and self._named in named):
            return self._real(*args, **named)
        others = {name: value for name, value in named.items() if name != self._named}
        return os.dup(fd) if self._is_raw else self._real(os.dup(fd), *args[1:], **others)


class _End:
    """One end of a pair; bytes sent into it come out of the other."""

    def __init__(self, reading: int, writing: int, *, shown: int) -> None:
        self._fds = (reading, writing)
        self._shown = shown

    def fileno(self) -> int:
        """Return the descriptor to wait on for this end, or -1 once it is closed."""
        return self._shown if self._fds else -1

    def setblocking(self, flag: bool) -> None:
        """Make both directions block, or not."""
        for fd in self._fds:
            os.set_blocking(fd, flag)

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes from the other end."""
        return os.read(self._fds[0], size)  # pyright: ignore[reportGeneralTypeIssues]  # raises once closed

    def send(self, data: bytes) -> int:
        """Send bytes to the other end and return how many."""
        return os.write(self._fds[1], data)  # pyright: ignore[reportGeneralTypeIssues]  # raises once closed

    def close(self) -> None:
        """Close both directions; a second call does nothing."""
        fds, self._fds = self._fds, ()
        for fd in fds:
            os.close(fd)


def _pair_of_pipes(*_: Any, **__: Any) -> tuple[_End, _End]:
    """Return two ends; one waits on the first for bytes, on the second for room."""
    (one_reads, other_writes), (other_reads, one_writes) = os.pipe(), os.pipe()
    return _End(one_reads, one_writes, shown=one_reads), _End(other_reads, other_writes, shown=other_writes)
