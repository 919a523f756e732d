"""The names that stores hold: those written today, and those of schema 3; the one place that knows both.

Translated on reading, once, where bytes become data: a lineage's header and remembered recipe (`settings`), ledger
records (`generation`, `annotations`), documents and tables of artifacts (`document`, `columns`). What is stored stays
as it is, and so do the hashes over it.

Ids do not change with names: what an id or a digest is made of is hashed under the names of schema 3 (`hashed`). So a
recipe keeps its digest, and finished work is found again, whichever names the store or the recipe file was written
with.

    header, record    `schema_version` says which names it has: 3 or 4
    recipe.json       without `schema_version`: 3
    artifacts         documents and tables are known by the names in them

A name that changes again gets a line in the tables below, and schema 5 the names of 4 in tables of their own.
"""

from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

from pydantic import ValidationError

from bootstrap.errors import StoreError

SCHEMA_VERSION = 4
READABLE = frozenset({3, 4})
_BEFORE = 3

RENAMED_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "Recipe": {"health": "diagnostics"},
    "rl": {"updates": "rounds", "probe": "initial_samples", "stepping_stones": "easier_variants"},
    "self_play": {"updates": "rounds"},
    "rejection": {"stepping_stones": "easier_variants"},
}
"""`type` of a section of a recipe, `Recipe` for all of it -> name in schema 3 -> name."""
_TOLD = {"Recipe": "a recipe", "rl": "an rl step", "self_play": "a self_play step", "rejection": "a rejection source"}

_GENERATION = {"books": "accounting", "health": "diagnostics"}
_REPORT = {"lead": "generalization_margin"}
_EDGE = {"spent": "compute_cost"}
_ROLES = {"health": "diagnostics"}
"""Of artifacts in a generation."""
_OUTCOMES = {"aside": "ungated"}
_PHASES = {"health": "diagnostics"}
"""Of FLOPs, tokens and seconds."""
_ANNOTATIONS = {"probe": "benchmark"}
_COLUMNS: Mapping[str, Mapping[str, str]] = {"UpdateRow": {"live_groups": "informative_groups"}}
"""Row class -> column in schema 3 -> column."""
_ROWS = {"updates.parquet": "UpdateRow"}
"""File of a table with renamed columns -> class of its rows."""
_KINDS = {"diagnostics": "health"}
"""Kind of an artifact -> what schema 3 calls it."""
_FILES: Mapping[str, Mapping[str, str]] = {"health": {"diagnostics.json": "health.json"}}
"""Kind in schema 3 -> file -> what it is called in such an artifact."""
_OWN = frozenset({"options", "json_schema", "config", "levels", "template_arguments"})
"""Settings whose value is a user's own data, or holds no section: every name in it stays, in either direction."""
_OWN_OF_PLUGIN = frozenset({"settings"})
"""Settings of sections of type `plugin` to which this applies too; elsewhere they hold sections."""
_FEW, _TOLD_PART, _TOLD_CHARACTERS = 3, 40, 600
"""Problems of stored data in a message, characters of a key on the way to one, and characters of the whole."""


def check_readable(stored: Any, *, place: Path) -> None:
    """Raise StoreError where `stored`, a header or a record's payload as JSON data, is of a schema not in `READABLE`.

    Data that tell no version pass; their reader refuses them. `place`: what the message names.
    """
    version = stored.get("schema_version") if isinstance(stored, Mapping) else None
    if type(version) is int and version not in READABLE:
        raise StoreError(
            f"{place} was written with schema version {version}, this program writes {SCHEMA_VERSION}: use the program "
            "that made it, or start a new lineage with --lineage NAME"
        )


def in_words(error: Exception) -> str:
    """Return what is wrong with stored data in one bounded line: of many problems the first few, and how many more."""
    if not isinstance(error, ValidationError):
        return shorten(str(error), _TOLD_CHARACTERS, placeholder=" ...")
    found = error.errors(include_url=False, include_context=False, include_input=False)
    first = [f"{'.'.join(str(part)[:_TOLD_PART] for part in one['loc'])}: {one['msg']}" for one in found[:_FEW]]
    more = [f"and {len(found) - _FEW} more problems"] if len(found) > _FEW else []
    return shorten("; ".join([*first, *more]), _TOLD_CHARACTERS, placeholder=" ...")


def renamed_setting(section: str, name: str) -> str:
    """Return what follows the message about a setting that a section of this type had in schema 3; empty for others."""
    new = RENAMED_SETTINGS.get(section, {}).get(name)
    return f"; {_TOLD[section]} calls it {new}" if new else ""


def settings(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe, or its identity, of schema 3 under the names of today."""
    return _sections(_renamed(stored, RENAMED_SETTINGS["Recipe"]), RENAMED_SETTINGS)


def hashed(value: Any) -> Any:
    """Return what ids are made of, JSON data, under the names of schema 3; data that have those come back as equal."""
    former = {section: _inverse(names) for section, names in RENAMED_SETTINGS.items()}
    if isinstance(value, Mapping) and {"task", "generations"} <= value.keys():
        value = _renamed(value, former["Recipe"])
    return _sections(value, former)


def hashed_kind(kind: str) -> str:
    """Return the kind of an artifact as its id is made of it, which is also what schema 3 calls its folder."""
    return _KINDS.get(kind, kind)


def file_name(kind: str, name: str) -> str:
    """Return what a file is called in an artifact, by the kind that its manifest says."""
    return _FILES.get(kind, {}).get(name, name)


def generation(payload: Any) -> Any:
    """Return a ledger record's payload under the names of today; its `schema_version` stays that of what is stored."""
    if not _is_before(payload):
        return payload
    found = _renamed(payload, _GENERATION)
    for name, own in (("artifacts", _ROLES), ("report", _REPORT)):
        found[name] = _renamed(found.get(name), own)
    found["outcome"] = _OUTCOMES.get(str(found.get("outcome")), found.get("outcome"))
    found["compute"] = _by_phase(found.get("compute"))
    found["edges"] = [_edge(edge) for edge in found.get("edges") or ()]
    return found


def annotations(stored: Any, *, payload: Any) -> Any:
    """Return what a ledger record holds beside `payload` under the names of today."""
    return _by_phase(_renamed(stored, _ANNOTATIONS)) if _is_before(payload) else stored


def document(name: str, stored: Any) -> Any:
    """Return a JSON document of an artifact under the names of today, by its file's name."""
    if name == "report.json":
        return _renamed(stored, _REPORT)
    return _by_phase(stored) if name in ("meter.json", "measured.json") else stored


def columns(row: type) -> Mapping[str, str]:
    """Return column in schema 3 -> column, of those of a table that are renamed, by the class of its rows."""
    return _COLUMNS.get(row.__name__, {})


def columns_of_file(name: str) -> Mapping[str, str]:
    """Return what `columns` does, by the name of the table's file."""
    return _COLUMNS.get(_ROWS.get(name, ""), {})


def _is_before(payload: Any) -> bool:
    return isinstance(payload, Mapping) and payload.get("schema_version") == _BEFORE


def _edge(edge: Any) -> Any:
    found = _renamed(edge, _EDGE)
    match found:
        case {"compute_cost": cost}:
            return found | {"compute_cost": _by_phase(cost)}
        case _:
            return found


def _by_phase(stored: Any) -> Any:
    """Return data whose mappings are by phase: FLOPs, tokens, bytes, seconds."""
    match stored:
        case {}:
            return {name: _renamed(part, _PHASES) for name, part in stored.items()}
        case _:
            return stored


def _sections(value: Any, names: Mapping[str, Mapping[str, str]]) -> Any:
    """Return JSON data with the keys of its sections renamed, each by the section's `type`; a user's own data stay."""
    if isinstance(value, Mapping):
        kind = value.get("type")
        own = _OWN | _OWN_OF_PLUGIN if kind == "plugin" else _OWN
        found = {name: inner if name in own else _sections(inner, names) for name, inner in value.items()}
        return _renamed(found, names.get(kind, {}) if isinstance(kind, str) else {})
    return [_sections(inner, names) for inner in value] if isinstance(value, list | tuple) else value


def _renamed(data: Any, names: Mapping[str, str]) -> Any:
    """Return a mapping with keys renamed; any other value, which its own reader refuses, as it is.

    A key stays where its new name is there too, so that none is lost.
    """
    match data:
        case {}:
            return {names[name] if _moves(name, data, names) else name: value for name, value in data.items()}
        case _:
            return data


def _moves(name: str, data: Mapping[str, Any], names: Mapping[str, str]) -> bool:
    return name in names and names[name] not in data


def _inverse(names: Mapping[str, str]) -> dict[str, str]:
    return {new: old for old, new in names.items()}
