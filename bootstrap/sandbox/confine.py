"""Seals the calling process or fails, in an order in which each step still works after the ones before it.

    new session -> die with the zygote -> close descriptors -> empty environment -> resource limits -> no capabilities
    -> no_new_privs -> Landlock -> seccomp

Left out: the rules (`policy`), and everything that needs more than one process (`zygote`, `pool`).
"""

import os
import resource
from dataclasses import dataclass

from bootstrap.sandbox import landlock, linux
from bootstrap.sandbox.bpf import Compiled
from bootstrap.sandbox.job import Limits
from bootstrap.sandbox.policy import Policy

RESULT_FD = 3
"""Takes the program's values. 0 brings the job and then its standard input, 1 and 2 are its output."""
STDIN_FD = 5
"""Holds the standard input until the job is read. 4 holds the Landlock ruleset until it is in force."""


@dataclass(frozen=True, slots=True)
class Seal:
    """Everything that confinement needs, made before the fork and the same for every job."""

    policy: Policy
    filter: Compiled
    ruleset_fd: int


class SealError(Exception):
    """A step of the confinement failed; nothing may run in this process."""


def confine(seal: Seal, limits: Limits, *, parent: int) -> None:
    """Give up everything that the program must not have; `parent` is the pid of the process that forked this one.

    Only descriptors 0 to 3 and 5 stay open. Raises SealError, which names the step that failed.
    """
    step = "new session"
    try:
        os.setsid()
        step = "die with the zygote"
        linux.die_with_parent()
        if os.getppid() != parent:
            raise OSError("the zygote is gone")
        step = "close descriptors"
        ruleset = RESULT_FD + 1
        if seal.ruleset_fd != ruleset:
            os.dup2(seal.ruleset_fd, ruleset, inheritable=False)
        os.closerange(STDIN_FD + 1, _descriptor_bound())
        step = "empty environment"
        os.environ.clear()
        step = "resource limits"
        for name, value in seal.policy.rlimits(limits).items():
            _limit(getattr(resource, name), value)
        step = "drop capabilities"
        linux.drop_capabilities()
        step = "no_new_privs"
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        step = "Landlock"
        landlock.restrict_self(ruleset)
        os.close(ruleset)
        step = "seccomp"
        linux.install_filter(seal.filter.for_process(os.getpid()))
    except (OSError, ValueError) as error:
        raise SealError(f"{step}: {error}") from None


def _descriptor_bound() -> int:
    """Return a number above every open descriptor."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 2**31 - 1 if hard == resource.RLIM_INFINITY else hard


def _limit(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    # Without privilege a hard limit can only fall; one that is already lower stays, as the stricter of the two.
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))
