"""What one set of weights can do: answers on held-out prompts, level by level, made into a Report.

UNVERIFIABLE answers are never numbers: they are counted beside, and leave both sides of every share.

Left out: which levels and prompts are asked (`prompts/`, the recipe) and whether the weights are promoted (`gate.py`).
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bootstrap.evaluation.intervals import wilson
from bootstrap.evaluation.metrics import frontier, generalization_margin, majority_at_k, pass_at_k, pool_small
from bootstrap.ledger_records import LevelReport, Report, Share
from bootstrap.records import Rollout, Status, Verdict

Judged = tuple[Sequence[Rollout], Sequence[Verdict]]
"""Rollouts and their verdicts, in the same order."""
AnswerOf = Callable[[Rollout], Hashable]
"""The answer that a rollout gives, as its verifier reads it: two samples that share it give the same answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OutcomeRow:
    """One held-out prompt, its greedy answer and whether it was right: what paired tests compare.

    The answer is kept so that another verifier can judge it later.
    """

    prompt_id: str
    level: int
    correct: bool | None
    """None when the answer could not be judged."""
    text: str = ""
    num_tokens: int = 0
    truncated: bool = False
    task: str = ""
    """The panel's name for the task; empty for the recipe's own."""


def build_report(
    *,
    fingerprint: str,
    suite: str,
    greedy: Mapping[int, Judged],
    sampled: Mapping[int, Judged],
    answer_of: AnswerOf,
    k: int,
    mastered: float,
    trained_level: int,
    min_prompts: int,
    panel: Mapping[str, Mapping[int, Judged]],
    rows: Sequence[OutcomeRow] = (),
    slices: Mapping[str, str] | None = None,
) -> Report:
    """Return the report of one set of weights.

    `suite`: digest of the held-out prompts. `greedy`: by level, one greedy answer per prompt; a prompt that stands in
    several levels has one answer, which counts in each of them and once in all together. `sampled`: by level,
    several samples per prompt, for those levels of `greedy` where they were taken; `k` of pass@k and majority@k.
    `trained_level`: the highest level trained on, beyond which the generalization margin is counted. `min_prompts`:
    levels with fewer prompts are judged mastered or not together with the next. `panel`: greedy answers by task and
    level.
    `rows`: the greedy outcomes, each prompt at the lowest of its levels, and `slices`: prompt -> slice, of those that
    have one.
    """
    assert sampled.keys() <= greedy.keys(), "a level was sampled without greedy answers"
    metrics = {level: _sampled_metrics(judged, k=k, answer_of=answer_of) for level, judged in sampled.items()}
    levels = tuple(
        _level_report(level, greedy[level], num_repeated=repeated, **metrics.get(level, {}))
        for level, repeated in _repeated(greedy).items()
    )
    shares = judged_shares(levels, min_prompts=min_prompts)
    return Report(
        fingerprint=fingerprint,
        suite=suite,
        levels=levels,
        frontier=frontier(shares, mastered=mastered),
        generalization_margin=generalization_margin(
            {row.level: row.accuracy for row in levels}, trained_level=trained_level
        ),
        mastered=mastered,
        parts=_parts(greedy),
        slices=_slices(rows, slices or {}),
        panel={
            name: tuple(_level_report(level, rows[level]) for level in sorted(rows)) for name, rows in panel.items()
        },
    )


def judged_shares(levels: Iterable[LevelReport], *, min_prompts: int) -> dict[int, float]:
    """Return level -> the greedy accuracy by which it counts as mastered: that of its group of `pool_small`."""
    rows = {row.level: row for row in levels}
    shares = {}
    counts = {level: row.num_prompts - row.num_repeated for level, row in rows.items()}
    for group in pool_small(counts, min_prompts=min_prompts):
        num_judged = sum(rows[level].num_prompts - rows[level].num_unverifiable for level in group)
        share = sum(rows[level].num_correct for level in group) / num_judged if num_judged else 0.0
        shares |= dict.fromkeys(group, share)
    return shares


def accuracies(report: Report) -> dict[int, float]:
    """Return level -> greedy accuracy."""
    return {row.level: row.accuracy for row in report.levels}


def outcomes(rollouts: Sequence[Rollout], verdicts: Sequence[Verdict], *, task: str = "") -> list[OutcomeRow]:
    """Return one row per greedy answer, in order; `task` as in the rows."""
    return [
        OutcomeRow(
            prompt_id=rollout.prompt_id,
            level=rollout.level,
            correct=_correct(verdict),
            text=rollout.text,
            num_tokens=len(rollout.tokens),
            truncated=rollout.finish.is_truncated,
            task=task,
        )
        for rollout, verdict in _pairs((rollouts, verdicts))
    ]


def _repeated(greedy: Mapping[int, Judged]) -> dict[int, int]:
    """Return level -> how many of its prompts a lower level holds too, ascending."""
    seen: set[str] = set()
    found = {}
    for level in sorted(greedy):
        asked = {rollout.prompt_id for rollout in greedy[level][0]}
        found[level] = len(asked & seen)
        seen |= asked
    return found


def _slices(rows: Sequence[OutcomeRow], slices: Mapping[str, str]) -> dict[str, tuple[Share, ...]]:
    """Return the results by slice, level by level; prompts without a slice are left out."""
    of = {row.prompt_id: slices[row.prompt_id] for row in rows if row.prompt_id in slices}
    found = {name: _by_level(row for row in rows if of.get(row.prompt_id) == name) for name in sorted(set(of.values()))}
    return {
        name: tuple(
            Share(level=level, **_counts([row.correct for row in by_level[level]])) for level in sorted(by_level)
        )
        for name, by_level in found.items()
    }


def _counts(correct: Sequence[bool | None]) -> dict[str, Any]:
    """Return what a share says of these answers."""
    right, judged = correct.count(True), len(correct) - correct.count(None)
    return {
        "num_prompts": len(correct),
        "num_correct": right,
        "num_unverifiable": len(correct) - judged,
        "accuracy": right / judged if judged else 0.0,
        "interval": wilson(right, total=judged),
    }


def rejudged(
    report: Report, rows: Sequence[OutcomeRow], *, panel: Sequence[OutcomeRow], slices: Mapping[str, str]
) -> Report:
    """Return a report as far as the outcomes of its greedy answers, judged anew, say: levels, slices and panel.

    `rows`: each prompt at the lowest of its levels; levels without one are left out. What is not about right and wrong
    stays as recorded, and so do frontier and generalization margin. `slices`: prompt -> slice, of those that have one.
    """
    known = {row.level: row for row in report.levels}
    by_level = _by_level(rows)
    tasks = {name: _by_level(row for row in panel if row.task == name) for name in report.panel}
    return report.model_copy(
        update={
            "levels": tuple(_recounted(known[level], by_level[level]) for level in sorted(by_level) if level in known),
            "slices": _slices(rows, slices),
            "panel": {
                name: tuple(_recounted(row, tasks[name][row.level]) for row in levels if row.level in tasks[name])
                for name, levels in report.panel.items()
            },
        }
    )


def _by_level(rows: Iterable[OutcomeRow]) -> dict[int, list[OutcomeRow]]:
    found: dict[int, list[OutcomeRow]] = {}
    for row in rows:
        found.setdefault(row.level, []).append(row)
    return found


def _recounted(row: LevelReport, answers: Sequence[OutcomeRow]) -> LevelReport:
    return row.model_copy(update={**_counts([answer.correct for answer in answers]), "num_repeated": 0})


def _parts(greedy: Mapping[int, Judged]) -> dict[str, tuple[LevelReport, ...]]:
    """Return the greedy results by the prompts' task, where they are of several."""
    by_task: dict[str, dict[int, tuple[list[Rollout], list[Verdict]]]] = {}
    for level in sorted(greedy):
        for rollout, verdict in _pairs(greedy[level]):
            rollouts, verdicts = by_task.setdefault(rollout.task, {}).setdefault(level, ([], []))
            rollouts.append(rollout)
            verdicts.append(verdict)
    if len(by_task) == 1:
        return {}
    return {
        task: tuple(_level_report(level, judged) for level, judged in rows.items())
        for task, rows in sorted(by_task.items())
    }


def _level_report(level: int, greedy: Judged, *, num_repeated: int = 0, **sampled: Any) -> LevelReport:
    """Return the report of one level; `sampled`: its sampled fields."""
    pairs = _pairs(greedy)
    assert pairs, f"level {level} has no greedy answers"
    assert len({rollout.prompt_id for rollout, _ in pairs}) == len(pairs), f"level {level} asks a prompt twice"
    correct = [_correct(verdict) for _, verdict in pairs]
    num_correct = correct.count(True)
    num_judged = len(pairs) - correct.count(None)
    return LevelReport(
        level=level,
        num_prompts=len(pairs),
        num_correct=num_correct,
        accuracy=num_correct / num_judged if num_judged else 0.0,
        interval=wilson(num_correct, total=num_judged),
        num_unverifiable=correct.count(None),
        num_repeated=num_repeated,
        mean_length=_mean(len(rollout.tokens) for rollout, _ in pairs),
        truncated=_mean(rollout.finish.is_truncated for rollout, _ in pairs),
        **sampled,
    )


def _sampled_metrics(sampled: Judged, *, k: int, answer_of: AnswerOf) -> dict[str, Any]:
    """Return the sampled fields of a LevelReport; a share over no judged prompt is None.

    A prompt enters pass@1 with its judged samples, and pass@k and majority@k when at least k of them were judged.
    """
    by_prompt: dict[str, list[tuple[Rollout, bool | None]]] = {}
    for rollout, verdict in _pairs(sampled):
        by_prompt.setdefault(rollout.prompt_id, []).append((rollout, _correct(verdict)))
    judged = [[(answer_of(r), c) for r, c in samples if c is not None] for samples in by_prompt.values()]
    some = [samples for samples in judged if samples]
    enough = [samples for samples in judged if len(samples) >= k]
    entropies = [entropy for samples in by_prompt.values() for rollout, _ in samples for entropy in rollout.entropies]
    return {
        "num_samples": max(len(samples) for samples in by_prompt.values()),
        "k": k,
        "pass_at_1": _mean_or_none(_mean(right for _, right in samples) for samples in some),
        "pass_at_k": _mean_or_none(
            pass_at_k(sum(right for _, right in samples), num_samples=len(samples), k=k) for samples in enough
        ),
        "majority_at_k": _mean_or_none(
            majority_at_k([answer for answer, _ in samples], [right for _, right in samples], k=k) for samples in enough
        ),
        "entropy": _mean_or_none(entropies),
        "distinct_answers": _mean(
            len({answer_of(rollout) for rollout, _ in samples}) for samples in by_prompt.values()
        ),
    }


def _pairs(judged: Judged) -> list[tuple[Rollout, Verdict]]:
    pairs = list(zip(*judged, strict=True))
    for rollout, verdict in pairs:
        assert rollout.id == verdict.rollout_id, f"verdict of {verdict.rollout_id} stands beside rollout {rollout.id}"
    return pairs


def _correct(verdict: Verdict) -> bool | None:
    return None if verdict.status is Status.UNVERIFIABLE else verdict.status is Status.PASS


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)


def _mean_or_none(values: Iterable[float]) -> float | None:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else None
