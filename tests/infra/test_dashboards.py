"""Grafana's dashboards: whole, and about every figure that a run exports."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bootstrap.cluster.telemetry import series

FOLDER = Path(__file__).parents[2] / "infra" / "grafana" / "dashboards"
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
OWN = re.compile(r"\bray_bootstrap_\w+")


def _panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def _asked(dashboard: dict[str, Any]) -> set[str]:
    return {name for panel in _panels(dashboard) for t in panel["targets"] for name in OWN.findall(t["expr"])}


def test_dashboards_ask_for_every_own_series_and_for_none_that_is_not_exported() -> None:
    assert set.union(*(_asked(dashboard) for dashboard in DASHBOARDS.values())) == series()


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_panel_says_what_it_shows_and_takes_the_chosen_prometheus(name: str) -> None:
    dashboard = DASHBOARDS[name]
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    for panel in _panels(dashboard):
        assert panel["title"] and panel["description"], panel["id"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            used = set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval"}
            assert used <= variables, target["expr"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_have_ids_of_their_own_and_do_not_overlap(name: str) -> None:
    panels = DASHBOARDS[name]["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_dashboards_have_names_of_their_own() -> None:
    assert len({dashboard["uid"] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS) >= 2
