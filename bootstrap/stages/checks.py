"""Checks of a recipe that need its tasks' prompts, before anything is grown.

`check_tasks` refuses levels that are not there or lack final prompts, and questions that are asked by a gate and
trained on, or shown as examples. `notes_on` warns of settings that are allowed, such as too few prompts for the gate to
detect a difference.
"""

import bisect
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name

from bootstrap.config.base import Place, dotted
from bootstrap.config.conflicts import Conflict
from bootstrap.config.conflicts.levels import LastLevels, beyond
from bootstrap.config.data import told_of
from bootstrap.config.recipe import Recipe
from bootstrap.config.tasks import tasks_of
from bootstrap.errors import RecipeError
from bootstrap.evaluation.intervals import paired_lower_bound
from bootstrap.prompts.files import Rows
from bootstrap.prompts.overlap import RUN, files_of, kept_from_gates, near_duplicates, questions_of
from bootstrap.prompts.splits import normalised
from bootstrap.prompts.task import Task, own_level
from bootstrap.records import Prompt, Split
from bootstrap.scoring.verifier import printable

SHOWN = 60
"""Characters of a question that are shown."""
EXAMPLES = 2
"""Pairs of questions that are shown."""
SLICES_NAMED = 8
DRAWN = 32
"""Right answers that are looked at for stop texts."""
SENSITIVE_SHARE = 0.1
"""Warn if a panel passes only with fewer differing answers than this share."""
Questions = tuple[Rows, set[str]]
"""A file and some of its questions."""


def check_tasks(recipe: Recipe, task: Task, panel: Mapping[str, Task]) -> None:
    """Raise RecipeError, with place and remedy of each problem, where the tasks' prompts do not fit the recipe.

    `panel`: the tasks of the evaluation's panel, by name.
    """
    highest = {name: watched.highest_level for name, watched in panel.items()}
    problems = [*beyond(recipe, LastLevels(task=task.highest_level, panel=highest))]
    # Questions of a level that is not there cannot be drawn.
    if not problems:
        shared = [found.conflict for found in _shared(recipe, task, panel) if not found.by_text]
        problems = [
            *shared,
            *_examples_of_gates(recipe, [task, *panel.values()]),
            *_without_final(recipe, task),
            *_unrehearsed(recipe, task),
        ]
    if problems:
        raise RecipeError("; ".join(f"{dotted(problem.place)}: {problem.message}" for problem in problems))


def notes_on(recipe: Recipe, task: Task, panel: Mapping[str, Task]) -> Iterator[str]:
    """Yield notes: slices, near-duplicates, questions on both sides of a gate in older lineages, answers that hold a
    stop text, and too few prompts for the gate to tell a loss from chance."""
    yield from _cut_answers(recipe, task)
    for found in _shared(recipe, task, panel):
        if found.by_text:
            yield f"{dotted(found.conflict.place)}: {found.conflict.message}"
    for rows in files_of(task).values():
        yield from _slices(rows)
        yield from _near(rows)
    yield from _small_slices(recipe, task)
    for name, watched in panel.items():
        yield from _touchy(recipe, name, watched)


def _examples_of_gates(recipe: Recipe, tasks: Iterable[Task]) -> Iterator[Conflict]:
    """Yield few-shot examples that are held-out questions of files, whose answers every prompt would hold."""
    model = recipe.base.model.as_pretrained
    if model is None or model.examples is None:
        return
    place = ("base", "model", "examples")
    try:
        shots = {normalised(shot.prompt): number for number, shot in enumerate(model.examples.read(), start=1)}
    except ValueError as error:
        yield Conflict(place, str(error))
        return
    for rows in (rows for task in tasks for rows in files_of(task).values()):
        for row in rows.rows(Split.HELDOUT, Split.FINAL):
            number = shots.get(row.question) or shots.get(normalised(row.text))
            if number is not None:
                yield Conflict(
                    place,
                    f"example {number} of {model.examples.path} is a held-out question of {row.source}, "
                    f"{_short(row.question)}, and every prompt would tell its answer; take another example",
                )


def _cut_answers(recipe: Recipe, task: Task) -> Iterator[str]:
    """Yield that right answers hold a stop text, at which sampling would cut them."""
    model = recipe.base.model.as_pretrained
    if model is None or not model.stop:
        return
    level = own_level(task, 1)
    answers = [task.solution(prompt) for prompt in task.draw(level, DRAWN, seed=0)]
    held = [next(stop for stop in model.stop if stop in answer) for answer in answers if _holds(answer, model.stop)]
    if held:
        yield (
            f"base.model.stop: {len(held)} of {len(answers)} right answers hold a stop text, as {held[0]!r}; training "
            "teaches it and sampling cuts every answer there; choose another text"
        )


def _holds(answer: str, stop: Sequence[str]) -> bool:
    return any(text in answer for text in stop)


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Questions of a gate that are trained on too, or kept for the final comparison."""

    conflict: Conflict
    by_text: bool
    """Whether one of the two files is split by its prompts' texts, as lineages of earlier versions are; allowed."""


def _shared(recipe: Recipe, task: Task, panel: Mapping[str, Task]) -> Iterator[Shared]:
    """Yield where a gate asks questions that are trained on too, or kept for the end."""
    files = files_of(task)
    kept = {name: kept_from_gates(rows) for name, rows in files.items()}
    for name, watched in panel.items():
        wanted, own = recipe.evaluation.panel[name], files_of(watched)
        prompts = [prompt for level in wanted.asked for prompt in watched.heldout(level, wanted.prompts_per_level)]
        asked = [(own[part], questions) for part, questions in questions_of(watched, prompts).items()]
        others = [(rows, kept[other]) for other, rows in files.items()]
        yield from _told(asked, others, ("evaluation", "panel", name, "task"))
    for name, rows in files.items():
        others = [(part, kept[other]) for other, part in files.items() if part is not rows]
        held_out = {row.question for row in rows.rows(Split.HELDOUT)}
        yield from _told([(rows, held_out)], others, ("task", "parts", name, "task"))


def _told(asked: Sequence[Questions], kept: Sequence[Questions], place: Place) -> Iterator[Shared]:
    """Yield the questions of `asked` that are `kept` from gates too, for each pair of files."""
    pairs = [(mine, rows, both) for mine, own in asked for rows, others in kept if (both := own & others)]
    for by_text in (False, True):
        found = [
            (rows, both)
            for mine, rows, both in pairs
            if by_text == ("text" in (mine.settings.split_rule, rows.settings.split_rule))
        ]
        if not found:
            continue
        shared = sorted(set[str]().union(*(both for _, both in found)))
        by_hash = all(rows.settings.holds_out_by_hash for pair in pairs for rows in pair[:2])
        least = min(rows.settings.heldout_fraction for rows, _ in found)
        shared_share = (
            f"set its heldout_fraction to {least:g} or less with split_by: question in both, which holds out the same "
            "questions of each, or take"
        )
        sources = {r.source for rows, both in found for r in rows.rows(Split.TRAIN, Split.FINAL) if r.question in both}
        paths = " and ".join(sorted(sources))
        total = len(set[str]().union(*(own for _, own in asked)))
        conflict = Conflict(
            place,
            f"{len(shared)} of its {total} held-out questions are trained on, or kept for the final comparison, in "
            f"{paths}, for example {_short(shared[0])}; {shared_share if by_hash else 'take'} these rows out of one of "
            "the files",
        )
        yield Shared(conflict=conflict, by_text=by_text)


def _without_final(recipe: Recipe, task: Task) -> Iterator[Conflict]:
    """Yield levels that may be aimed at and lack final prompts, though the task keeps a final share.

    The final comparison would fail.
    """
    for name, settings in tasks_of(recipe.task).items():
        part = task.parts[name]
        if not settings.final_fraction:
            continue
        for level in range(1, own_level(part, own_level(task, recipe.highest_aim())) + 1):
            try:
                part.final(level, 1)
            except RecipeError as error:
                place = ("task", *(("parts", name, "task") if part is not task else ()), "final_fraction")
                yield Conflict(place, f"level {level} may be aimed at, and {error}; or set final_fraction: 0")
                break


def _unrehearsed(recipe: Recipe, task: Task) -> Iterator[Conflict]:
    """Yield plug-in steps whose trial call fails."""
    for place, step in recipe.generation_steps():
        if step.rehearsed_by:
            try:
                resolve_name(step.rehearsed_by)(step, task)
            except RecipeError as error:
                yield Conflict((*place, *step.pinned_by), str(error))


def _slices(rows: Rows) -> Iterator[str]:
    if names := [printable(name) for name in rows.slices]:
        more = f" and {len(names) - SLICES_NAMED} more" if len(names) > SLICES_NAMED else ""
        yield (
            f"rows of {rows.settings.told} are of {len(names)} slice{'' if len(names) == 1 else 's'} "
            f"({rows.settings.slice_column}): {', '.join(names[:SLICES_NAMED])}{more}"
        )


def _small_slices(recipe: Recipe, task: Task) -> Iterator[str]:
    """Yield the slices whose total loss the gate could not reject.

    0.5^n is the p-value of n lost and none gained; slices and levels share alpha (`evaluation/gate.py`).
    """
    names = sorted({name for rows in files_of(task).values() for name in rows.slices})
    levels = range(1, own_level(task, recipe.highest_level()) + 1)
    if not names:
        return
    asked = Counter({prompt.id: prompt.slice for prompt in _with_slices(recipe, task, levels)}.values())
    share = recipe.gate.alpha / (len(names) + len(levels))
    small = [f"{printable(name)} ({asked[name]})" for name in names if 0.5 ** asked[name] >= share]
    if not small:
        return
    least = next(count for count in itertools.count(1) if 0.5**count < share)
    more = f" and {len(small) - SLICES_NAMED} more" if len(small) > SLICES_NAMED else ""
    yield (
        f"{len(small)} of {len(names)} slices have so few held-out prompts that the gate could not reject the loss of "
        f"all of them: {', '.join(small[:SLICES_NAMED])}{more}; {least} are needed. Add rows, join slices, or raise "
        "heldout_fraction or evaluation.prompts_per_level"
    )


def _with_slices(recipe: Recipe, task: Task, levels: Iterable[int]) -> Iterator[Prompt]:
    """Yield the held-out prompts of files; generated tasks have no slices, and take long to draw."""
    count = recipe.evaluation.most_prompts
    for level in levels:
        for name in files_of(task):
            yield from task.heldout_of(name, level, task.dealt(count)[name])


def _touchy(recipe: Recipe, name: str, watched: Task) -> Iterator[str]:
    """Yield that a panel task's lower bound is below its margin when few answers differ, as many won as lost."""
    wanted, gate = recipe.evaluation.panel[name], recipe.gate
    found = [(watched.num_heldout(level, wanted.prompts_per_level), wanted.prompts_per_level) for level in wanted.asked]
    total = sum(most if number is None else number for number, most in found)

    def low(swapped: int) -> float:
        return paired_lower_bound(swapped, lost=swapped, total=total, confidence=1 - gate.alpha)

    # The gate widens the margin to what so many prompts can tell apart (`evaluation/gate.py`).
    margin = max(gate.panel_margin, -low(0))
    most = min(int(SENSITIVE_SHARE * total) // 2 + 1, total // 2)
    swapped = bisect.bisect_left(range(most + 1), True, key=lambda swapped: low(swapped) < -margin) - 1
    if 2 * swapped < SENSITIVE_SHARE * total:
        yield (
            f"evaluation.panel.{name}: a candidate that is as good passes only while at most {2 * swapped} of its "
            f"{total} answers differ from the champion's: beyond, the lower bound falls below gate.panel_margin "
            f"{gate.panel_margin:g}. Raise its prompts_per_level, or gate.panel_margin"
        )


def _near(rows: Rows) -> Iterator[str]:
    found, held = near_duplicates(rows), len(rows.rows(Split.HELDOUT, Split.FINAL))
    if not found:
        return
    told, unit = told_of(rows.settings.heldout or rows.settings.path), rows.left_out.unit
    pairs = "; ".join(
        f"{unit} {rows.label(pair.heldout)} {_short(pair.heldout.question)} and {unit} {rows.label(pair.train)} "
        f"{_short(pair.train.question)}"
        for pair in found[:EXAMPLES]
    )
    yield (
        f"{len(found)} of {held} held-out rows of {told} ({len(found) / held:.1%}) are nearly the same "
        f"as rows that are trained on (one text up to numbers, or {RUN} words in a row): {pairs}"
    )


def _short(question: str) -> str:
    """Return a question's beginning in quotation marks, as one line."""
    shown = printable(question[: SHOWN + 1])
    return f'"{shown}"' if len(question) <= SHOWN else f'"{shown[:SHOWN]}..."'
