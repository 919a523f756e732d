"""The state of a lineage in MLflow, whatever people changed there, and the identity of lineages of the same name.

People tidy up in MLflow's pages. A deleted run is restored, since other runs, models and pages link to it. A deleted
model, version, registered model or alias shows as a gap, and the publisher then repeats every generation. Only a
deleted experiment stays deleted: that is how to remove a whole lineage.

    root run `<lineage>/<hash of generation 0>`             the first lineage of that name
    root run `<lineage>/<hash of generation 0>/<hash>`      a copy of it that went on differently
    registered model `<lineage>`, or `<lineage>-<digits>` if another lineage has that name

The hash of the first record identifies a lineage, so two that only share a name never share a run or an alias. Copies
with the same first generations differ in the ledger's head that the root run shows: it is one of our records or not.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.entities.model_registry import RegisteredModel
from mlflow.store.entities.paged_list import PagedList

from bootstrap.canonical import sha256
from bootstrap.errors import TrackingError
from bootstrap.lineage.outbox import Receipt
from bootstrap.lineage.tags import LEDGER_HASH, RUN_KEY
from bootstrap.store.ledger import Entry

_DIGITS = 8
_PAGE = 1000
_Item = TypeVar("_Item")


class PublishedRuns:
    """The runs of one lineage in one experiment, looked up once."""

    def __init__(self, client: MlflowClient, experiment_id: str, entries: Sequence[Entry]) -> None:
        self._client, self._experiment_id, self._entries = client, experiment_id, entries
        self.lineage = entries[0].generation.lineage
        self._runs = self._by_key()
        self.root_key = self._own_root()
        """Key of the lineage's own run; None if another copy of this lineage already shows all of it."""
        if self.root_key is not None:
            for key in (self.root_key, *(self.key_of(entry) for entry in entries)):
                self._restore(key)

    def run(self, key: str) -> Run | None:
        """Return the run with this key; None without one."""
        return self._runs.get(key)

    def key_of(self, entry: Entry) -> str:
        """Return the key of a generation's run."""
        assert self.root_key is not None, "a lineage that is not published has no runs"
        return self._key(entry) + self.root_key.removeprefix(self._plain_key)

    def registered_name(self) -> str:
        """Return the name of the lineage's registered model. Raises TrackingError if no name is free."""
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
        """Whether everything that the receipts name still exists, under its aliases.

        `head_is_shown`: whether the champion's alias stands for the newest generation's champion.
        """
        if not receipts:
            return True
        runs = {run.info.run_id: run for run in self._runs.values()}
        search = self._client.search_logged_models
        models = {model.model_id for model in _all(lambda token: search([self._experiment_id], page_token=token))}
        found_versions = self._client.search_model_versions(f"name = '{registered}'")
        versions = {str(version.version) for version in found_versions}
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

    def _key(self, entry: Entry) -> str:
        """Return the key of a generation's run, without what tells copies of a lineage apart."""
        return _legal(f"{self.lineage}/{entry.generation.name}/{entry.hash[:16]}")

    def _by_key(self) -> dict[str, Run]:
        """Return the lineage's runs by key; of several the oldest that is not deleted, else the oldest."""

        def search(token: str | None) -> PagedList[Run]:
            return self._client.search_runs(
                [self._experiment_id],
                run_view_type=ViewType.ALL,
                max_results=_PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )

        found: dict[str, Run] = {}
        for run in _all(search):
            key = run.data.tags.get(RUN_KEY)
            if key is None or run.data.tags.get("bootstrap.lineage") != self.lineage:
                continue
            if key not in found or (_is_deleted(found[key]) and not _is_deleted(run)):
                found[key] = run
        return found

    def _own_root(self) -> str | None:
        """Return `root_key`."""
        plain, ours = self._plain_key, {entry.hash for entry in self._entries}
        roots = [key for key in self._runs if key == plain or key.startswith(f"{plain}/")]
        for key in roots:
            head = self._runs[key].data.tags.get(LEDGER_HASH)
            if head is None or head in ours:
                return key
        for key in roots:
            copy = key.removeprefix(plain)
            if all(self._key(entry) + copy in self._runs for entry in self._entries):
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


def model_name(lineage: str) -> str:
    """Return a lineage's name with only the characters that a registered model's name may have."""
    return re.sub(r"[^\w.-]", "-", lineage)


def _all(search: Callable[[str | None], PagedList[_Item]]) -> Iterator[_Item]:
    """Yield the items of every page of a search. `search`: page token (None for the first page) -> page."""
    token = None
    while True:
        page = search(token)
        yield from page
        if not (token := page.token):
            return


def _is_deleted(run: Run) -> bool:
    return run.info.lifecycle_stage != "active"


def _legal(key: str) -> str:
    """Return a key without the characters that quote text in MLflow's searches."""
    return key.replace("'", "-").replace("`", "-")
