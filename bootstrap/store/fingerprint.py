"""The fingerprint of weights, recomputed from a safetensors file's bytes alone, without a tensor library.

Definition: SHA-256 over, for each tensor in order of its name, the canonical JSON of `[name, dtype, shape]` (dtype as
safetensors spells it, such as "F32"), a newline, and the tensor's bytes (little-endian, row-major). The file's metadata
is no part of it. Left out: whether values are finite.

An adapter's folder holds `adapter_model.safetensors` and `adapter_config.json` as peft writes them, and `base.json`
with the fingerprint of its base weights. Its fingerprint is SHA-256 over all three.
"""

import json
from collections.abc import Mapping
from mmap import mmap
from typing import Any

from bootstrap.canonical import canonical_json, digest_of, sha256, sha256_of
from bootstrap.errors import StoreCorrupt

MODEL_WEIGHTS = "model.safetensors"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_BASE = "base.json"
Data = bytes | mmap
"""A file's content, in memory or mapped into it."""
_HEADER_LENGTH_BYTES = 8


def fingerprint_model(files: Mapping[str, Data]) -> str:
    """Return the fingerprint of the weights in a folder (file name -> bytes): a whole model, or an adapter on its base.

    Raises StoreCorrupt if a file is invalid, KeyError if one is missing.
    """
    base = base_fingerprint(files)
    if base is None:
        return fingerprint_safetensors(files[MODEL_WEIGHTS])
    parts = {
        "adapter": fingerprint_safetensors(files[ADAPTER_WEIGHTS]),
        "base": base,
        "config": sha256(files[ADAPTER_CONFIG][:]),
    }
    return digest_of(parts)


def base_fingerprint(files: Mapping[str, Data]) -> str | None:
    """Return the fingerprint of an adapter's base weights; None for a whole model's folder.

    Raises StoreCorrupt if `base.json` cannot be read, KeyError if it is missing.
    """
    if ADAPTER_WEIGHTS not in files:
        return None
    try:
        return str(json.loads(files[ADAPTER_BASE][:])["fingerprint"])
    except (ValueError, TypeError, LookupError) as error:
        if ADAPTER_BASE not in files:
            raise
        raise StoreCorrupt(f"{ADAPTER_BASE} names no fingerprint: {error!r}; restore it from a copy") from error


def fingerprint_safetensors(data: Data) -> str:
    """Return the fingerprint of the tensors in a safetensors file.

    Raises StoreCorrupt if the header cannot be read or the tensors do not cover the file's body exactly.
    """
    return sha256_of(
        part
        for name, (dtype, shape, values) in sorted(tensors_of(data).items())
        for part in (canonical_json([name, dtype, shape]) + b"\n", values)
    )


def tensors_of(data: Data) -> dict[str, tuple[str, list[int], memoryview]]:
    """Return tensor name -> (dtype, shape, bytes) of a safetensors file.

    Raises StoreCorrupt as `fingerprint_safetensors`.
    """
    try:
        tensors, body = _parse(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreCorrupt(f"the weights are no valid safetensors file: {error}; restore them from a copy") from error
    return {name: (dtype, shape, body[begin:end]) for name, (dtype, shape, begin, end) in tensors.items()}


def _parse(data: Data) -> tuple[dict[str, tuple[str, list[int], int, int]], memoryview]:
    """Return tensor name -> (dtype, shape, begin, end), and the body that the two offsets in bytes refer to."""
    length = int.from_bytes(data[:_HEADER_LENGTH_BYTES], "little")
    if length > len(data) - _HEADER_LENGTH_BYTES:
        raise ValueError(f"the header's length is given as {length} bytes, the file has {len(data)}")
    start = _HEADER_LENGTH_BYTES + length
    header: dict[str, Any] = json.loads(data[_HEADER_LENGTH_BYTES:start])
    body = memoryview(data)[start:]
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = map(int, entry["data_offsets"])
            tensors[name] = (str(entry["dtype"]), [int(size) for size in entry["shape"]], begin, end)
    position = 0
    for name, (_, _, begin, end) in sorted(tensors.items(), key=lambda item: item[1][2:]):
        if begin != position:
            raise ValueError(f"tensor {name} begins at byte {begin}, not at byte {position}")
        if end < begin:
            raise ValueError(f"tensor {name} ends at byte {end}, before it begins")
        position = end
    if position != len(body):
        raise ValueError(f"the tensors end at byte {position} of {len(body)}")
    return tensors, body
