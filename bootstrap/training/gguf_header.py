"""A GGUF file's header, walked through before a library opens it: its counts and sizes fit into the file.

    "GGUF", version, number of tensors, number of fields
    a field:    key, type, value: a number, a text, or a list of them
    a tensor:   name, shape, type, offset

The library makes several objects of each element of a list, and trusts every count. Left out: what the fields mean.
"""

import struct
from typing import BinaryIO

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

_MAX_FIELDS = 1 << 16
_MAX_TENSORS = 1 << 18
_MAX_ELEMENTS = 1 << 23
"""Of all lists together: vocabularies have up to a million entries, in three or four lists."""
_MAX_TEXT_BYTES = 64 << 20
_MAX_DIMENSIONS = 8
_TEXT, _LIST = 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Type -> bytes of a number."""
_WHOLE = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 10: "Q", 11: "q"}
"""Type -> form of a whole number."""
_BLOCKS, _CONTEXT = b"block_count", b"context_length"
"""Layers, each of which is built before a tensor is read; and positions, which are no dimension but of old classes."""
_WIDTHS = (
    *(b"embedding_length", b"feed_forward_length", b"expert_feed_forward_length", b"vocab_size"),
    *(b"head_count", b"head_count_kv", b"key_length", b"value_length", b"dimension_count"),
    *(b"expert_count", b"expert_used_count"),
)
"""Counts that no model's largest dimension is below."""
_COUNTS = {_BLOCKS, _CONTEXT, *_WIDTHS}
"""Ends of keys, after the last dot, whose values say what is built."""
_MOST = 2**31 - 1
"""Of a count: libraries hold them as 32-bit numbers in places."""
_POSITIONS = b"position_embd.weight"
"""The tensor of a class that learns its positions."""


def check(file: BinaryIO, size: int) -> None:
    """Raise ValueError for a header whose counts, shapes or nesting no model has, or that the file is too short for.

    `size`: of the file, which is read from its beginning.
    """
    header = _Header(file, size)
    if header.take(4) != b"GGUF":
        raise ValueError("it does not begin with GGUF")
    version = header.take(4)
    if version[:2] == b"\0\0":
        header.order = ">"
    tensors, fields = header.number("Q"), header.number("Q")
    if fields > _MAX_FIELDS or tensors > _MAX_TENSORS:
        raise ValueError(f"it claims {fields} fields and {tensors} tensors")
    counts = list[tuple[bytes, list[int]]]()
    for _ in range(fields):
        key = header.text()
        kind = header.number("I")
        if (name := key.rpartition(b".")[2]) in _COUNTS:
            counts.append((name, header.counts(key, kind)))
        else:
            header.value(kind)
    needed = sum(header.tensor() for _ in range(tensors))
    for name, found in counts:
        for one in found:
            if name == _BLOCKS and one > tensors:
                raise ValueError(f"it claims {one} layers and has {tensors} tensors")
            bounded = name in _WIDTHS or (name == _CONTEXT and header.has_positions)
            if bounded and one > header.widest:
                raise ValueError(
                    f"it claims {one} as {name.decode()}, and no tensor has a dimension above {header.widest}"
                )
    if needed > size - header.position:
        raise ValueError(f"its tensors need {needed} bytes, and {size - header.position} are left for them")


class _Header:
    """Reads forward, never past the end of the file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self._num_elements = 0
        self.position, self.order = 0, "<"
        self.widest, self.has_positions = 0, False
        """The largest dimension of the tensors so far, and whether one of them is of positions."""

    def take(self, count: int) -> bytes:
        self._advance(count)
        found = self._file.read(count)
        if len(found) < count:
            raise ValueError(f"it ends at byte {self.position}")
        return found

    def number(self, form: str) -> int:
        return struct.unpack(self.order + form, self.take(struct.calcsize(form)))[0]

    def text(self) -> bytes:
        length = self.number("Q")
        if length > _MAX_TEXT_BYTES:
            raise ValueError(f"a text of {length} bytes is claimed at byte {self.position}")
        return self.take(length)

    def counts(self, key: bytes, kind: int) -> list[int]:
        """Return a field's whole numbers, one or a list. Raises ValueError for another type or one out of bounds."""
        kind, count = self._elements(kind)
        name = ascii(key.decode(errors="replace"))
        if kind not in _WHOLE:
            raise ValueError(f"its field {name} is of the type {kind}, where a whole number is needed")
        found = [self.number(_WHOLE[kind]) for _ in range(count)]
        if wrong := [one for one in found if not 0 <= one <= _MOST]:
            raise ValueError(f"its field {name} is {wrong[0]}, where a number up to {_MOST} is needed")
        return found

    def _elements(self, kind: int) -> tuple[int, int]:
        """Return the type of a field's elements, and how many there are."""
        if kind != _LIST:
            return kind, 1
        kind, count = self.number("I"), self.number("Q")
        self._num_elements += count
        if self._num_elements > _MAX_ELEMENTS:
            raise ValueError(f"a list of {count} elements is claimed at byte {self.position}")
        return kind, count

    def value(self, kind: int) -> None:
        """Skip a field's value."""
        kind, count = self._elements(kind)
        if kind == _TEXT:
            for _ in range(count):
                self.text()
        elif kind in _SIZES:
            self._advance(count * _SIZES[kind])
            self._file.seek(self.position)
        else:
            raise ValueError(f"a value of the type {kind} stands at byte {self.position}")

    def tensor(self) -> int:
        """Skip a tensor's description and return the bytes that it needs."""
        self.has_positions |= self.text() == _POSITIONS
        if (dimensions := self.number("I")) > _MAX_DIMENSIONS:
            raise ValueError(f"a tensor of {dimensions} dimensions is claimed at byte {self.position}")
        elements = 1
        for _ in range(dimensions):
            elements *= (width := self.number("Q"))
            self.widest = max(self.widest, width)
        kind = self.number("I")
        if kind not in set(GGMLQuantizationType):
            raise ValueError(f"a tensor of the type {kind} stands at byte {self.position}")
        block, width = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        needed, offset = -(-elements // block) * width, self.number("Q")
        if needed > self._size or offset > self._size:
            raise ValueError(f"a tensor of {needed} bytes at offset {offset} is claimed, and the file has {self._size}")
        return needed

    def _advance(self, count: int) -> None:
        self.position += count
        if self.position > self._size:
            raise ValueError(f"{count} bytes are claimed before byte {self.position}, and the file has {self._size}")
