"""A Dockerfile as stages of instructions, as far as tests ask: no heredocs, no escapes other than continued lines."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Stage:
    """One `FROM`: `base` is an image or an earlier stage; `rows` are its instructions as (name, rest)."""

    name: str
    base: str
    rows: list[tuple[str, str]] = field(default_factory=list)


def stages(text: str) -> dict[str, Stage]:
    """Return the stages by name, with the defaults of leading `ARG`s filled in."""
    found: dict[str, Stage] = {}
    defaults: dict[str, str] = {}
    current: Stage | None = None
    for name, rest in instructions(text):
        if name == "FROM":
            image, _, alias = re.sub(r"\$\{(\w+)\}", lambda match: defaults[match[1]], rest).partition(" AS ")
            current = found[alias] = Stage(alias, image)
        elif current is None:
            assert name == "ARG"
            defaults.update([rest.split("=", 1)])
        else:
            current.rows.append((name, rest))
    return found


def instructions(text: str) -> Iterator[tuple[str, str]]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            yield name, rest.strip()


def history(found: Mapping[str, Stage], name: str) -> list[tuple[str, str]]:
    """Return every instruction that made a stage, its bases' first."""
    stage = found[name]
    return [*(history(found, stage.base) if stage.base in found else ()), *stage.rows]


def variables(rows: list[tuple[str, str]]) -> dict[str, str]:
    """Return what `ENV` set, the last word winning."""
    return dict(pair.split("=", 1) for name, rest in rows if name == "ENV" for pair in rest.split())


def health_command(rows: list[tuple[str, str]]) -> list[str]:
    """Return the words of the last `HEALTHCHECK ... CMD [...]`."""
    last = [rest for name, rest in rows if name == "HEALTHCHECK"][-1]
    return json.loads(last.partition("CMD ")[2])
