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


def changes(a: Any, b: Any) -> Iterator[Change]:
    """Yield each leaf of two JSON values that differs, as `dotted.path[index]`; its values as JSON text.

    A section that only one side has is one leaf.
    """
    for name, (old, new) in differences(a, b):
        yield Change(name=name, a=old, b=new)


def differences(*values: Any, path: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each leaf in which JSON values differ: its `dotted.path[index]`, and its JSON text in each of them.

    A section that not all of them have is one leaf; the text is empty where there is none.
    """
    if all(hasattr(value, "keys") for value in values):
        for key in sorted({key for value in values for key in value}):
            yield from differences(*(value.get(key, _ABSENT) for value in values), path=f"{path}.{key}".lstrip("."))
    elif all(isinstance(value, list) for value in values):
        for index, items in enumerate(zip_longest(*values, fillvalue=_ABSENT)):
            yield from differences(*items, path=f"{path}[{index}]")
    elif len(set(told := tuple(map(_told, values)))) > 1:
        yield path, told


def sections(settings: Any, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the sections of a stored recipe that have this `type`, wherever they are."""
    match settings:
        case dict():
            if settings.get("type") == kind:
                yield settings
            for inner in settings.values():
                yield from sections(inner, kind)
        case list():
            for inner in settings:
                yield from sections(inner, kind)


def plugins_of(settings: Any) -> list[str]:
    """Return what a stored recipe's settings name of a user's own code: `module:function` or an entry point."""
    return [section["uses"] for section in sections(settings, "plugin") if isinstance(section.get("uses"), str)]


def _told(value: Any) -> str:
    return "" if value is _ABSENT else json.dumps(value, sort_keys=True, ensure_ascii=False)
