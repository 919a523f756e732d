"""The supervisor's questions to the kernel: a file in memory, and the state of a running child.

Left out: the decisions (`supervisor`).
"""

import fcntl
import os
import select
import time
from contextlib import suppress


def file_of(data: bytes) -> int:
    """Return a descriptor of an unchangeable file in memory, whose size a program may ask for."""
    fd = os.memfd_create("stdin", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def number_of(pidfd: int) -> int:
    """Return the child's pid as this process sees it; its own namespace may have another."""
    with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii") as lines:
        return int(next(line for line in lines if line.startswith("Pid:")).split()[1])


def has_ended(pidfd: int) -> bool:
    """Whether the child has ended, reaped or not."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(0))


def usage(pid: int) -> tuple[float, int]:
    """Return CPU seconds and number of threads of a child; zeros once it has been reaped."""
    try:
        # The CPU-time clock of another process, as clock_getcpuclockid(3) names it.
        used = time.clock_gettime((~pid << 3) | 2)
        with open(f"/proc/{pid}/stat", "rb") as line:
            # The name, in parentheses, may hold anything; the 20th field counts the threads.
            return used, int(line.read().rpartition(b")")[2].split()[17])
    except (OSError, IndexError):
        return 0.0, 0


def readiness(pid: int, cpu_seconds: float, wall_seconds: float) -> float | None:
    """Return the share of its time in which a process ran or waited for a CPU, by its busiest thread; None if unknown.

    A sleeping program is not ready; one that waits for a busy machine is. So unlike CPU time, the share does not depend
    on the machine's load. `cpu_seconds`, used by all its threads, is a lower bound of the time: ended threads left
    nothing else behind.
    """
    busiest = 0
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            # A thread may end meanwhile.
            with suppress(OSError, ValueError), open(f"/proc/{pid}/task/{thread}/schedstat", "rb") as line:
                ran, waited, _ = line.read().split()
                busiest = max(busiest, int(ran) + int(waited))
    # Every thread has run for a while, so zeros mean that the kernel does not count.
    return max(busiest / 1e9, cpu_seconds) / wall_seconds if busiest else None
