"""Tables of artifacts as rows, with the columns that a question needs.

Columns that an earlier version did not write have their default, but for the first, which tells the rows apart. Left
out: tables as stages read them, which are exact (`store/tables.py`).
"""

from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bootstrap.canonical import sha256
from bootstrap.errors import StoreCorrupt
from bootstrap.store.artifacts import Artifact
from bootstrap.store.parquet import column_names, read_table

Columns = Mapping[str, Any]
"""Column -> its value where the file lacks it."""
ROLLOUT: Columns = {
    "id": "",
    "group": "",
    "prompt_id": "",
    "prompt_text": "",
    "task": "",
    "level": 0,
    "text": "",
    "finish": "",
    "policy": "",
    "seed": 0,
    "unhinted": "",
}
VERDICT: Columns = {
    "rollout_id": "",
    "status": "",
    "reward": None,
    "breakdown": (),
    "reason": "",
    "verifier": "",
    "version": "",
    "sandbox": "",
}
SELECTION: Columns = {"rollout_id": "", "use": "", "replay": False, "reason": ""}
USAGE: Columns = {"source": "", "stream": "", "count": 0}
SHOWN: Columns = {"source": "", "prompt": ""}
OUTCOME: Columns = {"prompt_id": "", "level": 0, "correct": None, "text": "", "truncated": False, "task": ""}
ANSWER: Columns = {"rollout_id": "", "level": 0, "prompt_text": "", "completion_text": "", "task": ""}
"""Of a fork's inherited answers."""
_KNOWN: Columns = {
    **{**ROLLOUT, **VERDICT, **SELECTION, **USAGE, **SHOWN, **OUTCOME, **ANSWER},
    **{"sample_index": 0, "prompt_tokens": [], "tokens": []},
}
_FITS: Mapping[type, Callable[[pa.DataType], bool]] = {
    str: pa.types.is_string,
    int: pa.types.is_integer,
    bool: pa.types.is_boolean,
    list: pa.types.is_list,
    tuple: lambda kind: pa.types.is_map(kind) and pa.types.is_floating(kind.item_type),
    NoneType: lambda kind: pa.types.is_floating(kind) or pa.types.is_boolean(kind),
}
"""Type of a column's default -> whether a type of the file is that of the column."""


def rows(
    artifact: Artifact, name: str, columns: Columns, *, where: tuple[str, tuple[str, ...]] | None = None
) -> list[dict[str, Any]]:
    """Return a table as rows; empty without such a file. `where`: (column, values) of the rows to keep.

    Raises StoreCorrupt if the file is broken.
    """
    if name not in artifact.files:
        return []
    data = artifact.read(name)
    try:
        there = column_names(data)
        [key, *others] = columns
        kept = [key, *(column for column in others if column in there)]
        table = checked(read_table(data, columns=kept))
        if where is not None:
            column, values = where
            table = table.filter(pc.field(column).isin(list(values)))
    except (pa.ArrowException, ValueError) as error:
        raise StoreCorrupt(
            f"{artifact.path / name} cannot be read as a table: {error}; run `bootstrap verify`"
        ) from error
    lacking = {column: default for column, default in columns.items() if column not in kept}
    return [{**lacking, **row} for row in table.to_pylist()]


def checked(table: pa.Table) -> pa.Table:
    """Return a table as it is. Raises ValueError where a column is not of the type of its name, or lacks a value."""
    for column in table.column_names:
        default, found = _KNOWN.get(column), table.column(column)
        if column in _KNOWN and not _FITS[type(default)](found.type):
            raise ValueError(f"its column {column} is of the type {found.type}")
        if column in _KNOWN and default is not None and found.null_count:
            raise ValueError(f"its column {column} lacks a value")
    return table


def prompt_id(task: str, text: str) -> str:
    """Return the id of a task's prompt, as `prompts/splits.py` makes it."""
    return sha256(f"{task}\n{text}".encode())[:16]
