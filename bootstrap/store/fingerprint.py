"""The fingerprint of weights, recomputed from a safetensors file's bytes alone, without a tensor library.

Definition: SHA-256 over, for each tensor in order of its name, the canonical JSON of `[name, dtype, shape]` (dtype as
safetensors spells it, such as "F32"), a newline, and the tensor's bytes (little-endian, row-major). The file's metadata
is no part of it. Left out: whether values are finite.

Version 2 is SHA-256 over the canonical JSON of the list of `[name, dtype, shape, SHA-256 of the bytes]` of all tensors
in order of names, so that several processes may each hash some tensors. Records hold version 1.

An adapter's folder holds `adapter_model.safetensors` and `adapter_config.json` as peft writes them, and `base.json`
with the fingerprint of its base weights. Its fingerprint is SHA-256 over all three.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from bootstrap.canonical import canonical_json, digest_of, sha256, sha256_of
from bootstrap.errors import StoreCorrupt
from bootstrap.reading import OpenFile, parsed
from bootstrap.store.on_disk import Entry, entries

MODEL_WEIGHTS = "model.safetensors"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_BASE = "base.json"
_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000
"""As the safetensors library has it."""
_MAX_DIMENSIONS = 64
"""As torch has it."""
_BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}
"""Bits of an element, by the safetensors library's names."""


def fingerprint_model(files: Mapping[str, bytes]) -> str:
    """Return the fingerprint of the weights in a folder (file name -> bytes): a whole model, or an adapter on its base.

    A file on the disk is read in parts. Raises StoreCorrupt if a file is invalid, KeyError if one is missing.
    """
    base = base_fingerprint(files)
    if base is None:
        return _fingerprint_entry(entries(files)[MODEL_WEIGHTS])
    return fingerprint_adapter(_fingerprint_entry(entries(files)[ADAPTER_WEIGHTS]), base, files[ADAPTER_CONFIG])


def _fingerprint_entry(entry: Entry) -> str:
    if isinstance(entry, bytes):
        return fingerprint_safetensors(entry)
    with entry.opened() as file:
        return fingerprint_file(file)


def fingerprint_adapter(weights: str, base: str, config: bytes) -> str:
    """Return an adapter's fingerprint, by those of its weights and its base, and its configuration."""
    return digest_of({"adapter": weights, "base": base, "config": sha256(config)})


def base_fingerprint(files: Mapping[str, bytes]) -> str | None:
    """Return the fingerprint of an adapter's base weights; None for a whole model's folder.

    Raises StoreCorrupt if `base.json` cannot be read, KeyError if it is missing.
    """
    return named_base(files[ADAPTER_BASE]) if ADAPTER_WEIGHTS in files else None


def named_base(data: bytes) -> str:
    """Return the fingerprint in a `base.json`. Raises StoreCorrupt if it names none."""
    try:
        return str(parsed(data)["fingerprint"])
    except (ValueError, TypeError, LookupError) as error:
        raise StoreCorrupt(f"{ADAPTER_BASE} names no fingerprint: {error!r}; restore it from a copy") from error


def fingerprint_safetensors(data: bytes) -> str:
    """Return the fingerprint of the tensors in a safetensors file.

    Raises StoreCorrupt if the header cannot be read, a tensor's shape does not fit its bytes, or the tensors do not
    cover the file's body exactly.
    """
    return fingerprint_tensors((name, *tensor) for name, tensor in sorted(tensors_of(data).items()))


def fingerprint_tensors(tensors: Iterable[tuple[str, str, list[int], memoryview]]) -> str:
    """Return the fingerprint of tensors (name, dtype, shape, bytes), given in order of their names.

    One tensor is asked for at a time, and none is copied.
    """
    return sha256_of(
        part
        for name, dtype, shape, values in tensors
        for part in (canonical_json([name, dtype, shape]) + b"\n", values)
    )


class TensorDigest(NamedTuple):
    """One tensor of a version 2 fingerprint."""

    name: str
    dtype: str
    shape: list[int]
    sha256: str
    """Of its bytes."""


def fingerprint_digests(digests: Iterable[TensorDigest]) -> str:
    """Return the version 2 fingerprint of tensors, in any order."""
    return sha256(canonical_json([list(one) for one in sorted(digests)]))


def digests_of(data: bytes) -> list[TensorDigest]:
    """Return the tensors of a safetensors file for a version 2 fingerprint. Raises as `fingerprint_safetensors`."""
    return [
        TensorDigest(name, dtype, shape, sha256_of([values]))
        for name, (dtype, shape, values) in tensors_of(data).items()
    ]


def fingerprint_file(file: OpenFile) -> str:
    """Return what `fingerprint_safetensors` does of an open file, which may be larger than memory. Raises alike."""
    return sha256_of(
        part
        for name, (dtype, shape, begin, end) in sorted(tensors_in(file).items())
        for part in (canonical_json([name, dtype, shape]) + b"\n", *file.parts(begin, end))
    )


def tensors_in(file: OpenFile) -> dict[str, tuple[str, list[int], int, int]]:
    """Return tensor name -> (dtype, shape, begin, end) of a safetensors file, whose bytes are to be read from it.

    Raises StoreCorrupt as `fingerprint_safetensors`.
    """
    tensors, start = _parsed(file.part(0, _header_end(file.part(0, _LENGTH_BYTES), file.size)), file.size)
    return {name: (dtype, shape, start + begin, start + end) for name, (dtype, shape, begin, end) in tensors.items()}


def tensors_of(data: bytes) -> dict[str, tuple[str, list[int], memoryview]]:
    """Return tensor name -> (dtype, shape, bytes) of a safetensors file.

    Raises StoreCorrupt as `fingerprint_safetensors`.
    """
    tensors, start = _parsed(data[: _header_end(data[:_LENGTH_BYTES], len(data))], len(data))
    body = memoryview(data)[start:]
    return {name: (dtype, shape, body[begin:end]) for name, (dtype, shape, begin, end) in tensors.items()}


def _header_end(length: bytes, size: int) -> int:
    """Return where the header of a file of `size` bytes ends, which begins with `length`. Raises StoreCorrupt."""
    end = _LENGTH_BYTES + int.from_bytes(length, "little")
    if end > size or size < _LENGTH_BYTES:
        raise _invalid(f"the header's length is given as {end - _LENGTH_BYTES} bytes, the file has {size}")
    if end > _MAX_HEADER_BYTES:
        raise _invalid(f"the header has {end - _LENGTH_BYTES} bytes, more than {_MAX_HEADER_BYTES}")
    return end


def _parsed(head: bytes, size: int) -> tuple[dict[str, tuple[str, list[int], int, int]], int]:
    """Return tensor name -> (dtype, shape, begin, end), and where the body begins that the two offsets refer to."""
    try:
        header = parsed(head[_LENGTH_BYTES:])
        tensors = {name: _tensor(name, entry) for name, entry in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _invalid(str(error)) from error
    position, most = 0, size - len(head)
    for name, (dtype, shape, begin, end) in sorted(tensors.items(), key=lambda item: item[1][2:]):
        if begin != position:
            raise _invalid(f"tensor {name} begins at byte {begin}, not at byte {position}")
        if (needed := math.prod(shape) * _BITS[dtype]) != 8 * (end - begin):
            raise _invalid(f"tensor {name} has {end - begin} bytes; {dtype} {shape} needs {needed / 8:.17g}")
        position = end
    if position != most:
        raise _invalid(f"the tensors end at byte {position} of {most}")
    return tensors, len(head)


def _tensor(name: str, entry: Any) -> tuple[str, list[int], int, int]:
    """Return (dtype, shape, begin, end) of one tensor. Raises ValueError, KeyError, TypeError."""
    dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if dtype not in _BITS:
        raise ValueError(f"tensor {name} is of the type {dtype!r}")
    if type(shape) is not list or len(shape) > _MAX_DIMENSIONS:
        raise ValueError(f"tensor {name} has no shape of at most {_MAX_DIMENSIONS} dimensions")
    if any(type(one) is not int or not 0 <= one < 2**63 for one in (*shape, begin, end)) or begin > end:
        raise ValueError(f"tensor {name} has sizes and offsets that are no whole numbers in order")
    return dtype, shape, begin, end


def _invalid(fault: str) -> StoreCorrupt:
    return StoreCorrupt(f"the weights are no valid safetensors file: {fault}; restore them from a copy")
