"""Canonical JSON and SHA-256, the basis of ids, digests and ledger hashes.

Equal values give equal bytes: keys are sorted, and everything is ASCII. Left out: the hashes in `scoring/`, whose code
is part of verifiers' versions.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any


def canonical_json(value: Any) -> bytes:
    """Return `value` as JSON with sorted keys, without white space, in ASCII. Raises ValueError for NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def json_file(value: Any, *, indent: int | None = None) -> bytes:
    """Return readable JSON for a file: sorted keys, spaces after commas and colons, ASCII.

    `indent`: spaces per level; None for one line.
    """
    return json.dumps(value, indent=indent, sort_keys=True).encode()


def sha256(data: bytes) -> str:
    """Return the SHA-256 of `data` in hex."""
    return hashlib.sha256(data).hexdigest()


def sha256_of(parts: Iterable[bytes | memoryview]) -> str:
    """Return the SHA-256 in hex of the concatenated `parts`."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def digest_of(value: Any) -> str:
    """Return the SHA-256 in hex of `value` as canonical JSON. Raises ValueError for NaN."""
    return sha256(canonical_json(value))
