"""Kernel calls that Python has no function for. On systems other than Linux this module imports, but fails in use.

Left out: the rules (`policy`).
"""

import ctypes
import os
import platform
import signal
import sys

from bootstrap.errors import SandboxUnavailable

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
SECCOMP_MODE_FILTER = 2

LANDLOCK_CREATE_RULESET = 444
LANDLOCK_ADD_RULE = 445
LANDLOCK_RESTRICT_SELF = 446
"""The same on every architecture."""

CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_CAPABILITY_VERSION = 0x20080522
_LAST_POSSIBLE_CAPABILITY = 63

_libc = ctypes.CDLL(None, use_errno=True)
if sys.platform == "linux":
    # Without declared types, ctypes cuts results to 32 bits and guesses the width of each argument.
    _libc.syscall.restype = ctypes.c_long
    _libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]


def require_linux() -> None:
    """Raise SandboxUnavailable on any other system."""
    if sys.platform != "linux":
        raise SandboxUnavailable(
            "model-written code runs on Linux only (it needs Landlock and seccomp); "
            "run this on Linux, in a container or in a virtual machine, or use a recipe without code tasks"
        )


def architecture() -> str:
    """Return the name of this process's system-call table: `x86_64`, `aarch64` or another that no policy knows."""
    machine = platform.machine()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(machine.lower(), machine)


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def prctl(option: int, first: int = 0, second: int = 0, third: int = 0, fourth: int = 0) -> int:
    """Call prctl(2). Raises OSError."""
    return _check(_libc.prctl(option, first, second, third, fourth), f"prctl {option}")


def syscall(number: int, *arguments: ctypes.Array | ctypes.Structure | int | None) -> int:
    """Make a system call by number, with structures by address and integers as longs. Raises OSError."""
    passed = [
        ctypes.c_long(value) if isinstance(value, int) else value if value is None else ctypes.byref(value)
        for value in arguments
    ]
    return _check(_libc.syscall(ctypes.c_long(number), *passed), f"system call {number}")


def unshare(flags: int) -> None:
    """Move to new namespaces, as the flags say. Raises OSError where the system forbids it."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends. A change of user undoes it."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def hide_process() -> None:
    """Hide this process's memory and environment from others of the same user, and write no core files."""
    prctl(PR_SET_DUMPABLE, 0)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def drop_capabilities() -> None:
    """Give up every capability for good. Raises OSError when one remains."""
    header = _CapabilityHeader(version=_CAPABILITY_VERSION, pid=0)
    sets = (ctypes.c_uint32 * 6)()
    _check(_libc.capset(ctypes.byref(header), ctypes.byref(sets)), "capset")
    _check(_libc.capget(ctypes.byref(header), ctypes.byref(sets)), "capget")
    if any(sets):
        raise OSError("capabilities remain after they were dropped")


def bar_capabilities() -> None:
    """Remove every capability that an executed program could regain; does nothing without CAP_SETPCAP."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(_LAST_POSSIBLE_CAPABILITY + 1):
        try:
            if prctl(PR_CAPBSET_READ, capability):
                prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            # EINVAL: the kernel knows no further one. EPERM: an ordinary user regains capabilities only by executing
            # a file, which no_new_privs and the filter both forbid.
            return


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def install_filter(program: bytes | bytearray) -> None:
    """Install a seccomp filter of 8-byte instructions on this thread, for good. Raises OSError when refused."""
    memory = (ctypes.c_char * len(program)).from_buffer_copy(program)
    described = _FilterProgram(length=len(program) // 8, instructions=ctypes.addressof(memory))
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(described))
