"""Chat templates, which are programs of strangers, rendered in a process of their own with bounds on time and memory.

    this process --{source, what, given}--> child: Jinja's sandbox (`templates.py`) --{text | fault}--> this process

Jinja's sandbox bounds what a template may touch and how long one `range` is, not what nested loops, macros, filters,
methods and operators take (`"x" * 10**9`, `"%1000000000d" | format(1)`, texts that double), and its compiler computes
constants. A count of steps in Python would have to know each of them and misses whatever Jinja adds. A rendering with a
sample conversation proves nothing of the next one, which a template can tell apart. So every parsing, compiling and
rendering is bounded by the kernel: CPU time and address space of the child, which is killed and started anew. It costs
the child's start once a process, and a fraction of a millisecond a prompt.

The child ends with this process, whose pipe it reads. Left out: servers of other programs, which render the template of
the folder that they serve themselves.
"""

import atexit
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import jinja2
import markupsafe

from bootstrap.errors import WorkerError
from bootstrap.training.templates import FAULTS, compiled, told, variables

CPU_SECONDS = 5
"""Of one rendering; those of published templates take about a millisecond."""
MEMORY = 512 << 20
"""Bytes of address space of the child, which needs about a tenth of them by itself."""
MOST_TEXT = 16 << 20
"""Characters of a rendered conversation; the longest contexts of models hold about half of them."""
WAIT_SECONDS = 600.0
"""Longest wait for an answer of the child, by the clock: its CPU time ends sooner, unless the system stands still."""
_LENGTH = 8
"""Bytes of the number before each message, which says how long it is."""


class TemplateFault(ValueError):
    """A template fails, refuses what it is given, or exceeds its bounds."""


def check(source: str) -> None:
    """Raise TemplateFault for a template that is no Jinja."""
    _CHILD.ask(source, "check", {})


def variables_of(source: str) -> set[str]:
    """Return the names whose values a template gets from its caller. Raises TemplateFault as `check`."""
    return set(_CHILD.ask(source, "variables", {}))


def rendered(source: str, given: Mapping[str, Any]) -> str:
    """Return a template's text; `given`: JSON values. Raises TemplateFault."""
    return _CHILD.ask(source, "render", given)


class _Child:
    """The child of this process, started when it is first asked; one question at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._exhausting: dict[str, str] = {}
        """Template -> what it exceeded: it is not tried again."""
        self._code: int | None = None
        """Exit code of the child that ended last before its answer."""

    def ask(self, source: str, what: str, given: Mapping[str, Any]) -> Any:
        question = json.dumps({"source": source, "what": what, "given": given, "seconds": CPU_SECONDS}).encode()
        with self._lock:
            if source in self._exhausting:
                raise TemplateFault(self._exhausting[source])
            answer = self._answer(question)
            if answer is None and self._code != -signal.SIGPROF:
                # Something else may have ended it.
                answer = self._answer(question)
            if answer is None:
                why = f"its process ended ({self._code}), as happens beyond {MEMORY >> 20} MiB of memory"
                slow = f"it does not end within {CPU_SECONDS} s of computing"
                answer = {"exceeded": slow if self._code == -signal.SIGPROF else why}
            if "exceeded" in answer:
                self.end()
                self._exhausting[source] = answer["exceeded"]
                raise TemplateFault(answer["exceeded"])
        if "fault" in answer:
            raise TemplateFault(answer["fault"])
        return answer["found"]

    def _answer(self, question: bytes) -> dict[str, Any] | None:
        """Return the child's answer; None where it ends before. Raises WorkerError where it cannot be started."""
        process = self._process
        if process is None or process.poll() is not None:
            process = self._process = _started()
        assert process.stdin is not None and process.stdout is not None, "both are pipes"
        answer = None
        try:
            process.stdin.write(len(question).to_bytes(_LENGTH) + question)
            process.stdin.flush()
            answer = json.loads(_read(process.stdout, int.from_bytes(_read(process.stdout, _LENGTH))))
        except (BrokenPipeError, EOFError):
            pass
        finally:
            # Also where Ctrl-C came: the rest of an answer would stand before the next one.
            if answer is None:
                self.end()
                self._code = process.returncode
        return answer

    def end(self) -> None:
        """End the child, if there is one."""
        process, self._process = self._process, None
        if process is None:
            return
        # One that has ended by itself keeps its own exit code.
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None, "both are pipes"
            try:
                pipe.close()
            except BrokenPipeError:
                continue
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_END_SECONDS)

    def forget(self) -> None:
        """Leave the child to the process that this one was forked from."""
        self._lock, self._process = threading.Lock(), None


_END_SECONDS = 1.0
"""Longest wait for the child to end by itself once its pipe is closed."""
_CHILD = _Child()
atexit.register(_CHILD.end)
os.register_at_fork(after_in_child=_CHILD.forget)


def _started() -> subprocess.Popen[bytes]:
    folders = dict.fromkeys(str(Path(one).resolve().parents[1]) for one in (jinja2.__file__, markupsafe.__file__))
    folders = [str(Path(__file__).resolve().parents[2]), *folders]
    program = f"import sys; sys.path[:0] = {folders!r}; from bootstrap.training.rendering import answer; answer()"
    try:
        return subprocess.Popen(
            # Neither the working folder nor variables of the environment name modules.
            [sys.executable, "-I", "-S", "-X", "utf8", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Each arena of the allocator would reserve address space.
            env={"MALLOC_ARENA_MAX": "1"},
            cwd="/",
            # Ctrl-C on the terminal is this process's alone.
            start_new_session=True,
        )
    except OSError as error:
        raise WorkerError(
            f"the process that renders chat templates cannot be started: {error.strerror}; end other programs, or set "
            "base.model.chat: plain"
        ) from error


def _read(pipe: IO[bytes], count: int) -> bytes:
    """Return so many bytes. Raises EOFError where the pipe ends before, or nothing comes."""
    found, waiting = bytearray(), select.poll()
    waiting.register(pipe, select.POLLIN)
    while len(found) < count:
        part = os.read(pipe.fileno(), count - len(found)) if waiting.poll(1000 * WAIT_SECONDS) else b""
        if not part:
            raise EOFError
        found += part
    return bytes(found)


# --- in the child ------------------------------------------------------------------------------------------------


def answer() -> None:
    """Answer what stands on standard input until it ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    while head := sys.stdin.buffer.read(_LENGTH):
        question = json.loads(sys.stdin.buffer.read(int.from_bytes(head)))
        seconds = question.pop("seconds")
        # The signal's default ends the process, also within a long operation in C.
        signal.setitimer(signal.ITIMER_PROF, seconds)
        data = json.dumps(_answered(**question)).encode()
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.buffer.write(len(data).to_bytes(_LENGTH) + data)
        sys.stdout.buffer.flush()


def _answered(source: str, what: str, given: Mapping[str, Any]) -> dict[str, Any]:
    try:
        match what:
            case "variables":
                return {"found": sorted(variables(source))}
            case "render":
                found = _compiled(source).render(given)
                if len(found) > MOST_TEXT:
                    return {"exceeded": f"its text has {len(found)} characters, more than {MOST_TEXT}"}
                return {"found": found}
        _compiled(source)
    except (*FAULTS, RuntimeError, SyntaxError) as error:
        return {"fault": told(error)}
    except MemoryError:
        return {"exceeded": f"it takes more than {MEMORY >> 20} MiB of memory"}
    return {"found": None}


_compiled = lru_cache(maxsize=16)(compiled)
