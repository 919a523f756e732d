"""Ledger -> MLflow: one experiment, a run for the lineage, below it a run and a model for every generation.

    experiment bootstrap/<lineage>
        run <lineage>          gen/* metrics with step = generation; final/* of the final comparison;
                               lineage/lineage.html and .json, config/recipe.json
            run gen-N          recipe as params; inputs: parent's model, datasets; output: own model; metrics; samples
    LoggedModel <lineage>-gen-N     weights as safetensors, lineage facts as params, note with links
    registered model <lineage>      one version per generation, aliases gen-N and champion

MLflow is a projection: it can be rebuilt from the ledger at any time, and what people delete there comes back
(`shown.py`). Publishing again changes nothing, because runs are found by the tag `bootstrap.run_key` (lineage and
record hash), metrics carry timestamps kept in the run's own tags (MLflow drops a row that equals another in key, step,
value and time), and inputs, outputs, models and versions are looked up before they are made. One publisher per lineage
and target at a time, by a lock; the next one waits for it, at most `LOCK_SECONDS`, and then publishes what is left.

Leaves out which generations are due (`outbox.py`), what the notes say (`notes.py`), how the page looks (`graph.py`).
Importing this module imports MLflow, which takes seconds: import it where it is used.
"""

import json
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModel,
    LoggedModelInput,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
    Run,
    RunTag,
)

from bootstrap.errors import LineageLocked, TrackingError
from bootstrap.levels import level_range
from bootstrap.lineage import graph, notes, queries, samples, tracking
from bootstrap.lineage.connection import connected
from bootstrap.lineage.outbox import Outbox, Receipt
from bootstrap.lineage.shown import HEAD, RUN_KEY, Shown, model_name
from bootstrap.records import Generation, HealthMetric, Outcome
from bootstrap.store.artifacts import Artifact
from bootstrap.store.finals import final_of
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.lock import lineage_lock
from bootstrap.store.pretrained import pretrained_of

SCHEMA = "1"
UPLOAD_BYTES = 2**30
"""Weights up to this size are copied into MLflow; larger ones stay where they are, named by path and digest."""
PAGE_SAMPLES = 6
"""Rollouts per generation shown on the lineage page."""
LOCK_SECONDS = 60.0
"""Longest wait for another process that publishes the same lineage to the same place."""
_DIGEST_CHARACTERS = 32
_PARAM_BATCH, _METRIC_BATCH = 100, 1000
_PARAM_CHARACTERS, _TAG_CHARACTERS = 6000, 5000
_CURVES = {"updates.parquet": "train", "self_play.parquet": "self_play"}
"""A step's tables that become curves -> what their metrics' names begin with."""


def publish(
    root: Path, *, tracking_uri: str, experiment: str | None, recipe: Mapping[str, Any], sample_rollouts: int
) -> list[int]:
    """Publish every committed generation that `tracking_uri` does not show yet; return their numbers.

    `root`: the lineage's folder. `tracking_uri`: absolute, as `tracking.resolve_tracking_uri` gives it. `experiment`:
    None names it after the lineage. `recipe`: the resolved recipe as plain JSON. `sample_rollouts`: readable rollouts
    per generation.

    Raises TrackingError when MLflow cannot be reached or refuses, and when another process is still publishing the same
    after `LOCK_SECONDS`; what was published until then stays, and the next call goes on. Raises StoreError when the
    lineage's own files cannot be read.
    """
    store = LineageStore(root)
    entries = store.ledger.read()
    if not entries:
        return []
    name = tracking.experiment_name(entries[0].generation.lineage, experiment)
    outbox = Outbox(root, tracking_uri=tracking_uri, experiment=name)
    tracking.check_reachable(tracking_uri)
    with connected(tracking_uri), _alone(outbox.folder):
        return _Publisher(
            store,
            # Read again: whoever held the lock may have published more than was committed a moment ago.
            store.ledger.read(),
            outbox=outbox,
            tracking_uri=tracking_uri,
            experiment=name,
            recipe=recipe,
            sample_rollouts=sample_rollouts,
        ).publish()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the outbox as its only publisher. Raises TrackingError naming who holds it after `LOCK_SECONDS`."""
    deadline = time.monotonic() + LOCK_SECONDS
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(lineage_lock(folder))
                break
            except LineageLocked as error:
                if time.monotonic() < deadline:
                    time.sleep(0.2)
                    continue
                raise TrackingError(
                    f"waited {LOCK_SECONDS:g} s for another process that is publishing this lineage to MLflow "
                    f"({error.owner or 'which has not written its name'}); if it hangs, stop it"
                ) from error
        yield


class _Publisher:
    """One pass over what is due, with everything it needs to know."""

    def __init__(
        self,
        store: LineageStore,
        entries: Sequence[Entry],
        *,
        outbox: Outbox,
        tracking_uri: str,
        experiment: str,
        recipe: Mapping[str, Any],
        sample_rollouts: int,
    ) -> None:
        self.store, self.entries, self.outbox = store, entries, outbox
        self.recipe = {key: value for key, value in recipe.items() if key != "tracking"}
        self.sample_rollouts = sample_rollouts
        self.lineage = entries[0].generation.lineage
        self.client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
        location = tracking.artifact_location(tracking_uri, store.root.absolute().parent)
        self.experiment_id = self._experiment(experiment, location)
        self.shown = Shown(self.client, self.experiment_id, entries)

    def publish(self) -> list[int]:
        if self.shown.root_key is None:
            return []
        self.registered = self.shown.registered_name()
        self.root_run = self._root(self.shown.root_key)
        root_run_id = self.root_run.info.run_id
        self.receipts = self.outbox.receipts(self.entries, lineage_run_id=root_run_id)
        unmarked = [entry for entry in self.entries if entry.generation.number not in self.receipts]
        recovered = {entry.generation.number: found for entry in unmarked if (found := self._recovered(entry))}
        self.receipts |= recovered
        # It is made after the last commit, so the ledger alone does not say what is due.
        self.final = final_of(self.store, self.entries)
        head_is_shown = self.outbox.shows(self.entries[-1], lineage_run_id=root_run_id, final=self.final)
        whole = self.shown.is_whole(self.receipts, registered=self.registered, head_is_shown=head_is_shown)
        due = [entry for entry in self.entries if not whole or entry.generation.number not in self.receipts]
        if not unmarked and not due and head_is_shown:
            return []
        self._registered_model()
        for number, receipt in recovered.items() if whole else ():
            self.outbox.mark(number, receipt)
        for entry in due:
            number = entry.generation.number
            self.receipts[number] = receipt = self._generation(entry)
            self.outbox.mark(number, receipt)
        self._lineage()
        self.outbox.mark_head(self.entries[-1], lineage_run_id=root_run_id, final=self.final)
        return [entry.generation.number for entry in (unmarked if whole else due)]

    # The lineage: experiment, its run, its registered model.

    def _root(self, key: str) -> Run:
        entries = self.entries
        return self._run(
            key,
            name=self.lineage if self.registered == model_name(self.lineage) else self.registered,
            started=entries[0].annotations.started,
            finished=entries[-1].annotations.finished,
            tags={
                "bootstrap.kind": "lineage",
                "bootstrap.seed": str(entries[0].generation.seed),
                "bootstrap.recipe_digest": entries[0].generation.recipe_digest,
                **_origin_tags(entries[0].generation),
                **self._base_tags(entries[0].generation),
            },
        )

    def _experiment(self, name: str, location: str | None) -> str:
        tags = {
            "mlflow.experimentKind": "custom_model_development",
            "mlflow.note.content": f"Generations of {self.lineage}, grown by bootstrap. For all on one page "
            f"open the run {self.lineage}, then its artifact {tracking.HTML_PATH}.",
            "bootstrap.schema": SCHEMA,
        }
        found = self.client.get_experiment_by_name(name)
        if found is None:
            return self.client.create_experiment(name, artifact_location=location, tags=tags)
        if found.lifecycle_stage != "active":
            raise TrackingError(
                f"the MLflow experiment {name} is deleted; restore it with "
                f"`mlflow experiments restore -x {found.experiment_id}` or name another with tracking.experiment"
            )
        for key, value in tags.items():
            if found.tags.get(key) != value:
                self.client.set_experiment_tag(found.experiment_id, key, value)
        return found.experiment_id

    def _registered_model(self) -> None:
        if not self.client.search_registered_models(f"name = '{self.registered}'", max_results=1):
            self.client.create_registered_model(
                self.registered,
                tags={"bootstrap.lineage": self.lineage, RUN_KEY: str(self.shown.root_key)},
                description=f"Generations of {self.lineage}; the alias champion is what the lineage delivers, and "
                "the alias gen-N is generation N (version numbers are not generation numbers).",
            )
        else:
            self.client.set_registered_model_tag(self.registered, RUN_KEY, str(self.shown.root_key))

    def _lineage(self) -> None:
        """Bring the lineage's run, page and aliases up to the ledger's head. The champion's alias moves last."""
        run_id = self.root_run.info.run_id
        champion = self.entries[self.entries[-1].generation.champion].generation
        page = graph.lineage(
            self.entries,
            samples={number: receipt.samples for number, receipt in self.receipts.items()},
            identifiers={
                number: {"MLflow run": receipt.run_id, "MLflow model": receipt.model_id}
                for number, receipt in self.receipts.items()
            },
        )
        self.client.log_text(run_id, graph.to_html(page), tracking.HTML_PATH)
        self.client.log_text(run_id, graph.to_json(page), "lineage/lineage.json")
        self.client.log_text(run_id, json.dumps(self.recipe, indent=1, sort_keys=True), "config/recipe.json")
        note = notes.of_lineage(self.entries, self.receipts, registered=self.registered, final=self.final)
        tags = {
            "mlflow.note.content": note,
            "bootstrap.champion": champion.name,
            "bootstrap.frontier": str(champion.report.frontier),
            HEAD: self.entries[-1].hash,
            "bootstrap.code_version": self.entries[-1].generation.code_version,
        }
        self._log(run_id, metrics=self._final_metrics(), tags=tags)
        self._settle(run_id)
        self.client.set_registered_model_alias(self.registered, "champion", self.receipts[champion.number].version)

    def _final_metrics(self) -> list[Metric]:
        """What the final comparison says, at the generation it was made at."""
        final = self.final
        if final is None:
            return []
        judged, bounds = final.num_prompts > 0, final.difference
        values = {
            "final/accuracy": final.accuracy if judged else None,
            "final/base_accuracy": final.base_accuracy if judged else None,
            "final/difference": final.accuracy - final.base_accuracy if judged else None,
            "final/low": None if bounds is None else bounds.low,
            "final/high": None if bounds is None else bounds.high,
            "final/prompts": final.num_prompts,
        }
        entry = self.entries[final.generation]
        run = self.shown.run(self.shown.key_of(entry))
        kept = {} if run is None else run.data.tags
        at = _milliseconds(kept.get("bootstrap.finished", entry.annotations.finished))
        return _plain(values, at=at, step=final.generation)

    def _settle(self, root_run_id: str) -> None:
        """Leave no run of this lineage RUNNING: half-made ones that no record stands for any more end as KILLED."""
        published = {receipt.run_id for receipt in self.receipts.values()}
        running = self.client.search_runs(
            [self.experiment_id],
            f"attributes.status = 'RUNNING' and tags.`mlflow.parentRunId` = '{root_run_id}'",
        )
        for run in running:
            if (finished := run.data.tags.get("bootstrap.finished")) is None:
                continue  # Somebody's own.
            status = "FINISHED" if run.info.run_id in published else "KILLED"
            self.client.set_terminated(run.info.run_id, status, end_time=_milliseconds(finished))
        self.client.set_terminated(
            root_run_id, "FINISHED", end_time=_milliseconds(self.entries[-1].annotations.finished)
        )

    # One generation: its run, its model, its version.

    def _generation(self, entry: Entry) -> Receipt:
        node, measured = entry.generation, entry.annotations
        root_run_id = self.root_run.info.run_id
        run = self._run(
            self.shown.key_of(entry),
            name=node.name,
            started=measured.started,
            finished=measured.finished,
            tags={
                "mlflow.parentRunId": root_run_id,
                "bootstrap.kind": "generation",
                "bootstrap.generation": str(node.number),
                "bootstrap.ledger_hash": entry.hash,
            },
        )
        run_id, tags = run.info.run_id, run.data.tags
        rows = samples.readable(self.store.root, node, count=self.sample_rollouts)
        model = self._model(entry, run_id)
        version = self._version(entry, run_id, model)
        receipt = self._receipt(entry, run_id, model_id=model.model_id, version=version, rows=rows)
        note = notes.of_generation(entry, {**self.receipts, node.number: receipt}, registered=self.registered)
        versions = json.dumps([{"name": self.registered, "version": version}])
        model_tags = {"mlflow.note.content": note, "mlflow.modelVersions": versions}
        self.client.set_logged_model_tags(model.model_id, model_tags)
        self.client.update_model_version(self.registered, version, description=note)
        self.client.set_registered_model_alias(self.registered, node.name, version)
        self._inputs_and_outputs(node, run_id, model.model_id)
        table = self._samples(node, run_id, rows)
        span = (
            _milliseconds(tags.get("bootstrap.started", measured.started)),
            _milliseconds(tags.get("bootstrap.finished", measured.finished)),
        )
        self._log(
            run_id,
            params={key: value for key, value in flatten(self.recipe).items() if key not in run.data.params},
            metrics=[*self._metrics(entry, model.model_id, at=span[1]), *self._curves(node, span)],
            tags={**table, **self._tags(entry), "mlflow.note.content": note},
        )
        self._log(self.root_run.info.run_id, metrics=_over_generations(entry, at=span[1]))
        self.client.set_terminated(run_id, "FINISHED", end_time=span[1])
        done = {
            # Another than it was made below, where the lineage's run is gone for good.
            "mlflow.parentRunId": root_run_id,
            "bootstrap.model_id": receipt.model_id,
            "bootstrap.model_version": receipt.version,
            "bootstrap.published": entry.hash,
        }
        self._log(run_id, tags=done)
        return receipt

    def _recovered(self, entry: Entry) -> Receipt | None:
        """Return the receipt of a generation that is published, by what its run says; None for one that is not."""
        run = self.shown.run(self.shown.key_of(entry))
        if run is None or run.data.tags.get("bootstrap.published") != entry.hash:
            return None
        rows = samples.readable(self.store.root, entry.generation, count=self.sample_rollouts)
        ids = run.data.tags.get("bootstrap.model_id", ""), run.data.tags.get("bootstrap.model_version", "")
        return self._receipt(entry, run.info.run_id, model_id=ids[0], version=ids[1], rows=rows)

    def _receipt(
        self, entry: Entry, run_id: str, *, model_id: str, version: str, rows: Sequence[dict[str, Any]]
    ) -> Receipt:
        return Receipt(
            hash=entry.hash,
            experiment_id=self.experiment_id,
            lineage_run_id=self.root_run.info.run_id,
            run_id=run_id,
            model_id=model_id,
            version=version,
            samples=tuple(samples.pick(rows, count=PAGE_SAMPLES)),
        )

    def _run(self, key: str, *, name: str, started: str, finished: str, tags: Mapping[str, str]) -> Run:
        """Return the run with this key, made if there is none. Its own start and end times are kept in tags."""
        if (found := self.shown.run(key)) is not None:
            return found
        common = {
            RUN_KEY: key,
            "bootstrap.lineage": self.lineage,
            "bootstrap.schema": SCHEMA,
            "bootstrap.started": started,
            "bootstrap.finished": finished,
        }
        return self.client.create_run(
            self.experiment_id, start_time=_milliseconds(started), run_name=name, tags={**common, **tags}
        )

    def _model(self, entry: Entry, run_id: str) -> LoggedModel:
        node = entry.generation
        found = self.client.search_logged_models(
            [self.experiment_id], filter_string=f"source_run_id = '{run_id}'", max_results=1
        )
        weights = self.store.artifact(node.artifacts["weights"]) if "weights" in node.artifacts else None
        is_copied = weights is not None and sum(size for _, size in weights.files.values()) < UPLOAD_BYTES
        model = (
            found[0]
            if found
            else self.client.create_logged_model(
                self.experiment_id,
                name=re.sub(r"[^\w-]", "-", f"{self.lineage}-{node.name}"),
                source_run_id=run_id,
                model_type="bootstrap_generation",
                params=self._model_params(node, weights),
                tags={
                    "bootstrap.ledger_hash": entry.hash,
                    "bootstrap.lineage": self.lineage,
                    **({} if is_copied else {"mlflow.model.isExternal": "true"}),
                },
            )
        )
        if model.status != LoggedModelStatus.READY:
            if is_copied:
                for name in weights.files:
                    weights.read(name)  # A broken file is refused here, not spread.
                self.client.log_model_artifacts(model.model_id, str(weights.path), "model")
            model = self.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        return model

    def _model_params(self, node: Generation, weights: Artifact | None) -> dict[str, str]:
        parents = [self.receipts[number].model_id for number in node.parents if number in self.receipts]
        params = {
            "generation": str(node.number),
            "outcome": node.outcome.value,
            "parent": _names(node.parents),
            "parent_model_id": ", ".join(parents),
            "teachers": ", ".join(queries.teachers(node)),
            "fingerprint": node.fingerprint,
            "base": _base_model(self.recipe),
            "method": _method(self.recipe, node),
            "ledger_hash": next(entry.hash for entry in self.entries if entry.generation.number == node.number),
        }
        if weights is not None:
            params["weights_path"] = str(weights.path.absolute())
            for file, label in (("model.safetensors", "weights_sha256"), ("tokenizer.json", "tokenizer_sha256")):
                if file in weights.files:
                    params[label] = weights.files[file][0]
        # MLflow merges the run's params into the model's page, where an empty one says nothing.
        return {key: value[:_PARAM_CHARACTERS] for key, value in params.items() if value}

    def _version(self, entry: Entry, run_id: str, model: LoggedModel) -> str:
        node, source = entry.generation, f"models:/{model.model_id}"
        found = self.client.search_model_versions(f"name = '{self.registered}' and run_id = '{run_id}'")
        match = next((version for version in found if version.source == source), None)
        if match is None:
            match = self.client.create_model_version(
                self.registered,
                source,
                run_id=run_id,
                model_id=model.model_id,
                tags={
                    "bootstrap.generation": str(node.number),
                    "bootstrap.gate": _gate(node),
                    "bootstrap.gate.reason": node.decision.reason[:_TAG_CHARACTERS],
                    "bootstrap.outcome": node.outcome.value,
                    "bootstrap.stage": node.stage,
                    "bootstrap.fingerprint": node.fingerprint,
                    **self._base_tags(node),
                },
            )
        return str(match.version)

    def _inputs_and_outputs(self, node: Generation, run_id: str, model_id: str) -> None:
        """Log what went in and what came out: the edges that MLflow's own pages draw."""
        run = self.client.get_run(run_id)
        there = {item.model_id for item in run.inputs.model_inputs}
        models = {
            self.receipts[edge.generation].model_id: None
            for edge in node.edges
            if edge.role != "data" and edge.generation in self.receipts
        }
        known = {(item.dataset.name, item.dataset.digest) for item in run.inputs.dataset_inputs}
        datasets = [item for item in self._datasets(node) if (item.dataset.name, item.dataset.digest) not in known]
        wanted = [LoggedModelInput(model) for model in models if model not in there]
        if wanted or datasets:
            self.client.log_inputs(run_id, datasets=datasets, models=wanted)
        if model_id not in {item.model_id for item in run.outputs.model_outputs}:
            self.client.log_outputs(run_id, [LoggedModelOutput(model_id, step=node.number)])

    def _datasets(self, node: Generation) -> list[DatasetInput]:
        found = []
        for role, ref in sorted(node.artifacts.items()):
            if not role.startswith("step-"):
                continue
            artifact = self.store.artifact(ref)
            for file, context in (("rollouts.parquet", "rollouts"), ("selections.parquet", "training")):
                if file in artifact.files and (rows := _num_rows(artifact, file)):
                    tags = {"bootstrap.rows": str(rows), "bootstrap.artifact": ref.path}
                    if context == "rollouts":
                        tags |= self._producers(node, artifact)
                    found.append(
                        _dataset(
                            f"{context}-{node.name}-{role}",
                            artifact.files[file][0],
                            context=context,
                            source=artifact.path / file,
                            tags=tags,
                            profile={"num_rows": rows},
                        )
                    )
        for edge in node.edges:
            if edge.role == "data":
                found.append(
                    _dataset(
                        f"replay-gen-{edge.generation}",
                        edge.fingerprint,
                        context="replay",
                        source=self.store.root,
                        tags={"bootstrap.from_generation": str(edge.generation)},
                        profile={},
                    )
                )
        name, digest = _suite(node)
        prompts = sum(row.num_prompts for row in node.report.levels)
        source = self.store.root / (node.artifacts["evaluation"].path if "evaluation" in node.artifacts else "")
        tags = {"bootstrap.prompts": str(prompts)}
        found.append(_dataset(name, digest, context="eval", source=source, tags=tags, profile={"num_prompts": prompts}))
        return found

    def _producers(self, node: Generation, artifact: Artifact) -> dict[str, str]:
        """Return the tags that say whose answers a step's rollouts are, the most frequent first."""
        policies = (row["policy"] for row in samples.columns(artifact, "rollouts.parquet", wanted=["policy"]))
        found = queries.producers(self.entries, node, policies)
        models = [self.receipts[number].model_id for _, number in found.values() if number in self.receipts]
        tags = {"bootstrap.producer": ", ".join(f"{name} ({count})" for name, (count, _) in found.items())}
        return tags | ({"bootstrap.producer_model_id": ", ".join(models)} if models else {})

    def _samples(self, node: Generation, run_id: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Write the readable rollouts as a table; return the tag by which MLflow shows it as one."""
        if not rows:
            return {}
        path = f"samples/{node.name}.json"
        table = {"columns": list(samples.COLUMNS), "data": [[row[name] for name in samples.COLUMNS] for row in rows]}
        self.client.log_text(run_id, json.dumps(table), path)
        return {"mlflow.loggedArtifacts": json.dumps([{"path": path, "type": "table"}])}

    def _metrics(self, entry: Entry, model_id: str, *, at: int) -> list[Metric]:
        node, values = entry.generation, {}
        dataset_name, digest = _suite(node)
        for row in node.report.levels:
            prefix = f"eval/level_{row.level}"
            values[f"{prefix}/accuracy"] = row.accuracy
            values[f"{prefix}/low"] = row.interval.low
            values[f"{prefix}/high"] = row.interval.high
            for key in ("pass_at_1", "pass_at_k", "majority_at_k", "entropy", "distinct_answers"):
                values[f"{prefix}/{key}"] = getattr(row, key)
        values |= {"eval/frontier": node.report.frontier, "eval/lead": node.report.lead}
        values |= {f"health/{metric}": node.health.value(metric) for metric in HealthMetric}
        values["health/findings"] = len(node.health.findings)
        evaluated = [
            Metric(
                key,
                value,
                at,
                0,
                model_id=model_id,
                dataset_name=dataset_name,
                dataset_digest=digest[:_DIGEST_CHARACTERS],
            )
            for key, value in values.items()
            if value is not None
        ]
        tasks = {f"panel/{task}/accuracy": queries.overall(rows) for task, rows in node.report.panel.items()}
        for kind, reports in {"part": node.report.parts, "panel": node.report.panel}.items():
            for task, row in ((task, row) for task, rows in reports.items() for row in rows):
                prefix = f"{kind}/{task}/level_{row.level}"
                tasks |= {f"{prefix}/accuracy": row.accuracy, f"{prefix}/low": row.interval.low}
                tasks[f"{prefix}/high"] = row.interval.high
        return [
            *evaluated,
            *_plain(tasks, at=at, model_id=model_id),
            *_plain(_costs(entry), at=at),
            *self._gate(node, at=at),
        ]

    def _gate(self, node: Generation, *, at: int) -> list[Metric]:
        """The gate's tests; the champion's side is logged for the champion's model, whose page then leads here."""
        decision, test = node.decision, node.decision.improvement
        metrics = _plain({"gate/promoted": float(decision.promoted)}, at=at)
        if test is not None:
            values = {"gate/delta": test.candidate - test.champion, "gate/p_value": test.p_value}
            metrics += _plain({**values, "gate/gained": test.gained, "gate/lost": test.lost}, at=at)
        for task, row in decision.panel.items():
            kept = {f"gate/panel/{task}/delta": row.candidate - row.champion}
            metrics += _plain({**kept, f"gate/panel/{task}/low": row.difference_low}, at=at)
        other = self.receipts.get(decision.champion) if decision.champion is not None else None
        side = "parent" if decision.champion == node.parent else "champion"
        compared: dict[str, float] = {}
        for row in (*([test] if test else ()), *decision.retention):
            # What is kept is compared with the best of the champion line, which may be earlier than the champion.
            if set(row.reference) <= {decision.champion}:
                compared[f"gate/{side}/{_levels_key(row.levels)}/accuracy"] = row.champion
            else:
                metrics += _plain({f"gate/best/{_levels_key(row.levels)}/accuracy": row.champion}, at=at)
        if decision.slices:
            worst = min(row.candidate - row.champion for row in decision.slices.values())
            metrics += _plain({"gate/slices/worst": worst}, at=at)
        if decision.pooled is not None:
            metrics += _plain({"gate/retention/low": decision.pooled.difference_low}, at=at)
        return metrics + _plain(compared, at=at, model_id=other.model_id if other else None)

    def _curves(self, node: Generation, span: tuple[int, int]) -> list[Metric]:
        """The steps' tables of `_CURVES`, one step after another, spread over the generation's time."""
        roles = sorted((role for role in node.artifacts if role.startswith("step-")), key=lambda role: int(role[5:]))
        metrics = []
        for file, prefix in _CURVES.items():
            tables = [samples.columns(self.store.artifact(node.artifacts[role]), file) for role in roles]
            rows = [row for table in tables for row in table]
            for step, row in enumerate(rows):
                at = span[0] + (span[1] - span[0]) * (step + 1) // len(rows)
                for key, value in row.items():
                    is_number = isinstance(value, int | float) and not isinstance(value, bool)
                    if key != "update" and is_number and math.isfinite(value):
                        metrics.append(Metric(f"{prefix}/{key}", float(value), at, step))
        return metrics

    def _tags(self, entry: Entry) -> dict[str, str]:
        node, environment = entry.generation, entry.annotations.environment
        roles: dict[str, list[str]] = {}
        for edge in node.edges:
            if edge.role != "data" and edge.generation in self.receipts:
                roles.setdefault(edge.role, []).append(self.receipts[edge.generation].model_id)
        tags = {
            "bootstrap.outcome": node.outcome.value,
            "bootstrap.gate": _gate(node),
            "bootstrap.gate.reason": node.decision.reason,
            "bootstrap.stage": node.stage,
            "bootstrap.guards": "; ".join(map(str, node.health.findings)),
            "bootstrap.parent": _names(node.parents),
            "bootstrap.teachers": ", ".join(queries.teachers(node)),
            **_origin_tags(node),
            **self._base_tags(node),
            "bootstrap.model_inputs": json.dumps(roles, sort_keys=True),
            "bootstrap.target_levels": ", ".join(map(str, node.target_levels)),
            "bootstrap.fingerprint": node.fingerprint,
            "bootstrap.recipe_digest": node.recipe_digest,
            "bootstrap.code_version": node.code_version,
            "bootstrap.seed": str(node.seed),
            "bootstrap.workers": str(node.num_workers),
            "bootstrap.verifiers": json.dumps(node.verifiers, sort_keys=True),
        }
        for key, value in environment.items():
            tags[f"bootstrap.{_key(key)}"] = value
        if "git_commit" in environment:
            tags["mlflow.source.git.commit"] = environment["git_commit"]
        return {key: value[:_TAG_CHARACTERS] for key, value in tags.items() if value}

    def _base_tags(self, node: Generation) -> dict[str, str]:
        """Return the tags that say which pretrained model the weights go back to, and on what terms."""
        weights = node.artifacts.get("weights")
        found = pretrained_of(self.store.artifact(weights)) if weights is not None else None
        if found is None:
            return {}
        licence = {"bootstrap.base.license": found.licence} if found.licence else {}
        return {"bootstrap.base.source": found.source, **licence}

    def _log(
        self,
        run_id: str,
        *,
        params: Mapping[str, str] | None = None,
        metrics: Sequence[Metric] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log in as few requests as MLflow's limits allow."""
        items = [Param(key, value) for key, value in (params or {}).items()]
        for part in _parts(items, _PARAM_BATCH):
            self.client.log_batch(run_id, params=part)
        for part in _parts(metrics, _METRIC_BATCH):
            self.client.log_batch(run_id, metrics=part)
        if tags:
            self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def _gate(node: Generation) -> str:
    """Return what the gate made of a generation, in a word to search for."""
    if node.outcome is Outcome.ASIDE:
        return "aside"
    return "accepted" if node.decision.promoted else "rejected"


def _names(numbers: Sequence[int]) -> str:
    return ", ".join(f"gen-{number}" for number in numbers)


def flatten(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Return a nested recipe as MLflow params: dotted keys of legal characters, short text values, nothing empty.

    Lists of plain values stay one param; lists of settings are numbered: `generations.steps.0.updates`.
    """
    params: dict[str, str] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                walk(inner, f"{path}.{_key(str(key))}" if path else _key(str(key)))
        elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
            for index, item in enumerate(value):
                walk(item, f"{path}.{index}")
        elif value not in (None, "", [], ()):
            text = json.dumps(value) if isinstance(value, list | tuple | bool) else str(value)
            params[path[:250]] = text[:_PARAM_CHARACTERS]

    walk(recipe, "")
    return params


def _over_generations(entry: Entry, *, at: int) -> list[Metric]:
    """What the lineage's run shows as curves over generations."""
    node, best = entry.generation, queries.headline(entry.generation)
    values = {
        "gen/frontier": node.report.frontier,
        "gen/lead": node.report.lead,
        "gen/target_accuracy": None if best is None else best.accuracy,
        "gen/promoted": float(node.decision.promoted),
        "gen/champion": node.champion,
        "gen/tokens": node.compute.total_tokens,
        "gen/flops": node.compute.total_flops,
        "gen/seconds": sum(entry.annotations.seconds.values()),
        "gen/useful_share": queries.useful_share(node),
        **{f"gen/panel/{task}/accuracy": queries.overall(rows) for task, rows in node.report.panel.items()},
        **{f"gen/health/{metric}": node.health.value(metric) for metric in HealthMetric},
        "gen/health/findings": len(node.health.findings),
    }
    return _plain(values, at=at, step=node.number)


def _costs(entry: Entry) -> dict[str, float]:
    compute, measured = entry.generation.compute, entry.annotations
    return {
        **{f"cost/flops/{_key(phase)}": value for phase, value in compute.flops.items()},
        **{f"cost/tokens/{_key(phase)}": value for phase, value in compute.tokens.items()},
        **{f"cost/seconds/{_key(stage)}": value for stage, value in measured.seconds.items()},
        **{f"cost/cpu_seconds/{_key(stage)}": value for stage, value in measured.cpu_seconds.items()},
        **{f"cost/bound_fraction/{_key(phase)}": value for phase, value in measured.bound_fraction.items()},
        "cost/flops/total": compute.total_flops,
        "cost/tokens/total": compute.total_tokens,
        "cost/tokens/useful": compute.useful_tokens,
        "cost/seconds/total": sum(measured.seconds.values()),
    }


def _plain(values: Mapping[str, float | None], *, at: int, step: int = 0, model_id: str | None = None) -> list[Metric]:
    return [
        Metric(key, float(value), at, step, model_id=model_id) for key, value in values.items() if value is not None
    ]


def _dataset(
    name: str, digest: str, *, context: str, source: Path, tags: Mapping[str, str], profile: Mapping[str, int]
) -> DatasetInput:
    """Return a dataset named by content. `digest`: SHA-256; MLflow has room for half of it, a tag keeps it whole."""
    dataset = Dataset(
        name=name,
        digest=digest[:_DIGEST_CHARACTERS],
        source_type="local",
        source=json.dumps({"uri": source.absolute().as_uri()}),
        profile=json.dumps(profile),
    )
    everything = {"mlflow.data.context": context, "bootstrap.sha256": digest, **tags}
    return DatasetInput(dataset, [InputTag(key, value[:500]) for key, value in everything.items()])


def _suite(node: Generation) -> tuple[str, str]:
    """Return the name and digest of the held-out prompts as a dataset."""
    return f"suite-{node.report.suite[:12]}", node.report.suite


def _num_rows(artifact: Artifact, file: str) -> int:
    first = {"rollouts.parquet": "id", "selections.parquet": "rollout_id"}[file]
    return len(samples.columns(artifact, file, wanted=[first]))


def _base_model(recipe: Mapping[str, Any]) -> str:
    model = recipe.get("base", {}).get("model", {})
    return " ".join(str(model[key]) for key in ("type", "path", "lineage", "number") if key in model)


def _origin_tags(node: Generation) -> dict[str, str]:
    """Return the tags of a fork: which generation of another lineage its weights are, and the hash of its record."""
    return {
        name: value
        for edge in node.edges
        if edge.role == "init" and edge.record is not None
        for name, value in (
            ("bootstrap.forked_from", queries.source(edge)),
            ("bootstrap.forked_from_record", edge.record),
        )
    }


def _method(recipe: Mapping[str, Any], node: Generation) -> str:
    """Return the training steps in one word, for example `rl+distillation`."""
    part = recipe.get("generations" if node.number else "base", {})
    for stage in part.get("stages") or ():
        part = stage if stage["name"] == node.stage else part
    steps = part.get("steps") or ()
    return ", ".join(step["type"] + ("+distillation" if step.get("distillation") else "") for step in steps)


def _levels_key(levels: Sequence[int]) -> str:
    """Return levels as part of a metric's name: `level_5`, `levels_1_to_4`, `levels_1_3_5_to_8`."""
    return level_range(levels).replace(", ", "_").replace(" ", "_").replace("-", "_to_")


def _key(name: str) -> str:
    """Return `name` with only characters that MLflow allows in params, metrics and tags."""
    return re.sub(r"[^\w./ -]", "_", name)


def _milliseconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp() * 1000)


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
