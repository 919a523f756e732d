"""Standard output and standard error whose reader may leave, as `head` and a closed terminal do: the rest is dropped.

    main() --- with surviving(): ---> sys.stdout, sys.stderr = Surviving(...) ---> the terminal, a file or a pipe

A command goes on to its end and its own exit code, so `run | head` grows the lineage and `verify | head` still tells a
corrupt store by its code. A command that only follows something ends when `is_read` says that nobody reads.

Standard error also gets what no function here has laid out: warnings, logs, tracebacks of threads, whose messages may
hold text of a model or of somebody else's store. So all that goes there is made `harmless`, and what Python prints of
an uncaught error too (`tell_tracebacks`).
"""

import errno
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
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


class Harmless:
    """A text stream that makes harmless what is written, so none for a live display; all else is the stream's own."""

    def __init__(self, beneath: TextIO) -> None:
        self.beneath = beneath

    def write(self, text: str) -> int:
        """Write `harmless(text)`."""
        self.beneath.write(harmless(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.beneath, name)


@contextmanager
def surviving() -> Iterator[None]:
    """Let standard output and standard error outlive their readers within the block, the latter as harmless text."""
    streams = sys.stdout, sys.stderr
    wrapped = [Surviving(stream) if stream is not None else None for stream in streams]
    sys.stdout, sys.stderr = (cast(TextIO, stream) for stream in wrapped)
    if sys.stderr is not None:
        sys.stderr = cast(TextIO, Harmless(sys.stderr))
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


def display() -> TextIO:
    """Return standard error for a live display, which escapes foreign text itself and moves the cursor."""
    return getattr(sys.stderr, "beneath", sys.stderr)


def complain(message: str) -> None:
    """Print an error on standard error, made `harmless`: at most `MOST_LINES` after its first."""
    lines = f"error: {message}".split("\n")
    if (more := len(lines) - 1 - MOST_LINES) > 0:
        lines = [*lines[: 1 + MOST_LINES], f"and {more} lines more"]
    print(harmless("\n".join(lines)), file=sys.stderr)


def harmless(text: str) -> str:
    """Return a text that goes to a terminal in one piece, control characters escaped.

    All lines but the first are indented, so that no line of a foreign text looks like one of ours.
    """
    first, *lines = visible(text).split("\n")
    return "\n".join([first, *(f"  {line}" if line and not line.startswith(" ") else line for line in lines)])


def tell_tracebacks() -> None:
    """Let an error that ends this process be printed as harmless text. For the whole process, so for `main` alone."""
    sys.excepthook = _print_traceback


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    print(harmless("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)
