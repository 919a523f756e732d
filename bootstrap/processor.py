"""What this machine's processor has instructions for, as the kernel says: no torch, so that the driver can ask too."""

from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""Linux's names of instructions that multiply matrices in bf16: two of x86, one of arm."""


def has_bf16() -> bool:
    """Return whether the processor multiplies bf16 by itself; False where the kernel does not say.

    Without such instructions products in bf16 are emulated, which is several times slower than fp32.
    """
    try:
        lines = CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    # All cores are alike: the first one's flags (x86) or features (arm) stand for the others'.
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return not _BF16.isdisjoint(flags.partition(":")[2].split())
