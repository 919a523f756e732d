"""What a stored recipe means where it lacks settings that the kind of task decides.

Such settings have a null that a new recipe writes out by its task, and a meaning of their absence: what lineages did
before there was the setting (`Later`). Left out: settings of tasks (`task.completed`).
"""

from typing import Any

_REPLAY = {"data", "decay", "min_reference_share"}
"""Settings that every stored section of replay has."""
_OWN = frozenset({"options", "json_schema", "config"})
"""Settings that hold a user's own data."""


def completed_steps(data: Any) -> Any:
    """Return a stored recipe's data with the settings of its steps that it lacks written out."""
    match data:
        case list():
            return [completed_steps(value) for value in data]
        case dict():
            found = {name: value if name in _OWN else completed_steps(value) for name, value in data.items()}
            return {**_lacking(data), **found}
    return data


def _lacking(section: dict[str, Any]) -> dict[str, str]:
    """Return the earlier meaning of the settings that a section may lack; empty where it is another kind of section."""
    found = {"answers": "first", "references": "base_levels"} if section.keys() >= _REPLAY else {}
    match section:
        case (
            {"type": "rl" | "plugin", "prompts_per_update": _}
            | {"type": "rejection", "samples_per_prompt": _}
            | {"type": "references"}
        ):
            found["draw"] = "random"
    return found
