"""Questions of files that are trained on and asked by a gate too: the same ones, and those that are nearly the same.

The same question is one with the same text, white space aside, whatever template or form it stands in. Nearly the same
are two questions of one text up to its numbers, or with a run of `RUN` words in common: to know the answer to one helps
with the other, so that held-out accuracy says less of what has been learnt.

Left out: questions that other words ask, which only a reader can tell.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bootstrap.prompts.files import Row, Rows
from bootstrap.prompts.task import Task
from bootstrap.records import Prompt, Split

RUN = 10
"""Words in a row that two questions must share, as contamination studies count them (GPT-3, arXiv:2005.14165, uses 8 to
13)."""
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"[0-9]+(?:[.,][0-9]+)*")


@dataclass(frozen=True, kw_only=True)
class Near:
    """A held-out row and one that is trained on."""

    heldout: Row
    train: Row


def files_of(task: Task) -> dict[str, Rows]:
    """Return the tasks from files that prompts come from, by the name of the mixture's part; a task alone by its own.

    Empty where there are none.
    """
    return {name: part.as_rows for name, part in task.parts.items() if part.as_rows is not None}


def questions_of(task: Task, prompts: Iterable[Prompt]) -> dict[str, set[str]]:
    """Return the questions of the prompts that come from a file, by name as `files_of` gives the file."""
    found: dict[str, set[str]] = {}
    for prompt in prompts:
        part, inner = task.inner(prompt)
        if part.as_rows is not None:
            found.setdefault(prompt.task, set()).add(part.as_rows.row(inner).question)
    return found


def kept_from_gates(rows: Rows) -> set[str]:
    """Return the questions of a file that no gate may ask: those that are trained on, and those kept for the end."""
    return {row.question for row in rows.rows(Split.TRAIN, Split.FINAL)}


def near_duplicates(rows: Rows) -> list[Near]:
    """Return each held-out row that is nearly the same as one that is trained on, with the first such one.

    Held-out rows are what gates see and what is kept for the end. Where a question has no words but numbers, numbers
    are the question, and other ones ask another.
    """
    shapes: dict[str, Row] = {}
    runs: dict[str, Row] = {}
    for row in rows.rows(Split.TRAIN):
        if shape := _shape(row.question):
            shapes.setdefault(shape, row)
        for run in _runs(row.question):
            runs.setdefault(run, row)
    found = []
    for row in rows.rows(Split.HELDOUT, Split.FINAL):
        twin = shapes.get(_shape(row.question))
        twin = twin or next((runs[run] for run in _runs(row.question) if run in runs), None)
        if twin is not None:
            found.append(Near(heldout=row, train=twin))
    return found


def _shape(question: str) -> str:
    """Return the words with every number as the same one; empty where there are no words beside numbers."""
    shape = " ".join(_WORD.findall(_NUMBER.sub("0", question.casefold())))
    return shape if any(character.isalpha() for character in shape) else ""


def _runs(question: str) -> list[str]:
    """Return each run of `RUN` words."""
    words = _WORD.findall(question.casefold())
    return [" ".join(words[start : start + RUN]) for start in range(len(words) - RUN + 1)]
