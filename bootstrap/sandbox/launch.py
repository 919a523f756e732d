"""Starts a zygote at a level: the same program, inside more or fewer walls.

Left out: the zygote's work (`zygote`) and its supervision (`supervisor`).
"""

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bootstrap.errors import SandboxUnavailable
from bootstrap.sandbox.job import Level, Limits
from bootstrap.sandbox.policy import Policy
from bootstrap.sandbox.zygote import FOREIGN_FOLDERS, SCRATCH

PACKAGE = Path(__file__).resolve().parents[1]
LIBRARY_FOLDERS = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
LOADER_CACHE = "/etc/ld.so.cache"
SCRATCH_FILES = 8
"""Size of the working folder, in files of the largest size."""
END_SECONDS = 5.0


@dataclass(slots=True)
class Zygote:
    """A started zygote, as the supervisor holds it."""

    process: subprocess.Popen[bytes]
    control: socket.socket

    def end(self) -> str:
        """Kill and reap it with everything inside; return its last line of standard error."""
        self.process.kill()
        # Inside namespaces the zygote is a child of that process and dies right after it, which closes the socket.
        self.control.settimeout(END_SECONDS)
        with contextlib.suppress(TimeoutError, ConnectionError):
            while self.control.recv(1):
                pass
        self.control.close()
        assert self.process.stderr is not None
        os.set_blocking(self.process.stderr.fileno(), False)
        said = self.process.stderr.read() or b""
        self.process.stderr.close()
        self.process.wait()
        lines = said.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """Settings that all zygotes of a pool share."""

    limits: Limits
    preload: tuple[str, ...] = ()
    policy: Policy


def start_zygote(setup: Setup, level: Level) -> Zygote:
    """Start a zygote at a level. Raises SandboxUnavailable when the level lacks something.

    The kernel kills the zygote when the calling thread ends.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [
            *(_bubblewrap(setup) if level is Level.BWRAP else []),
            _interpreter(),
            # As -I, except that the variables below apply. -S: no site-packages, -B: nothing written.
            *("-s", "-P", "-S", "-B", "-X", "utf8", "-W", "ignore", "-c"),
            f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); "
            f"from bootstrap.sandbox.zygote import main; main({theirs.fileno()})",
        ]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                # Sets of strings keep one order, since a verdict must not depend on the salt. Threads share one arena,
                # since each would reserve 64 MiB of a program's memory.
                env={"PYTHONHASHSEED": "0", "MALLOC_ARENA_MAX": "1"},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise SandboxUnavailable(f"its process cannot be started: {error}") from None
    config = {
        "level": level,
        "root": str(PACKAGE.parent),
        "preload": setup.preload,
        "path": _import_path(setup.preload) if setup.preload else [],
        "scratch": setup.limits.scratch_bytes,
        "deny_errno": setup.policy.deny_errno,
        "without": sorted({line.name for line in Policy().lines()} - {line.name for line in setup.policy.lines()}),
    }
    zygote = Zygote(process, ours)
    # If it has died already, the next reading from the socket finds out, and `end` says why.
    with contextlib.suppress(ConnectionError):
        ours.send(json.dumps(config).encode("ascii"))
    return zygote


def _interpreter() -> str:
    """Return the interpreter itself, outside any virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def _standard_folders() -> list[str]:
    return sorted({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})


def _import_path(preload: Sequence[str]) -> list[str]:
    """Return the folders from which preloaded modules may import: this process's own path."""
    standard = tuple(_standard_folders())
    path = [str(PACKAGE.parent)]
    # An editable install may be known to an import hook instead of the path.
    path += [str(Path(folder).parent) for folder in _package_folders(preload)]
    path += [
        os.path.abspath(entry)
        for entry in sys.path
        if os.path.isdir(entry or ".")
        and (not os.path.abspath(entry).startswith(standard) or not FOREIGN_FOLDERS.isdisjoint(Path(entry).parts))
    ]
    return list(dict.fromkeys(path))


def _package_folders(preload: Sequence[str]) -> Iterator[str]:
    for top in dict.fromkeys(name.partition(".")[0] for name in preload):
        found = importlib.util.find_spec(top)
        if found is None:
            raise SandboxUnavailable(f"the module {top} cannot be imported, so it cannot be preloaded; install it")
        yield from found.submodule_search_locations or [found.origin or top]


def _bubblewrap(setup: Setup) -> list[str]:
    """Return the command that runs its arguments in a mount tree of only the interpreter and its libraries."""
    program = shutil.which("bwrap")
    if program is None:
        raise SandboxUnavailable("bubblewrap is not installed; install the package bubblewrap")
    command = [
        program,
        *("--unshare-all", "--die-with-parent", "--new-session", "--as-pid-1", "--cap-drop", "ALL"),
    ]
    for folder in LIBRARY_FOLDERS:
        if os.path.islink(folder):
            command += ["--symlink", os.readlink(folder), folder]
        elif os.path.isdir(folder):
            command += ["--ro-bind", folder, folder]
    readable = [LOADER_CACHE, _interpreter(), *_standard_folders(), *_shared_interpreter()]
    readable += [str(PACKAGE / name) for name in ("__init__.py", "errors.py", "sandbox")]
    covered = {os.path.join(folder, name) for folder in _standard_folders() for name in FOREIGN_FOLDERS}
    if setup.preload:
        path = _import_path(setup.preload)
        readable += [entry for entry in path if not FOREIGN_FOLDERS.isdisjoint(Path(entry).parts)]
        readable += _package_folders(setup.preload)
        covered -= set(path)
    for path in dict.fromkeys(readable):
        if os.path.exists(path):
            command += ["--ro-bind", path, path]
    for folder in sorted(covered):
        if os.path.isdir(folder):
            command += ["--tmpfs", folder, "--remount-ro", folder]
    if setup.limits.scratch_bytes:
        command += ["--size", str(SCRATCH_FILES * setup.limits.scratch_bytes), "--tmpfs", SCRATCH]
    return [*command, "--remount-ro", "/", "--chdir", "/", "--"]


def _shared_interpreter() -> list[str]:
    """Return the file of the interpreter's shared library; empty for a static build."""
    folder, name = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME")
    return [os.path.join(folder, name)] if folder and name and str(name).endswith((".so", ".so.1.0")) else []
