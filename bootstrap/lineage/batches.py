"""Params, points, tags and datasets -> MLflow's own records, logged in as few requests as its limits allow.

Left out: what is logged (`metrics.py`, `tags.py`, `datasets.py`) and onto which run (`publisher.py`).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

from bootstrap.lineage.datasets import Data, mlflow_digest
from bootstrap.lineage.metrics import MetricPoint
from bootstrap.lineage.text import mlflow_key, mlflow_value

_PARAMS, _METRICS = 100, 1000
"""Most in one request."""
_INPUT_TAG_CHARACTERS, _PROFILE_CHARACTERS = 500, 80
_TYPES = {"int64": "long", "int32": "integer", "double": "double", "float": "float", "bool": "boolean"}
"""Arrow's types -> MLflow's; all others are text."""
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
    """Return a dataset as an MLflow run input; a tag keeps its digest in full.

    MLflow's page shows the profile's entries, so a few rows are among them.
    """
    rows = {f"row_{number}": _row(row) for number, row in enumerate(data.sample, start=1)}
    record = Dataset(
        name=data.name,
        digest=mlflow_digest(data.digest),
        source_type="local",
        source=json.dumps({"uri": data.source.absolute().as_uri()}),
        schema=json.dumps({"mlflow_colspec": [_column(name, kind) for name, kind in data.columns]}),
        profile=json.dumps(({} if data.num_rows is None else {"num_rows": data.num_rows}) | rows),
    )
    tags = {"mlflow.data.context": data.context, "bootstrap.sha256": data.digest, **data.tags}
    kept = {key: mlflow_value(value, limit=_INPUT_TAG_CHARACTERS) for key, value in tags.items()}
    return DatasetInput(record, [InputTag(key, value) for key, value in kept.items()])


def _row(row: Mapping[str, Any]) -> str:
    """Return a row as text that MLflow does not cut: the values, as many characters as it shows."""
    return " | ".join(" ".join(str(value).split()) for value in row.values())[:_PROFILE_CHARACTERS]


def _column(name: str, kind: str) -> dict[str, Any]:
    """Return a column of an Arrow type as MLflow's schemas name it."""
    item = kind.removeprefix("list of ")
    if item != kind:
        return {"name": name, "type": "array", "items": {"type": _TYPES.get(item, "string")}, "required": True}
    return {"name": name, "type": _TYPES.get(kind, "string"), "required": True}


def _metric(point: MetricPoint) -> Metric:
    name, digest = point.dataset or (None, None)
    return Metric(
        mlflow_key(point.key),
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
