"""Standard output and standard error whose reader may leave, as `head` and a closed terminal do: the rest is dropped.

    main() --- with surviving(): ---> sys.stdout, sys.stderr = Surviving(...) ---> the terminal, a file or a pipe

A command goes on to its end and its own exit code, so `run | head` grows the lineage and `verify | head` still tells a
corrupt store by its code. A command that only follows something ends when `is_read` says that nobody reads.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from bootstrap.lineage.text import visible

MOST_LINES = 30
"""Lines of an error after its first."""


class Surviving:
    """A text stream that drops what is written once its reader has left; all else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.is_read = True

    def write(self, text: str) -> int:
        """Write as the stream does."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        """Flush as the stream does."""
        try:
            self._stream.flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        """Lead the stream to nowhere; what it has buffered goes there too, so that no later flush fails.

        Raises an `error` that tells something else than that nobody reads.
        """
        # A terminal that was closed fails with EIO.
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise error
        self.is_read = False
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def surviving() -> Iterator[None]:
    """Let standard output and standard error outlive their readers within the block."""
    streams = sys.stdout, sys.stderr
    wrapped = [Surviving(stream) if stream is not None else None for stream in streams]
    sys.stdout, sys.stderr = (cast(TextIO, stream) for stream in wrapped)
    try:
        yield
    finally:
        for stream in wrapped:
            if stream is not None:
                stream.flush()
        sys.stdout, sys.stderr = streams


def is_read() -> bool:
    """Whether standard output still has a reader, as far as writing to it has shown."""
    return getattr(sys.stdout, "is_read", True)


def stdout() -> TextIO:
    """Return standard output as it is at the moment."""
    return sys.stdout


def complain(message: str) -> None:
    """Print an error on standard error: at most `MOST_LINES`, control characters escaped.

    All lines but the first are indented, so that no line of a foreign text looks like one of ours.
    """
    first, *lines = visible(f"error: {message}").split("\n")
    more = len(lines) - MOST_LINES
    lines = [*lines[:MOST_LINES], *([f"and {more} lines more"] if more > 0 else [])]
    print("\n".join([first, *(line if line.startswith(" ") else f"  {line}" for line in lines)]), file=sys.stderr)
