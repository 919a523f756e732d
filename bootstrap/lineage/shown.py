"""What MLflow holds of a lineage, whatever people did there; and which of two lineages of one name is which.

People tidy up in MLflow's pages. A run that was deleted there is restored, since other runs, models and pages lead to
it; what is gone for good (a logged model, a version, a registered model, an alias) shows as a gap, and the publisher
then goes through every generation again. Only a deleted experiment stays deleted: that takes a whole lineage off.

    root run `<lineage>/<hash of generation 0>`             the lineage that came first
    root run `<lineage>/<hash of generation 0>/<hash>`      a copy of it that went on otherwise
    registered model `<lineage>`, or `<lineage>-<digits>` where another lineage has that name

A lineage is known by the hash of its first record, so two that only share a name never share a run or an alias. Copies
that share their first generations are told apart by the ledger's head that the root run shows: it is one of our
records, or somebody else's.
"""

import re
from collections.abc import Mapping, Sequence

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.entities.model_registry import RegisteredModel

from bootstrap.canonical import sha256
from bootstrap.errors import TrackingError
from bootstrap.lineage.outbox import Receipt
from bootstrap.lineage.tags import LEDGER_HASH
from bootstrap.store.ledger import Entry

RUN_KEY = "bootstrap.run_key"
"""Tag of runs and registered models: whose they are."""
_DIGITS = 8
_PAGE = 1000


class PublishedRuns:
    """The runs of one lineage in one experiment, looked up once."""

    def __init__(self, client: MlflowClient, experiment_id: str, entries: Sequence[Entry]) -> None:
        self._client, self._experiment_id, self._entries = client, experiment_id, entries
        self.lineage = entries[0].generation.lineage
        self._runs = self._by_key()
        self.root_key = self._own_root()
        """Key of the lineage's own run; None where another copy of this lineage shows all of it and more."""
        if self.root_key is not None:
            for key in (self.root_key, *(self.key_of(entry) for entry in entries)):
                self._restore(key)

    def run(self, key: str) -> Run | None:
        """Return the run with this key."""
        return self._runs.get(key)

    def key_of(self, entry: Entry) -> str:
        """Return the key of a generation's run."""
        assert self.root_key is not None, "a lineage that is not published has no runs"
        copy = self.root_key.removeprefix(self._plain_key)
        return _legal(f"{self.lineage}/{entry.generation.name}/{entry.hash[:16]}") + copy

    def registered_name(self) -> str:
        """Return the name of the lineage's registered model. Raises TrackingError where none is free."""
        base = model_name(self.lineage)
        own = f"{base}-{sha256(str(self.root_key).encode())[:_DIGITS]}"
        for name in (base, own):
            found = self._client.search_registered_models(f"name = '{name}'", max_results=1)
            if not found or self._is_own(found[0]):
                return name
        raise TrackingError(
            f"the registered models {base} and {own} in MLflow belong to other lineages; rename one of them there, or "
            "publish this lineage to another server"
        )

    def is_whole(self, receipts: Mapping[int, Receipt], *, registered: str, head_is_shown: bool) -> bool:
        """Whether all that the receipts name is still there, under the aliases that lead to it.

        `head_is_shown`: whether the champion's alias has been moved to that of the newest generation.
        """
        if not receipts:
            return True
        # What is gone for good after this lookup is found by the next one.
        runs = {run.info.run_id: run for run in self._runs.values()}
        models, versions = self._models(), self._versions(registered)
        found = self._client.search_registered_models(f"name = '{registered}'", max_results=1)
        aliases = {alias: str(version) for alias, version in found[0].aliases.items()} if found else {}
        for number, receipt in receipts.items():
            run = runs.get(receipt.run_id)
            if run is None or run.data.tags.get("mlflow.parentRunId") != receipt.lineage_run_id:
                return False
            if receipt.model_id not in models or receipt.version not in versions:
                return False
            if aliases.get(self._entries[number].generation.name) != receipt.version:
                return False
        champion = receipts.get(self._entries[-1].generation.champion)
        return not head_is_shown or champion is None or aliases.get("champion") == champion.version

    @property
    def _plain_key(self) -> str:
        return _legal(f"{self.lineage}/{self._entries[0].hash[:16]}")

    def _by_key(self) -> dict[str, Run]:
        """Return the lineage's runs by key: of several the oldest that nobody deleted, else the oldest."""
        found: dict[str, Run] = {}
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id],
                run_view_type=ViewType.ALL,
                max_results=_PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            for run in page:
                key = run.data.tags.get(RUN_KEY)
                if key is None or run.data.tags.get("bootstrap.lineage") != self.lineage:
                    continue
                if key not in found or (_is_deleted(found[key]) and not _is_deleted(run)):
                    found[key] = run
            if not (token := page.token):
                return found

    def _own_root(self) -> str | None:
        plain, ours = self._plain_key, {entry.hash for entry in self._entries}
        roots = [key for key in self._runs if key == plain or key.startswith(f"{plain}/")]
        for key in roots:
            head = self._runs[key].data.tags.get(LEDGER_HASH)
            if head is None or head in ours:
                return key
        for key in roots:
            copy = key.removeprefix(plain)
            names = (f"{self.lineage}/{entry.generation.name}/{entry.hash[:16]}" for entry in self._entries)
            if all(_legal(name) + copy in self._runs for name in names):
                return None
        return f"{plain}/{self._entries[-1].hash[:16]}" if roots else plain

    def _restore(self, key: str) -> None:
        run = self._runs.get(key)
        if run is not None and _is_deleted(run):
            self._client.restore_run(run.info.run_id)
            self._runs[key] = self._client.get_run(run.info.run_id)

    def _is_own(self, model: RegisteredModel) -> bool:
        if RUN_KEY in model.tags:
            return model.tags[RUN_KEY] == self.root_key
        own = {run.info.run_id for entry in self._entries if (run := self._runs.get(self.key_of(entry)))}
        versions = self._client.search_model_versions(f"name = '{model.name}'")
        return not versions or any(version.run_id in own for version in versions)

    def _models(self) -> set[str]:
        found: set[str] = set()
        token = None
        while True:
            page = self._client.search_logged_models([self._experiment_id], page_token=token)
            found |= {model.model_id for model in page}
            if not (token := page.token):
                return found

    def _versions(self, registered: str) -> set[str]:
        return {str(version.version) for version in self._client.search_model_versions(f"name = '{registered}'")}


def model_name(lineage: str) -> str:
    """Return a lineage's name with only the characters that a registered model's may hold."""
    return re.sub(r"[^\w.-]", "-", lineage)


def _is_deleted(run: Run) -> bool:
    return run.info.lifecycle_stage != "active"


def _legal(key: str) -> str:
    """Return a key without the characters that quote texts in MLflow's searches."""
    return key.replace("'", "-").replace("`", "-")
