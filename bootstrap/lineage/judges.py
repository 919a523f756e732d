"""The verifiers of a generation by name and settings, as people know them; the ledger keeps hashes.

    exact(answer=whole(strip=false))        judges answers that are trained on
    held-out math(...)                      judges held-out answers, if another
    panel copy: exact(...)                  judges a task of the panel

Pure functions over the ledger and the recipe as plain JSON. Left out: what they found (`sheets.py`). Imports no MLflow
and no recipe classes: a stored recipe may name code that is gone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bootstrap.ledger_records import Generation
from bootstrap.lineage import text

HELD_OUT, PANEL = "held-out ", "panel "
"""Prefixes of a verifier's name in the ledger: of the held-out answers' alone, and of a panel task's."""
_SHORT = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedVerifier:
    """One verifier of a generation."""

    name: str
    """Its name in the ledger."""
    judged: str
    """The answers that it judges, in words."""
    settings: str
    """Its type with its settings; only the name where the recipe is not known."""
    version: str
    """Hash of its code and settings."""

    @property
    def short(self) -> str:
        """Name and settings in at most `_SHORT` characters, safe in Markdown."""
        if self.settings == text.plain(self.name):
            return text.plain(self.name, limit=_SHORT)
        prefix = next((prefix for prefix in (HELD_OUT, PANEL) if self.name.startswith(prefix)), "")
        told = f"{self.name}: {self.settings}" if prefix == PANEL else f"{prefix}{self.settings}"
        return text.plain(told, limit=_SHORT)


def of_generation(node: Generation, recipe: Mapping[str, Any]) -> list[NamedVerifier]:
    """Return a generation's verifiers, in the ledger's order. `recipe`: as plain JSON; parts may be missing."""
    evaluation = _part(recipe, "evaluation")
    found = []
    for name, version in node.verifiers.items():
        if name.startswith(HELD_OUT):
            judged, settings = "held-out answers", _part(evaluation, "verifier")
        elif name.startswith(PANEL):
            task = name.removeprefix(PANEL)
            judged, settings = f"answers of the panel task {task}", _part(evaluation, "panel", task, "verifier")
        else:
            judged, settings = "answers of training", _own(node, recipe)
            if not any(other.startswith(HELD_OUT) for other in node.verifiers):
                judged += ", and held-out ones"
        known = words(settings) if settings.get("type") else text.plain(name)
        found.append(NamedVerifier(name=name, judged=text.plain(judged), settings=known, version=version))
    return found


def words(value: Any) -> str:
    """Return settings as one expression: the type, then the other settings in brackets; empty ones are left out."""
    match value:
        case {"type": kind, **rest}:
            inside = _pairs(rest)
            return f"{text.plain(str(kind))}({inside})" if inside else text.plain(str(kind))
        case Mapping():
            return _pairs(value)
        case list() | tuple():
            return f"({', '.join(words(item) for item in value)})"
        case True | False:
            return str(value).lower()
        case _:
            return text.plain(str(value), limit=300)


def _pairs(settings: Mapping[str, Any]) -> str:
    kept = {key: value for key, value in settings.items() if value not in (None, "", [], (), {})}
    return ", ".join(f"{text.plain(key)}={words(value)}" for key, value in kept.items())


def _own(node: Generation, recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings of the verifier of a generation's training answers: its stage's, else the recipe's."""
    stages: Sequence[Mapping[str, Any]] = _part(recipe, "generations").get("stages") or ()
    stage = next((one for one in stages if node.stage and one.get("name") == node.stage), {})
    return _part(stage, "verifier") or _part(recipe, "verifier")


def _part(settings: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    for key in path:
        settings = settings.get(key) or {}
    return settings
