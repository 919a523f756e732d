"""Rows of JSON Lines, CSV, Parquet and Arrow data, as mappings from column to value; equal rows give equal prompts.

| source | value of a cell |
|---|---|
| JSON Lines | JSON's; numbers keep the written value (`json_numbers.py`) |
| CSV | text: the first row names the columns, quoted cells may hold line ends, every row has every cell |
| Parquet, Arrow | text, whole numbers and truth values as they are; other numbers as their shortest decimal; null |

A whole float of a table is `1.0`, where JSON usually holds 1. What JSON cannot hold (bytes, times) is `Foreign`: no
error in a column that nobody reads. A byte order mark at the start of a text is skipped. Left out: which columns mean
what (`rows.py`).
"""

import csv
import io
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from bootstrap.config.data import Source
from bootstrap.prompts.json_numbers import Written, loads

PACKED = {
    b"\x1f\x8b": "packed by gzip",
    b"\x28\xb5\x2f\xfd": "packed by zstd",
    b"PK\x03\x04": "a zip archive or a sheet",
}
"""First bytes of files that hold no text -> what they are."""
MAX_CELL = 2**31 - 1
"""Characters of one cell of a CSV file."""


@dataclass(frozen=True)
class Foreign:
    """A value that JSON cannot hold; `kind`: what it is, in words."""

    kind: str

    def __str__(self) -> str:
        return self.kind


class Broken(ValueError):
    """A row cannot be read; `number`: its number, None for the source as a whole."""

    def __init__(self, message: str, *, number: int | None = None) -> None:
        super().__init__(message)
        self.number = number


def rows_of(source: Source, *, wanted: Collection[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the rows with their numbers from 1: lines of JSON Lines, else rows without the header.

    Columns that are not `wanted` may hold None instead of their values. Raises Broken.
    """
    match source.kind:
        case "lines":
            yield from _of_lines(_text(source))
        case "csv":
            yield from _of_csv(_text(source))
        case _:
            yield from _of_table(source, wanted)


def _text(source: Source) -> str:
    [data] = source.pieces
    if packed := next((name for start, name in PACKED.items() if data.startswith(start)), None):
        raise Broken(f"is {packed}; unpack it, or save it as JSON Lines, CSV or Parquet")
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise Broken(f"is not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def _of_lines(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if text.lstrip().startswith("["):
        raise Broken("is one JSON array; write each of its objects on a line of its own (JSON Lines)")
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        if number == 1 and "{" not in line:
            raise Broken(
                f"is no JSON Lines file, whose lines are JSON objects: it begins with {_short(line.strip())}; name a "
                "table with commas .csv, and write one with tabs or semicolons with commas"
            )
        try:
            data = loads(line)
        except (ValueError, RecursionError) as error:
            raise Broken(f"not valid JSON: {error}; each line holds one JSON object", number=number) from None
        if type(data) is not dict:
            raise Broken(f"no JSON object: {_short(line.strip())}", number=number)
        yield number, data


def _of_csv(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    limit = csv.field_size_limit(MAX_CELL)
    # Python's csv reads a quoted cell across lines only where these keep their ends.
    reader, begun = csv.reader(io.StringIO(text, newline=""), strict=True), 1
    records = list[list[str]]()
    try:
        for record in reader:
            records += [record] if record else []
            begun = reader.line_num + 1
    except csv.Error as error:
        raise Broken(
            f"is no CSV from line {begun} on: {error}; quote cells that hold commas, quotes or line ends, and double "
            "quotes in them"
        ) from None
    finally:
        csv.field_size_limit(limit)
    if not records:
        raise Broken("is empty; the first row of a CSV file names its columns")
    header, *cells = records
    if len(header) == 1 and (mark := next((mark for mark in ";\t" if mark in header[0]), None)):
        raise Broken(f"separates its columns by {'semicolons' if mark == ';' else 'tabs'}; write it with commas")
    _check_names(header)
    for number, record in enumerate(cells, start=1):
        if len(record) != len(header):
            raise Broken(
                f"has {len(record)} cells, and the header names {len(header)} columns; quote cells that hold commas",
                number=number,
            )
        yield number, dict(zip(header, record, strict=True))


def _of_table(source: Source, wanted: Collection[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    # Most recipes read text alone and spare this import.
    import pyarrow as pa

    from bootstrap.store.parquet import read_table

    number = 0
    for piece in source.pieces:
        try:
            if source.kind == "parquet":
                table = read_table(piece)
            else:
                table = pa.ipc.open_stream(pa.BufferReader(piece)).read_all()
                table.validate(full=True)
        except (pa.ArrowException, OSError, ValueError) as error:
            form = "Parquet file" if source.kind == "parquet" else "Arrow data of `datasets`"
            raise Broken(f"is no {form}: {str(error).splitlines()[0]}; write it again") from None
        names = table.column_names
        _check_names(names)
        read = {name: _values(table.column(name)) for name in names if name in wanted}
        blank = dict.fromkeys(names)
        for place in range(table.num_rows):
            number += 1
            yield number, {**blank, **{name: values[place] for name, values in read.items()}}


def _check_names(names: list[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Broken(f"names the column {_short(twice[0])} twice; give each a name of its own")


def _values(column: Any) -> list[Any]:
    """Return a column's values (an Arrow chunked array)."""
    import numpy as np
    import pyarrow as pa

    narrow = {pa.float16(): np.float16, pa.float32(): np.float32}.get(column.type)
    if narrow is not None:
        # The shortest decimal of a narrow float is not that of the same number as a Python float.
        return [None if value is None else Written.of(str(narrow(value))) for value in column.to_pylist()]
    return [_value(value) for value in column.to_pylist()]


def _value(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return Written.of(repr(value))
        case Decimal():
            return (
                int(value)
                if value == value.to_integral_value() and value.as_tuple().exponent == 0
                else Written.of(str(value))
            )
        case list() | tuple():
            return [_value(inner) for inner in value]
        case dict():
            return {str(name): _value(inner) for name, inner in value.items()}
        case bytes():
            return Foreign("bytes")
    return Foreign(f"a {type(value).__name__}")


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
