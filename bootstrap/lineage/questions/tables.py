"""Tables of artifacts as rows, with the columns that a question needs.

Columns that an earlier version did not write have their default. Left out: tables as stages read them, which are exact
(`store/tables.py`).
"""

from collections.abc import Mapping
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
        kept = [column for column in columns if column in there]
        table = read_table(data, columns=kept)
        if where is not None:
            column, values = where
            table = table.filter(pc.field(column).isin(list(values)))
    except (pa.ArrowException, ValueError) as error:
        raise StoreCorrupt(
            f"{artifact.path / name} cannot be read as a table: {error}; run `bootstrap verify`"
        ) from error
    lacking = {column: default for column, default in columns.items() if column not in kept}
    return [{**lacking, **row} for row in table.to_pylist()]


def prompt_id(task: str, text: str) -> str:
    """Return the id of a task's prompt, as `prompts/splits.py` makes it."""
    return sha256(f"{task}\n{text}".encode())[:16]
