"""Runs attacks in a process that is locked down as in an ordinary container: an ordinary user, no capabilities, no
namespaces, no mounts; and, when asked, no Landlock either.

`python -m support.attack_lockdown FOLDER all|without-landlock` prints as JSON what the sandbox made of it. The lock is
a seccomp filter of the project's own making, installed before the sandbox is asked for anything.
"""

import errno
import json
import os
import sys
from pathlib import Path

from support.attack_arena import arena_at
from support.attack_programs import ATTACKS
from support.attack_scene import Scene

from bootstrap.errors import SandboxUnavailable
from bootstrap.sandbox import bpf, linux
from bootstrap.sandbox.policy import CLONE_NAMESPACES, SYSCALLS, Condition, Deny, DenyWhen, Policy
from bootstrap.sandbox.pool import Sandbox
from bootstrap.sandbox.probes import available_levels

DENIED = (
    "unshare setns mount umount2 pivot_root chroot fsopen fsconfig fsmount fspick open_tree move_mount mount_setattr"
)
LANDLOCK = {"landlock_create_ruleset": 444, "landlock_add_rule": 445, "landlock_restrict_self": 446}
STRIDE = 3
"""Every third attack runs here: some of each kind."""


def lock(*, landlock: bool) -> None:
    """Give up capabilities, and deny namespaces and mounts (and Landlock) to this process and all it starts."""
    SYSCALLS[linux.architecture()].update(LANDLOCK)
    names = DENIED.split() + ([] if landlock else list(LANDLOCK))
    rules = (
        Deny("deny: clone3", "outer", "clone3", errno.ENOSYS),
        *(Deny(f"deny: {name}", "outer", name) for name in names),
        DenyWhen("clone: no namespaces", "outer", "clone", 0, Condition.ANY_BIT, (CLONE_NAMESPACES,)),
    )
    linux.bar_capabilities()
    linux.drop_capabilities()
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.install_filter(bpf.compile_policy(Policy(rules=rules), linux.architecture()).for_process(os.getpid()))


def main(folder: Path, *, landlock: bool) -> None:
    """Lock this process down, attack the sandbox that is to be had then, and print what came of it."""
    lock(landlock=landlock)
    said: dict[str, object] = {"user": os.geteuid(), "levels": {str(k): v for k, v in available_levels().items()}}
    try:
        with Sandbox(processes=1) as sandbox:
            said["level"] = str(sandbox.level)
    except SandboxUnavailable as error:
        print(json.dumps(said | {"refused": str(error)}))
        return
    attacks = ATTACKS[::STRIDE]
    escaped = {}
    with Scene(folder) as scene, arena_at(sandbox.level, scene) as arena:
        for attack in attacks:
            try:
                arena.attack(attack)
            except AssertionError as error:
                escaped[attack.label] = str(error)
    print(json.dumps(said | {"attacks": len(attacks), "escaped": escaped}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), landlock=sys.argv[2] == "all")
