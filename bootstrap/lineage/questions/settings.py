"""Settings of generations and recipes, and in which leaves two of them differ.

Left out: which pairs are compared (`difference.py`, `comparison.py`, the page's `changes.py`).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from bootstrap.ledger_records import Generation
from bootstrap.store.lineage_store import Header

_ABSENT = object()


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A setting, a source of data or a verifier that differs, as JSON text; empty where one side has none."""

    name: str
    a: str
    b: str


def settings_of(node: Generation, header: Header | None) -> dict[str, Any]:
    """Return the settings of one generation: those of its record, and under `stage` those of its stage.

    The stage has its name alone without a header, and for generation 0, whose settings are a base's, its steps too.
    """
    stage: dict[str, Any] = {"name": node.stage}
    if header is not None:
        own = header.settings(node.number)
        kept = own.keys() - {"stages"} if node.number else {"steps"}
        stage |= {key: value for key, value in own.items() if key in kept}
    return {
        "stage": stage,
        "target_levels": list(node.target_levels),
        "seed": node.seed,
        "workers": node.num_workers,
        "batch_rows": node.batch_rows,
        "code_version": node.code_version,
    }


def changes(a: Any, b: Any, path: str = "") -> Iterator[Change]:
    """Yield each leaf of two JSON values that differs, as `dotted.path[index]`; its values as JSON text.

    A section that only one side has is one leaf.
    """
    match a, b:
        case {**before}, {**after}:
            for key in sorted(before.keys() | after.keys()):
                yield from changes(before.get(key, _ABSENT), after.get(key, _ABSENT), f"{path}.{key}".removeprefix("."))
        case [*before], [*after]:
            for index, (old, new) in enumerate(zip_longest(before, after, fillvalue=_ABSENT)):
                yield from changes(old, new, f"{path}[{index}]")
        case _:
            if (old := _told(a)) != (new := _told(b)):
                yield Change(name=path, a=old, b=new)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield each leaf of a JSON value as `dotted.path[index]` with its JSON text; an empty section is a leaf."""
    match value:
        case {**inner} if inner:
            for key in sorted(inner):
                yield from leaves(inner[key], f"{path}.{key}".removeprefix("."))
        case [_, *_]:
            for index, one in enumerate(value):
                yield from leaves(one, f"{path}[{index}]")
        case _:
            yield path, _told(value)


def _told(value: Any) -> str:
    return "" if value is _ABSENT else json.dumps(value, sort_keys=True, ensure_ascii=False)
