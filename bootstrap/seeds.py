"""The only source of randomness: every seed derives from the recipe's by SHA-256 over a path of names.

Without state. Python's `hash()` differs between processes, so no seed uses it.
"""

import hashlib
import random

SEED_BITS = 63


def derive_seed(root: int, *names: str | int) -> int:
    """Return a 63-bit seed for the path `names` below `root`.

    Different paths give independent seeds; one path gives the same seed in every process on every machine. Strings and
    integers differ: `("1",)` and `(1,)` are two paths.
    """
    path = "\x1f".join(f"{type(name).__name__}:{name}" for name in (root, *names))
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "big") >> (64 - SEED_BITS)


def generator(root: int, *names: str | int) -> random.Random:
    """Return a Python generator seeded for the path `names` below `root`."""
    return random.Random(derive_seed(root, *names))
