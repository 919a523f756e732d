"""A report's picture in MLflow: in each lineage's own run, and of several together in an experiment for reports.

    experiment bootstrap/<lineage>, run <lineage>      report/compute-vs-quality.png and report.json
    experiment bootstrap/.reports, run A, B, ...       the same of all of them

Importing this module imports MLflow, which takes seconds: import it where it is used.
"""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from mlflow import MlflowClient

from bootstrap.canonical import digest_of
from bootstrap.errors import TrackingError
from bootstrap.lineage import tracking
from bootstrap.lineage.connection import connected

EXPERIMENT = "bootstrap/.reports"
"""No lineage's own: none has a name that begins with a dot."""
FOLDER, PICTURE, NUMBERS = "report", "compute-vs-quality.png", "report.json"
_RUN_KEY = "bootstrap.run_key"


def show_in_lineage(run_id: str, figure: Figure, numbers: str, *, tracking_uri: str) -> None:
    """Put picture and numbers (JSON) into a lineage's run, over those of an earlier report. Raises TrackingError."""
    with connected(tracking_uri):
        _put(MlflowClient(tracking_uri=tracking_uri), run_id, figure, numbers)


def show_together(
    lineages: Sequence[str], figure: Figure, numbers: str, *, tracking_uri: str, store: Path
) -> tuple[str, str]:
    """Put picture and numbers (JSON) into the run of these lineages' comparison.

    Returns the ids of its experiment and of the run.

    The same lineages have one run, however often and in whatever order they are compared. Raises TrackingError.
    """
    names = sorted(lineages)
    name = ", ".join(names)
    with connected(tracking_uri):
        client = MlflowClient(tracking_uri=tracking_uri)
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is not None and found.lifecycle_stage != "active":
            raise TrackingError(
                f"the MLflow experiment {EXPERIMENT} is deleted; restore it with "
                f"`mlflow experiments restore -x {found.experiment_id}`"
            )
        location = tracking.artifact_location(tracking_uri, store.absolute())
        experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT, artifact_location=location)
        # Hashed: a name may hold what a filter's quoting does not.
        key = f"report/{digest_of(names)}"
        runs = client.search_runs([experiment], f"tags.`{_RUN_KEY}` = '{key}'", max_results=1)
        run = runs[0] if runs else client.create_run(experiment, run_name=name, tags={_RUN_KEY: key})
        _put(client, run.info.run_id, figure, numbers)
        client.set_terminated(run.info.run_id)
        return experiment, run.info.run_id


def _put(client: MlflowClient, run_id: str, figure: Figure, numbers: str) -> None:
    client.log_figure(run_id, figure, f"{FOLDER}/{PICTURE}")
    client.log_text(run_id, numbers, f"{FOLDER}/{NUMBERS}")
