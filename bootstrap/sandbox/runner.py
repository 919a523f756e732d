"""Runs one job inside a sealed process and reports its end. This code shares its process with the program.

So nothing outside trusts it: a program can spoil or forge its own report, which only says "these are my values", and
which the supervisor parses as hostile text. An honest program gets an honest report even where it patches `print`,
`json`, `sys` or `builtins`, because this code uses references taken before the program runs and a private copy of the
built-ins.

The report, on descriptor 3:

    before the job is read   `sealed`
    values                   `done`, and one line of JSON per value
    any other ending         a line with an `Ending`, and a line with a JSON string of details
    a script's success       nothing
"""

import atexit
import builtins
import gc
import json
import mmap
import os
import random
import signal
import sys
import threading
import types
from collections.abc import Callable
from typing import Any, NoReturn

from bootstrap.sandbox import stand_ins
from bootstrap.sandbox.confine import RESULT_FD, STDIN_FD
from bootstrap.sandbox.job import Ending, Limits
from bootstrap.sandbox.wire import Refused, decode_arguments, encode_value

__builtins__ = dict(vars(builtins))

SEALED = b"sealed\n"
LENGTH_BYTES = 8
"""Size of the job's length, which precedes it big-endian."""
_DETAIL = 300
_BALLAST = 2 * 2**20
"""Bytes of address space kept for the report of exhausted memory."""

_read = os.read
_write = os.write
_exit = os._exit
_compile = compile
_exec = exec
_loads = json.loads
_run_atexit = atexit._run_exitfuncs
_join_threads = threading._shutdown  # pyright: ignore[reportAttributeAccessIssue]  # a script ends by it
_untrace = sys.settrace
_unprofile = sys.setprofile
_set_timer = signal.setitimer
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_recursion = sys.setrecursionlimit
_streams = (sys.stdout, sys.stderr)


def run_job(kind: str, limits: Limits) -> NoReturn:
    """Read the job from descriptor 0, run it and end the process. Called once, after sealing."""
    send(SEALED)
    job = _loads(_read_exactly(int.from_bytes(_read_exactly(LENGTH_BYTES), "big")))
    os.dup2(STDIN_FD, 0)
    os.close(STDIN_FD)
    if kind != "trusted":
        stand_ins.provide()
    # A program behaves alike in every run on the same input.
    random.seed(0)
    gc.enable()
    ballast = mmap.mmap(-1, _BALLAST, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        if kind == "trusted":
            report = _run_trusted(job, limits)
        elif kind == "call":
            report = _run_calls(job, limits)
        else:
            report = _run_script(job)
    except Refused as refused:
        report = _failure(refused.ending, refused.detail)
    except SystemExit:
        report = _failure(Ending.PROTOCOL, "the program ended itself")
    except MemoryError:
        ballast.close()
        report = _failure(Ending.MEMORY, "MemoryError")
    except BaseException as error:
        ballast.close()
        report = _failure(Ending.ERROR, _describe(error))
    _calm()
    send(report)
    _exit(0 if kind != "script" or not report else 1)


def _calm() -> None:
    """Switch off hooks and timers that the program may have left behind."""
    _untrace(None)
    _unprofile(None)
    for timer in _TIMERS:
        _set_timer(timer, 0)
    _recursion(10_000)


def send(data: bytes) -> None:
    """Write all of it to the result channel."""
    while data:
        data = data[_write(RESULT_FD, data) :]


def _read_exactly(size: int) -> bytes:
    parts = []
    while size:
        part = _read(0, size)
        if not part:
            _exit(1)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _failure(ending: Ending, detail: str) -> bytes:
    shown = "".join([c if " " <= c <= "~" else "?" for c in detail[:_DETAIL]])
    return ending.value.encode("ascii") + b"\n" + encode_value(shown, max_bytes=4 * _DETAIL, max_depth=0) + b"\n"


def _describe(error: BaseException) -> str:
    """Return an exception's type and message. Both may run the program's code, which may raise anything."""
    name = type.__dict__["__name__"].__get__(type(error))
    try:
        text = str(error)
        message = text if type(text) is str else ""
    except BaseException:
        message = ""
    return f"{name}: {message}" if message else f"{name}"


def _compile_program(code: str) -> types.CodeType:
    if all(line.strip()[:1] in ("", "#") for line in code.replace("\r", "\n").split("\n")):
        raise Refused(Ending.FORMAT, "no statement in the program")
    try:
        return _compile(code, "<program>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, OverflowError, RecursionError) as error:
        raise Refused(Ending.FORMAT, _describe(error)) from None


def _make_module(name: str) -> types.ModuleType:
    """Return a fresh module for the program with the real built-ins, since `exec` would hand out our copy of them."""
    module = types.ModuleType(name)
    module.__dict__["__builtins__"] = builtins
    sys.modules[name] = module
    return module


def _values(limits: Limits, calls: list[tuple[Callable[..., Any], list, dict]], *, python: bool = False) -> bytes:
    """Call each function in turn and return the report. A value is encoded before the next call can change it."""
    lines = [b"done\n"]
    for function, positional, named in calls:
        value = function(*positional, **named)
        line = encode_value(value, max_bytes=limits.value_bytes, max_depth=limits.depth, python=python)
        lines.append(line + b"\n")
    return b"".join(lines)


def _run_trusted(job: dict[str, Any], limits: Limits) -> bytes:
    module, _, name = job["function"].partition(":")
    return _values(limits, [(getattr(sys.modules[module], name), [], job["arguments"])])


def _run_calls(job: dict[str, Any], limits: Limits) -> bytes:
    python = job["python"]
    inputs = decode_arguments(job["inputs"]) if python else job["inputs"]
    code = _compile_program(job["code"])
    # Not `__main__`, since the program is not run as a script.
    module = _make_module("program")
    _exec(code, module.__dict__)
    function = module.__dict__.get(job["function"])
    if function is None:
        raise Refused(Ending.ERROR, f"the program defines no function {job['function']}")
    return _values(limits, [(function, positional, named) for positional, named in inputs], python=python)


def _run_script(job: dict[str, Any]) -> bytes:
    code = _compile_program(job["code"])
    module = _make_module("__main__")
    try:
        _exec(code, module.__dict__)
    except SystemExit as ended:
        if ended.code is not None and ended.code != 0:
            return _failure(Ending.ERROR, f"exit status {_describe(ended)}")
    _join_threads()
    _run_atexit()
    # The program's replacements may write to the streams that it found.
    for stream in (sys.stdout, sys.stderr, *_streams):
        if stream is not None and not getattr(stream, "closed", False):
            stream.flush()
    return b""
