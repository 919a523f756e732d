"""What a person reads of each generation in MLflow: its note, the sheets that the note's bar leads to, its samples.

    note        on run, logged model and registered version: sentence and bar of links
    sheets      artifacts `generation/*.md` of the run: gate, results, data sets, verifiers, cost
    samples     traces of the run

A note names relatives, so it is written again when one more generation is published (`Pages.refresh`). Left out: which
generations are published and when (`publisher.py`), the texts themselves (`outcome.py`, `bar.py`, `notes.py`,
`sheets.py`). Importing this module imports MLflow, which takes seconds: import it where it is used.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlflow import MlflowClient

from bootstrap.lineage import bar, judges, notes, outcome, queries, samples, sheets, traces
from bootstrap.lineage.datasets import Data
from bootstrap.lineage.outbox import Receipt
from bootstrap.lineage.registry import Registry
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore


class Pages:
    """The pages of one lineage's generations. `recipe`: as plain JSON."""

    def __init__(
        self,
        client: MlflowClient,
        registry: Registry,
        store: LineageStore,
        entries: Sequence[Entry],
        recipe: Mapping[str, Any],
    ) -> None:
        self._client, self._registry, self._store, self._entries = client, registry, store, entries
        self._recipe = recipe
        self._kin = bar.Kin(entries)
        self._written: dict[int, str] = {}

    def note(self, number: int, receipts: Mapping[int, Receipt]) -> str:
        """Write a generation's note onto its model and version; return it for its run."""
        note, own = self._note(number, receipts), receipts[number]
        self._registry.describe(own.model_id, own.version, note=note)
        self._written[number] = note
        return note

    def refresh(self, newer: Iterable[int], receipts: Mapping[int, Receipt]) -> None:
        """Write the notes again that show one of the generations `newer`, unless this pass wrote the same."""
        for number in sorted(self._kin.touched(newer) & receipts.keys()):
            if self._note(number, receipts) != self._written.get(number):
                self._client.set_tag(receipts[number].run_id, "mlflow.note.content", self.note(number, receipts))

    def sheets(self, number: int, receipts: Mapping[int, Receipt], found: Sequence[Data]) -> None:
        """Log the pages that a generation's bar leads to. `found`: its data sets. Raises StoreCorrupt."""
        entry = self._entries[number]
        node, judged = entry.generation, judges.of_generation(entry.generation, self._recipe)
        links = bar.of_sheet(node, receipts=receipts, registered=self._registry.name, judges=judged)
        shown = {
            sheets.RESULTS: sheets.results(node, bar=links),
            sheets.GATE: sheets.gate(node, sentence=self._sentence(number), bar=links),
            sheets.DATA: sheets.data(node, found, bar=links),
            sheets.VERIFIERS: sheets.verifiers(node, judged, samples.scores(self._store, node), bar=links),
            sheets.COST: sheets.cost(entry, bar=links),
        }
        for path, text in shown.items():
            self._client.log_text(receipts[number].run_id, text, path)

    def samples(self, number: int, receipts: Mapping[int, Receipt], *, count: int, at: int) -> None:
        """Log about `count` rollouts of a generation as traces. `at`: milliseconds since 1970. Raises StoreCorrupt."""
        node, own = self._entries[number].generation, receipts[number]
        rows = samples.whole_groups(self._store, node, count=min(count, traces.MOST))
        producers: dict[str, tuple[str, str | None]] = {}
        for policy in {row["policy"] for row in rows}:
            ((name, (_, source)),) = queries.producers(self._entries, node, [policy]).items()
            known = None if source is None else receipts.get(source)
            producers[policy] = name, None if known is None else known.model_id
        traces.log(
            self._client,
            rows,
            experiment_id=own.experiment_id,
            run_id=own.run_id,
            generation=node.name,
            producers=producers,
            at=at,
        )

    def _note(self, number: int, receipts: Mapping[int, Receipt]) -> str:
        entry = self._entries[number]
        links = bar.of_generation(
            entry.generation,
            kin=self._kin,
            receipts=receipts,
            registered=self._registry.name,
            judges=judges.of_generation(entry.generation, self._recipe),
        )
        return notes.of_generation(sentence=self._sentence(number), links=links)

    def _sentence(self, number: int) -> str:
        alpha = self._recipe.get("gate", {}).get("alpha", outcome.ALPHA)
        return outcome.sentence(self._entries[number].generation, task=self._recipe.get("task"), alpha=alpha)
