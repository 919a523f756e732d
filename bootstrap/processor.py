"""The processor's instructions, from the kernel; without torch, for the driver."""

from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""Linux's names of bf16 matrix instructions: two of x86, one of arm."""


def has_bf16() -> bool:
    """Return whether the processor multiplies bf16; False if the kernel does not tell.

    Without such instructions bf16 products are emulated, several times slower than fp32.
    """
    try:
        lines = CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    # All cores have the flags (x86) or features (arm) of the first one.
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return not _BF16.isdisjoint(flags.partition(":")[2].split())
