"""Ledger and artifacts -> the data behind a generation, as datasets named by content.

    rollouts-gen-N-step-I     the answers drawn in a training step, and the models that gave them
    training-gen-N-step-I     the selection among them, with reasons
    replay-gen-M              verified answers of an earlier generation
    suite-<digest>            the held-out prompts of its evaluation

The same artifacts give the same datasets. Left out: MLflow's records of them (`batches.py`). Imports no MLflow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bootstrap.ids import StepRole
from bootstrap.ledger_records import ArtifactRef, Generation
from bootstrap.lineage import queries, samples
from bootstrap.store.artifacts import Artifact
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

_DIGEST_CHARACTERS = 32
_TABLES = {"rollouts.parquet": ("rollouts", "id"), "selections.parquet": ("training", "rollout_id")}
"""A step's tables that are datasets -> the dataset's context, and a column that counts its rows."""


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
    profile: Mapping[str, int] = field(default_factory=dict)
    """Its size, such as `num_rows`."""


def of_generation(
    store: LineageStore, entries: Sequence[Entry], node: Generation, *, models: Mapping[int, str]
) -> list[Data]:
    """Return the datasets of one generation: those of its steps, replayed answers, held-out prompts.

    `models`: MLflow's model ids by generation number. Raises StoreCorrupt if an artifact is broken.
    """
    found = []
    for role, ref in node.steps.items():
        found += _of_step(store.artifact(ref), entries, node, ref=ref, role=role, models=models)
    found += [
        Data(
            name=f"replay-gen-{edge.generation}",
            digest=edge.fingerprint,
            context="replay",
            source=store.root,
            tags={"bootstrap.from_generation": str(edge.generation)},
        )
        for edge in node.edges
        if edge.role == "data"
    ]
    prompts = sum(row.num_prompts for row in node.report.levels)
    suite = Data(
        name=suite_name(node),
        digest=node.report.suite,
        context="eval",
        source=store.root / (node.artifacts["evaluation"].path if "evaluation" in node.artifacts else ""),
        tags={"bootstrap.prompts": str(prompts)},
        profile={"num_prompts": prompts},
    )
    return [*found, suite]


def suite_name(node: Generation) -> str:
    """Return the name of the held-out prompts as a dataset."""
    return f"suite-{node.report.suite[:12]}"


def mlflow_digest(digest: str) -> str:
    """Return as much of a SHA-256 as MLflow keeps."""
    return digest[:_DIGEST_CHARACTERS]


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
    for file, (context, column) in _TABLES.items():
        if num_rows := len(samples.columns(artifact, file, wanted=[column])):
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
                    profile={"num_rows": num_rows},
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
