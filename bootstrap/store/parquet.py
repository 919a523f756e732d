"""Parquet files that somebody else may have made -> tables that fit into memory and hold what they say.

A small file can claim any number of rows, and repeat one long text in each of them. So the footer is read under
limits of its own, what it claims is compared with the machine's memory, and texts that may be repeated are measured
before they are written out. Every fault is a ValueError. Left out: which columns a table has (`tables.py`).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bootstrap.machine import total_memory

_FAULTS = (pa.ArrowException, OSError, OverflowError, MemoryError, RecursionError)
_MAX_TEXT, _MAX_LIST = 16 << 20, 10_000
"""Of texts and lists in the footer, which has a few of each for every column and every million of rows."""
_SHARE = 4
"""Of memory, one in so many parts may become one table: as Python's objects it takes several times as much."""
_UNMEASURED = 1 << 30
"""Bytes that texts may take at most without being measured first."""
_MEASURED_ROWS = 1024
_SIZES = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12, "BYTE_ARRAY": 8}
_TEXT = "BYTE_ARRAY"


def read_table(data: bytes, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the table in a Parquet file; `columns`: those to read, all of which it has. Raises ValueError."""
    try:
        file = _opened(data)
        if columns is not None and (lacking := [name for name in columns if name not in file.schema_arrow.names]):
            raise ValueError(f"it lacks the columns {', '.join(lacking)}")
        table = _bounded(file, data, columns)
        # Texts that are no UTF-8, and lists that end before they begin, would fail where they are used.
        table.validate(full=True)
    except _FAULTS as error:
        raise ValueError(str(error).strip() or type(error).__name__) from error
    return table


def column_names(data: bytes) -> list[str]:
    """Return the names of a Parquet file's columns. Raises ValueError."""
    try:
        return _opened(data).schema_arrow.names
    except _FAULTS as error:
        raise ValueError(str(error).strip() or type(error).__name__) from error


def _opened(data: bytes, *, texts: Sequence[str] = ()) -> pq.ParquetFile:
    """Open a file; `texts`: columns whose texts are kept once each."""
    return pq.ParquetFile(
        pa.BufferReader(data),
        read_dictionary=list(texts),
        thrift_string_size_limit=_MAX_TEXT,
        thrift_container_size_limit=_MAX_LIST,
    )


def _bounded(file: pq.ParquetFile, data: bytes, columns: Sequence[str] | None) -> pa.Table:
    most, kept = total_memory() // _SHARE, None if columns is None else list(columns)
    schema = file.metadata.schema
    wanted = [n for n in range(len(schema)) if kept is None or schema.column(n).path.partition(".")[0] in kept]
    # Keeps nothing, and raises for what ends the process where a chunk of `metadata` is looked at: statistics of
    # another type than their column's.
    file.scan_contents(wanted)
    claimed, texts, longest = 0, set[str](), 0
    for column, chunk in _chunks(file.metadata, wanted):
        size = column.length if column.physical_type == "FIXED_LEN_BYTE_ARRAY" else _SIZES[column.physical_type]
        claimed += max(chunk.num_values, 0) * size + max(chunk.total_uncompressed_size, 0)
        if column.physical_type == _TEXT:
            texts.add(column.path)
            longest += max(chunk.num_values, 0) * max(chunk.total_uncompressed_size, 0)
    _check(max(claimed, 8 * file.metadata.num_rows), most)
    if longest > _UNMEASURED:
        measured = _opened(data, texts=sorted(texts))
        found = 0
        for batch in measured.iter_batches(_MEASURED_ROWS, columns=kept, use_threads=False):
            found += sum(map(_text_bytes, batch.columns))
            _check(found, most)
    return file.read(columns=kept, use_threads=False)


def _chunks(metadata: Any, wanted: Sequence[int]) -> Iterator[tuple[Any, Any]]:
    """Yield (column, its part of a row group)."""
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group)
        for number in wanted:
            yield metadata.schema.column(number), rows.column(number)


def _check(size: int, most: int) -> None:
    if size > most:
        raise ValueError(f"it holds {size:,} bytes, and {most:,} fit into a part of this machine's memory")


def _text_bytes(array: Any) -> int:
    """Return the bytes of all texts in an array whose texts are kept once each."""
    if pa.types.is_dictionary(array.type):
        lengths = pc.call_function("binary_length", [array.dictionary]).take(array.indices)
        return pc.call_function("sum", [lengths.cast(pa.int64())]).as_py() or 0
    if pa.types.is_map(array.type):
        return _text_bytes(array.keys) + _text_bytes(array.items)
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        return _text_bytes(array.flatten())
    if pa.types.is_struct(array.type):
        return sum(map(_text_bytes, array.flatten()))
    return 0
