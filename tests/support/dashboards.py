"""The queries of Grafana's dashboards, as Prometheus is asked them: with the dashboard's variables filled in."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

BUILT_IN = {"__rate_interval": "1m", "__interval": "15s", "__range": "15m"}
"""What Grafana fills in by itself; a rate's interval is four times the scrape interval."""
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::\w+)?\})")
_LABEL_VALUES = re.compile(r"label_values\((?:(?P<series>.+),\s*)?(?P<label>\w+)\)", re.DOTALL)


class DashboardError(ValueError):
    """A dashboard that Grafana could not show."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query and where it stands: the dashboard's file, and the panel's title or the variable's name."""

    file: str
    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}, {self.place}: {self.text}"


def queries(folder: Path) -> list[Query]:
    """Return every query of every dashboard in `folder`. Raises DashboardError for a variable that nothing defines."""
    found = []
    for path in sorted(folder.glob("*.json")):
        dashboard = json.loads(path.read_text())
        variables = dashboard.get("templating", {}).get("list", [])
        # Whatever a person chooses is among all of them, so that every choice is asked for at once.
        filled = {variable["name"]: ".*" for variable in variables} | BUILT_IN
        for variable in variables:
            if variable["type"] == "query":
                text = _series(variable["query"])
                found.append(Query(file=path.name, place=f"variable {variable['name']}", text=_fill(text, filled)))
        for panel in _panels(dashboard["panels"]):
            for target in panel.get("targets", ()):
                text = _fill(target["expr"], filled)
                found.append(Query(file=path.name, place=f"panel {panel['title']!r}", text=text))
    return found


def unanswered(asked: Iterable[Query], *, prometheus: str, start: float, end: float) -> list[str]:
    """Return the queries for which Prometheus has no number between `start` and `end` (Unix seconds), and why."""
    session = requests.Session()
    session.trust_env = False
    failed = []
    for query in asked:
        answer = session.get(
            f"{prometheus}/api/v1/query_range",
            params={"query": query.text, "start": f"{start}", "end": f"{end}", "step": "5"},
            timeout=30,
        ).json()
        if answer["status"] != "success":
            failed.append(f"{query} ({answer['error']})")
        elif not any(_numbers(series) for series in answer["data"]["result"]):
            failed.append(f"{query} (no data)")
    return failed


def _numbers(series: Mapping[str, Any]) -> list[float]:
    values = (float(text) for _, text in series.get("values", ()))
    return [value for value in values if not math.isnan(value)]


def _series(query: str | Mapping[str, Any]) -> str:
    """Return the series whose labels a variable offers."""
    text = query if isinstance(query, str) else query["query"]
    match = _LABEL_VALUES.fullmatch(text.strip())
    if match is None:
        return text
    return match["series"] or f'{{{match["label"]}=~".+"}}'


def _fill(text: str, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in values:
            raise DashboardError(f"{text!r}: the dashboard has no variable {name}")
        return values[name]

    return _VARIABLE.sub(value, text)


def _panels(panels: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield panels, those inside folded rows too."""
    for panel in panels:
        yield panel
        yield from _panels(panel.get("panels", ()))
