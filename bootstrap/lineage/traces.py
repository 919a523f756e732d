"""Sampled rollouts -> MLflow's traces: prompt, completion, what each verifier said and why, model, group.

    trace `gen-4 rollout`     span `rollout` with prompt and completion
        assessment `exact`    the reward, with the verdict's reason; an error where it could not be judged
        metadata              run of the generation that drew it; model that gave it, where it is a generation's
        tags                  rollout, group, level, model, verdict, use

A generation has at most `MOST` of them, in whole groups drawn by hash, so that scores are spread as among all of its
answers. A group is a tag and no session, because MLflow folds sessions and hides their scores. A trace's id follows
from its run and rollout: one that is there is never made twice. Left out: the choice of rollouts (`samples.py`).
Importing this module imports MLflow, which takes seconds: import it where it is used.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import AssessmentSource, Feedback, Span, TraceInfo, TraceLocation, TraceState
from mlflow.entities.assessment_error import AssessmentError
from mlflow.tracing.client import TracingClient

from bootstrap.canonical import sha256
from bootstrap.lineage.text import mlflow_value, visible
from bootstrap.records import Status

MOST = 64
"""Traces of one generation, however many rollouts are asked for."""
_PART = 50
"""Traces in one request: a database refuses more than about a thousand ids."""
_PREVIEW, _METADATA, _TAG, _REQUEST = 1000, 250, 4096, 50
"""Most characters that MLflow keeps in a preview, a value of metadata, a tag, a request's id."""


def log(
    client: MlflowClient,
    rows: Sequence[Mapping[str, Any]],
    *,
    experiment_id: str,
    run_id: str,
    generation: str,
    producers: Mapping[str, tuple[str, str | None]],
    at: int,
) -> int:
    """Log rollouts that the run has no trace of yet; return their number.

    `rows`: of `samples.whole_groups`. `generation`: the name of the one that drew them. `producers`: policy -> the
    name of the model behind it, and its MLflow id where it is a generation's. `at`: milliseconds since 1970.
    A server that takes no spans (before MLflow 3.4) shows the beginnings of prompt and completion alone.
    """
    rows = rows[:MOST]
    there = _ids(client, experiment_id, run_id)
    missing = [row for row in rows if _trace_id(run_id, row["rollout"]) not in there]
    tracing = TracingClient(client.tracking_uri)
    for row in missing:
        name, model_id = producers[row["policy"]]
        tracing.start_trace(
            TraceInfo(
                trace_id=_trace_id(run_id, row["rollout"]),
                trace_location=TraceLocation.from_experiment_id(experiment_id),
                request_time=at,
                state=TraceState.OK,
                request_preview=visible(row["prompt"][:_PREVIEW])[:_PREVIEW],
                response_preview=visible(row["answer"][:_PREVIEW])[:_PREVIEW],
                client_request_id=row["rollout"][:_REQUEST],
                trace_metadata=_metadata(row, run_id, model_id),
                tags=_tags(row, generation, name),
                assessments=list(_assessments(row, run_id, at=at)),
            )
        )
    # The spans of all, since a trace may have broken off before it had its own; the same ones replace each other.
    spans = [_span(row, run_id, experiment_id, at=at, producer=producers[row["policy"]][0]) for row in rows]
    for start in range(0, len(spans), _PART):
        try:
            tracing.log_spans(experiment_id, spans[start : start + _PART])
        except NotImplementedError:
            break
    return len(missing)


def _ids(client: MlflowClient, experiment_id: str, run_id: str) -> set[str]:
    found = client.search_traces(locations=[experiment_id], run_id=run_id, include_spans=False, max_results=2 * MOST)
    return {trace.info.trace_id for trace in found}


def _trace_id(run_id: str, rollout: str) -> str:
    return f"tr-{_hash(run_id, rollout)}"


def _hash(*parts: str) -> str:
    """Return 32 hexadecimal digits, never zero alone."""
    return sha256("\n".join(parts).encode())[:32]


def _span(row: Mapping[str, Any], run_id: str, experiment_id: str, *, at: int, producer: str) -> Span:
    trace_id, moment = _trace_id(run_id, row["rollout"]), at * 1_000_000
    attributes = {
        "mlflow.traceRequestId": trace_id,
        "mlflow.experimentId": experiment_id,
        "mlflow.spanType": "LLM",
        "mlflow.spanInputs": {"prompt": row["prompt"]},
        "mlflow.spanOutputs": {"completion": row["answer"]},
        "mlflow.llm.model": producer,
        "seed": row["seed"],
        "finish": row["finish"],
        "policy": row["policy"],
    }
    return Span.from_dict(
        {
            "trace_id": trace_id,
            "span_id": _hash(run_id, row["rollout"], "span")[:16],
            "parent_span_id": None,
            "name": "rollout",
            "start_time_unix_nano": moment,
            "end_time_unix_nano": moment,
            "status": {"code": "OK"},
            "attributes": {key: json.dumps(value) for key, value in attributes.items()},
            "events": [],
        }
    )


def _metadata(row: Mapping[str, Any], run_id: str, model_id: str | None) -> dict[str, str]:
    counts = {"input_tokens": row["prompt_tokens"], "output_tokens": row["tokens"]}
    found = {
        "mlflow.sourceRun": run_id,
        "mlflow.trace.tokenUsage": json.dumps({**counts, "total_tokens": sum(counts.values())}),
        **({} if model_id is None else {"mlflow.modelId": model_id}),
    }
    return {key: mlflow_value(value, limit=_METADATA) for key, value in found.items()}


def _tags(row: Mapping[str, Any], generation: str, producer: str) -> dict[str, str]:
    found = {
        "mlflow.traceName": f"{generation} rollout",
        "generation": generation,
        "model": producer,
        "level": str(row["level"]),
        "verdict": row["verdict"],
        "use": row["use"],
        "rollout": row["rollout"],
        "group": row["group"],
    }
    return {key: mlflow_value(value, limit=_TAG) for key, value in found.items() if value}


def _assessments(row: Mapping[str, Any], run_id: str, *, at: int) -> Iterator[Feedback]:
    """Yield what the verifier said: one assessment, and one per part of a reward that has several."""
    if not row["judge"]:
        return
    whole, reason = {row["judge"]: row["reward"]}, visible(row["reason"])
    parts = {f"{row['judge']}/{name}": value for name, value in row["components"].items()}
    for name, value in {**whole, **(parts if len(parts) > 1 else {})}.items():
        unjudged = row["verdict"] == Status.UNVERIFIABLE
        feedback = Feedback(
            name=mlflow_value(name),
            value=value,
            error=AssessmentError(error_code="UNVERIFIABLE", error_message=visible(row["reason"]))
            if unjudged
            else None,
            source=AssessmentSource(source_type="CODE", source_id=mlflow_value(f"{row['judge']}@{row['version']}")),
            rationale=f"{row['verdict']}: {reason}" if name in whole else None,
            create_time_ms=at,
            last_update_time_ms=at,
        )
        feedback.assessment_id = f"a-{_hash(run_id, row['rollout'], name)}"
        yield feedback
