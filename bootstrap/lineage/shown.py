"""The state of a lineage in MLflow, whatever people changed there, and the identity of lineages of the same name.

People tidy up in MLflow's pages. A deleted run is restored, since other runs, models and pages link to it. A deleted
model, version, registered model or alias is a gap: the publisher repeats that generation and those made from it. Only a
deleted experiment stays deleted: that is how to remove a whole lineage.

    root run `<lineage>/<hash of generation 0>`             the first lineage of that name
    root run `<lineage>/<hash of generation 0>/<hash>`      a copy of it that went on differently
    registered model `<lineage>`, or `<lineage>-<digits>` if another lineage has that name

The hash of the first record identifies a lineage, so two that only share a name never share a run or an alias. Copies
with the same first generations differ in the ledger's head that the root run shows: it is one of our records or not.
The same lineage published to two experiments has a registered model for each.

While a lineage grows, runs are looked up one by one, and gaps are looked for among a bounded number of generations, so
that publishing the next one asks as much of MLflow after a thousand generations as after ten. At the end of a run and
at `bootstrap lineage --sync` all are looked at.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.entities.model_registry import RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.store.entities.paged_list import PagedList

from bootstrap.canonical import sha256
from bootstrap.errors import TrackingError
from bootstrap.lineage.outbox import Receipt
from bootstrap.lineage.tags import EXPERIMENT, LEDGER_HASH, RUN_KEY
from bootstrap.store.index import links
from bootstrap.store.ledger import Entry

NEWEST = ROTATING = 4
"""Generations that are looked at with each new one: the newest, and some older ones, others every time."""
STALE_SECONDS = 3600.0
"""No publication of one generation takes longer."""
_TOGETHER = 50
"""Most ids in one request; MLflow's clients send some of them as part of an address."""
_DIGITS = 8
_PAGE = 1000
_VERSIONS = 10
"""Versions of a registered model without an owner that are asked for theirs."""
_Item = TypeVar("_Item")


class PublishedRuns:
    """The runs of one lineage in one experiment, each looked up once."""

    def __init__(self, client: MlflowClient, experiment_id: str, entries: Sequence[Entry]) -> None:
        self._client, self._experiment_id, self._entries = client, experiment_id, entries
        self.lineage = entries[0].generation.lineage
        self._runs: dict[str, Run | None] = {}
        self._registered: dict[str, RegisteredModel] = {}
        self._all_known = False
        self.root_key = self._own_root()
        """Key of the lineage's own run; None if another copy of this lineage already shows all of it."""

    def run(self, key: str) -> Run | None:
        """Return the run with this key, restored if somebody deleted it; None without one."""
        found = self._find(key)
        if found is not None and _is_deleted(found):
            return self._restore(found)
        return found

    def look_up_all(self) -> None:
        """Look up all runs at once: fewer requests where most of them are asked for."""
        self._runs |= self._by_key("")
        self._all_known = True

    def key_of(self, entry: Entry) -> str:
        """Return the key of a generation's run."""
        assert self.root_key is not None, "a lineage that is not published has no runs"
        return self._key(entry) + self.root_key.removeprefix(self._plain_key)

    def registered_name(self) -> str:
        """Return the name of the lineage's registered model. Raises TrackingError if no name is free."""
        base, identity = model_name(self.lineage), f"{self._experiment_id}/{self.root_key}"
        names = [base, *(f"{base}-{sha256(text.encode())[:_DIGITS]}" for text in (str(self.root_key), identity))]
        for name in names:
            found = self.registered(name)
            if found is None or self._is_own(found):
                return name
        raise TrackingError(
            f"the registered models {', '.join(names)} in MLflow belong to other lineages; rename one of them there, "
            "or publish this lineage to another server"
        )

    def left_running(self, *, now: float) -> Iterator[tuple[Run, str]]:
        """Yield each run that a killed publication left RUNNING, and when what it shows was finished (ISO 8601).

        Those of other lineages of this name count once `STALE_SECONDS` have passed since. `now`: seconds since 1970.
        """
        root = None if self.root_key is None else self._find(self.root_key)
        search, running = self._client.search_runs, "attributes.status = 'RUNNING'"
        for run in _all(lambda token: search([self._experiment_id], running, max_results=_PAGE, page_token=token)):
            try:
                # Without this tag it is a person's own.
                finished = run.data.tags["bootstrap.finished"]
                age = now - datetime.fromisoformat(finished).timestamp()
            except (KeyError, ValueError):
                continue
            parent = run.data.tags.get("mlflow.parentRunId")
            is_own = root is not None and root.info.run_id in (run.info.run_id, parent)
            if is_own or age > STALE_SECONDS:
                yield run, finished

    def to_look_at(self, numbers: Collection[int], *, of: int) -> list[int]:
        """Return those of the published generations `numbers` that are looked at when the lineage has `of` of them.

        The newest ones, the champion, and some older ones: others for each `of`, so that each is looked at again and
        again while the lineage grows.
        """
        ordered = sorted(numbers)
        newest, older = ordered[-NEWEST:], ordered[:-NEWEST]
        start = of * ROTATING % len(older) if older else 0
        turn = (older[start:] + older[:start])[:ROTATING]
        champion = {self._entries[-1].generation.champion} & set(ordered)
        return sorted({*newest, *turn, *champion})

    def registered(self, name: str) -> RegisteredModel | None:
        """Return a registered model as it was when it was first found; None if there is none."""
        if name not in self._registered:
            found = self._client.search_registered_models(f"name = '{name}'", max_results=1)
            self._registered |= {name: found[0]} if found else {}
        return self._registered.get(name)

    def aliases(self, registered: str) -> dict[str, str]:
        """Return the aliases of a registered model, with the versions that they stand for; none without the model."""
        found = self.registered(registered)
        return {alias: str(version) for alias, version in found.aliases.items()} if found is not None else {}

    def gaps(self, receipts: Mapping[int, Receipt], *, registered: str, aliases: Mapping[str, str]) -> set[int]:
        """Return the numbers of generations that lack something that their receipts name; deleted runs are restored.

        `registered`: name of the registered model; `aliases`: those of it.
        """
        numbers, found = sorted(receipts), set[int]()
        for start in range(0, len(numbers), _TOGETHER):
            together = numbers[start : start + _TOGETHER]
            parents, models, versions = self._existing([receipts[number] for number in together], registered=registered)
            for number in together:
                receipt = receipts[number]
                is_whole = (
                    parents.get(receipt.run_id) == receipt.lineage_run_id
                    and receipt.model_id in models
                    and receipt.version in versions
                    and aliases.get(f"gen-{number}") == receipt.version
                )
                if not is_whole:
                    found.add(number)
        return found

    def _existing(
        self, receipts: Sequence[Receipt], *, registered: str
    ) -> tuple[dict[str, str | None], set[str], set[str]]:
        """Return the receipts' runs that exist, with their parents, and their runs' models and versions."""
        wanted = ", ".join(f"'{receipt.run_id}'" for receipt in receipts)
        search = self._client.search_runs
        runs: dict[str, str | None] = {}
        for run in _all(
            lambda token: search(
                [self._experiment_id],
                f"attributes.run_id IN ({wanted})",
                run_view_type=ViewType.ALL,
                max_results=_PAGE,
                page_token=token,
            )
        ):
            if _is_deleted(run):
                self._restore(run)
            runs[run.info.run_id] = run.data.tags.get("mlflow.parentRunId")
        of_runs = f"source_run_id IN ({wanted})"
        find = self._client.search_logged_models
        models = {
            model.model_id
            for model in _all(lambda token: find([self._experiment_id], filter_string=of_runs, page_token=token))
        }
        found = self._client.search_model_versions
        versions = {
            str(version.version)
            for version in _all(
                lambda token: found(f"name = '{registered}' and run_id IN ({wanted})", page_token=token)
            )
        }
        return runs, models, versions

    def _restore(self, run: Run) -> Run:
        self._client.restore_run(run.info.run_id)
        restored = self._client.get_run(run.info.run_id)
        self._runs[restored.data.tags[RUN_KEY]] = restored
        return restored

    @property
    def _plain_key(self) -> str:
        return _legal(f"{self.lineage}/{self._entries[0].hash[:16]}")

    def _key(self, entry: Entry) -> str:
        """Return the key of a generation's run, without what tells copies of a lineage apart."""
        return _legal(f"{self.lineage}/{entry.generation.name}/{entry.hash[:16]}")

    def _find(self, key: str) -> Run | None:
        if key not in self._runs and not self._all_known:
            self._runs[key] = self._by_key(f"tags.`{RUN_KEY}` = '{key}'").get(key)
        return self._runs.get(key)

    def _by_key(self, condition: str) -> dict[str, Run]:
        """Return the lineage's runs by key; of several the oldest that is not deleted, else the oldest."""

        def search(token: str | None) -> PagedList[Run]:
            return self._client.search_runs(
                [self._experiment_id],
                condition,
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
        plain, ours = self._plain_key, {link.hash for link in links(self._entries)}
        # `_` stands for any character, so that none has a meaning of its own there.
        pattern = re.sub(r"[^A-Za-z0-9/.-]", "_", plain)
        found = self._by_key(f"tags.`{RUN_KEY}` LIKE '{pattern}%'")
        roots = {key: run for key, run in found.items() if key == plain or key.startswith(f"{plain}/")}
        self._runs |= roots
        for key, run in roots.items():
            head = run.data.tags.get(LEDGER_HASH)
            if head is None or head in ours:
                return key
        for key in roots:
            # Records are chained: who has published our newest one has all of ours, or is about to publish them.
            if self._find(self._key(self._entries[-1]) + key.removeprefix(plain)) is not None:
                return None
        return f"{plain}/{self._entries[-1].hash[:16]}" if roots else plain

    def _is_own(self, model: RegisteredModel) -> bool:
        key, experiment = model.tags.get(RUN_KEY), model.tags.get(EXPERIMENT)
        if key is not None and key != self.root_key:
            return False
        if key is not None and experiment is not None:
            return experiment == self._experiment_id or not self._exists(experiment)
        # Made before the tags were: its versions tell whose it is.
        versions = self._client.search_model_versions(f"name = '{model.name}'", max_results=_VERSIONS)
        if not versions:
            return key is not None or model.tags.get("bootstrap.lineage") == self.lineage
        runs = [run for version in versions if (run := self._run_of(version.run_id)) is not None]
        if key is not None:
            return not runs or any(run.info.experiment_id == self._experiment_id for run in runs)
        keys = {self.key_of(entry) for entry in self._entries}
        return any(run.info.experiment_id == self._experiment_id and run.data.tags.get(RUN_KEY) in keys for run in runs)

    def _run_of(self, run_id: str | None) -> Run | None:
        return _unless_absent(lambda: self._client.get_run(run_id)) if run_id else None

    def _exists(self, experiment_id: str) -> bool:
        return _unless_absent(lambda: self._client.get_experiment(experiment_id)) is not None


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


def _unless_absent(look: Callable[[], _Item]) -> _Item | None:
    """Return what `look` finds; None if MLflow has no such object."""
    try:
        return look()
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
        return None


def _is_deleted(run: Run) -> bool:
    return run.info.lifecycle_stage != "active"


def _legal(key: str) -> str:
    """Return a key without the characters that quote text in MLflow's searches."""
    return key.replace("'", "-").replace("`", "-")
