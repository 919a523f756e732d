"""Ledger -> OpenLineage events, two a generation, for data catalogues such as Marquez.

    job       LINEAGE.gen-N, part of the job LINEAGE
    run       started and completed when the generation was; a rejected candidate has completed too
    inputs    weights it starts from and learns from, data of earlier generations, the task, models outside
    outputs   weights, data (what its steps made), evaluation, replay (all data that it replays, as one)

A generation that replays what an earlier one did, with few changes, has that one's `replay` as an input, beside the
data sets that are new; the tag `dropped` names those that it leaves out. So the events grow with the number of
generations and not with its square. The version of a `replay` is `replay_version` of all that is in it.

Facets are those of the specification: versions are fingerprints and digests, `test` holds the gate's tests, `tags` the
outcome, `executionParameters` seed, code, verifiers and cost. Ids follow from the ledger's hashes, so the same ledger
gives the same events. The package openlineage-python (an extra) brings the classes and the addresses of the schemas.
Left out: sending events, which its client does.
"""

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    DatasetFacet,
    JobFacet,
    RunFacet,
    dataset_type_dataset,
    dataset_version_dataset,
    documentation_job,
    execution_parameters_run,
    job_type_job,
    parent_run,
    processing_engine_run,
    tags_dataset,
    tags_run,
    test_run,
)
from openlineage.client.serde import Serde

from bootstrap import __version__
from bootstrap.canonical import digest_of
from bootstrap.ids import ForeignGeneration
from bootstrap.ledger_records import Edge, Generation
from bootstrap.lineage import queries, replayed
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import described

PRODUCER = f"https://pypi.org/project/bootstrap-lm/{__version__}"
OUTSIDE = "bootstrap://outside"
"""Namespace of models that no lineage made."""
_Facet = TypeVar("_Facet")
_IDS = uuid.UUID("5b0f5d5e-6f0c-5d0a-9a55-3c1d1c7b9e10")
"""Namespace of the runs' ids."""


def to_lines(entries: Sequence[Entry], *, identity: Mapping[str, Any]) -> Iterator[str]:
    """Yield each event as one line of JSON, in ASCII. `identity`: the recipe's, from the lineage's header."""
    before: Generation | None = None
    for entry in entries:
        for event in events(entry, identity=identity, before=before):
            yield json.dumps(Serde.to_dict(event), sort_keys=True)
        if replayed.of_generation(entry.generation):
            before = entry.generation


def events(entry: Entry, *, identity: Mapping[str, Any], before: Generation | None = None) -> tuple[RunEvent, RunEvent]:
    """Return the START and the COMPLETE event of a generation; what is known of it stands in the second.

    `before`: the last generation before it that replayed data; None names all data sets.
    """
    node, measured = entry.generation, entry.annotations
    space = namespace(node.lineage)
    job = Job(space, f"{node.lineage}.{node.name}", facets=_job_facets(node))
    run, facets = str(uuid.uuid5(_IDS, entry.hash)), _run_facets(entry)
    begun = RunEvent(
        eventType=RunState.START,
        eventTime=measured.started,
        run=Run(run, facets={"parent": facets["parent"]}),
        job=job,
        producer=PRODUCER,
    )
    done = RunEvent(
        eventType=RunState.COMPLETE,
        eventTime=measured.finished,
        run=Run(run, facets=facets),
        job=job,
        inputs=[*_inputs(node, replayed.changes(node, before)), _task(space, identity)],
        outputs=_outputs(space, node),
        producer=PRODUCER,
    )
    return begun, done


def namespace(lineage: str) -> str:
    """Return the namespace of a lineage's jobs and data sets."""
    return f"bootstrap://{lineage}"


def _job_facets(node: Generation) -> dict[str, JobFacet]:
    stage = f", stage {node.stage}" if node.stage else ""
    return {
        "jobType": _ours(
            job_type_job.JobTypeJobFacet, processingType="BATCH", integration="BOOTSTRAP", jobType="GENERATION"
        ),
        "documentation": _ours(
            documentation_job.DocumentationJobFacet,
            description=f"Generation {node.number} of lineage {node.lineage}{stage}: {node.decision.reason}",
        ),
    }


def _run_facets(entry: Entry) -> dict[str, RunFacet]:
    node = entry.generation
    lineage = _ours(
        parent_run.ParentRunFacet,
        run=parent_run.Run(str(uuid.uuid5(_IDS, f"{node.lineage} {node.recipe_digest}"))),
        job=parent_run.Job(namespace(node.lineage), node.lineage),
    )
    told = {
        "outcome": node.outcome.value,
        "champion": f"gen-{node.champion}",
        "frontier": str(node.report.frontier),
        "fingerprint": node.fingerprint,
        "record": entry.hash,
    }
    used = {
        "recipe": node.recipe_digest,
        "seed": str(node.seed),
        "code": node.code_version,
        "workers": str(node.num_workers),
        **{f"verifier.{name}": version for name, version in sorted(node.verifiers.items())},
        **{f"flops.{phase}": f"{value:.6g}" for phase, value in sorted(node.compute.flops.items())},
        **{f"tokens.{phase}": str(count) for phase, count in sorted(node.compute.tokens.items())},
        **{f"seconds.{stage}": f"{value:.3f}" for stage, value in sorted(entry.annotations.seconds.items())},
    }
    tests = [
        test_run.TestExecution(
            name=name,
            status="pass" if one.passed else "fail",
            severity="error",
            type="paired comparison",
            expected=f"champion {one.champion:.6g}",
            actual=f"candidate {one.candidate:.6g}",
            params=one.model_dump(mode="json", exclude_none=True),
        )
        for name, one in queries.gate_tests(node.decision)
    ]
    return {
        "parent": lineage,
        "processing_engine": _ours(
            processing_engine_run.ProcessingEngineRunFacet, version=node.code_version, name="bootstrap"
        ),
        "tags": _ours(
            tags_run.TagsRunFacet,
            tags=[tags_run.TagsRunFacetFields(key, value, source="BOOTSTRAP") for key, value in told.items()],
        ),
        "executionParameters": _ours(
            execution_parameters_run.ExecutionParametersRunFacet,
            parameters=[execution_parameters_run.ExecutionParameter(key, value=value) for key, value in used.items()],
        ),
        **({"test": _ours(test_run.TestRunFacet, tests=tests)} if tests else {}),
    }


def replay_version(data_sets: Iterable[tuple[str, str, str]]) -> str:
    """Return the version of all that a generation replays: namespace, name and version of each data set."""
    return digest_of(sorted(map(list, data_sets)))


def _replay(node: Generation) -> str:
    return replay_version((*_source(node, edge), edge.fingerprint) for edge in replayed.of_generation(node))


def _inputs(node: Generation, data: replayed.Changes) -> list[InputDataset]:
    """Return each source of the generation once, with all its roles."""
    found: dict[tuple[str, str], list[Edge]] = {}
    for edge in [*(edge for edge in node.edges if edge.role != "data"), *data.added]:
        found.setdefault(_source(node, edge), []).append(edge)
    pool = []
    if data.since is not None:
        dropped = ", ".join(f"{space}/{name}" for space, name in (_source(node, edge) for edge in data.dropped))
        tags = {"role": "data", **({"dropped": dropped} if dropped else {})}
        facets = _facets("DATA", version=_replay(data.since), tags=tags)
        pool = [InputDataset(namespace(node.lineage), f"{data.since.name}/replay", facets=facets)]
    return pool + [
        InputDataset(
            space,
            name,
            facets=_facets(
                "DATA" if edges[0].role == "data" else "MODEL",
                version=edges[0].fingerprint,
                tags={"role": ",".join(dict.fromkeys(edge.role for edge in edges))},
            ),
        )
        for (space, name), edges in found.items()
    ]


def _source(node: Generation, edge: Edge) -> tuple[str, str]:
    """Return namespace and name of an edge's source; a fork's origin has the name that its own lineage gives it."""
    kind = "data" if edge.role == "data" else "weights"
    if edge.generation is not None:
        return namespace(node.lineage), f"gen-{edge.generation}/{kind}"
    origin = ForeignGeneration.parse(edge.external or "") if edge.record is not None else None
    if origin is not None:
        return namespace(origin.lineage), f"gen-{origin.number}/{kind}"
    return OUTSIDE, queries.source(edge)


def _task(space: str, identity: Mapping[str, Any]) -> InputDataset:
    _, task = described(identity)
    return InputDataset(
        space, "task", facets=_facets("DATA", version=digest_of(task), tags={"role": "task", "type": task["type"]})
    )


def _outputs(space: str, node: Generation) -> list[OutputDataset]:
    steps = {role: ref.digest for role, ref in node.artifacts.items() if role.startswith("step-")}
    num_replayed = len(replayed.of_generation(node))
    made = [
        (f"{node.name}/weights", "MODEL", node.fingerprint, {"outcome": node.outcome.value}),
        *([(f"{node.name}/data", "DATA", digest_of(steps), {"steps": str(len(steps))})] if steps else ()),
        *([(f"{node.name}/replay", "DATA", _replay(node), {"sets": str(num_replayed)})] if num_replayed else ()),
        *(
            (f"{node.name}/{role}", "DATA", ref.digest, {})
            for role, ref in sorted(node.artifacts.items())
            if role not in steps and role not in ("weights", "base")
        ),
    ]
    return [
        OutputDataset(space, name, facets=_facets(kind, version=version, tags=tags))
        for name, kind, version, tags in made
    ]


def _facets(kind: str, *, version: str, tags: Mapping[str, str]) -> dict[str, DatasetFacet]:
    return {
        "datasetType": _ours(dataset_type_dataset.DatasetTypeDatasetFacet, datasetType=kind),
        "version": _ours(dataset_version_dataset.DatasetVersionDatasetFacet, datasetVersion=version),
        "tags": _ours(
            tags_dataset.TagsDatasetFacet,
            tags=[tags_dataset.TagsDatasetFacetFields(key, value, source="BOOTSTRAP") for key, value in tags.items()],
        ),
    }


def _ours(facet: Callable[..., _Facet], **fields: Any) -> _Facet:
    """Return a facet that names this program as its producer."""
    return facet(**fields, producer=PRODUCER)
