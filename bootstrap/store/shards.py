"""Weights in several safetensors files -> one file, byte for byte, without a tensor library."""

import json
from collections.abc import Mapping, Sequence

from bootstrap.errors import RecipeError, StoreCorrupt
from bootstrap.store.fingerprint import tensors_of


def joined(shards: Sequence[tuple[str, bytes]]) -> bytes:
    """Return one safetensors file with the tensors of all shards (name, bytes), in order of their names.

    They are a person's own, of no store: raises RecipeError for a shard that is no safetensors file, and for a tensor
    that stands in two.
    """
    found: dict[str, tuple[str, list[int], memoryview]] = {}
    for place, data in shards:
        for name, tensor in _tensors(data, place).items():
            if name in found:
                raise RecipeError(f"{place} holds {name}, which another shard holds too; fetch the folder again")
            found[name] = tensor
    header, position = dict[str, object](__metadata__={"format": "pt"}), 0
    for name, (dtype, shape, body) in sorted(found.items()):
        end = position + len(body)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, end]}
        position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *(body for _, (_, _, body) in sorted(found.items()))])


def _tensors(data: bytes, place: str) -> Mapping[str, tuple[str, list[int], memoryview]]:
    try:
        return tensors_of(data)
    except StoreCorrupt as error:
        reason = str(error).partition("; ")[0]
    # Outside the clause: no store is broken, and the error's cause would say so.
    raise RecipeError(f"{place}: {reason}; fetch the folder again")
