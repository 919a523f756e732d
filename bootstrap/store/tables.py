"""Rows as parquet: slotted dataclasses to bytes and back, exact and deterministic.

Columns follow the dataclass's annotations; a field that may be None is a nullable column:

| annotation                        | column            |
|-----------------------------------|-------------------|
| `str`, `int`, `float`, `bool`     | string, int64, double, bool |
| a `StrEnum`                       | string            |
| `tuple[int, ...]`, `tuple[float, ...]`, `tuple[str, ...]` | list of int64, double, string |
| `Mapping[str, float]`             | map of string to double, in the mapping's order |

A field with `MEASURED` in its metadata has no column and comes back as its default: tables are hashed, and measurements
differ from run to run. Left out: files (`durable.py`), nested records and other types.
"""

import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from itertools import chain, pairwise
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from bootstrap import schema as names
from bootstrap.errors import StoreCorrupt
from bootstrap.records import MEASURED
from bootstrap.store.parquet import read_table

_SCALARS = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
_ALLOWED = {pa.string(): (str,), pa.int64(): (int,), pa.float64(): (float, int), pa.bool_(): (bool,)}
_BUFFER_FORMATS: dict[pa.DataType, Literal["i", "q", "d"]] = {pa.int32(): "i", pa.int64(): "q", pa.float64(): "d"}


def to_parquet(rows: Sequence[Any], schema: type) -> bytes:
    """Return `rows`, instances of the dataclass `schema`, as one parquet file; equal rows give equal bytes.

    Raises TypeError for a value that its annotation forbids, OverflowError for an integer beyond 64 bits.
    """
    arrow = arrow_schema(schema)
    columns = [_to_column([getattr(row, field.name) for row in rows], field) for field in arrow]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(columns, schema=arrow), sink, compression="zstd", version="2.6")
    return sink.getvalue().to_pybytes()


def from_parquet(data: bytes, schema: type) -> list[Any]:
    """Return the rows of a parquet file made by `to_parquet` with the same `schema`, in order.

    Raises StoreCorrupt if the bytes are no parquet file, or its columns or values do not fit `schema`.
    """
    arrow = arrow_schema(schema)
    hints = typing.get_type_hints(schema)
    try:
        table = read_table(data)
        former = names.columns(schema)
        table = table.rename_columns([former.get(column, column) for column in table.column_names])
        if not table.schema.equals(arrow):
            raise ValueError(f"its columns are {_names(table.schema)}, not {_names(arrow)}")
        columns = [_from_column(table.column(field.name), field, hints[field.name]) for field in arrow]
    except (pa.ArrowException, ValueError) as error:
        raise StoreCorrupt(
            f"a table of {schema.__name__} cannot be read: {error}. Run `bootstrap verify`; if it finds nothing, the "
            "table was written by another version of this program"
        ) from error
    return [schema(**dict(zip(arrow.names, values, strict=True))) for values in zip(*columns, strict=True)]


def arrow_schema(schema: type) -> pa.Schema:
    """Return the columns for the dataclass `schema`. Raises TypeError for an annotation outside the table above."""
    hints = typing.get_type_hints(schema)
    stored = [field.name for field in fields(schema) if not field.metadata.get(MEASURED)]
    return pa.schema([_arrow_field(name, hints[name]) for name in stored])


def _arrow_field(name: str, hint: Any) -> pa.Field:
    kind, is_optional = _without_none(hint)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in _SCALARS:
        return pa.field(name, _SCALARS[kind], nullable=is_optional)
    if origin is None and issubclass(kind, StrEnum):
        return pa.field(name, pa.string(), nullable=is_optional)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis and arguments[0] in (int, float, str):
        element = pa.field("element", _SCALARS[arguments[0]], nullable=False)
        return pa.field(name, pa.list_(element), nullable=is_optional)
    if origin is not None and issubclass(origin, Mapping) and arguments == (str, float):
        value = pa.field("value", pa.float64(), nullable=False)
        return pa.field(name, pa.map_(pa.string(), value), nullable=is_optional)
    raise TypeError(f"field {name}: no column type for {hint}")


def _without_none(hint: Any) -> tuple[Any, bool]:
    """Return the annotation without `| None`, and whether it allowed None."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        kinds = [kind for kind in typing.get_args(hint) if kind is not types.NoneType]
        if len(kinds) == 1:
            return kinds[0], True
    return hint, False


def _to_column(values: list[Any], field: pa.Field) -> pa.Array:
    if pa.types.is_map(field.type):
        _check_types(chain.from_iterable(value or () for value in values), field, pa.string(), is_optional=False)
        leaves: Iterable[Any] = chain.from_iterable(value.values() for value in values if value is not None)
        _check_types(leaves, field, field.type.item_type, is_optional=False)
        values = [None if value is None else list(value.items()) for value in values]
    elif pa.types.is_list(field.type):
        leaves = chain.from_iterable(value or () for value in values)
        _check_types(leaves, field, field.type.value_type, is_optional=False)
    else:
        _check_types(values, field, field.type, is_optional=field.nullable)
    column = pa.array(values, type=field.type)
    if column.null_count and not field.nullable:
        raise TypeError(f"column {field.name} holds a None, which its annotation does not allow")
    return column


def _check_types(values: Iterable[Any], field: pa.Field, type_: pa.DataType, *, is_optional: bool) -> None:
    """Raise TypeError for a value that the column would refuse or silently round, such as 1.5 as an integer."""
    allowed = _ALLOWED[type_] + ((types.NoneType,) if is_optional else ())
    for found in set(map(type, values)):
        if not issubclass(found, allowed) or (found is bool and type_ != pa.bool_()):
            raise TypeError(f"column {field.name} is of type {type_} and cannot hold a {found.__name__}")


def _from_column(column: pa.ChunkedArray, field: pa.Field, hint: Any) -> Iterable[Any]:
    array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], type=field.type)
    if pa.types.is_list(field.type) or pa.types.is_map(field.type):
        return _from_lists(array, field)
    values = _to_list(array)
    kind, _ = _without_none(hint)
    if issubclass(kind, StrEnum):
        members = {None: None} | {member.value: member for member in kind}
        unknown = set(values) - members.keys()
        if unknown:
            raise ValueError(f"column {field.name} holds {sorted(unknown)}, which {kind.__name__} does not know")
        return [members[value] for value in values]
    return values


def _from_lists(array: pa.ListArray | pa.MapArray, field: pa.Field) -> list[Any]:
    """Cut the flat values at the offsets: many times faster than Arrow's own conversion of nested values."""
    offsets = _to_list(array.offsets)
    if pa.types.is_map(field.type):
        keys, items = _to_list(array.keys), _to_list(array.items)
        rows = [dict(zip(keys[a:b], items[a:b], strict=True)) for a, b in pairwise(offsets)]
    else:
        flat = _to_list(array.values)
        rows = [tuple(flat[a:b]) for a, b in pairwise(offsets)]
    if array.null_count:
        rows = [row if valid else None for row, valid in zip(rows, array.is_valid().to_pylist(), strict=True)]
    return rows


def _to_list(array: pa.Array) -> list[Any]:
    """Return the values as Python objects, read straight from the buffer where the type allows it."""
    form = _BUFFER_FORMATS.get(array.type)
    if form is None or array.null_count or len(array) == 0:
        return array.to_pylist()
    return memoryview(array.buffers()[1]).cast("B").cast(form)[array.offset : array.offset + len(array)].tolist()


def _names(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}{'' if field.nullable else ' not null'}" for field in schema)
