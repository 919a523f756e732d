"""The one base class of all settings, and which settings a lineage's results do not depend on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

Place = tuple[str | int, ...]
"""Where a setting stands: keys and list indexes from the top of the recipe, or from a part of it."""


class Settings(BaseModel):
    """Frozen, closed to unknown keys; the text under a field documents it and becomes the JSON Schema's description."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, validate_default=True
    )


class Operational:
    """Marks a field, as in `url: Annotated[str, Operational()]`, that says how or where, and never what comes out."""


@dataclass(frozen=True)
class Later:
    """Marks a field, as in `share: Annotated[float, Later(0.0)]`, that came when lineages had been grown without it.

    `before`: the value that does what was done without the field. Identities leave it out where it has that value, so
    that such lineages keep theirs; a stored recipe without the field stands for it (`completed`).
    """

    before: Any


def identity_of(settings: Settings) -> dict[str, Any]:
    """Return the settings as JSON data, without the operational ones, and `Later` ones as before, at any depth."""
    return _pruned(settings, settings.model_dump(mode="json"))


def named(data: Any, name: str) -> bool:
    """Whether settings as JSON data name a key at any depth."""
    if isinstance(data, Mapping):
        return name in data or any(named(value, name) for value in data.values())
    return isinstance(data, list | tuple) and any(named(value, name) for value in data)


def _pruned(value: Any, data: Any) -> Any:
    """Return `data`, the JSON form of `value`, without what identities leave out."""
    if isinstance(value, BaseModel):
        kept = {
            name: field
            for name, field in type(value).model_fields.items()
            if not any(
                isinstance(mark, Operational) or (isinstance(mark, Later) and data[name] == mark.before)
                for mark in field.metadata
            )
        }
        return {name: _pruned(getattr(value, name), data[name]) for name in kept}
    if isinstance(value, tuple | list):
        return [_pruned(item, part) for item, part in zip(value, data, strict=True)]
    if isinstance(value, Mapping):
        return {name: _pruned(item, data[name]) for name, item in value.items()}
    return data
