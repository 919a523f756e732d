"""Parquet files that claim or hold more than a table may, and GGUF headers that claim what no model has."""

import io
import struct

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bootstrap.store import parquet
from bootstrap.store.parquet import read_table
from bootstrap.training import gguf_header


def written(columns: dict[str, pa.Array]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd", version="2.6")
    return sink.getvalue().to_pybytes()


NESTED = pa.list_(pa.field("element", pa.string(), nullable=False))
SOUND = {
    "level": pa.array([1, 2, 3]),
    "text": pa.array(["a", None, "c"]),
    "names": pa.array([["x", "y"], [], ["x"]], type=NESTED),
    "parts": pa.array([[("k", 1.0)], [], [("k", 2.0)]], type=pa.map_(pa.string(), pa.float64())),
}


def test_a_sound_table_is_read_whole_or_by_columns() -> None:
    data = written(SOUND)
    assert read_table(data).to_pydict() == pa.table(SOUND).to_pydict()
    assert read_table(data, columns=["text", "level"]).column_names == ["text", "level"]
    with pytest.raises(ValueError, match="lacks the columns reward"):
        read_table(data, columns=["level", "reward"])


@pytest.mark.parametrize(
    "columns",
    [
        {"text": pa.array(["x" * 4096] * 4096)},
        {"names": pa.array([["x" * 4096] * 64] * 64, type=NESTED)},
        {"parts": pa.array([[("x" * 4096, 1.0)]] * 4096, type=pa.map_(pa.string(), pa.float64()))},
    ],
    ids=["texts", "lists of texts", "maps"],
)
def test_a_text_repeated_in_every_row_is_measured_before_it_is_written_out(
    columns: dict[str, pa.Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = written(columns)
    assert len(data) < 100_000
    monkeypatch.setattr(parquet, "_UNMEASURED", 1 << 20)
    assert read_table(data).num_rows
    # 16 MiB of text, and a quarter of 32 MiB may become one table.
    monkeypatch.setattr(parquet, "total_memory", lambda: 32 << 20)
    with pytest.raises(ValueError, match="fit into a part of this machine's memory"):
        read_table(data)


def test_more_numbers_than_memory_holds_are_refused_by_their_count(monkeypatch: pytest.MonkeyPatch) -> None:
    data = written({"level": pa.array([7] * 1_000_000)})
    assert len(data) < 10_000
    monkeypatch.setattr(parquet, "total_memory", lambda: 16 << 20)
    with pytest.raises(ValueError, match="fit into a part of this machine's memory"):
        read_table(data)


def test_texts_that_are_no_text_are_refused() -> None:
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(struct.pack("<ii", 0, 2)), pa.py_buffer(b"\xff\xfe")]
    )
    with pytest.raises(ValueError, match="UTF8"):
        read_table(written({"text": broken}))


@pytest.mark.parametrize("size", [0, 3, 4, 12, 100])
def test_what_is_no_parquet_file_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_table((b"PAR1" + bytes(100) + b"\xff\xff\xff\x7fPAR1")[-size:] if size else b"")


def gguf_of(*, tensors: int = 0, fields: bytes = b"", num_fields: int = 0, infos: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, num_fields) + fields + infos


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def field(kind: int, value: bytes, key: bytes = b"key") -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def info(*shape: int, kind: int = 0, offset: int = 0) -> bytes:
    return text(b"w") + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"GGML", "does not begin"),
        (b"GGUF" + bytes(3), "8 bytes|4 bytes are claimed"),
        (gguf_of(tensors=2**63), "tensors"),
        (gguf_of(num_fields=2**40), "fields"),
        (gguf_of(num_fields=1, fields=struct.pack("<Q", 2**62)), "a text of"),
        (gguf_of(num_fields=1, fields=field(9, struct.pack("<IQ", 0, 2**60))), "a list of"),
        (gguf_of(num_fields=1, fields=field(9, struct.pack("<IQ", 0, 2**20))), "bytes are claimed"),
        (gguf_of(num_fields=1, fields=field(9, struct.pack("<IQIQ", 9, 1, 9, 1))), "of the type 9"),
        (gguf_of(num_fields=1, fields=field(99, b"")), "of the type 99"),
        (gguf_of(num_fields=1, fields=field(4, struct.pack("<I", 10**9), b"llama.block_count")), "1000000000 layers"),
        *(
            (gguf_of(num_fields=1, fields=field(kind, value, b"llama.block_count")), told)
            for kind, value, told in (
                (2, struct.pack("<H", 60000), "60000 layers"),
                (1, struct.pack("<b", -1), r"block_count' is -1, where a number up to"),
                (10, struct.pack("<Q", 2**63), r"block_count' is 9223372036854775808, where"),
                (6, struct.pack("<f", 1e9), r"block_count' is of the type 6, where a whole number is needed"),
                (8, text(b"9" * 9), "of the type 8, where"),
                (9, struct.pack("<IQHH", 2, 2, 0, 60000), "60000 layers"),
                (9, struct.pack("<IQf", 6, 1, 1.0), "of the type 6, where"),
            )
        ),
        (
            gguf_of(tensors=1, infos=info(8), num_fields=1, fields=field(2, struct.pack("<H", 9), b"a.vocab_size")),
            "it claims 9 as vocab_size, and no tensor has a dimension above 8",
        ),
        (gguf_of(tensors=1, infos=info(2**62, 2**62)), "a tensor of"),
        (gguf_of(tensors=1, infos=info(8, offset=2**50)), "offset"),
        (gguf_of(tensors=1, infos=info(8, kind=77)), "of the type 77"),
        (gguf_of(tensors=1, infos=info(*[1] * 9)), "9 dimensions"),
        (gguf_of(tensors=1, infos=info(10)), "need 40 bytes"),
    ],
)
def test_a_header_that_claims_what_no_model_has_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        gguf_header.check(io.BytesIO(data), len(data))


def test_a_header_whose_tensors_are_there_passes() -> None:
    data = gguf_of(tensors=1, infos=info(10), num_fields=1, fields=field(8, text(b"llama"))) + bytes(40)
    gguf_header.check(io.BytesIO(data), len(data))
