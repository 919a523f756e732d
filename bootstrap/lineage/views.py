"""The saved view of a lineage's generations on MLflow's runs page, as a tag of the experiment.

MLflow 3.15 and newer keeps saved views in experiment tags `mlflow.sharedViewState.<id>` and opens one by the part
`viewStateShareKey=<id>` of a link. The view lists the generations alone, newest first: filtered and sorted by a metric
the list is flat, so no row has to be unfolded (a saved view cannot say which rows are). What people read comes first,
`cost/*` last. Imports no MLflow.
"""

import json
from collections.abc import Mapping
from typing import Any

from bootstrap.lineage import tags, tracking
from bootstrap.reading import parsed

TAG_PREFIX = "mlflow.sharedViewState."
_FIXED = ("attributes.`Run Name`", "runDateAndNestInfo")
"""Ids of the columns that MLflow always shows first."""
_WIDTHS = {"gate": 145, "target": 90, "accuracy": 160, "gain": 85, "frontier": 80, "parent": 110}
_SECTIONS = ("Model metrics", "gate", "eval", "train", "self_play", "diagnostics")
"""Sections of the charts that stand first; MLflow puts metrics without a slash into `Model metrics`."""
_COSTS = ("cost/seconds/total", "cost/tokens/total")


def saved(name: str, *, lineage_run_id: str, at: int) -> tuple[str, str]:
    """Return key and value of the experiment's tag with the view of a lineage. `at`: milliseconds since 1970."""
    envelope = {"name": name, "createdAt": at, "updatedAt": at, "state": json.dumps(_state(lineage_run_id))}
    return key(lineage_run_id), json.dumps(envelope)


def key(lineage_run_id: str) -> str:
    """Return the key of the experiment's tag with the view of a lineage."""
    return f"{TAG_PREFIX}{tracking.view_id(lineage_run_id)}"


def lineages(experiment_tags: Mapping[str, str]) -> dict[str, str]:
    """Return the lineages with a saved view in an experiment, by their run's id -> their name.

    A view that somebody made unreadable counts as none.
    """
    found = {}
    prefix = key("")
    for name, value in experiment_tags.items():
        run_id = name.removeprefix(prefix)
        if run_id == name:
            continue
        try:
            envelope = parsed(value.encode(), strict=False)
        except ValueError:
            continue
        if isinstance(envelope, dict) and isinstance(shown := envelope.get("name"), str):
            found[run_id] = shown
    return found


def _state(lineage_run_id: str) -> dict[str, Any]:
    """Return the state of MLflow's runs page, with the names that it gives (`ExperimentPageUIState`)."""
    columns = [f"tags.`{key}`" for key in tags.SHOWN] + [f"metrics.`{key}`" for key in _COSTS]
    return {
        "searchFilter": f"tags.`mlflow.parentRunId` = '{lineage_run_id}'",
        "orderByKey": f"metrics.`{tags.ORDER}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": columns,
        "columnOrder": [*_FIXED, *columns],
        "columnWidths": {_FIXED[0]: 130, **{f"tags.`{key}`": width for key, width in _WIDTHS.items()}},
        "runsHiddenMode": "FIRST_20_RUNS",
        "viewMaximized": False,
        "runListHidden": False,
        # Sections of charts that are not named follow in the order of the metrics, which ends with the costs.
        "isAccordionReordered": True,
        "compareRunCharts": [],
        "compareRunSections": [_section(name) for name in _SECTIONS],
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
    }


def _section(name: str) -> dict[str, Any]:
    return {
        "uuid": f"bootstrap-{name}",
        "name": name,
        "display": True,
        "isReordered": True,
        "deleted": False,
        "isGenerated": True,
    }
