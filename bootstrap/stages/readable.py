"""Leave out the rows of a file that the verifiers cannot use, before any prompt is drawn.

| row | why it is left out |
|---|---|
| its reference cannot be read | no answer could be judged |
| its own answer is found wrong | no answer could be right |

A worked solution is judged too. One that is found wrong, for example because its answer stands elsewhere, is not shown
to training; its row serves.

The choice follows from the file and the verifiers alone, so every process and run draws the same prompts. When more
than `task.max_unreadable` of a file's rows are left out, file and verifier do not fit, which is an error.

Only verifiers that ask no one are tried (`READERS`): a model's word on thousands of rows would cost more than the run.
A user's own function may ask one, so it is tried only if it says what it reads (`scoring/plugin.py`). Every component
of a rubric must read the reference, and the deciding ones must accept the answer. Code gets `PATIENCE` times an
answer's CPU time, so that a slow machine leaves out no row. Findings are kept (`findings.py`).

Left out: trust in a verifier (`scoring/sanity.py`), which is proven on the rows that are left.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain
from typing import cast

from bootstrap.canonical import json_file, sha256_of
from bootstrap.config import verifiers as settings_of
from bootstrap.config.verifiers import READERS
from bootstrap.errors import VerifierError
from bootstrap.prompts.files import Row, Rows
from bootstrap.prompts.task import Task
from bootstrap.records import Event, Observer, Status
from bootstrap.scoring.by_task import ByTask
from bootstrap.scoring.rubric import Rubric
from bootstrap.scoring.verifier import (
    PATIENCE,
    WRONG,
    Answer,
    Judgement,
    Progress,
    Reader,
    Tools,
    Verifier,
    build_verifier,
    printable,
)
from bootstrap.stages.findings import Findings, keep, known

BATCH = 256
"""Rows whose own answers are judged at a time."""


def leave_out_unreadable(task: Task, verifier: Verifier, *, tools: Tools | None = None) -> None:
    """Leave out of a task what `verifier`, of the task or of a mixture's parts, cannot use.

    Raises RecipeError when that is too large a share of a file's rows, or leaves a level without prompts in a split;
    VerifierError when a row's own answer cannot be judged for reasons that are not the row's.
    """
    for part, rows in _files(task):
        for one, decides in _readers(part_of(verifier, part)):
            _leave_out(rows, one, decides=decides, before=task.before(part), tools=tools or Tools())


def leave_out_by_settings(task: Task, settings: settings_of.Verifier, *, tools: Tools | None = None) -> None:
    """Do the same for a verifier that is not open: what reads references is built for it, and closed again."""
    tools = tools or Tools()
    for part, rows in _files(task):
        own = settings.of_task(part)
        assert own is not None, f"a part without a verifier: {part}"
        for chosen, decides in own[1].readers():
            with closing(build_verifier(cast(settings_of.Verifier, chosen), tools=tools)) as one:
                if _is_reader(one):
                    _leave_out(rows, cast(Reader, one), decides=decides, before=task.before(part), tools=tools)


def as_events(observe: Observer, *, generation: int) -> Progress:
    """Return a callback that reports how far the reading is; `generation`: the one that the run begins with."""
    return lambda path, done, total: observe(
        Event(generation=generation, stage="read", done=done, total=total, message=f"rows of {path}")
    )


def part_of(verifier: Verifier, part: str) -> Verifier:
    """Return what judges the prompts of one part of a task."""
    return verifier.parts[part] if isinstance(verifier, ByTask) else verifier


def _files(task: Task) -> Iterator[tuple[str, Rows]]:
    """Yield the files among a task's parts, by the part's name."""
    for name, one in task.parts.items():
        if one.as_rows is not None:
            yield name, one.as_rows


def _readers(verifier: Verifier, *, decides: bool = True) -> Iterator[tuple[Reader, bool]]:
    """Yield the verifiers in a verifier that read references, and whether PASS needs theirs."""
    if isinstance(verifier, Rubric):
        for component, one in verifier.components():
            yield from _readers(one, decides=decides and component.decides)
    elif _is_reader(verifier):
        yield cast(Reader, verifier), decides


def _is_reader(verifier: Verifier) -> bool:
    return verifier.name in READERS and getattr(verifier, "is_reader", True)


def _leave_out(rows: Rows, verifier: Reader, *, decides: bool, before: str, tools: Tools) -> None:
    every = rows.every_row()
    key = _key(every, verifier, decides=decides, before=before)
    if (found := known(key, tools.cache)) is None:
        found = _judged(rows, every, verifier, decides=decides, before=before, tools=tools)
        keep(key, found, tools.cache)
    rows.leave_out(found.unusable, verifier=verifier.name)
    rows.hide(found.not_shown)


def _judged(
    rows: Rows, every: Sequence[Row], verifier: Reader, *, decides: bool, before: str, tools: Tools
) -> Findings:
    """Return the rows that the verifier cannot use, and those whose worked solutions it finds wrong."""
    told = verifier.reads([row.reference for row in every])
    found = {
        row.key: printable(f"with a reference that {verifier.name} cannot read: {reason}")
        for row, reason in zip(every, told, strict=True)
        if reason
    }
    if not decides:
        return Findings(found, {})
    read = [row for row in every if row.key not in found]
    worked = [row for row in read if row.solution not in ("", row.answer)]
    total = len(read) + len(worked)
    for key, judgement in _judgements([(row, row.answer) for row in read], rows, verifier, before, tools, 0, total):
        if judgement.status is Status.FAIL:
            found[key] = printable(f"whose own answer {verifier.name} finds wrong: {judgement.reason}")
        elif judgement.status is Status.UNVERIFIABLE:
            # A user's own function may mean the row when it returns None.
            if verifier.name != "plugin":
                at = next(row for row in read if row.key == key)
                raise VerifierError(
                    f"verifier {verifier.name} could not judge the answer that {at.source}:{at.line} gives itself: "
                    f"{printable(judgement.reason)}. Repair what the verifier needs, and run again"
                )
            found[key] = printable(f"that {verifier.name} cannot judge: {judgement.reason}")
    shown = [(row, row.solution) for row in worked]
    not_shown = {
        key: _told(verifier.name, judgement.reason)
        for key, judgement in _judgements(shown, rows, verifier, before, tools, len(read), total)
        if judgement.status is not Status.PASS and key not in found
    }
    return Findings(found, not_shown)


def _told(name: str, reason: str) -> str:
    """Return why a solution is not shown.

    What follows the kind of a reason quotes the solution, which would make each a reason of its own.
    """
    kind = reason.partition(":")[0]
    return printable(f"with a solution that {name} finds wrong" + (f": {kind}" if kind != WRONG else ""))


def _judgements(
    shown: Sequence[tuple[Row, str]],
    rows: Rows,
    verifier: Reader,
    before: str,
    tools: Tools,
    done: int,
    total: int,
) -> Iterator[tuple[str, Judgement]]:
    """Yield the judgement of each text by its row's key; `done` of `total` are judged already."""
    for start in range(0, len(shown), BATCH):
        batch = shown[start : start + BATCH]
        answers = [
            Answer(
                prompt=before + row.text,
                text=text,
                reference=row.reference,
                num_tokens=len(text) + 1,
                group=f"row.{row.key}",
                patience=PATIENCE,
            )
            for row, text in batch
        ]
        yield from zip((row.key for row, _ in batch), verifier.judge(answers), strict=True)
        if tools.progress is not None:
            tools.progress(rows.settings.told, done + start + len(batch), total)


def _key(every: Sequence[Row], verifier: Reader, *, decides: bool, before: str) -> str:
    """Return a hash of the rows and of what else decides on the findings."""
    rows = ([row.key, row.text, row.reference, row.answer, row.solution] for row in every)
    return sha256_of(map(json_file, chain([[verifier.name, verifier.version, decides, before]], rows)))
