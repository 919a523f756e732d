"""Questions of files on both sides of a split: the same ones, and near duplicates.

Two questions are the same with the same text, white space, template and form aside. They are near duplicates with the
same text up to its numbers, or with a run of `RUN` words in common: the answer to one then helps with the other, and
held-out accuracy overstates what was learnt.

Left out: paraphrases, which only a reader can tell.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from bootstrap.prompts.files import Row, Rows
from bootstrap.prompts.task import Task
from bootstrap.records import Prompt, Split

RUN = 10
"""Consecutive words that near duplicates share; GPT-3's contamination study uses 8 to 13 (arXiv:2005.14165)."""
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"[0-9]+(?:[.,][0-9]+)*")


@dataclass(frozen=True, kw_only=True)
class Near:
    """A held-out row and a train row that nearly duplicates it."""

    heldout: Row
    train: Row


def files_of(task: Task) -> dict[str, Rows]:
    """Return the tasks whose prompts are a file's rows, by the name of the part; empty without any."""
    return {name: part.as_rows for name, part in task.parts.items() if part.as_rows is not None}


def questions_of(task: Task, prompts: Iterable[Prompt]) -> dict[str, set[str]]:
    """Return the questions of the prompts that come from a file, by `files_of`'s names."""
    found: dict[str, set[str]] = {}
    for prompt in prompts:
        part, inner = task.inner(prompt)
        if part.as_rows is not None:
            found.setdefault(prompt.task, set()).add(part.as_rows.row(inner).question)
    return found


def kept_from_gates(rows: Rows) -> set[str]:
    """Return the questions of a file that no gate may ask: train and final."""
    return {row.question for row in rows.rows(Split.TRAIN, Split.FINAL)}


def near_duplicates(rows: Rows) -> list[Near]:
    """Return each held-out or final row that nearly duplicates a train row, with the first such row.

    In a question without words the numbers are the question, so they are not set aside.
    """
    shapes: dict[str, Row] = {}
    runs: dict[bytes, Row] = {}
    for row in rows.rows(Split.TRAIN):
        if shape := _shape(row.question):
            shapes.setdefault(shape, row)
        for run in _runs(row.question):
            runs.setdefault(run, row)
    found = []
    for row in rows.rows(Split.HELDOUT, Split.FINAL):
        train = shapes.get(_shape(row.question))
        train = train or next((runs[run] for run in _runs(row.question) if run in runs), None)
        if train is not None:
            found.append(Near(heldout=row, train=train))
    return found


def _shape(question: str) -> str:
    """Return the words, every number replaced by 0; empty without any word."""
    shape = " ".join(_WORD.findall(_NUMBER.sub("0", question.casefold())))
    return shape if any(character.isalpha() for character in shape) else ""


def _runs(question: str) -> list[bytes]:
    """Return a hash of each run of `RUN` words, which is shorter than the run."""
    words = _WORD.findall(question.casefold())
    runs = (" ".join(words[start : start + RUN]) for start in range(len(words) - RUN + 1))
    return [blake2b(run.encode("utf-8", "surrogatepass"), digest_size=16).digest() for run in runs]
