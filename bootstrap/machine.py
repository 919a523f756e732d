"""A machine's main memory: all of it, what is free, within a container's limits; and how freed memory goes back."""

import ctypes
import os
from pathlib import Path

_M_MMAP_THRESHOLD = -3
"""glibc's name in malloc.h."""
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_CGROUPS = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)
"""Files of a container's limit and of what it uses, of both versions."""


def usable_memory(share: float, *, meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int:
    """Return bytes that may be taken: a share of all memory, less where less is free.

    Where others leave the rest free, the result depends on the machine alone; it is rounded down to an eighth of the
    next lower power of two.
    """
    total, free = _within_container(meminfo, cgroup)
    found = max(int(min(share * total, free)), 1)
    step = max(2 ** (found.bit_length() - 1) // 8, 1)
    return found // step * step


def total_memory(*, meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int:
    """Return bytes of all memory, free or not."""
    return _within_container(meminfo, cgroup)[0]


def _within_container(meminfo: Path, cgroup: Path) -> tuple[int, int]:
    """Return bytes of memory, and of what is free, within a container's limits."""
    total, free = _memory(meminfo)
    for limit, used in _CGROUPS:
        if (most := _number(cgroup / limit)) is not None and most < total:
            total = most
            free = min(free, most - (_number(cgroup / used) or 0) + _cached((cgroup / used).parent))
    return total, free


def give_back_blocks(size: int) -> None:
    """Let freed blocks of at least so many bytes go back to the machine at once, where the C library can.

    By default glibc keeps what is below 32 MiB, in pieces that the next tensor may not fit into: training a model of
    135 million parameters then takes half as much memory again.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, size)


def _memory(meminfo: Path) -> tuple[int, int]:
    """Return bytes of memory, and of what is free."""
    try:
        rows = (line.partition(":") for line in meminfo.read_text().splitlines())
        found = {name: 1024 * int(rest.split()[0]) for name, _, rest in rows if rest.split()[1:] == ["kB"]}
        return found["MemTotal"], found["MemAvailable"]
    except (OSError, KeyError, ValueError):
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return total, total


def num_killed(*, vmstat: Path = Path("/proc/vmstat")) -> int:
    """Return how many processes the kernel has ended for lack of memory; 0 where it does not tell."""
    try:
        return int(dict(line.split() for line in vmstat.read_text().splitlines())["oom_kill"])
    except (OSError, KeyError, ValueError):
        return 0


def _cached(folder: Path) -> int:
    """Return bytes of files that a container keeps in memory until others need it; 0 where that is not told."""
    try:
        rows = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return int(rows["inactive_file"])
    except (OSError, KeyError, ValueError):
        return 0


def _number(path: Path) -> int | None:
    """Return the number in a file; None without one."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
