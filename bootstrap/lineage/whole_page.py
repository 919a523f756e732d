"""The lineage page as MLflow shows it, which is drawn whole from the ledger, and therefore not at every publication.

    lineage/lineage.html    the page (`graph.py`)
    lineage/lineage.json    the lineage for other programs (`graph_json.py`)
    config/recipe.json      the recipe

While a lineage grows, they are drawn again once it has grown by a tenth since they were last drawn: up to ten
generations at each one, at a thousand at each hundredth. So what drawing costs, a generation, does not grow with their
number. At the end of a run and at `bootstrap lineage --sync` they are drawn up to the newest generation. `bootstrap ui`
serves a page of its own, made from the ledger at each reload (`page_server.py`). Left out: what else a publication
shows, which is always up to date (`publisher.py`).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mlflow import MlflowClient

from bootstrap.lineage import graph, graph_json, tracking
from bootstrap.lineage.outbox import Receipt
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import Header

SHARE = 10
"""The page is due when one generation in so many is new."""


def is_due(generations: int, *, drawn: int) -> bool:
    """Whether a lineage that has so many generations, and whose page draws `drawn` of them, has grown by a share."""
    return generations > drawn and (generations - drawn) * SHARE >= drawn


def log(
    client: MlflowClient,
    run_id: str,
    entries: Sequence[Entry],
    *,
    header: Header,
    receipts: Mapping[int, Receipt],
    recipe: Mapping[str, Any],
) -> None:
    """Draw the files and log them to the lineage's run."""
    page = graph.lineage(
        entries,
        header=header,
        samples={number: receipt.samples for number, receipt in receipts.items()},
        identifiers={
            number: {"MLflow run": receipt.run_id, "MLflow model": receipt.model_id}
            for number, receipt in receipts.items()
        },
    )
    client.log_text(run_id, graph.to_html(page), tracking.HTML_PATH)
    client.log_text(run_id, graph_json.to_json(entries, identity=header.identity), "lineage/lineage.json")
    client.log_text(run_id, json.dumps(recipe, indent=1, sort_keys=True), "config/recipe.json")
