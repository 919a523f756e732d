"""File access of a sealed program, by Landlock: read-only trees, at most one writable folder, no network, no signals.

Left out: which rights are withheld (`policy`), and everything that Landlock never sees: the mode, owner and times of
files, and whether a path exists.

Interface: `linux/landlock.h`; `Right.abi` is its first version that knows a right.
"""

import ctypes
import os
from collections.abc import Iterable

from bootstrap.errors import SandboxUnavailable
from bootstrap.sandbox.linux import LANDLOCK_ADD_RULE, LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF, syscall
from bootstrap.sandbox.policy import Policy, Right

CREATE_RULESET_VERSION = 1
RULE_PATH_BENEATH = 1
READ_FILE = 1 << 2
READ_DIR = 1 << 3
SCRATCH = (1 << 1) | READ_FILE | READ_DIR | (1 << 4) | (1 << 5) | (1 << 7) | (1 << 8) | (1 << 13) | (1 << 14)
"""Rights to write, read, list, remove, make folders and regular files, move and truncate within the tree."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scope", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def abi() -> int:
    """Return the version of the kernel's interface. Raises SandboxUnavailable when it is missing or forbidden."""
    try:
        return syscall(LANDLOCK_CREATE_RULESET, None, 0, CREATE_RULESET_VERSION)
    except OSError as error:
        raise SandboxUnavailable(
            f"this kernel offers no Landlock ({error.strerror}), so model-written code cannot be sealed here; "
            "use Linux 5.13 or newer with Landlock enabled (lsm=landlock,... at boot), in a container that allows it"
        ) from None


class Ruleset:
    """Rights that are withheld except where granted; a process is bound to them once and for good."""

    def __init__(self, policy: Policy) -> None:
        """Withhold every right of the policy that the kernel knows. Raises SandboxUnavailable without Landlock."""
        version = abi()
        handled = {"fs": 0, "net": 0, "scope": 0}
        for line in policy.lines():
            if isinstance(line, Right) and line.abi <= version:
                handled[line.kind] |= line.bit
        self._files = handled["fs"]
        attributes = _Ruleset(**handled)
        # An older kernel accepts the longer structure, since the fields that it does not know are zero.
        self.fd = syscall(LANDLOCK_CREATE_RULESET, attributes, ctypes.sizeof(attributes), 0)

    def _grant(self, path: str, rights: int) -> None:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            rule = _PathBeneath(allowed=rights & self._files, parent_fd=fd)
            # The kernel refuses a rule without rights, as under the tests' policies without reading rights.
            if rule.allowed:
                syscall(LANDLOCK_ADD_RULE, self.fd, RULE_PATH_BENEATH, rule, 0)
        finally:
            os.close(fd)

    def allow_reading(self, paths: Iterable[str]) -> None:
        """Grant reading of files, and of everything below folders."""
        for path in paths:
            self._grant(path, READ_FILE | READ_DIR if os.path.isdir(path) else READ_FILE)

    def allow_listing(self, path: str) -> None:
        """Grant listing of a folder and those below it, without reading any file."""
        self._grant(path, READ_DIR)

    def allow_scratch(self, path: str) -> None:
        """Grant reading, writing and removing of regular files and folders below a folder."""
        self._grant(path, SCRATCH)


def restrict_self(fd: int) -> None:
    """Bind the calling thread and all its children to a ruleset, for good. Raises OSError without no_new_privs."""
    syscall(LANDLOCK_RESTRICT_SELF, fd, 0)
