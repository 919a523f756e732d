"""Markdown notes on MLflow's pages: first what happened, then links; a lineage's also has a table of generations.

Links are relative (`#/...`), so they work from any address of the server. MLflow cuts a note to about four lines and
shows a registered version's first line raw, so the first line is a plain sentence. No text written by a model enters a
note, and text written by people passes `text.plain`.
"""

from collections.abc import Mapping, Sequence

from bootstrap.ledger_records import FinalComparison
from bootstrap.lineage import queries, text, tracking
from bootstrap.lineage.bar import BREAK, link
from bootstrap.lineage.outbox import Receipt
from bootstrap.store.ledger import Entry

TAG_LIMIT = 8000
"""Most characters that MLflow keeps in a run's tag."""
LISTED = 10
"""Most generations in the table of a lineage's note, the newest."""


def of_experiment(lineages: Mapping[str, str], experiment_id: str) -> str:
    """Return the one line above an experiment's runs. `lineages`: id of a lineage's run -> the lineage's name."""
    named = [
        f"{link(text.plain(name, limit=80), tracking.experiment_url('', experiment_id, run_id))} "
        f"({link('picture', tracking.lineage_url('', experiment_id, run_id))})"
        for run_id, name in lineages.items()
    ]
    return f"Generations of {', '.join(named)}, grown by bootstrap."


def of_generation(*, sentence: str, links: str) -> str:
    """Return the note of a generation's run, model and version. `sentence`: its outcome; `links`: its bar.

    It is one paragraph, so that MLflow shows all of it.
    """
    return f"{sentence}.{BREAK}{links}"


def of_lineage(
    entries: Sequence[Entry],
    receipts: Mapping[int, Receipt],
    *,
    registered: str,
    final: FinalComparison | None = None,
    drawn: int | None = None,
) -> str:
    """Return the note of the lineage's run: champion, links, final comparison, a table of the newest generations.

    `drawn`: how many of them the lineage page draws; None for all.
    """
    champion = entries[entries[-1].generation.champion].generation
    first = (
        f"{champion.name} is the champion of {text.plain(champion.lineage)} among "
        f"{text.count(len(entries), 'generation')}: frontier level {champion.report.frontier}, from level "
        f"{entries[0].generation.report.frontier} at the base."
    )
    own = receipts[champion.number]
    page = "lineage page" if drawn in (None, len(entries)) else f"lineage page up to gen-{drawn - 1}"
    links = [
        link(page, tracking.lineage_url("", own.experiment_id, own.lineage_run_id)),
        link("all generations", tracking.experiment_url("", own.experiment_id, own.lineage_run_id)),
        link("champion", tracking.run_url("", own.experiment_id, own.run_id)),
        link("champion's model", tracking.model_url("", own.experiment_id, own.model_id)),
        link("champion's release", tracking.version_url("", registered, own.version)),
    ]
    head = ("generation", "from", "gate", "accuracy", "frontier", "reason")
    parts = [f"{first}{BREAK}{' · '.join(links)}"]
    if final is not None:
        line = queries.final_line(final, entries)
        parts.append(f"{line[0].upper()}{line[1:]}.")
    rows: list[tuple[str, ...]] = []
    for number in reversed(range(max(len(entries) - LISTED, 0), len(entries))):
        rows.append(_row(entries[number], receipts[number]))
    while rows and len("\n\n".join([*parts, text.table(head, rows)])) > TAG_LIMIT:
        rows.pop()
    return "\n\n".join([*parts, text.table(head, rows)])


def _row(entry: Entry, receipt: Receipt) -> tuple[str, ...]:
    """Return a generation's cells in the table of a lineage's note."""
    node, best = entry.generation, queries.headline(entry.generation)
    return (
        link(node.name, tracking.run_url("", receipt.experiment_id, receipt.run_id)),
        text.plain(queries.origin(node), limit=80),
        text.plain(queries.outcome_words(node)),
        "" if best is None else queries.accuracy(best),
        str(node.report.frontier),
        text.plain(node.decision.reason.removeprefix("rejected: "), limit=160),
    )
