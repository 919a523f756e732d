"""Ledger and artifacts -> the data behind a generation, as datasets named by content.

    rollouts-gen-N-step-I     the answers drawn in a training step, and the models that gave them
    training-gen-N-step-I     the selection among them, with reasons
    replay-gen-M              verified answers of an earlier generation
    suite-<digest>            the held-out prompts of its evaluation

Each tells its columns, its number of rows and a few of them. The same artifacts give the same datasets. Left out:
MLflow's records of them (`batches.py`) and their page (`sheets.py`). Imports no MLflow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootstrap.ids import StepRole
from bootstrap.ledger_records import ArtifactRef, Generation
from bootstrap.lineage import queries, samples
from bootstrap.store.artifacts import Artifact
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

_DIGEST_CHARACTERS = 32
_TABLES = {
    "rollouts.parquet": ("rollouts", ("id", "level", "prompt_text", "text")),
    "selections.parquet": ("training", ("rollout_id", "use", "replay", "reason")),
}
"""A step's tables that are datasets -> the dataset's context, and the columns that its sample shows."""
_SAMPLE_ROWS = 3
_REPLAYED = (("prompt_text", "string"), ("completion_text", "string"), ("level", "int64"))
_ASKED = (("prompt_id", "string"), ("level", "int64"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """One dataset."""

    name: str
    digest: str
    """SHA-256 of its content in full; MLflow keeps half of it."""
    context: str
    """Its purpose, MLflow's term: rollouts, training, replay, eval."""
    source: Path
    tags: Mapping[str, str]
    num_rows: int | None
    """None where it is not recorded: answers that a fork inherited."""
    columns: Sequence[tuple[str, str]]
    """Name and type of each column."""
    sample: Sequence[Mapping[str, Any]] = ()
    """A few of its rows, by the columns that people read."""


def of_generation(
    store: LineageStore, entries: Sequence[Entry], node: Generation, *, models: Mapping[int, str]
) -> list[Data]:
    """Return the datasets of one generation: those of its steps, replayed answers, held-out prompts.

    `models`: MLflow's model ids by generation number. Raises StoreCorrupt if an artifact is broken.
    """
    found = []
    for role, ref in node.steps.items():
        found += _of_step(store.artifact(ref), entries, node, ref=ref, role=role, models=models)
    replayed = {edge.generation: edge for edge in node.edges if edge.role == "data" and edge.generation is not None}
    newest = max(replayed, default=None)
    found += [
        Data(
            name=f"replay-gen-{number}",
            digest=edge.fingerprint,
            context="replay",
            source=store.root,
            tags={"bootstrap.from_generation": str(number)},
            num_rows=entries[number].generation.accounting.replayed or None,
            columns=_REPLAYED,
            # A generation's answers are first replayed by the next, whose record of this dataset MLflow keeps.
            sample=samples.replayed(store, entries[number].generation)[:_SAMPLE_ROWS] if number == newest else (),
        )
        for number, edge in replayed.items()
    ]
    return [*found, _suite(store, node)]


def suite_name(node: Generation) -> str:
    """Return the name of the held-out prompts as a dataset."""
    return f"suite-{node.report.suite[:12]}"


def mlflow_digest(digest: str) -> str:
    """Return as much of a SHA-256 as MLflow keeps."""
    return digest[:_DIGEST_CHARACTERS]


def _suite(store: LineageStore, node: Generation) -> Data:
    """Return the held-out prompts; the sample is of those that sampled answers were drawn for, if there are any."""
    prompts = sum(row.num_prompts for row in node.report.levels)
    evaluation = store.artifact(node.artifacts["evaluation"]) if "evaluation" in node.artifacts else None
    asked = [] if evaluation is None else samples.head(evaluation, "samples.parquet", ["level", "prompt_text"])
    return Data(
        name=suite_name(node),
        digest=node.report.suite,
        context="eval",
        source=store.root if evaluation is None else evaluation.path,
        tags={"bootstrap.prompts": str(prompts)},
        num_rows=prompts,
        columns=(*_ASKED, ("prompt_text", "string")) if asked else _ASKED,
        sample=asked[:_SAMPLE_ROWS],
    )


def _of_step(
    artifact: Artifact,
    entries: Sequence[Entry],
    node: Generation,
    *,
    ref: ArtifactRef,
    role: StepRole,
    models: Mapping[int, str],
) -> list[Data]:
    found = []
    for file, (context, shown) in _TABLES.items():
        if num_rows := len(samples.columns(artifact, file, wanted=[shown[0]])):
            tags = {"bootstrap.rows": str(num_rows), "bootstrap.artifact": ref.path}
            if context == "rollouts":
                tags |= _producers(artifact, entries, node, models=models)
            found.append(
                Data(
                    name=f"{context}-{node.name}-{role}",
                    digest=artifact.files[file][0],
                    context=context,
                    source=artifact.path / file,
                    tags=tags,
                    num_rows=num_rows,
                    columns=samples.fields(artifact, file),
                    sample=samples.head(artifact, file, list(shown))[:_SAMPLE_ROWS],
                )
            )
    return found


def _producers(
    artifact: Artifact, entries: Sequence[Entry], node: Generation, *, models: Mapping[int, str]
) -> dict[str, str]:
    """Return the tags with the models that gave a step's answers, the most frequent first."""
    policies = (row["policy"] for row in samples.columns(artifact, "rollouts.parquet", wanted=["policy"]))
    found = queries.producers(entries, node, policies)
    known = [models[number] for _, number in found.values() if number is not None and number in models]
    tags = {"bootstrap.producer": ", ".join(f"{name} ({count})" for name, (count, _) in found.items())}
    return tags | ({"bootstrap.producer_model_id": ", ".join(known)} if known else {})
