"""Params, points, texts and datasets -> MLflow's own records, logged in as few requests as its limits allow.

Leaves out what is logged (`metrics.py`, `tags.py`, `datasets.py`) and onto which run (`publisher.py`).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

from bootstrap.lineage.datasets import Data, mlflow_digest
from bootstrap.lineage.metrics import MetricPoint

_PARAMS, _METRICS = 100, 1000
"""Most of them in one request."""
_INPUT_TAG_CHARACTERS = 500
_Item = TypeVar("_Item")


def log(
    client: MlflowClient,
    run_id: str,
    *,
    params: Mapping[str, str] | None = None,
    points: Sequence[MetricPoint] = (),
    tags: Mapping[str, str] | None = None,
) -> None:
    """Log onto one run."""
    for part in _parts([Param(key, value) for key, value in (params or {}).items()], _PARAMS):
        client.log_batch(run_id, params=part)
    for part in _parts([_metric(point) for point in points], _METRICS):
        client.log_batch(run_id, metrics=part)
    if tags:
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def dataset(data: Data) -> DatasetInput:
    """Return a dataset as MLflow's input of a run; a tag keeps the whole of its digest."""
    record = Dataset(
        name=data.name,
        digest=mlflow_digest(data.digest),
        source_type="local",
        source=json.dumps({"uri": data.source.absolute().as_uri()}),
        profile=json.dumps(dict(data.profile)),
    )
    tags = {"mlflow.data.context": data.context, "bootstrap.sha256": data.digest, **data.tags}
    return DatasetInput(record, [InputTag(key, value[:_INPUT_TAG_CHARACTERS]) for key, value in tags.items()])


def _metric(point: MetricPoint) -> Metric:
    name, digest = point.dataset or (None, None)
    return Metric(
        point.key,
        point.value,
        point.at,
        point.step,
        model_id=point.model_id,
        dataset_name=name,
        dataset_digest=digest,
    )


def _parts(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
