"""What a model card says of asking the model, gathered from the model's folder and the stored evaluation."""

from collections.abc import Mapping
from typing import Any

from bootstrap.cli.remembered import recall_recipe
from bootstrap.config.tasks import tasks_of
from bootstrap.errors import RecipeError
from bootstrap.lineage import samples
from bootstrap.lineage.queries import headline
from bootstrap.lineage.usage import Usage
from bootstrap.records import Status
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.training.asked import PLACE, how_asked

LIMIT = 256
"""Tokens of an answer where the stored recipe cannot be read."""


def usage(store: LineageStore, entry: Entry, files: Mapping[str, bytes]) -> Usage | None:
    """Return how a generation's model, in the folder `files`, is asked; None without a tokenizer there.

    Raises RecipeError for a chat template that is no Jinja, StoreCorrupt.
    """
    if "tokenizer.json" not in files:
        return None
    how, shown = how_asked(files), _example(store, entry)
    framing, choices = how.framing, how.framing.choices
    own: dict[str, Any] = {"after": choices.prefill}
    if framing.template is None:
        before, _, after = framing.text(PLACE).partition(PLACE)
        own = {"before": before, "after": after}
    else:
        own["messages"] = framing.before()
        own["template_arguments"] = choices.template_arguments
    return Usage(
        form=how.form,
        alphabet=" ".join(how.alphabet),
        ends=tuple(text for text in (how.end, *how.stops) if text),
        max_new_tokens=_limit(store, entry),
        prompt=shown["prompt"] if shown else "",
        answer=shown["answer"] if shown else None,
        is_right=bool(shown) and shown["verdict"] == Status.PASS,
        stop=choices.stop,
        min_new_tokens=choices.min_new_tokens,
        **own,
    )


def _example(store: LineageStore, entry: Entry) -> dict[str, Any]:
    """Return a greedy answer of the evaluation, a right one if there is one; empty without any."""
    found = samples.greedy(store, entry.generation)
    return next((row for row in found if row["verdict"] == Status.PASS), found[0] if found else {})


def _limit(store: LineageStore, entry: Entry) -> int:
    row = headline(entry.generation)
    level = 1 if row is None else row.level
    try:
        return max(task.most_answer_tokens(level) for task in tasks_of(recall_recipe(store).task).values())
    except RecipeError:
        return LIMIT
