"""The warm process from which sealed children are forked: one per slot of the pool, started without environment.

    pool --config--> zygote --hello--> pool
    pool --job's kind and limits, 5 descriptors--> zygote --"forked", pidfd--> pool ... --"exited", status, CPU--> pool

The job goes from the pool to the child by descriptor 0, so that no text of a model's reaches this process, and nothing
of one job can reach the next.

Who waits for whom: the zygote for the pool's next message, or for the end of its child or of the pool. The child's
program waits for nobody. When the pool ends, the zygote kills its child and ends; when the zygote ends, the kernel
kills the child.
"""

import _sitebuiltins
import atexit
import builtins
import fcntl
import gc
import importlib
import itertools
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NoReturn

from bootstrap.sandbox import bpf, confine, landlock, linux, runner
from bootstrap.sandbox.job import Level, Limits
from bootstrap.sandbox.policy import Policy

MESSAGE_BYTES = 64 * 2**10
STANDARD_MODULES = (
    "ast",
    "base64",
    "bisect",
    "collections",
    "collections.abc",
    "contextlib",
    "copy",
    "ctypes",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "heapq",
    "io",
    "itertools",
    "json",
    "math",
    "numbers",
    "operator",
    "os",
    "random",
    "re",
    "statistics",
    "string",
    "struct",
    "threading",
    "time",
    "traceback",
    "types",
    "typing",
    "warnings",
    "weakref",
    "zlib",
)
"""Modules that are loaded before the fork: common imports, and modules with a shared library that no child can read.

Each one slows every fork a little, so programs load rare and quick ones themselves.
"""
SCRATCH = "/scratch"
"""The working folder at level `bwrap`, when the limits allow one."""
MAX_SCRATCH_FILES = 4096
FOREIGN_FOLDERS = frozenset({"site-packages", "dist-packages"})
"""Folders inside the standard library's folder that do not belong to it."""
SIGNAL_PROBE = signal.SIGUSR1
"""Blocked here, so that a pending one proves that a child managed to send it."""


@dataclass(frozen=True, slots=True)
class _World:
    """State that the forks share."""

    control: socket.socket
    program: confine.Seal
    trusted: confine.Seal
    foreign: tuple[str, ...]
    """Loaded modules outside the standard library; hidden from the model's programs."""
    program_path: tuple[str, ...]
    kept: tuple[ModuleType, ...]
    """Keeps those modules alive, so that a child that drops their names need not tear them down."""


def main(control_fd: int) -> None:
    """Run a zygote: configure it from the first message, say hello, then serve jobs until the pool ends."""
    linux.die_with_parent()
    control = socket.socket(fileno=control_fd)
    config = json.loads(control.recv(MESSAGE_BYTES))
    if config["level"] == Level.SEAL_NS:
        _enter_namespaces(control)
    signal.pthread_sigmask(signal.SIG_BLOCK, {SIGNAL_PROBE})
    for name in STANDARD_MODULES:
        importlib.import_module(name)
    standard_path = tuple(path for path in sys.path if path not in config["path"] and path != config["root"])
    sys.path[:] = [*standard_path, *config["path"]]
    for name in config["preload"]:
        importlib.import_module(name)
    foreign = _foreign_modules(standard_path)
    policy = Policy(deny_errno=config["deny_errno"]).without(*config["without"])
    if config["scratch"]:
        policy = policy.for_scratch()
    compiled = bpf.compile_policy(policy, linux.architecture())
    readable = _standard_library(standard_path)
    world = _World(
        control=control,
        program=confine.Seal(policy, compiled, _ruleset(policy, standard_path, readable, config)),
        trusted=confine.Seal(policy, compiled, _ruleset(policy, standard_path, readable | _folders(foreign), config)),
        foreign=tuple(name for name, _ in foreign),
        program_path=standard_path,
        kept=tuple(module for _, module in foreign),
    )
    linux.hide_process()
    linux.bar_capabilities()
    linux.drop_capabilities()
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    os.environ.clear()
    sys.argv[:] = ["program"]
    # `site` would add these two, and many scripts end with them.
    vars(builtins).update(  # pyright: ignore[reportAttributeAccessIssue]  # a module's dict
        exit=_sitebuiltins.Quitter("exit", ""), quit=_sitebuiltins.Quitter("quit", "")
    )
    # Exit handlers of modules loaded here must not run in children.
    atexit._clear()
    os.chdir(SCRATCH if config["scratch"] else "/")
    gc.collect()
    gc.freeze()
    gc.disable()
    _tell(control, {"hello": os.getpid()})
    _serve(world, scratch=bool(config["scratch"]))


def _enter_namespaces(control: socket.socket) -> None:
    """Continue as the first process of new namespaces; the calling process only waits for its end."""
    user, group = os.geteuid(), os.getegid()
    linux.unshare(
        linux.CLONE_NEWUSER | linux.CLONE_NEWNET | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS | linux.CLONE_NEWPID
    )
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY)
        os.write(fd, text.encode("ascii"))
        os.close(fd)
    inner = os.fork()
    if inner:
        control.close()
        linux.hide_process()
        linux.drop_capabilities()
        os.waitpid(inner, 0)
        os._exit(0)
    linux.die_with_parent()


def _foreign_modules(standard_path: tuple[str, ...]) -> list[tuple[str, ModuleType]]:
    """Return the names and modules that were loaded from outside the standard library."""
    found = []
    for name, module in sys.modules.items():
        path = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
        if path is not None and (
            not path.startswith(standard_path) or not FOREIGN_FOLDERS.isdisjoint(path.split(os.sep))
        ):
            found.append((name, module))
    return found


def _folders(foreign: list[tuple[str, ModuleType]]) -> set[str]:
    """Return the folders of the top-level packages among these modules, and the files of other top-level modules."""
    found: set[str] = set()
    for name, module in foreign:
        if "." not in name and name != "__main__":
            found.update(getattr(module, "__path__", ()) or [module.__file__])  # pyright: ignore[reportArgumentType]  # text
    return found


def _standard_library(path: tuple[str, ...]) -> set[str]:
    """Return the files and folders of the standard library, without the packages installed in it."""
    found = set()
    for folder in path:
        if os.path.isdir(folder):
            found.update(
                entry.path
                for entry in os.scandir(folder)
                if entry.name not in FOREIGN_FOLDERS and os.path.exists(entry)
            )
        elif os.path.exists(folder):
            found.add(folder)
    return found


def _ruleset(policy: Policy, listed: tuple[str, ...], readable: set[str], config: dict[str, Any]) -> int:
    ruleset = landlock.Ruleset(policy)
    for folder in listed:
        if os.path.isdir(folder):
            ruleset.allow_listing(folder)
    ruleset.allow_reading(sorted(readable))
    if config["scratch"]:
        ruleset.allow_scratch(SCRATCH)
    # Its number is above those that `_place` fills.
    return fcntl.fcntl(ruleset.fd, fcntl.F_DUPFD_CLOEXEC, 16)


def _tell(control: socket.socket, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
    socket.send_fds(control, [json.dumps(message).encode("ascii")], fds)


def _serve(world: _World, *, scratch: bool) -> None:
    zygote = os.getpid()
    while True:
        data, fds, _, _ = socket.recv_fds(world.control, MESSAGE_BYTES, 5)
        if not data:
            return
        request = json.loads(data)
        if request["kind"] == "signals":
            _tell(world.control, {"pending": SIGNAL_PROBE in signal.sigpending()})
            continue
        child = os.fork()
        if not child:
            _be_child(world, request, fds, zygote)
        pidfd = os.pidfd_open(child)
        for fd in fds:
            os.close(fd)
        _tell(world.control, {"forked": child}, (pidfd,))
        too_many_files = _await(world.control, pidfd, scratch=scratch)
        _, status, used = os.wait4(child, 0)
        os.close(pidfd)
        seconds = used.ru_utime + used.ru_stime
        _tell(world.control, {"exited": status, "cpu": seconds, "too_many_files": too_many_files})
        if scratch:
            # After the message: a tree that resists ends this zygote, but never costs a job its outcome.
            _wipe()


def _await(control: socket.socket, pidfd: int, *, scratch: bool) -> bool:
    """Wait for the child's end; kill it when the pool ends, or when it makes too many files, which is returned."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    poller.register(control.fileno(), 0)  # its hang-up is always reported
    too_many_files = False
    while not too_many_files:
        ready = dict(poller.poll(20 if scratch else None))
        if pidfd in ready:
            return False
        if ready:
            break
        used = os.statvfs(SCRATCH)
        too_many_files = used.f_files - used.f_ffree > MAX_SCRATCH_FILES
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    poller.unregister(control.fileno())
    poller.poll()
    return too_many_files


def _wipe() -> None:
    """Empty the working folder level by level: inner folders move up, so that no path is long and no call nested.

    A tree that resists ends this zygote, and its file system with it.
    """
    names = itertools.count()
    while entries := list(os.scandir(SCRATCH)):
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            os.chmod(entry.path, 0o700)
            for inner in list(os.scandir(entry.path)):
                if inner.is_dir(follow_symlinks=False):
                    # Moving a folder takes the right to write into it.
                    os.chmod(inner.path, 0o700)
                    os.rename(inner.path, _free_name(names))
                else:
                    os.unlink(inner.path)
            os.rmdir(entry.path)


def _free_name(names: Iterator[int]) -> str:
    return next(path for path in (f"{SCRATCH}/{name}" for name in names) if not os.path.lexists(path))


def _be_child(world: _World, request: dict[str, Any], fds: list[int], zygote: int) -> NoReturn:
    """Seal this process and run the job in it; whatever happens, it ends here."""
    try:
        kind = request["kind"]
        limits = Limits(**request["limits"])
        _place(fds)
        seal = world.trusted if kind == "trusted" else world.program
        if kind != "trusted":
            sys.path[:] = world.program_path
            for name in world.foreign:
                del sys.modules[name]
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {SIGNAL_PROBE})
        try:
            confine.confine(seal, limits, parent=zygote)
        except confine.SealError as error:
            runner.send(f"{error}\n".encode())
            os._exit(1)
        runner.run_job(kind, limits)
    finally:
        os._exit(1)


def _place(fds: list[int]) -> None:
    """Move the five descriptors of a job to 0, 1, 2, 3 and 5."""
    # They move up first, since a target number may still be another one's source.
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 16) for fd in fds]
    for target, fd in zip((0, 1, 2, confine.RESULT_FD, confine.STDIN_FD), high, strict=True):
        os.dup2(fd, target)
