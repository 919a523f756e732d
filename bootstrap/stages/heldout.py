"""Stored held-out answers, and reports on them, as the verifiers judge now.

A generation's own evaluation answers for the prompts that it covers, since the same weights give the same answers to
frozen prompts. Answers that another version of a verifier judged are judged again, so that all sides of a comparison
are judged alike. Left out: asking anew (`evaluate.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bootstrap.evaluation.gate import Answers, unrepeated
from bootstrap.evaluation.report import OutcomeRow, rejudged
from bootstrap.ledger_records import Generation, Report
from bootstrap.prompts.task import Task, own_level
from bootstrap.records import Status
from bootstrap.scoring.verifier import Answer, Verifier, judge_within
from bootstrap.stages.context import HELD_OUT, PANEL, Context, Watched
from bootstrap.stages.shown import ShownPrompts, shown_by
from bootstrap.store.artifacts import Artifact
from bootstrap.store.ledger import Entry
from bootstrap.store.tables import from_parquet

PANEL_FILE = "panel.parquet"


def known_answers(context: Context, entries: Sequence[Entry], number: int) -> Answers:
    """Return the outcomes of a committed generation's own evaluation as the verifiers judge now.

    Each prompt stands at the lowest of its levels. Rows of a file that the verifier cannot use now are left out. Raises
    VerifierError when too many answers cannot be judged.
    """
    if number not in context.known:
        generation = entries[number].generation
        stored = context.store.artifact(generation.artifacts["evaluation"])
        # An earlier version may have asked the last level again as levels past it.
        highest = context.task.highest_level
        answered = from_parquet(stored.read("outcomes.parquet"), OutcomeRow)
        rows = unrepeated(row for row in answered if row.level <= (highest or row.level))
        if eval_verifier_version(generation.verifiers) != context.eval_verifier.version:
            rows = judge_again(
                rows,
                task=context.task,
                count=context.recipe.evaluation.most_prompts,
                eval_verifier=context.eval_verifier,
                max_unverifiable=context.recipe.max_unverifiable,
                shown=shown_by(context.store, generation),
            )
        context.known[number] = Answers(rows=rows, panel=_panel(context, generation, panel_rows(stored)))
    return context.known[number]


def known_report(context: Context, entries: Sequence[Entry], number: int) -> Report:
    """Return a committed generation's report as the verifiers judge now, each prompt at the lowest of its levels.

    It is the recorded one where the verifiers are the same and no prompt stands in several levels.
    """
    generation = entries[number].generation
    # Only a mixture repeats prompts in a higher level: those of a part whose levels have ended.
    apart = context.task.settings.part_names is None
    panel = {name: watched.verifier.version for name, watched in context.panel.items()}
    same = all(generation.verifiers.get(f"{PANEL}{name}") == version for name, version in panel.items())
    if apart and same and eval_verifier_version(generation.verifiers) == context.eval_verifier.version:
        return generation.report
    answers = known_answers(context, entries, number)
    levels, count = [row.level for row in generation.report.levels], context.recipe.evaluation.most_prompts
    slices = slices_of(context.task, levels, count=count)
    return rejudged(generation.report, answers.rows, panel=answers.panel, slices=slices)


def slices_of(task: Task, levels: Iterable[int], *, count: int) -> dict[str, str]:
    """Map held-out prompts, `count` a level, to their slices; those without one are left out."""
    own = sorted({own_level(task, level) for level in levels})
    return {prompt.id: prompt.slice for level in own for prompt in task.heldout(level, count) if prompt.slice}


def _panel(context: Context, generation: Generation, stored: Sequence[OutcomeRow]) -> list[OutcomeRow]:
    found = []
    for name, watched in context.panel.items():
        rows = [row for row in stored if row.task == name]
        if generation.verifiers[f"{PANEL}{name}"] != watched.verifier.version:
            shown = shown_by(context.store, generation)
            rows = judge_panel_again(rows, watched, max_unverifiable=context.recipe.max_unverifiable, shown=shown)
        found += rows
    return found


def eval_verifier_version(versions: Mapping[str, str]) -> str:
    """Return the eval verifier's version (`Context.verifier_versions`)."""
    held_out = [version for name, version in versions.items() if name.startswith(HELD_OUT)]
    own = [version for name, version in versions.items() if not name.startswith((HELD_OUT, PANEL))]
    return (held_out or own)[0]


def panel_rows(artifact: Artifact) -> list[OutcomeRow]:
    """Return the panel's outcomes in an evaluation; none where no panel was asked."""
    return from_parquet(artifact.read(PANEL_FILE), OutcomeRow) if PANEL_FILE in artifact.files else []


def shared(panels: Sequence[Sequence[OutcomeRow]]) -> list[list[OutcomeRow]]:
    """Return each panel's outcomes on the prompts that all panels hold.

    They differ where verifiers of different versions read other rows of a file; a panel is asked once.
    """
    held = [{(row.task, row.level, row.prompt_id) for row in panel} for panel in panels]
    common = set.intersection(*held)
    return [[row for row in panel if (row.task, row.level, row.prompt_id) in common] for panel in panels]


def judge_panel_again(
    rows: Sequence[OutcomeRow], watched: Watched, *, max_unverifiable: float, shown: ShownPrompts
) -> list[OutcomeRow]:
    """Return the outcomes of the same answers on one panel task, as its verifier judges now.

    `shown`: how the answering generation was shown the prompts. Raises VerifierError when too many cannot be judged.
    """
    return judge_again(
        rows,
        task=watched.task,
        count=watched.settings.prompts_per_level,
        eval_verifier=watched.verifier,
        max_unverifiable=max_unverifiable,
        shown=shown,
    )


def judge_again(
    rows: Sequence[OutcomeRow],
    *,
    task: Task,
    count: int,
    eval_verifier: Verifier,
    max_unverifiable: float,
    shown: ShownPrompts,
) -> list[OutcomeRow]:
    """Return the outcomes of the same answers to held-out prompts, `count` a level, as `eval_verifier` judges.

    `shown`: how the answering generation was shown the prompts. Answers to rows that are left out now are left out.
    Raises VerifierError when too many cannot be judged.
    """
    prompts = {prompt.id: prompt for level in {row.level for row in rows} for prompt in task.heldout(level, count)}
    rows = [row for row in rows if row.prompt_id in prompts]
    answers = [
        Answer(
            prompt=prompts[row.prompt_id].text,
            text=row.text,
            reference=task.reference(prompts[row.prompt_id]),
            truncated=row.truncated,
            num_tokens=row.num_tokens,
            group=row.prompt_id,
            task=prompts[row.prompt_id].task,
            whole=shown.is_whole(row.text, prompt=prompts[row.prompt_id].text),
        )
        for row in rows
    ]
    judgements = judge_within(eval_verifier, answers, max_unverifiable=max_unverifiable)
    correct = {Status.PASS: True, Status.FAIL: False, Status.UNVERIFIABLE: None}
    return [replace(row, correct=correct[found.status]) for row, found in zip(rows, judgements, strict=True)]
