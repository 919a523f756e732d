"""Weights in several safetensors files -> one file, byte for byte, without a tensor library."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from bootstrap.errors import RecipeError, StoreCorrupt
from bootstrap.reading import OpenFile
from bootstrap.store.fingerprint import tensors_in, tensors_of

_Found = TypeVar("_Found")


class _Tensor(NamedTuple):
    dtype: str
    shape: list[int]
    size: int
    """Bytes."""
    parts: Iterable[bytes | memoryview]


def joined(shards: Sequence[tuple[str, bytes]]) -> bytes:
    """Return one safetensors file with the tensors of all shards (name, bytes), in order of their names.

    They are a person's own, of no store: raises RecipeError for a shard that is no safetensors file, and for a tensor
    that stands in two.
    """
    return b"".join(_joined([(place, _in_memory(place, data)) for place, data in shards]))


def joined_parts(shards: Sequence[tuple[str, OpenFile]]) -> Iterator[bytes | memoryview]:
    """Yield what `joined` returns in parts, of open files, which may be larger than memory. Raises as `joined`."""
    return _joined([(place, _in_file(place, file)) for place, file in shards])


def _in_memory(place: str, data: bytes) -> dict[str, _Tensor]:
    found = _own(lambda: tensors_of(data), place).items()
    return {name: _Tensor(dtype, shape, len(body), (body,)) for name, (dtype, shape, body) in found}


def _in_file(place: str, file: OpenFile) -> dict[str, _Tensor]:
    found = _own(lambda: tensors_in(file), place).items()
    return {
        name: _Tensor(dtype, shape, end - begin, file.parts(begin, end)) for name, (dtype, shape, begin, end) in found
    }


def _joined(shards: Sequence[tuple[str, Mapping[str, _Tensor]]]) -> Iterator[bytes | memoryview]:
    found: dict[str, _Tensor] = {}
    for place, tensors in shards:
        if twice := sorted(tensors.keys() & found.keys()):
            raise RecipeError(f"{place} holds {twice[0]}, which another shard holds too; fetch the folder again")
        found |= tensors
    header, position = dict[str, object](__metadata__={"format": "pt"}), 0
    for name, one in sorted(found.items()):
        end = position + one.size
        header[name] = {"dtype": one.dtype, "shape": one.shape, "data_offsets": [position, end]}
        position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for _, one in sorted(found.items()):
        yield from one.parts


def _own(read: Callable[[], _Found], place: str) -> _Found:
    """Return what is read of a person's own file. Raises its fault as RecipeError: no store is broken."""
    try:
        return read()
    except StoreCorrupt as error:
        reason = str(error).partition("; ")[0]
    # Outside the clause, since the error's context would say so.
    raise RecipeError(f"{place}: {reason}; fetch the folder again")
