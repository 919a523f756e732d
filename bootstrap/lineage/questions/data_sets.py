"""The data sets that a lineage knows, by every name that they have, and what each generation has to do with one.

| name | data set |
|---|---|
| `addition` | a task of the recipe: the one, or a part of a mixture; a task of the evaluation's panel |
| `data/train.jsonl`, `openai/gsm8k` | a file, or a data set of the hub, as the recipe of the last run names it |
| a hash, or its first 8 digits or more | the content of a file; the answers behind a data edge; the held-out suite |
| `suite-0123456789ab` | the held-out suite, as MLflow names it |

Left out: data sets of one step, as `replay-gen-3`, which their generation drew (`taint.py`).
"""

from collections.abc import Iterator
from typing import Any

from bootstrap.ledger_records import Generation
from bootstrap.lineage import queries
from bootstrap.lineage.questions import tables
from bootstrap.lineage.questions.grown import Grown
from bootstrap.lineage.questions.locate import ROLLOUTS
from bootstrap.lineage.questions.settings import sections
from bootstrap.reading import parsed

LEAST_DIGITS = 8
"""Digits of a hash that suffice to name what it is of."""
_RECIPE = "recipe.json"


def evaluated_on(grown: Grown, node: Generation, subject: str) -> Iterator[str]:
    """Yield how a generation was evaluated on a data set."""
    digests = [node.report.suite, *hashes_of(grown, "heldout_content")]
    is_suite = any(is_hash(one, subject.removeprefix("suite-")) for one in digests)
    if is_suite or subject in files_of(grown, "heldout"):
        yield "was evaluated on it"
    elif subject in node.report.panel:
        yield "was evaluated on it beside its own task"


def trained_on(grown: Grown, node: Generation, subject: str) -> Iterator[str]:
    """Yield how a generation was trained on a data set. Raises StoreCorrupt."""
    for edge in node.edges:
        if edge.role == "data" and is_hash(edge.fingerprint, subject):
            yield f"was trained on these answers of {queries.source(edge)}"
    if not node.steps:
        return
    if subject in files_of(grown, "path") or any(is_hash(one, subject) for one in hashes_of(grown, "content")):
        yield "was trained on it"
    elif subject in tasks_of(grown):
        drawn, kept, shown = _of_task(grown, node, subject)
        if drawn:
            yield f"was trained on {drawn} of its answers"
        if kept:
            yield f"kept {kept}{' more' if drawn else ''} of its answers for replay"
        if shown:
            yield f"was shown {shown} of its references"


def tasks_of(grown: Grown) -> list[str]:
    """Return the names of the recipe's tasks as rollouts hold them: that of the one task, or of a mixture's parts."""
    task = grown.header.section("task")
    return list(task.get("parts") or [task["type"]])


def _of_task(grown: Grown, node: Generation, task: str) -> tuple[int, int, int]:
    """Return how many answers to a task's prompts a generation was trained on, how many others it kept for replay, and
    how many of the task's references it was shown.
    """
    several = len(tasks_of(grown)) > 1
    drawn = kept = shown = 0
    for ref in node.steps.values():
        artifact = grown.store.artifact(ref)
        chosen = tables.rows(artifact, "selections.parquet", tables.SELECTION)
        trained = {row["rollout_id"] for row in chosen if row["use"] != "none"}
        replayed = {row["rollout_id"] for row in chosen if row["replay"]} - trained
        rollouts = tables.rows(artifact, ROLLOUTS, {"id": "", "task": ""})
        own = [row["id"] for row in rollouts if row["task"] == task or not several]
        drawn += sum(one in trained for one in own)
        kept += sum(one in replayed for one in own)
        references = tables.rows(artifact, "shown.parquet", tables.SHOWN)
        shown += sum(row["source"] == tables.prompt_id(task, row["prompt"]) or not several for row in references)
    return drawn, kept, shown


def hashes_of(grown: Grown, key: str) -> list[str]:
    """Return the hashes of files' contents that the lineage's tasks name; `key`: content, heldout_content."""
    return [one[key] for one in sections(grown.header.section("task"), "file") if isinstance(one.get(key), str)]


def files_of(grown: Grown, key: str) -> list[str]:
    """Return the files and data sets of the hub that the last run's recipe names; `key`: path, heldout.

    Empty where the lineage remembers no recipe, or a damaged one.
    """
    kept = grown.store.kept(_RECIPE)
    try:
        recipe = parsed(kept or b"{}", strict=False).get("recipe", {})
    except (ValueError, AttributeError):
        return []
    return [name for section in sections(recipe, "file") for name in _names(section.get(key))]


def _names(value: Any) -> Iterator[str]:
    """Yield the names of a file, a data set of the hub, or several of them."""
    match value:
        case str():
            yield value
        case {"hub": str(name)}:
            yield name
        case list():
            for inner in value:
                yield from _names(inner)


def is_hash(digest: str, subject: str) -> bool:
    """Whether a subject is a hash or its first digits."""
    return len(subject) >= LEAST_DIGITS and digest.startswith(subject.lower())
