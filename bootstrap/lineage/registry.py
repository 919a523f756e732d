"""Generations -> MLflow's models: one LoggedModel each, with the weights, and one version of the registered model.

    LoggedModel <lineage>-gen-N     the weights as safetensors, or where they lie; found by the run that made it
    registered model                one version per generation, aliases gen-N and champion

Existing objects are looked up before any is made, so publishing again changes nothing. Left out: the content of params,
tags and notes (`tags.py`, `notes.py`), and the choice of a free name (`shown.py`).
"""

import json
import re
from collections.abc import Callable, Mapping

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelStatus
from mlflow.entities.model_registry import RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.tracking._model_registry.client import ModelRegistryClient

from bootstrap.lineage.tags import EXPERIMENT, LEDGER_HASH, RUN_KEY
from bootstrap.lineage.text import plain
from bootstrap.store.artifacts import Artifact
from bootstrap.store.ledger import Entry

UPLOAD_BYTES = 2**30
"""Smaller weights are copied into MLflow; larger ones stay in the store, named by path and digest."""
EXTERNAL = "mlflow.model.isExternal"
"""MLflow's tag of a model whose files lie elsewhere."""


class Registry:
    """The models of one lineage in one experiment.

    `name`: of the registered model. `check_place`: called with the place of a model's files and the model's name before
    files are copied there; raises TrackingError to prevent it.
    """

    def __init__(
        self,
        client: MlflowClient,
        experiment_id: str,
        *,
        lineage: str,
        name: str,
        check_place: Callable[[str, str], None],
    ) -> None:
        self._client, self._experiment_id, self._check_place = client, experiment_id, check_place
        # `MlflowClient` asks for the whole model, with all its versions, before it changes one: the name may be that of
        # a prompt. Here it is a model's.
        self._models = ModelRegistryClient(client.tracking_uri, client.tracking_uri)
        self.lineage, self.name = lineage, name

    def open(self, key: str, known: RegisteredModel | None = None) -> bool:
        """Make the registered model if it does not exist, marked as that of the lineage's run with this key.

        `known`: the model as it was when the name was chosen; if it has these marks, nobody is asked. Returns whether
        it is this lineage's: False if another has made one of this name since the name was chosen.
        """
        owner = {RUN_KEY: key, EXPERIMENT: self._experiment_id}
        if known is not None and owner.items() <= known.tags.items():
            return True
        found = self._found()
        if found is None:
            try:
                self._client.create_registered_model(
                    self.name,
                    tags={"bootstrap.lineage": self.lineage, **owner},
                    description=(
                        f"Generations of {plain(self.lineage)}; the alias champion is what the lineage delivers, and "
                        "the alias gen-N is generation N (version numbers are not generation numbers)."
                    ),
                )
                return True
            except MlflowException as error:
                if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                    raise
                found = self._found()
        if found is None or found.tags.get(RUN_KEY) not in (None, key):
            return False
        for name, value in owner.items():
            if found.tags.get(name) != value:
                self._client.set_registered_model_tag(self.name, name, value)
        return True

    def _found(self) -> RegisteredModel | None:
        return next(iter(self._client.search_registered_models(f"name = '{self.name}'", max_results=1)), None)

    def model(self, entry: Entry, run_id: str, *, params: Mapping[str, str], weights: Artifact | None) -> LoggedModel:
        """Return the model of a generation's run, made if there is none, with small weights copied into it.

        Raises StoreCorrupt if a file of the weights is broken; then no file is copied.
        """
        found = self._client.search_logged_models(
            [self._experiment_id], filter_string=f"source_run_id = '{run_id}'", max_results=1
        )
        size = sum(size for _, size in weights.files.values()) if weights is not None else 0
        copied = weights if size < UPLOAD_BYTES and (weights is None or weights.freed is None) else None
        model = (
            found[0]
            if found
            else self._client.create_logged_model(
                self._experiment_id,
                name=re.sub(r"[^\w-]", "-", f"{self.lineage}-{entry.generation.name}"),
                source_run_id=run_id,
                model_type="bootstrap_generation",
                params=dict(params),
                tags={
                    LEDGER_HASH: entry.hash,
                    "bootstrap.lineage": self.lineage,
                    **({} if copied else {EXTERNAL: "true"}),
                },
            )
        )
        if model.status != LoggedModelStatus.READY:
            self._say_where(model, is_external=copied is None)
            if copied is not None:
                for name in copied.files:
                    copied.read(name)  # Raises for a broken file before anything is copied.
                self._check_place(model.artifact_location, f"the model {model.name}")
                self._client.log_model_artifacts(model.model_id, str(copied.path), "model")
            model = self._client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        return model

    def _say_where(self, model: LoggedModel, *, is_external: bool) -> None:
        """Let a model say whether its files lie outside MLflow: weights may be freed after a killed publication."""
        if is_external and EXTERNAL not in model.tags:
            self._client.set_logged_model_tags(model.model_id, {EXTERNAL: "true"})
        elif not is_external and EXTERNAL in model.tags:
            self._client.delete_logged_model_tag(model.model_id, EXTERNAL)

    def version(self, run_id: str, model_id: str, *, tags: Mapping[str, str]) -> str:
        """Return this run's version of the registered model, made with these tags if there is none."""
        source = f"models:/{model_id}"
        found = self._client.search_model_versions(f"name = '{self.name}' and run_id = '{run_id}'")
        match = next((version for version in found if version.source == source), None)
        if match is None:
            match = self._client.create_model_version(
                self.name, source, run_id=run_id, model_id=model_id, tags=dict(tags)
            )
        return str(match.version)

    def describe(self, model_id: str, version: str, *, note: str) -> None:
        """Show the note on the pages of a model and its version, and link them."""
        versions = json.dumps([{"name": self.name, "version": version}])
        self._client.set_logged_model_tags(model_id, {"mlflow.note.content": note, "mlflow.modelVersions": versions})
        self._models.update_model_version(self.name, version, description=note)

    def point(self, alias: str, version: str) -> None:
        """Move an alias to a version."""
        self._models.set_registered_model_alias(self.name, alias, version)
