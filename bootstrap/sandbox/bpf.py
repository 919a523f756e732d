"""Compile a policy to the classic BPF program that seccomp runs before every system call.

The program compares the call's number once with each rule's. A denied call is a comparison and a return; a call with
rules on its arguments has its own block. Comparisons with the sealed process's pid are filled in after the fork, so
`Compiled` keeps their places.

Left out: installing the program (`linux.install_filter`) and its rules (`policy`).

Format: `struct sock_filter` and `struct seccomp_data` of `linux/filter.h` and `linux/seccomp.h`.
"""

import errno
import struct
import sys
from collections import defaultdict
from dataclasses import dataclass

from bootstrap.errors import SandboxUnavailable
from bootstrap.sandbox.policy import (
    AUDIT_ARCH,
    FOREIGN_ARCHITECTURE,
    NEWER,
    NEWEST_KNOWN,
    SYSCALLS,
    X32,
    Condition,
    Deny,
    DenyWhen,
    Policy,
)

LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
JUMP_GREATER = 0x25
JUMP_AT_LEAST = 0x35
JUMP_ANY_BIT = 0x45
RETURN = 0x06
ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
ERRNO = 0x00050000

NUMBER_OFFSET = 0
ARCHITECTURE_OFFSET = 4
ARGUMENTS_OFFSET = 16
X32_BIT = 0x40000000
"""Set in the number of every x32 call."""
_SIZE = 8


@dataclass(frozen=True, slots=True)
class Compiled:
    """A filter that still lacks the pid of the process that it seals."""

    program: bytes
    own_pid_at: tuple[int, ...]
    """Byte offsets of the constants that hold that pid."""

    def for_process(self, pid: int) -> bytearray:
        """Return the program for a process by its pid, as that process sees it."""
        program = bytearray(self.program)
        for offset in self.own_pid_at:
            struct.pack_into("=I", program, offset, pid)
        return program


class _Assembler:
    def __init__(self) -> None:
        self.code: list[bytes] = []
        self.own_pid_at: list[int] = []

    def emit(self, operation: int, constant: int, if_true: int = 0, if_false: int = 0) -> None:
        self.code.append(struct.pack("=HBBI", operation, if_true, if_false, constant))

    def returning(self, error: int) -> None:
        self.emit(RETURN, ERRNO | error)


def compile_policy(policy: Policy, architecture: str) -> Compiled:
    """Return the filter of a policy for an architecture. Raises SandboxUnavailable for one without a table."""
    if architecture not in SYSCALLS:
        raise SandboxUnavailable(
            f"no table of system calls for {architecture}, so model-written code cannot be sealed here; "
            f"run this step on one of: {', '.join(SYSCALLS)}"
        )
    numbers = SYSCALLS[architecture]
    names = {line.name for line in policy.lines()}
    out = _Assembler()
    out.emit(LOAD, ARCHITECTURE_OFFSET)
    if FOREIGN_ARCHITECTURE in names:
        out.emit(JUMP_EQUAL, AUDIT_ARCH[architecture], if_true=1)
        out.emit(RETURN, KILL_PROCESS)
    out.emit(LOAD, NUMBER_OFFSET)
    if architecture == "x86_64" and X32 in names:
        out.emit(JUMP_AT_LEAST, X32_BIT, if_false=1)
        out.emit(RETURN, KILL_PROCESS)
    blocks: dict[int, list[DenyWhen]] = defaultdict(list)
    for line in policy.lines():
        if isinstance(line, Deny) and line.name == NEWER:
            out.emit(JUMP_GREATER, NEWEST_KNOWN, if_false=1)
            out.returning(line.errno or errno.ENOSYS)
        elif isinstance(line, Deny) and line.syscall in numbers:
            out.emit(JUMP_EQUAL, numbers[line.syscall], if_false=1)
            out.returning(line.errno or policy.deny_errno)
        elif isinstance(line, DenyWhen) and line.syscall in numbers:
            blocks[numbers[line.syscall]].append(line)
    for number, lines in blocks.items():
        block = _Assembler()
        for line in lines:
            _emit_test(block, line, policy.deny_errno, base=len(out.code) + 1)
        block.emit(RETURN, ALLOW)
        out.emit(JUMP_EQUAL, number, if_false=len(block.code))
        out.code += block.code
        out.own_pid_at += block.own_pid_at
    out.emit(RETURN, ALLOW)
    return Compiled(program=b"".join(out.code), own_pid_at=tuple(out.own_pid_at))


def _emit_test(block: _Assembler, line: DenyWhen, deny_errno: int, *, base: int) -> None:
    """Append one test: load the argument, deny the call where the test holds, else fall through."""
    low_word = 0 if sys.byteorder == "little" else 4
    block.emit(LOAD, ARGUMENTS_OFFSET + 8 * line.argument + low_word)
    if line.test is Condition.ANY_BIT:
        block.emit(JUMP_ANY_BIT, line.values[0], if_false=1)
    elif line.test is Condition.LACKS_BIT:
        block.emit(JUMP_ANY_BIT, line.values[0], if_true=1)
    elif line.test is Condition.IS_ONE_OF:
        for left, value in zip(reversed(range(len(line.values))), line.values, strict=True):
            # Only the last comparison jumps over the denial; the others go on to the next value.
            block.emit(JUMP_EQUAL, value, if_true=left, if_false=0 if left else 1)
    else:
        own = line.test is Condition.NOT_OWN_PID
        values = (*line.values, 0) if own else line.values
        for left, value in zip(reversed(range(len(values))), values, strict=True):
            if own and not left:
                block.own_pid_at.append((base + len(block.code)) * _SIZE + 4)
            block.emit(JUMP_EQUAL, value, if_true=left + 1)
    block.returning(deny_errno)
