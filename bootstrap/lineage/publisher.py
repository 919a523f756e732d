"""Ledger -> MLflow: one experiment, a run for the lineage, below it a run and a model for every generation.

    experiment bootstrap/<lineage>
        run <lineage>          gen/* metrics with step = generation; final/* of the final comparison;
                               lineage/lineage.html and .json, config/recipe.json (`whole_page.py`)
            run gen-N          recipe as params; inputs: parent's model, datasets; output: own model; metrics; samples
    LoggedModel <lineage>-gen-N     weights as safetensors, lineage facts as params, note with links
    registered model <lineage>      one version per generation, aliases gen-N and champion

MLflow is a projection: it can be rebuilt from the ledger at any time, and what people delete there comes back
(`shown.py`). Publishing again changes nothing: runs are found by the tag `bootstrap.run_key` (lineage and record hash);
metrics carry timestamps from the run's own tags (MLflow drops a row with the same key, step, value and time); inputs,
outputs, models and versions are looked up before they are made. A lock allows one publisher per lineage and target; the
next one waits at most `outbox.LOCK_SECONDS`, then publishes the rest.

One more generation costs the same after a thousand as after ten: records and markers are read where they are asked for
(`index.recall`, `Receipts`), and a bounded number of generations is looked at (`shown.py`).

Left out: which generations are due (`outbox.py`), their content (`metrics.py`, `tags.py`, `datasets.py`), what people
read of them (`pages.py`), requests (`batches.py`), models (`registry.py`) and stores that move (`places.py`).
Importing this module imports MLflow, which takes seconds: import it where it is used.
"""

import json
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import LoggedModelInput, LoggedModelOutput, Run

from bootstrap.errors import StoreCorrupt, TrackingError
from bootstrap.ledger_records import Generation
from bootstrap.lineage import (
    batches,
    datasets,
    graph,
    metrics,
    notes,
    places,
    samples,
    tags,
    tracking,
    views,
    whole_page,
)
from bootstrap.lineage.connection import active_experiment, connected
from bootstrap.lineage.datasets import Data
from bootstrap.lineage.live import adopt, look_up
from bootstrap.lineage.outbox import ModelIds, Outbox, Receipt
from bootstrap.lineage.pages import Pages
from bootstrap.lineage.reach import check_reachable
from bootstrap.lineage.registry import Registry
from bootstrap.lineage.shown import PublishedRuns, model_name
from bootstrap.lineage.text import one_line
from bootstrap.store import index
from bootstrap.store.artifacts import Artifact
from bootstrap.store.finals import final_of
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.pretrained import Pretrained, pretrained_of

SCHEMA = str(graph.SCHEMA)
PAGE_SAMPLES = 6
"""Rollouts per generation shown on the lineage page."""
FEW = 16
"""Unpublished generations up to which runs are looked up one by one."""
_CURVES = {"updates.parquet": "train", "self_play.parquet": "self_play"}
"""A step's tables that become curves -> the prefix of their metrics' names."""


def publish(
    root: Path,
    *,
    tracking_uri: str,
    experiment: str | None,
    recipe: Mapping[str, Any],
    sample_rollouts: int,
    is_growing: bool = False,
) -> list[int]:
    """Publish every committed generation that `tracking_uri` does not show yet; return their numbers.

    `root`: the lineage's folder, in its store. `tracking_uri`: absolute, from `tracking.resolve_tracking_uri`.
    `experiment`: None names it after the lineage. `recipe`: the resolved recipe as plain JSON. `sample_rollouts`:
    readable rollouts per generation. `is_growing`: more generations come soon, so the lineage page is drawn only if it
    is due (`whole_page.py`).

    Raises TrackingError if MLflow refuses or cannot be reached, if a database in the store keeps files outside it, or
    if another process is still publishing the same after `outbox.LOCK_SECONDS`; what is published by then stays, and
    the next call goes on from there. Raises StoreError if the lineage's own files cannot be read, StoreCorrupt for a
    name that MLflow could not show.
    """
    store = LineageStore(root)
    entries = index.recall(store)
    if not entries:
        return []
    named = entries[0].generation.lineage
    if not named.isprintable():
        raise StoreCorrupt(
            f"the records in {root} name their lineage {one_line(named)}, with control characters, and MLflow shows "
            "names as they are; nothing is published"
        )
    name = tracking.experiment_name(named, experiment)
    outbox = Outbox(root, tracking_uri=tracking_uri, experiment=name)
    check_reachable(tracking_uri)
    with connected(tracking_uri), outbox.held():
        return _Publisher(
            store,
            # Read again: the process that held the lock may have published newer records.
            index.recall(store),
            outbox=outbox,
            tracking_uri=tracking_uri,
            experiment=name,
            recipe=recipe,
            sample_rollouts=sample_rollouts,
            is_growing=is_growing,
        ).publish()


class _Publisher:
    """One pass over the generations that are due."""

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
        is_growing: bool,
    ) -> None:
        self.store, self.entries, self.outbox = store, entries, outbox
        self.recipe = {key: value for key, value in recipe.items() if key != "tracking"}
        self.sample_rollouts, self.is_growing = sample_rollouts, is_growing
        self.lineage = entries[0].generation.lineage
        self.tracking_uri = tracking_uri
        self.client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
        location = tracking.artifact_location(tracking_uri, store.root.absolute().parent)
        self.experiment_id = self._experiment(experiment, location)
        self.shown = PublishedRuns(self.client, self.experiment_id, entries)

    def publish(self) -> list[int]:
        key = self.shown.root_key
        if key is None:
            return []
        self.registry = self._registry()
        self.root_run = self._root(key)
        root_run_id = self.root_run.info.run_id
        self.receipts = self.outbox.published(self.entries, lineage_run_id=root_run_id, shown_as=graph.SCHEMA)
        shown = self.outbox.shown(self.entries, lineage_run_id=root_run_id, shown_as=graph.SCHEMA)
        looked_at = self._looked_at(self.receipts.marked, shown)
        unmarked = [self.entries[number] for number in looked_at if number not in self.receipts]
        if len(unmarked) > FEW:
            self.shown.look_up_all()
        recovered = {entry.generation.number: found for entry in unmarked if (found := self._recovered(entry))}
        for number, receipt in recovered.items():
            self.receipts.add(number, receipt)
        self.final = final_of(self.store, self.entries)
        head_is_shown = self.outbox.shows(
            self.entries[-1], lineage_run_id=root_run_id, final=self.final, shown_as=graph.SCHEMA
        )
        aliases = self.shown.aliases(self.registry.name)
        due = self._due(looked_at, aliases=aliases)
        champion = self.receipts.get(self.entries[-1].generation.champion)
        if champion is None or aliases.get("champion") != champion.version:
            head_is_shown = False
        drawn = min(self.outbox.drawn(), shown)
        is_drawn = drawn == len(self.entries) or self.is_growing
        if not unmarked and not due and head_is_shown and is_drawn:
            self._settle()
            return []
        if not self.registry.open(key, self.shown.registered(self.registry.name)):
            self.registry = self._registry()
            if not self.registry.open(key):
                raise TrackingError(f"another lineage takes the name {self.registry.name} in MLflow; publish once more")
        self.pages = Pages(self.client, self.registry, self.store, self.entries, self.recipe)
        for number, receipt in recovered.items():
            if number not in due:
                self.outbox.mark(number, receipt)
        for number in due:
            self.outbox.mark(number, self._generation(self.entries[number]))
        # A note that shows relatives is old once there is one more of them.
        newer = {*range(shown, len(self.entries)), *due}
        self.pages.refresh(newer, self.receipts)
        # What was published again has other ids.
        is_old = any(number < drawn for number in due)
        if not self.is_growing or is_old or whole_page.is_due(len(self.entries), drawn=drawn):
            header, drawn = self.store.header(), len(self.entries)
            log, run_id = whole_page.log, self.root_run.info.run_id
            log(self.client, run_id, self.entries, header=header, receipts=self.receipts, recipe=self.recipe)
        self._lineage(drawn)
        self.outbox.mark_head(
            self.entries[-1], lineage_run_id=root_run_id, final=self.final, shown_as=graph.SCHEMA, drawn=drawn
        )
        return sorted({entry.generation.number for entry in unmarked} | set(due))

    def _registry(self) -> Registry:
        name = self.shown.registered_name()
        return Registry(self.client, self.experiment_id, lineage=self.lineage, name=name, check_place=self._check_place)

    def _check_place(self, place: str | None, what: str) -> None:
        """Raise TrackingError if `what` keeps its files outside the store although its database lies inside."""
        places.check_inside(place or "", self.tracking_uri, store=self.store.root.parent, what=what)

    def _looked_at(self, marked: Sequence[int], shown: int) -> list[int]:
        """Return the generations to look at: a bounded number of a growing lineage with little news, else all.

        `marked`: the generations that have a marker; `shown`: how many the lineage's pages show, 0 if not known.
        """
        everything = range(len(self.entries))
        news = (set(everything) - set(marked)) | set(everything[shown:])
        if not (self.is_growing and shown and 0 < len(news) <= FEW):
            return list(everything)
        numbers = news | set(self.shown.to_look_at(marked, of=len(self.entries)))
        for number in news:
            edges = self.entries[number].generation.edges
            numbers |= {edge.generation for edge in edges if edge.generation is not None and edge.role != "data"}
        broken = any(number not in self.receipts for number in numbers - news)
        return list(everything) if broken else sorted(numbers)

    def _due(self, looked_at: Sequence[int], *, aliases: Mapping[str, str]) -> list[int]:
        """Return the numbers of the generations to publish: new ones, those with a gap, and what was made from those.

        Gaps are looked for in `looked_at`, and in all if there are any.
        """
        registered = self.registry.name
        receipts = {number: self.receipts[number] for number in looked_at if number in self.receipts}
        missing = set(looked_at) - receipts.keys()
        gaps = self.shown.gaps(receipts, registered=registered, aliases=aliases)
        if not gaps:
            return sorted(missing)
        if len(looked_at) < len(self.entries):
            gaps = self.shown.gaps(dict(self.receipts), registered=registered, aliases=aliases)
        made = {
            entry.generation.number
            for entry in self.entries
            if any(edge.generation in gaps for edge in entry.generation.edges)
        }
        return sorted(missing | gaps | made)

    @property
    def models(self) -> Mapping[int, str]:
        """MLflow's model ids of the generations published so far, by number."""
        return ModelIds(self.receipts)

    # The lineage: experiment, its run.

    def _experiment(self, name: str, location: str | None) -> str:
        wanted = {
            "mlflow.experimentKind": "custom_model_development",
            "bootstrap.schema": SCHEMA,
        }
        found = active_experiment(self.client, name, otherwise=" or name another with tracking.experiment")
        if found is None:
            # The folder may be a link that leads out of the store.
            self._check_place(location, f"the experiment {name}")
            return self.client.create_experiment(name, artifact_location=location, tags=wanted)
        self._check_place(found.artifact_location, f"the experiment {name}")
        for key, value in wanted.items():
            if found.tags.get(key) != value:
                self.client.set_experiment_tag(found.experiment_id, key, value)
        return found.experiment_id

    def _root(self, key: str) -> Run:
        first, name = self.entries[0].generation, self.registry.name
        return self._run(
            key,
            name=self.lineage if name == model_name(self.lineage) else name,
            started=self.entries[0].annotations.started,
            finished=self.entries[-1].annotations.finished,
            more=tags.of_lineage(first, base=self._pretrained(first)),
        )

    def _lineage(self, drawn: int) -> None:
        """Update the lineage's run and aliases to the ledger's head; the champion's alias moves last.

        `drawn`: generations on the lineage page.
        """
        run_id = self.root_run.info.run_id
        note = notes.of_lineage(
            self.entries, self.receipts, registered=self.registry.name, final=self.final, drawn=drawn
        )
        batches.log(
            self.client,
            run_id,
            points=[] if self.final is None else metrics.of_final(self.final, at=self._finished(self.final.generation)),
            tags={"mlflow.note.content": note, "bootstrap.schema": SCHEMA, **tags.of_head(self.entries)},
        )
        self.client.set_terminated(run_id, "FINISHED", end_time=_milliseconds(self.entries[-1].annotations.finished))
        self._view(run_id)
        self._settle()
        self.registry.point("champion", self.receipts[self.entries[-1].generation.champion].version)

    def _view(self, run_id: str) -> None:
        """Save the view of the generations in the experiment, and describe the experiment in one line.

        Views of other lineages whose runs are deleted for good go.
        """
        kept = dict(self.client.get_experiment(self.experiment_id).tags)
        others = {one: look_up(self.client, one) for one in views.lineages(kept) if one != run_id}
        for gone in (one for one, run in others.items() if run is None):
            self.client.delete_experiment_tag(self.experiment_id, views.key(gone))
            del kept[views.key(gone)]
        at = _milliseconds(self.entries[0].annotations.finished)
        key, value = views.saved(self.root_run.info.run_name or self.lineage, lineage_run_id=run_id, at=at)
        shown = {
            one: name
            for one, name in views.lineages({**kept, key: value}).items()
            # A deleted run may be restored, and has its view then.
            if (run := others.get(one)) is None or run.info.lifecycle_stage == "active"
        }
        note = notes.of_experiment(shown, self.experiment_id)
        for name, text in {key: value, "mlflow.note.content": note}.items():
            if kept.get(name) != text:
                self.client.set_experiment_tag(self.experiment_id, name, text)

    def _finished(self, number: int) -> int:
        """Return when a generation was finished, from its run's tag, in milliseconds since 1970."""
        entry = self.entries[number]
        run = self.shown.run(self.shown.key_of(entry))
        kept = {} if run is None else run.data.tags
        return _milliseconds(kept.get("bootstrap.finished", entry.annotations.finished))

    def _settle(self) -> None:
        """End the runs that a killed publication left RUNNING; those without a record end as KILLED."""
        left = list(self.shown.left_running(now=time.time()))
        receipts = self.receipts.values() if left else ()
        published = {self.root_run.info.run_id, *(receipt.run_id for receipt in receipts)}
        for run, finished in left:
            status = "FINISHED" if run.info.run_id in published else "KILLED"
            self.client.set_terminated(run.info.run_id, status, end_time=_milliseconds(finished))

    # One generation: its run, its model, its version.

    def _generation(self, entry: Entry) -> Receipt:
        node, measured = entry.generation, entry.annotations
        root_run_id, base = self.root_run.info.run_id, self._pretrained(node)
        run = self._run(
            self.shown.key_of(entry),
            name=node.name,
            started=measured.started,
            finished=measured.finished,
            more={**tags.of_run(entry), "mlflow.parentRunId": root_run_id},
        )
        run_id, kept = run.info.run_id, run.data.tags
        rows = samples.readable(self.store, node, count=self.sample_rollouts)
        weights = self._weights(node)
        params = tags.model_params(entry, recipe=self.recipe, models=self.models, weights=weights)
        model_id = self.registry.model(entry, run_id, params=params, weights=weights).model_id
        version = self.registry.version(run_id, model_id, tags=tags.of_version(node, base=base))
        receipt = self._receipt(entry, run_id, model_id=model_id, version=version, rows=rows)
        self.receipts.add(node.number, receipt)
        note = self.pages.note(node.number, self.receipts)
        self.registry.point(node.name, version)
        data = datasets.of_generation(self.store, self.entries, node, models=self.models)
        self._inputs_and_outputs(node, run_id, model_id, data)
        self.pages.sheets(node.number, self.receipts, data)
        table = self._samples(node, run_id, rows)
        start = _milliseconds(kept.get("bootstrap.started", measured.started))
        end = _milliseconds(kept.get("bootstrap.finished", measured.finished))
        self.pages.samples(node.number, self.receipts, count=self.sample_rollouts, at=end)
        batches.log(
            self.client,
            run_id,
            params={key: value for key, value in tags.recipe_params(self.recipe).items() if key not in run.data.params},
            points=[
                *metrics.of_generation(entry, at=end, models=self.models),
                *metrics.of_training(self._tables(node), start=start, end=end),
                *metrics.of_costs(entry, at=end),
            ],
            tags={
                **table,
                **tags.of_generation(entry, models=self.models, base=base),
                "mlflow.note.content": note,
            },
        )
        batches.log(self.client, root_run_id, points=metrics.over_generations(entry, at=end))
        self.client.set_terminated(run_id, "FINISHED", end_time=end)
        done = {
            # It changes if the lineage's run was deleted for good and made again.
            "mlflow.parentRunId": root_run_id,
            "bootstrap.model_id": receipt.model_id,
            "bootstrap.model_version": receipt.version,
            "bootstrap.schema": SCHEMA,
            "bootstrap.published": entry.hash,
        }
        batches.log(self.client, run_id, tags=done)
        return receipt

    def _recovered(self, entry: Entry) -> Receipt | None:
        """Return the receipt of a published generation from its run's tags; None if it is not published as of today."""
        run = self.shown.run(self.shown.key_of(entry))
        kept = {} if run is None else run.data.tags
        if run is None or (kept.get("bootstrap.published"), kept.get("bootstrap.schema")) != (entry.hash, SCHEMA):
            return None
        rows = samples.readable(self.store, entry.generation, count=self.sample_rollouts)
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
            shown_as=graph.SCHEMA,
            samples=tuple(samples.pick(rows, count=PAGE_SAMPLES)),
        )

    def _run(self, key: str, *, name: str, started: str, finished: str, more: Mapping[str, str]) -> Run:
        """Return the run with this key, made with `more` tags if there is none. Its tags keep its times."""
        if (found := self.shown.run(key)) is not None:
            self._check_place(found.info.artifact_uri, f"the run {name}")
            return found
        common = {
            tags.RUN_KEY: key,
            "bootstrap.lineage": self.lineage,
            "bootstrap.schema": SCHEMA,
            "bootstrap.started": started,
            "bootstrap.finished": finished,
        }
        own = {**more, **common}
        adopted = adopt(self.client, self.store.root, self.outbox.folder, name=name, own=own)
        run = adopted or self.client.create_run(
            self.experiment_id, start_time=_milliseconds(started), run_name=name, tags=own
        )
        self._check_place(run.info.artifact_uri, f"the run {name}")
        return run

    def _inputs_and_outputs(self, node: Generation, run_id: str, model_id: str, found: Sequence[Data]) -> None:
        """Log a generation's inputs and output, which MLflow's own pages draw as edges."""
        run, models = self.client.get_run(run_id), self.models
        assert run.inputs is not None and run.outputs is not None, "MLflow returns runs with inputs and outputs"
        there = {item.model_id for item in run.inputs.model_inputs}
        known = {(item.dataset.name, item.dataset.digest) for item in run.inputs.dataset_inputs}
        # One generation may be both start and teacher.
        parents = dict.fromkeys(model for _, model in tags.input_models(node, models))
        data = map(batches.dataset, found)
        new_data = [item for item in data if (item.dataset.name, item.dataset.digest) not in known]
        new_models = [LoggedModelInput(parent) for parent in parents if parent not in there]
        if new_models or new_data:
            self.client.log_inputs(run_id, datasets=new_data, models=new_models)
        if model_id not in {item.model_id for item in run.outputs.model_outputs}:
            self.client.log_outputs(run_id, [LoggedModelOutput(model_id, step=node.number)])

    def _samples(self, node: Generation, run_id: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Log the readable rollouts as a table; return the tag by which MLflow shows it as one."""
        if not rows:
            return {}
        path = f"samples/{node.name}.json"
        table = {"columns": list(samples.COLUMNS), "data": [[row[name] for name in samples.COLUMNS] for row in rows]}
        self.client.log_text(run_id, json.dumps(table), path)
        return {"mlflow.loggedArtifacts": json.dumps([{"path": path, "type": "table"}])}

    # Reading the lineage's folder.

    def _weights(self, node: Generation) -> Artifact | None:
        return self.store.artifact(node.artifacts["weights"]) if "weights" in node.artifacts else None

    def _pretrained(self, node: Generation) -> Pretrained | None:
        weights = self._weights(node)
        return None if weights is None else pretrained_of(weights)

    def _tables(self, node: Generation) -> dict[str, list[dict[str, float]]]:
        """Return the tables of `_CURVES`, one step after another."""
        steps = [self.store.artifact(ref) for ref in node.steps.values()]
        return {
            prefix: [row for step in steps for row in samples.numbers(step, file)] for file, prefix in _CURVES.items()
        }


def _milliseconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp() * 1000)
