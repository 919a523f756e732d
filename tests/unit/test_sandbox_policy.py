"""The policy as data, the filter compiled from it, and what a kernel makes of both."""

import errno
import resource

import pytest
from support.bpf_simulator import simulate

from bootstrap.errors import SandboxUnavailable
from bootstrap.sandbox import linux
from bootstrap.sandbox.bpf import ALLOW, ERRNO, KILL_PROCESS, compile_policy
from bootstrap.sandbox.job import CallJob, Ending, Level, Limits
from bootstrap.sandbox.policy import (
    AUDIT_ARCH,
    CLONE_NAMESPACES,
    CLONE_THREAD,
    NEWEST_KNOWN,
    SYSCALLS,
    Condition,
    Deny,
    DenyWhen,
    Policy,
    Rlimit,
)
from bootstrap.sandbox.pool import Sandbox

pytestmark = pytest.mark.sandbox

PID = 4321
MARKER = 199
DENIED = ERRNO | errno.EPERM
ARCHITECTURES = sorted(SYSCALLS)
CALL_LINES = [line for line in Policy().lines() if isinstance(line, Deny | DenyWhen) and line.syscall]
HARMLESS = {"x86_64": (0, 1, 3, 9, 202, 231), "aarch64": (63, 64, 57, 222, 98, 94)}
"""read, write, close, mmap, futex, exit_group."""


def action(policy: Policy, architecture: str, number: int, *arguments: int) -> int:
    program = bytes(compile_policy(policy, architecture).for_process(PID))
    return simulate(program, architecture=AUDIT_ARCH[architecture], number=number, arguments=arguments)


def call(name: str, *arguments: int, architecture: str = "x86_64") -> int:
    return action(Policy(), architecture, SYSCALLS[architecture][name], *arguments)


def denied_arguments(line: Deny | DenyWhen) -> list[int]:
    """Return arguments for which this line, and no other, denies its call."""
    arguments = [0] * 6
    if line.syscall in {"kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"}:
        arguments[0] = PID
    if line.syscall == "prlimit64":
        arguments[:2] = [PID, 3]
    if line.syscall == "clone":
        arguments[0] = CLONE_THREAD
    if isinstance(line, DenyWhen):
        wrong = {
            Condition.ANY_BIT: lambda: arguments[line.argument] | (line.values[0] & -line.values[0]),
            Condition.LACKS_BIT: lambda: 0,
            Condition.IS_ONE_OF: lambda: line.values[-1],
            Condition.IS_NONE_OF: lambda: max(line.values) + 1,
            Condition.NOT_OWN_PID: lambda: PID + 1,
        }
        arguments[line.argument] = wrong[line.test]()
    return arguments


def test_lines_have_unique_names() -> None:
    names = [line.name for line in Policy().lines()]
    assert len(names) == len(set(names))


def test_every_call_that_a_line_names_is_in_a_table_and_every_number_in_a_table_is_used() -> None:
    named = {line.syscall for line in CALL_LINES}
    known = set().union(*SYSCALLS.values())
    assert named == known
    assert SYSCALLS["aarch64"].keys() <= SYSCALLS["x86_64"].keys()
    for table in SYSCALLS.values():
        assert len(set(table.values())) == len(table)
        assert max(table.values()) <= NEWEST_KNOWN


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_line_alone_denies_its_call(architecture: str) -> None:
    table = SYSCALLS[architecture]
    for line in CALL_LINES:
        if line.syscall in table:
            arguments = denied_arguments(line)
            expected = getattr(line, "errno", None) or errno.EPERM
            assert action(Policy(), architecture, table[line.syscall], *arguments) == ERRNO | expected, line.name
            without = Policy().without(line.name)
            assert action(without, architecture, table[line.syscall], *arguments) == ALLOW, line.name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_every_program_needs_is_allowed(architecture: str) -> None:
    assert {action(Policy(), architecture, number) for number in HARMLESS[architecture]} == {ALLOW}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_foreign_architecture_is_killed(architecture: str) -> None:
    program = bytes(compile_policy(Policy(), architecture).for_process(PID))
    for foreign in (0x40000003, 0x40000028, *(AUDIT_ARCH[other] for other in ARCHITECTURES if other != architecture)):
        assert simulate(program, architecture=foreign, number=1) == KILL_PROCESS


def test_x32_calls_are_killed() -> None:
    assert action(Policy(), "x86_64", 0x40000000) == KILL_PROCESS
    assert action(Policy(), "x86_64", 0x40000000 | SYSCALLS["x86_64"]["socket"]) == KILL_PROCESS
    assert action(Policy(), "x86_64", 0xFFFFFFFF) == KILL_PROCESS


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_calls_newer_than_the_table_do_not_exist(architecture: str) -> None:
    assert action(Policy(), architecture, NEWEST_KNOWN + 1) == ERRNO | errno.ENOSYS
    assert action(Policy(), architecture, 0x3FFFFFFF) == ERRNO | errno.ENOSYS


def test_threads_are_allowed_and_processes_are_not() -> None:
    thread = 0x3D0F00  # what glibc's pthread_create passes
    assert thread & CLONE_THREAD
    assert call("clone", thread) == ALLOW
    assert call("clone", 0x01200011) == DENIED  # what fork passes
    assert call("clone", thread | (CLONE_NAMESPACES & -CLONE_NAMESPACES)) == DENIED
    assert call("clone3") == ERRNO | errno.ENOSYS


@pytest.mark.parametrize("name", ["kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"])
def test_signals_reach_the_program_itself_alone(name: str) -> None:
    at = 2 if name in ("tgkill", "rt_tgsigqueueinfo") else 1
    for pid, number, expected in ((PID, 6, ALLOW), (PID, 9, DENIED), (PID + 1, 6, DENIED), (0, 6, DENIED)):
        assert call(name, *[pid, PID, 0][:at], number) == expected
    assert call(name, *[-1, PID, 0][:at], 15) == DENIED
    assert call(name, *[-PID, PID, 0][:at], 15) == DENIED
    # The kernel reads 32 bits of the argument, and so does the filter.
    assert call(name, *[PID | 1 << 32, PID, 0][:at], 15) == ALLOW


def test_limits_of_others_and_the_cpu_limit_are_out_of_reach() -> None:
    assert call("prlimit64", 0, 3) == ALLOW
    assert call("prlimit64", PID, 3) == ALLOW
    assert call("prlimit64", PID + 1, 3) == DENIED
    assert call("prlimit64", 0, 0) == DENIED


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("prctl", (15,), ALLOW),
        ("prctl", (1, 0), DENIED),
        ("prctl", (4, 1), DENIED),
        ("ioctl", (0, 0x5401), ALLOW),
        ("ioctl", (0, 0x5412), DENIED),
        ("ioctl", (0, 0xFFFFFFFF00005412), DENIED),
        ("fcntl", (0, 3), ALLOW),
        ("fcntl", (0, 8, 1), DENIED),
        ("fcntl", (1, 1031, 2**20), DENIED),
        ("openat", (0, 0, 0o2000000), ALLOW),
        ("openat", (0, 0, 0o1), DENIED),
        ("openat", (0, 0, 0o1000), DENIED),
        ("open", (0, 0o100), DENIED),
    ],
)
def test_arguments_decide(name: str, arguments: tuple[int, ...], expected: int) -> None:
    assert call(name, *arguments) == expected


def test_with_a_working_folder_files_can_be_opened_for_writing_and_nothing_else_changes() -> None:
    scratch = Policy().for_scratch()
    opening = SYSCALLS["x86_64"]["openat"]
    assert action(scratch, "x86_64", opening, 0, 0, 0o101) == ALLOW
    assert {line.group for line in set(Policy().lines()) - set(scratch.lines())} == {"write"}
    assert action(scratch, "x86_64", SYSCALLS["x86_64"]["openat2"]) == ERRNO | errno.ENOSYS


def test_an_architecture_without_a_table_has_no_seal() -> None:
    with pytest.raises(SandboxUnavailable, match="no table of system calls for riscv64"):
        compile_policy(Policy(), "riscv64")


def test_removing_an_unknown_line_is_an_error() -> None:
    with pytest.raises(KeyError):
        Policy().without("deny: everything")


def test_the_kernels_cpu_limit_lies_above_the_one_that_decides() -> None:
    for seconds in (0.1, 1.0, 1.5, 5.0):
        limit = Policy().rlimits(Limits(cpu_seconds=seconds))["RLIMIT_CPU"]
        assert seconds < limit <= seconds + 2


def test_every_rlimit_exists() -> None:
    for line in Policy().lines():
        if isinstance(line, Rlimit):
            assert isinstance(getattr(resource, line.resource), int)


def test_the_kernel_denies_each_call_of_the_list() -> None:
    """Asked inside the sandbox; the errno is one that the kernel itself never gives, so the filter it was."""
    table = SYSCALLS[linux.architecture()]
    lines = [line for line in CALL_LINES if isinstance(line, Deny) and not line.errno and line.syscall in table]
    code = (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "def ask(number):\n    ctypes.set_errno(0)\n    result = libc.syscall(number, 0, 0, 0, 0, 0, 0)\n"
        "    return [result, ctypes.get_errno()]\n"
    )
    inputs = [([table[line.syscall]], {}) for line in lines]
    with Sandbox(processes=1, level=Level.SEAL, policy=Policy(deny_errno=MARKER)) as sandbox:
        [outcome] = sandbox.run([CallJob(code=code, function="ask", inputs=inputs)])
    assert outcome.ending is Ending.DONE, outcome
    answers = {line.name: answer for line, answer in zip(lines, outcome.values, strict=True)}
    assert {name: answer for name, answer in answers.items() if answer != [-1, MARKER]} == {}
