"""A compose file read as `docker compose` reads it: variables filled in, services in the order of their starts.

Understood is what `infra/compose.yaml` uses; anything else in a place that is read here is refused, so that a test
never passes by a setting it has overlooked. Left out: what only a container engine can do (images, limits, networks).
"""

import re
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

HEALTHY = "service_healthy"

VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<name>\w+)|\{(?P<braced>\w+)(?:(?P<operator>:-|:\?)(?P<rest>[^}]*))?\}|(?P<wrong>))"
)
_DURATION = re.compile(r"(?:(\d+)m)?(?:(\d+)s)?")


class ComposeError(ValueError):
    """What `docker compose` refuses, or what this reader does not understand."""


@dataclass(frozen=True, kw_only=True)
class Health:
    """A health check: the command, and how long it may fail before the container counts as unhealthy."""

    argv: tuple[str, ...]
    timeout_seconds: float
    patience_seconds: float


@dataclass(frozen=True, kw_only=True)
class Mount:
    """Something of the host at `target` in the container: the named volume or file `source`; None for a tmpfs."""

    source: str | None
    target: str
    read_only: bool


@dataclass(frozen=True, kw_only=True)
class Service:
    """What a container runs and what it waits for; `settings` is the whole entry with its variables filled in."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    mounts: tuple[Mount, ...]
    health: Health | None
    depends_on: Mapping[str, str]
    stop_signal: signal.Signals
    stop_seconds: float
    settings: Mapping[str, Any]


def read_variables(path: Path) -> dict[str, str]:
    """Return the variables of an `.env` file."""
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """Fill in `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME:?message}` and `$$`.

    Raises ComposeError for a required variable that is missing or empty, for a plain one that is missing (`docker
    compose` only warns and leaves it empty), and for any other form.
    """

    def value(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        if match["wrong"] is not None:
            raise ComposeError(f"{text!r}: the variable at {match.start()} has a form that is not understood")
        name = match["name"] or match["braced"]
        found = variables.get(name, "")
        if match["operator"] == ":-":
            return found or match["rest"]
        if match["operator"] == ":?" and not found:
            raise ComposeError(f"required variable {name} is missing a value: {match['rest']}")
        if name not in variables:
            raise ComposeError(f"{text!r}: the variable {name} is not set")
        return found

    return VARIABLE.sub(value, text)


def load(path: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    """Return the whole file with its variables filled in. Raises ComposeError."""

    def fill(value: Any) -> Any:
        if isinstance(value, str):
            return interpolate(value, variables)
        if isinstance(value, dict):
            return {key: fill(part) for key, part in value.items()}
        return [fill(part) for part in value] if isinstance(value, list) else value

    return fill(yaml.safe_load(path.read_text()))


def services(document: Mapping[str, Any]) -> list[Service]:
    """Return the services that start without a profile, each after those it waits for. Raises ComposeError."""
    made = {
        name: _service(name, settings)
        for name, settings in document["services"].items()
        if not settings.get("profiles")
    }
    order = TopologicalSorter({name: set(service.depends_on) for name, service in made.items()})
    return [made[name] for name in order.static_order()]


def _service(name: str, settings: Mapping[str, Any]) -> Service:
    environment = settings.get("environment", {})
    if not isinstance(environment, dict) or not all(isinstance(value, str) for value in environment.values()):
        raise ComposeError(f"{name}: environment is no mapping of names to texts")
    argv = (*settings.get("entrypoint", ()), *settings.get("command", ()))
    depends_on = {other: how["condition"] for other, how in settings.get("depends_on", {}).items()}
    if unknown := set(depends_on.values()) - {HEALTHY}:
        raise ComposeError(f"{name}: depends_on has conditions that are not understood: {sorted(unknown)}")
    return Service(
        name=name,
        argv=argv,
        environment=environment,
        mounts=tuple(_mounts(settings)),
        health=_health(name, settings["healthcheck"]) if "healthcheck" in settings else None,
        depends_on=depends_on,
        stop_signal=signal.Signals[settings.get("stop_signal", "SIGTERM")],
        stop_seconds=_seconds(settings.get("stop_grace_period", "10s")),
        settings=settings,
    )


def _mounts(settings: Mapping[str, Any]) -> Iterable[Mount]:
    for text in settings.get("volumes", ()):
        source, target, *options = text.split(":")
        yield Mount(source=source, target=target, read_only="ro" in options)
    for text in settings.get("tmpfs", ()):
        yield Mount(source=None, target=text.partition(":")[0], read_only=False)


def _health(name: str, settings: Mapping[str, Any]) -> Health:
    kind, *argv = settings["test"]
    if kind != "CMD":
        raise ComposeError(f"{name}: the health check is no list that starts with CMD")
    interval = _seconds(settings["interval"])
    return Health(
        argv=tuple(argv),
        timeout_seconds=_seconds(settings["timeout"]),
        patience_seconds=_seconds(settings["start_period"]) + settings["retries"] * interval,
    )


def _seconds(text: str) -> float:
    match = _DURATION.fullmatch(text)
    if not match or not text:
        raise ComposeError(f"{text!r} is no duration like 1m30s")
    return 60 * int(match[1] or 0) + int(match[2] or 0)
