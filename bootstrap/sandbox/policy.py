"""The rules for sealed programs, as data: one named line per rule, so that tests can remove each alone.

The deny list is sound only together with its three parts: Landlock bounds the files, the resource limits bound the
amounts, and seccomp denies everything that neither of them sees. An architecture without a table of call numbers here
has no policy, and so no seal.

Left out: how a line becomes a filter (`bpf`), a Landlock ruleset (`landlock`) or a limit (`confine`).

Numbers: `asm/unistd_64.h` of x86_64 and `asm-generic/unistd.h` (arm64) of Linux 6.1; newer calls answer ENOSYS.
"""

import errno
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from bootstrap.sandbox.job import Limits

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""Architectures' numbers in seccomp (`linux/audit.h`)."""

NEWEST_KNOWN = 450
"""The highest number in the tables; equal on both architectures, whose newer calls share one numbering."""


def _table(text: str) -> dict[str, int]:
    return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", text)}


SYSCALLS = {
    "x86_64": _table("""
fork=57 vfork=58 clone=56 clone3=435 execve=59 execveat=322 socket=41 socketpair=53 connect=42 bind=49 listen=50
accept=43 accept4=288 sendto=44 recvfrom=45 sendmsg=46 recvmsg=47 sendmmsg=307 recvmmsg=299 shutdown=48
getsockname=51 getpeername=52 setsockopt=54 getsockopt=55 ptrace=101 process_vm_readv=310 process_vm_writev=311
process_madvise=440 process_mrelease=448 kcmp=312 pidfd_open=434 pidfd_getfd=438 pidfd_send_signal=424
io_uring_setup=425 io_uring_enter=426 io_uring_register=427 io_setup=206 io_submit=209 bpf=321 userfaultfd=323
perf_event_open=298 init_module=175 finit_module=313 delete_module=176 kexec_load=246 kexec_file_load=320
reboot=169 syslog=103 acct=163 swapon=167 swapoff=168 quotactl=179 quotactl_fd=443 settimeofday=164
clock_settime=227 adjtimex=159 clock_adjtime=305 sethostname=170 setdomainname=171 iopl=172 ioperm=173
modify_ldt=154 lookup_dcookie=212 vhangup=153 personality=135 uselib=134 add_key=248 request_key=249 keyctl=250
mount=165 umount2=166 pivot_root=155 chroot=161 unshare=272 setns=308 fsopen=430 fsconfig=431 fsmount=432
fspick=433 open_tree=428 move_mount=429 mount_setattr=442 name_to_handle_at=303 open_by_handle_at=304
memfd_create=319 memfd_secret=447 migrate_pages=256 move_pages=279 mbind=237 set_mempolicy=238
set_mempolicy_home_node=450 shmget=29 shmat=30 shmctl=31 shmdt=67 semget=64 semop=65 semctl=66 semtimedop=220
msgget=68 msgsnd=69 msgrcv=70 msgctl=71 mq_open=240 mq_unlink=241 mq_timedsend=242 mq_timedreceive=243
mq_notify=244 mq_getsetattr=245 setuid=105 setgid=106 setreuid=113 setregid=114 setresuid=117 setresgid=119
setfsuid=122 setfsgid=123 setgroups=116 capset=126 chmod=90 fchmod=91 fchmodat=268 chown=92 fchown=93 lchown=94
fchownat=260 utime=132 utimes=235 futimesat=261 utimensat=280 setxattr=188 lsetxattr=189 fsetxattr=190
removexattr=197 lremovexattr=198 fremovexattr=199 truncate=76 setpriority=141 sched_setaffinity=203
sched_setscheduler=144 sched_setparam=142 sched_setattr=314 ioprio_set=251 kill=62 tkill=200 tgkill=234
rt_sigqueueinfo=129 rt_tgsigqueueinfo=297 timer_create=222 prlimit64=302 setrlimit=160 prctl=157 seccomp=317
ioctl=16 fcntl=72 open=2 openat=257 openat2=437 creat=85 fanotify_init=300 fanotify_mark=301 sync=162 syncfs=306
inotify_init=253 inotify_init1=294 inotify_add_watch=254 getxattr=191 lgetxattr=192 fgetxattr=193 listxattr=194
llistxattr=195 flistxattr=196 landlock_create_ruleset=444 landlock_add_rule=445 landlock_restrict_self=446
"""),
    "aarch64": _table("""
clone=220 clone3=435 execve=221 execveat=281 socket=198 socketpair=199 connect=203 bind=200 listen=201
accept=202 accept4=242 sendto=206 recvfrom=207 sendmsg=211 recvmsg=212 sendmmsg=269 recvmmsg=243 shutdown=210
getsockname=204 getpeername=205 setsockopt=208 getsockopt=209 ptrace=117 process_vm_readv=270
process_vm_writev=271 process_madvise=440 process_mrelease=448 kcmp=272 pidfd_open=434 pidfd_getfd=438
pidfd_send_signal=424 io_uring_setup=425 io_uring_enter=426 io_uring_register=427 io_setup=0 io_submit=2 bpf=280
userfaultfd=282 perf_event_open=241 init_module=105 finit_module=273 delete_module=106 kexec_load=104
kexec_file_load=294 reboot=142 syslog=116 acct=89 swapon=224 swapoff=225 quotactl=60 quotactl_fd=443
settimeofday=170 clock_settime=112 adjtimex=171 clock_adjtime=266 sethostname=161 setdomainname=162
lookup_dcookie=18 vhangup=58 personality=92 add_key=217 request_key=218 keyctl=219 mount=40 umount2=39
pivot_root=41 chroot=51 unshare=97 setns=268 fsopen=430 fsconfig=431 fsmount=432 fspick=433 open_tree=428
move_mount=429 mount_setattr=442 name_to_handle_at=264 open_by_handle_at=265 memfd_create=279 memfd_secret=447
migrate_pages=238 move_pages=239 mbind=235 set_mempolicy=237 set_mempolicy_home_node=450 shmget=194 shmat=196
shmctl=195 shmdt=197 semget=190 semop=193 semctl=191 semtimedop=192 msgget=186 msgsnd=189 msgrcv=188 msgctl=187
mq_open=180 mq_unlink=181 mq_timedsend=182 mq_timedreceive=183 mq_notify=184 mq_getsetattr=185 setuid=146
setgid=144 setreuid=145 setregid=143 setresuid=147 setresgid=149 setfsuid=151 setfsgid=152 setgroups=159
capset=91 fchmod=52 fchmodat=53 fchown=55 fchownat=54 utimensat=88 setxattr=5 lsetxattr=6 fsetxattr=7
removexattr=14 lremovexattr=15 fremovexattr=16 truncate=45 setpriority=140 sched_setaffinity=122
sched_setscheduler=119 sched_setparam=118 sched_setattr=274 ioprio_set=30 kill=129 tkill=130 tgkill=131
rt_sigqueueinfo=138 rt_tgsigqueueinfo=240 timer_create=107 prlimit64=261 setrlimit=164 prctl=167 seccomp=277
ioctl=29 fcntl=25 openat=56 openat2=437 fanotify_init=262 fanotify_mark=263 sync=81 syncfs=267
inotify_init1=26 inotify_add_watch=27 getxattr=8 lgetxattr=9 fgetxattr=10 listxattr=11 llistxattr=12 flistxattr=13
landlock_create_ruleset=444 landlock_add_rule=445 landlock_restrict_self=446
"""),
}
"""Architecture -> call -> number, for the calls that lines name; arm64 lacks some."""


@dataclass(frozen=True, slots=True)
class Deny:
    """A system call that always fails."""

    name: str
    group: str
    syscall: str
    errno: int | None = None
    """None: the policy's."""


class Condition(StrEnum):
    """When a system call is denied for one argument, by the 32 bits that the kernel reads there."""

    ANY_BIT = "any_bit"
    """It has one of these bits."""
    LACKS_BIT = "lacks_bit"
    """It lacks this bit."""
    IS_ONE_OF = "is_one_of"
    IS_NONE_OF = "is_none_of"
    NOT_OWN_PID = "not_own_pid"
    """It is neither one of these values nor the sealed process's pid."""


@dataclass(frozen=True, slots=True)
class DenyWhen:
    """A system call that fails for some values of one argument."""

    name: str
    group: str
    syscall: str
    argument: int
    """From 0."""
    test: Condition
    values: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Kill:
    """A way into the kernel that ends the process."""

    name: str
    group: str = "entry"


@dataclass(frozen=True, slots=True)
class Right:
    """A Landlock right that is withheld except where granted."""

    name: str
    kind: str
    """`fs`, `net` or `scope`."""
    bit: int
    abi: int
    """First version of Landlock's interface that knows it; on older kernels only seccomp bounds it."""
    group: str = "landlock"


@dataclass(frozen=True, slots=True)
class Rlimit:
    """A resource limit, soft and hard alike."""

    name: str
    resource: str
    """Name of the constant in the module `resource`."""
    value: int | None = None
    """None: taken from the job's `Limits`."""
    group: str = "rlimit"


Line = Deny | DenyWhen | Kill | Right | Rlimit

FOREIGN_ARCHITECTURE = "kill: foreign architecture"
X32 = "kill: x32"
NEWER = "deny: newer than the table"
WRITING = 0o1 | 0o2 | 0o100 | 0o1000
"""O_WRONLY, O_RDWR, O_CREAT, O_TRUNC."""
THREAD_LIMIT = 64
"""Threads of one program. The supervisor counts them, since no rlimit bounds root."""

CLONE_THREAD = 0x00010000
CLONE_NAMESPACES = 0x7E020080
"""Every CLONE_NEW* flag."""
SIGKILL = 9
PR_SET_NAME, PR_GET_NAME, PR_SET_VMA = 15, 16, 0x53564D41
RLIMIT_CPU = 0
F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY, F_SETPIPE_SZ = 8, 10, 15, 1024, 1026, 1031
TIOCSCTTY, TIOCSTI, TIOCLINUX, TIOCCONS, FIOSETOWN, SIOCSPGRP = 0x540E, 0x5412, 0x541C, 0x541D, 0x8901, 0x8902


def _deny(group: str, names: str) -> list[Line]:
    return [Deny(f"deny: {name}", group, name) for name in names.split()]


def _argument_rules() -> Iterable[Line]:
    def rule(name: str, group: str, syscall: str, argument: int, test: Condition, *values: int) -> DenyWhen:
        return DenyWhen(f"{syscall}: {name}", group, syscall, argument, test, values)

    yield rule("threads alone", "process", "clone", 0, Condition.LACKS_BIT, CLONE_THREAD)
    yield rule("no namespaces", "process", "clone", 0, Condition.ANY_BIT, CLONE_NAMESPACES)
    yield rule("own process alone", "signal", "kill", 0, Condition.NOT_OWN_PID)
    yield rule("own process alone", "signal", "tgkill", 0, Condition.NOT_OWN_PID)
    yield rule("own process alone", "signal", "tkill", 0, Condition.NOT_OWN_PID)
    yield rule("own process alone", "signal", "rt_sigqueueinfo", 0, Condition.NOT_OWN_PID)
    yield rule("own process alone", "signal", "rt_tgsigqueueinfo", 0, Condition.NOT_OWN_PID)
    # Only the sandbox and the kernel send SIGKILL: a program that could send it to itself would pass its end off as
    # the machine's lack of memory, which is no verdict.
    yield rule("no SIGKILL", "signal", "kill", 1, Condition.IS_ONE_OF, SIGKILL)
    yield rule("no SIGKILL", "signal", "tgkill", 2, Condition.IS_ONE_OF, SIGKILL)
    yield rule("no SIGKILL", "signal", "tkill", 1, Condition.IS_ONE_OF, SIGKILL)
    yield rule("no SIGKILL", "signal", "rt_sigqueueinfo", 1, Condition.IS_ONE_OF, SIGKILL)
    yield rule("no SIGKILL", "signal", "rt_tgsigqueueinfo", 2, Condition.IS_ONE_OF, SIGKILL)
    yield rule("own process alone", "limits", "prlimit64", 0, Condition.NOT_OWN_PID, 0)
    yield rule("no CPU limit", "limits", "prlimit64", 1, Condition.IS_ONE_OF, RLIMIT_CPU)
    yield rule("names alone", "process", "prctl", 0, Condition.IS_NONE_OF, PR_SET_NAME, PR_GET_NAME, PR_SET_VMA)
    terminal = (TIOCSCTTY, TIOCSTI, TIOCLINUX, TIOCCONS)
    yield rule("no terminal input", "terminal", "ioctl", 1, Condition.IS_ONE_OF, *terminal)
    yield rule("no signals to owners", "signal", "ioctl", 1, Condition.IS_ONE_OF, FIOSETOWN, SIOCSPGRP)
    owners = (F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY)
    yield rule("no signals to owners", "signal", "fcntl", 1, Condition.IS_ONE_OF, *owners)
    yield rule("no larger pipes", "memory", "fcntl", 1, Condition.IS_ONE_OF, F_SETPIPE_SZ)
    # Landlock denies writing as well, but sees an opening that truncates only from Linux 6.2 on.
    yield rule("no writing", "write", "open", 1, Condition.ANY_BIT, WRITING)
    yield rule("no writing", "write", "openat", 2, Condition.ANY_BIT, WRITING)


def _rights() -> Iterable[Line]:
    names = (
        "execute write_file read_file read_dir remove_dir remove_file make_char make_dir make_reg make_sock make_fifo"
        " make_block make_sym refer truncate ioctl_dev"
    )
    first_abi = {"refer": 2, "truncate": 3, "ioctl_dev": 5}
    for bit, name in enumerate(names.split()):
        yield Right(f"landlock: {name}", "fs", 1 << bit, first_abi.get(name, 1))
    yield Right("landlock: bind_tcp", "net", 1, 4)
    yield Right("landlock: connect_tcp", "net", 2, 4)
    yield Right("landlock: abstract_unix_socket", "scope", 1, 6)
    yield Right("landlock: signal", "scope", 2, 6)


def _rlimits() -> Iterable[Line]:
    for name in ("CPU", "AS", "FSIZE", "NOFILE"):
        yield Rlimit(f"rlimit: {name}", f"RLIMIT_{name}")
    for name in ("CORE", "MEMLOCK", "MSGQUEUE", "RTPRIO", "NICE"):
        yield Rlimit(f"rlimit: {name}", f"RLIMIT_{name}", 0)
    # Honest programs recurse deeply in C: in the regular-expression compiler, in the parser.
    yield Rlimit("rlimit: STACK", "RLIMIT_STACK", 64 * 2**20)


def _lines() -> tuple[Line, ...]:
    return (
        Kill(FOREIGN_ARCHITECTURE),
        Kill(X32),
        # glibc falls back to `clone` and `openat`, whose flags a filter can see.
        Deny("deny: clone3", "process", "clone3", errno.ENOSYS),
        Deny("deny: openat2", "write", "openat2", errno.ENOSYS),
        Deny(NEWER, "entry", "", errno.ENOSYS),
        *_deny("process", "fork vfork execve execveat"),
        *_deny(
            "socket",
            "socket socketpair connect bind listen accept accept4 sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg"
            " shutdown getsockname getpeername setsockopt getsockopt",
        ),
        *_deny("trace", "ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp"),
        *_deny("pidfd", "pidfd_open pidfd_getfd pidfd_send_signal"),
        *_deny("async", "io_uring_setup io_uring_enter io_uring_register io_setup io_submit"),
        *_deny("kernel", "bpf userfaultfd perf_event_open init_module finit_module delete_module kexec_load"),
        *_deny("kernel", "kexec_file_load reboot syslog acct swapon swapoff quotactl quotactl_fd settimeofday"),
        *_deny("kernel", "clock_settime adjtimex clock_adjtime sethostname setdomainname iopl ioperm modify_ldt"),
        *_deny("kernel", "lookup_dcookie vhangup personality uselib seccomp sync syncfs"),
        *_deny("kernel", "landlock_create_ruleset landlock_add_rule landlock_restrict_self"),
        *_deny("keys", "add_key request_key keyctl"),
        *_deny("mount", "mount umount2 pivot_root chroot unshare setns fsopen fsconfig fsmount fspick open_tree"),
        *_deny("mount", "move_mount mount_setattr name_to_handle_at open_by_handle_at fanotify_init fanotify_mark"),
        *_deny("memory", "memfd_create memfd_secret migrate_pages move_pages mbind set_mempolicy"),
        *_deny("memory", "set_mempolicy_home_node"),
        *_deny("ipc", "shmget shmat shmctl shmdt semget semop semctl semtimedop msgget msgsnd msgrcv msgctl"),
        *_deny("ipc", "mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr"),
        *_deny("identity", "setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups capset"),
        # Landlock does not see these: a program could watch folders that it cannot read, and change the mode of its
        # user's files.
        *_deny("watch", "inotify_init inotify_init1 inotify_add_watch"),
        *_deny("metadata", "getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr"),
        *_deny("metadata", "chmod fchmod fchmodat chown fchown lchown fchownat utime utimes futimesat utimensat"),
        *_deny("metadata", "setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr truncate"),
        *_deny("write", "creat"),
        *_deny("schedule", "setpriority sched_setaffinity sched_setscheduler sched_setparam sched_setattr ioprio_set"),
        *_deny("signal", "timer_create"),
        *_deny("limits", "setrlimit"),
        *_argument_rules(),
        *_rights(),
        *_rlimits(),
    )


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules that seal a program; the pool uses `Policy()`."""

    rules: tuple[Line, ...] = _lines()
    deny_errno: int = errno.EPERM
    """Answer to a denied call. A number that the kernel never gives tells the filter's denials from others."""

    def lines(self) -> tuple[Line, ...]:
        """Return every rule; their names are unique."""
        return self.rules

    def without(self, *names: str) -> "Policy":
        """Return the policy without these lines. Raises KeyError for an unknown name."""
        for name in names:
            if name not in {line.name for line in self.rules}:
                raise KeyError(name)
        return replace(self, rules=tuple(line for line in self.rules if line.name not in names))

    def for_scratch(self) -> "Policy":
        """Return the policy of a program with a writable working folder, where Landlock alone bounds writing."""
        return self.without(*(line.name for line in self.rules if line.group == "write" and line.name != _OPENAT2))

    def rlimits(self, limits: Limits) -> dict[str, int]:
        """Return resource limits by their constants' names: sizes in bytes, CPU time in seconds."""
        # The supervisor measures CPU time exactly and kills at the limit. The kernel, which counts whole seconds by
        # clock ticks, is the second line of defence and acts later.
        from_job = {
            "RLIMIT_CPU": int(-(-limits.cpu_seconds // 1)) + 1,
            "RLIMIT_AS": limits.address_space,
            "RLIMIT_FSIZE": limits.scratch_bytes,
            "RLIMIT_NOFILE": limits.open_files,
        }
        return {
            line.resource: from_job[line.resource] if line.value is None else line.value
            for line in self.rules
            if isinstance(line, Rlimit)
        }


_OPENAT2 = "deny: openat2"
