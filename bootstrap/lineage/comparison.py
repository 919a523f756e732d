"""A report's picture in MLflow: in each lineage's own run, and in an experiment for comparisons of several.

    experiment bootstrap/<lineage>, run <lineage>      report/compute-vs-quality.png and report.json
    experiment bootstrap/.reports, run A, B, ...       the same for lineages A, B, ... together

Importing this module imports MLflow, which takes seconds: import it where it is used.
"""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from mlflow import MlflowClient

from bootstrap.canonical import digest_of
from bootstrap.lineage import places, tracking
from bootstrap.lineage.connection import active_experiment, connected
from bootstrap.lineage.tags import RUN_KEY

EXPERIMENT = "bootstrap/.reports"
"""Never a lineage's experiment: no lineage's name begins with a dot."""
FOLDER, PICTURE, NUMBERS = "report", "compute-vs-quality.png", "report.json"


def show_in_lineage(run_id: str, figure: Figure, numbers: str, *, tracking_uri: str, store: Path) -> None:
    """Log picture and numbers (JSON) onto a lineage's run, replacing an earlier report. Raises TrackingError."""
    with connected(tracking_uri):
        _put(MlflowClient(tracking_uri=tracking_uri), run_id, figure, numbers, store=store)


def show_together(
    lineages: Sequence[str], figure: Figure, numbers: str, *, tracking_uri: str, store: Path
) -> tuple[str, str]:
    """Log picture and numbers (JSON) onto the run of these lineages' comparison; return its experiment's and run's ids.

    The same lineages have one run, however often and in whatever order they are compared. Raises TrackingError.
    """
    names = sorted(lineages)
    with connected(tracking_uri):
        client = MlflowClient(tracking_uri=tracking_uri)
        found = active_experiment(client, EXPERIMENT)
        location = tracking.artifact_location(tracking_uri, store.absolute())
        experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT, artifact_location=location)
        # Hashed, because names may contain characters that a filter's quoting does not allow.
        key = f"report/{digest_of(names)}"
        runs = client.search_runs([experiment], f"tags.`{RUN_KEY}` = '{key}'", max_results=1)
        run = runs[0] if runs else client.create_run(experiment, run_name=", ".join(names), tags={RUN_KEY: key})
        _put(client, run.info.run_id, figure, numbers, store=store)
        client.set_terminated(run.info.run_id)
        return experiment, run.info.run_id


def _put(client: MlflowClient, run_id: str, figure: Figure, numbers: str, *, store: Path) -> None:
    place = client.get_run(run_id).info.artifact_uri or ""
    places.check_inside(place, client.tracking_uri, store=store, what=f"the run {run_id}")
    client.log_figure(run_id, figure, f"{FOLDER}/{PICTURE}")
    client.log_text(run_id, numbers, f"{FOLDER}/{NUMBERS}")
