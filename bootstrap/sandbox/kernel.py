"""What the supervisor asks the kernel for: a file in memory, and how a child that runs is doing.

Left out: what follows from it (`supervisor`).
"""

import fcntl
import os
import select
import time
from contextlib import suppress


def file_of(data: bytes) -> int:
    """Return a descriptor of a file in memory that nobody can change: programs ask for its size, or open it again."""
    fd = os.memfd_create("stdin", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def number_of(pidfd: int) -> int:
    """Return the number by which this process knows the child, whatever number it has in its own namespace."""
    with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii") as lines:
        return int(next(line for line in lines if line.startswith("Pid:")).split()[1])


def has_ended(pidfd: int) -> bool:
    """Whether the child has ended, reaped or not."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(0))


def usage(pid: int) -> tuple[float, int]:
    """Return CPU seconds and number of threads of a child that has not been reaped; zeros when it has."""
    try:
        # The CPU-time clock of another process, as clock_getcpuclockid(3) names it.
        used = time.clock_gettime((~pid << 3) | 2)
        with open(f"/proc/{pid}/stat", "rb") as line:
            # The name, in parentheses, may hold anything; the 20th field of all counts the threads.
            return used, int(line.read().rpartition(b")")[2].split()[17])
    except (OSError, IndexError):
        return 0.0, 0


def readiness(pid: int, cpu_seconds: float, wall_seconds: float) -> float | None:
    """Return for which share of its time a process ran or waited for a CPU, by its busiest thread; None if unknown.

    A program that sleeps is not ready; one that the machine does not get round to is. Unlike CPU time, this does not
    depend on what else the machine does. `cpu_seconds`, what all its threads used, is the least it can have been: a
    thread that has ended left nothing else behind.
    """
    busiest = 0
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            # One that ends meanwhile says nothing about the others.
            with suppress(OSError, ValueError), open(f"/proc/{pid}/task/{thread}/schedstat", "rb") as line:
                ran, waited, _ = line.read().split()
                busiest = max(busiest, int(ran) + int(waited))
    # Every thread has run for a while; a kernel that does not count writes zeros.
    return max(busiest / 1e9, cpu_seconds) / wall_seconds if busiest else None
