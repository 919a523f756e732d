"""A lineage as MLflow alone shows it while it grows: its newest snapshot and its decisions so far.

MLflow, which takes seconds to load, is imported at the first look.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bootstrap.errors import RecipeError
from bootstrap.lineage.live_state import Snapshot, snapshot_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

MOST = 1000
"""Most generations that one look reads."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one look saw."""

    snapshot: Snapshot | None
    decisions: list[tuple[str, str, str]]
    """(generation, outcome, the gate's reason) of every published generation, in order."""
    is_over: bool
    """Whether no run of the lineage is RUNNING."""


class WatchedRun:
    """The lineage that an MLflow run belongs to."""

    def __init__(self, run_id: str, *, tracking_uri: str) -> None:
        self._run_id, self._uri = run_id, tracking_uri

    def look(self) -> Look:
        """Return what MLflow shows. Raises TrackingError, and RecipeError if the run is no lineage's."""
        from mlflow import MlflowClient

        from bootstrap.lineage.connection import connected

        with connected(self._uri):
            return self._look(MlflowClient(tracking_uri=self._uri))

    def _look(self, client: "MlflowClient") -> Look:
        run = client.get_run(self._run_id)
        if "bootstrap.lineage" not in run.data.tags:
            raise RecipeError(
                f"the MLflow run {self._run_id} is of no lineage: open the page of a generation, or of the lineage "
                "itself, and copy its address"
            )
        above = run.data.tags.get("mlflow.parentRunId")
        root = run if above is None else client.get_run(above)
        children = client.search_runs(
            [root.info.experiment_id], f"tags.`mlflow.parentRunId` = '{root.info.run_id}'", max_results=MOST
        )
        family: list[Run] = [root, run, *children]
        snapshots = [found for one in family if (found := snapshot_of(one.data.tags)) is not None]
        return Look(
            snapshot=max(snapshots, key=lambda one: one.beat, default=None),
            decisions=[
                (one.info.run_name or "", one.data.tags["bootstrap.outcome"], one.data.tags["bootstrap.gate.reason"])
                for one in sorted(children, key=_number)
                if {"bootstrap.published", "bootstrap.outcome", "bootstrap.gate.reason"} <= one.data.tags.keys()
            ],
            is_over=all(one.info.status != "RUNNING" for one in family),
        )


def _number(run: "Run") -> int:
    number = run.data.tags.get("bootstrap.generation", "")
    return int(number) if number.isdecimal() else -1
