"""Settings by which one task would train on what another holds out.

What only the rows of files can tell is found where they are read (`stages/checks.py`).
"""

from collections.abc import Iterator

from bootstrap.config.base import Place
from bootstrap.config.conflicts import Conflict
from bootstrap.config.files import FileTask
from bootstrap.config.gym import GymDataset, ReasoningGymTask
from bootstrap.config.tasks import MixtureTask, SingleTask, Task, tasks_of


def split_conflicts(trained: Task, watched: Task, place: Place, *, who: str) -> Iterator[Conflict]:
    """Yield where training would draw prompts that another task holds out, or the same one's other part.

    That is where one task holds out a larger share of the same questions' hashes, or where two choose them by other
    rules. `who`: who asks what `watched` holds out, in words.
    """
    for name, task in tasks_of(watched).items():
        part = ("parts", name, "task") if isinstance(watched, MixtureTask) else ()
        others = [other for other in tasks_of(trained).values() if other is not task and _may_share(task, other)]
        for other in others:
            if other.split_rule != task.split_rule:
                yield Conflict(
                    (*place, *part, "split_by"),
                    f"training draws from prompts of {task.type} that {who}, since {_owner(trained, watched)} chooses "
                    f"what is held out by {other.split_rule}; set split_by: {other.split_rule}",
                )
                break
            for mine, theirs in _shared_data_sets(task, other):
                if task.split_rule == "question" and mine.keep != theirs.keep:
                    yield Conflict(
                        (*place, *part, "datasets"),
                        f"other questions of data set {mine.name} are held out than {_owner(trained, watched)} holds "
                        "out, since another part of each is kept; give both the same keep",
                    )
        least = min((other.heldout_fraction for other in others), default=1.0)
        if task.heldout_fraction > least:
            yield Conflict(
                (*place, *part, "heldout_fraction"),
                f"training draws from prompts of {task.type} that {who}, since {_owner(trained, watched)} holds only "
                f"{least:g} of them out; set {least:g} or less",
            )


def _owner(trained: Task, watched: Task) -> str:
    return "another part" if trained is watched else "the recipe's own task"


def _may_share(one: SingleTask, other: SingleTask) -> bool:
    """Whether prompts of two tasks may ask the same questions, as far as their settings tell."""
    if one.type != other.type:
        # Two forms of one sum, which questions' hashes keep on one side.
        by_question = one.split_rule == other.split_rule == "question"
        return by_question and {one.type, other.type} == {"addition", "working"}
    if isinstance(one, FileTask) and isinstance(other, FileTask):
        return one.path == other.path
    if isinstance(one, ReasoningGymTask):
        return bool(_shared_data_sets(one, other))
    return bool(set(one.characters) & set(other.characters) - {"="})


def _shared_data_sets(one: SingleTask, other: SingleTask) -> list[tuple[GymDataset, GymDataset]]:
    """Return the data sets that two tasks draw from, as each has them."""
    if not (isinstance(one, ReasoningGymTask) and isinstance(other, ReasoningGymTask)):
        return []
    theirs = {dataset.name: dataset for dataset in other.datasets}
    return [(dataset, theirs[dataset.name]) for dataset in one.datasets if dataset.name in theirs]
