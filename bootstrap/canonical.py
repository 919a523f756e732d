"""The one JSON text of a value, and SHA-256 of what is stored: what ids, digests and ledger hashes are made of.

Equal values give equal bytes: keys are sorted, and everything is ASCII. Left out: bytes that are part of an id in
another form, which stay beside what they identify (`scoring/`, whose code is part of verifiers' versions).
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any


def canonical_json(value: Any) -> bytes:
    """Return the one JSON text for `value`: sorted keys, no white space, ASCII. Raises ValueError for NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def json_file(value: Any, *, indent: int | None = None) -> bytes:
    """Return the JSON text of a file that people may open: sorted keys, spaces after commas and colons, ASCII.

    `indent`: spaces by level; None writes one line.
    """
    return json.dumps(value, indent=indent, sort_keys=True).encode()


def sha256(data: bytes) -> str:
    """Return the SHA-256 of `data` in hex."""
    return hashlib.sha256(data).hexdigest()


def sha256_of(parts: Iterable[bytes | memoryview]) -> str:
    """Return the SHA-256 in hex of `parts` one after another."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def digest_of(value: Any) -> str:
    """Return the SHA-256 in hex of the canonical JSON for `value`. Raises ValueError for NaN."""
    return sha256(canonical_json(value))
