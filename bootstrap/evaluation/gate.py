"""The gate: does the candidate replace the champion? Both answered the same held-out prompts.

Three conditions, all on paired answers. Improvement: on the target levels together, more prompts gained than lost, and
the exact McNemar test significant. Retention: on every level the champion has mastered, the lower confidence bound of
candidate - champion stays at or above minus the margin; levels with few prompts are judged together with the next.
Panel: on every task that is watched beside the one trained on, the same bound over all its levels, mastered or not,
stays at or above minus a margin of its own.

Left out: what happens to a rejected candidate (`loop.py`).
"""

from collections.abc import Mapping, Sequence

from bootstrap.config.evaluation import Gate
from bootstrap.evaluation.intervals import paired_lower_bound
from bootstrap.evaluation.metrics import mcnemar_exact, pool_small
from bootstrap.evaluation.report import OutcomeRow
from bootstrap.records import Decision, LevelTest

Pair = tuple[bool, bool]
"""Whether candidate and champion answered one prompt."""


def decide(
    *,
    candidate: Sequence[OutcomeRow],
    champion: Sequence[OutcomeRow],
    target_levels: Sequence[int],
    mastered_levels: Sequence[int],
    settings: Gate,
    champion_number: int,
    branches: int = 1,
    candidate_panel: Sequence[OutcomeRow] = (),
    champion_panel: Sequence[OutcomeRow] = (),
) -> Decision:
    """Return the decision and the tests it rests on.

    `candidate`, `champion`: rows of the same prompts, in any order; a prompt that either side could not be judged on
    enters no test; the panel's rows likewise, told apart by `task`. Bounds are one-sided at confidence 1 - alpha.
    `branches`: siblings that are compared with the champion on the same prompts. Since the best that passes is kept,
    each improvement is tested at alpha / branches (Bonferroni), so that all of them together err no more often than one
    would. Retention has no choice among tests and stays as it is: each sibling has to pass its own.
    """
    pairs = _pair(candidate, champion)
    improvement = _improvement(pairs, target_levels, settings, branches=branches)
    groups = pool_small({level: _count(pairs, [level]) for level in mastered_levels}, min_prompts=settings.min_prompts)
    retention = tuple(_kept(pairs, group, settings, margin=settings.retention_margin) for group in groups)
    panel = {
        task: _kept(
            _pair(*([row for row in rows if row.task == task] for rows in (candidate_panel, champion_panel))),
            sorted({row.level for row in candidate_panel if row.task == task}),
            settings,
            margin=settings.panel_margin,
        )
        for task in sorted({row.task for row in (*candidate_panel, *champion_panel)})
    }
    promoted = improvement.passed and all(test.passed for test in (*retention, *panel.values()))
    return Decision(
        promoted=promoted,
        reason=_reason(improvement, retention, panel, settings, branches=branches),
        champion=champion_number,
        improvement=improvement,
        retention=retention,
        panel=panel,
    )


def _pair(candidate: Sequence[OutcomeRow], champion: Sequence[OutcomeRow]) -> dict[int, list[Pair]]:
    """Return level -> answers of both sides to the prompts judged for both."""
    theirs = {(row.level, row.prompt_id): row.correct for row in champion}
    ours = {(row.level, row.prompt_id): row.correct for row in candidate}
    assert len(theirs) == len(champion) and len(ours) == len(candidate), "a held-out prompt was asked twice"
    assert theirs.keys() == ours.keys(), "candidate and champion were asked different held-out prompts"
    pairs: dict[int, list[Pair]] = {}
    for key, correct in ours.items():
        other = theirs[key]
        if correct is not None and other is not None:
            pairs.setdefault(key[0], []).append((correct, other))
    return pairs


def _improvement(pairs: dict[int, list[Pair]], levels: Sequence[int], settings: Gate, *, branches: int) -> LevelTest:
    test = _compare(pairs, levels, settings)
    p_value = mcnemar_exact(test.gained, lost=test.lost)
    passed = p_value < settings.alpha / branches and test.gained > test.lost
    return test.model_copy(update={"p_value": p_value, "passed": passed})


def _kept(pairs: dict[int, list[Pair]], levels: Sequence[int], settings: Gate, *, margin: float) -> LevelTest:
    test = _compare(pairs, levels, settings)
    return test.model_copy(update={"passed": test.difference_low >= -margin})


def _compare(pairs: dict[int, list[Pair]], levels: Sequence[int], settings: Gate) -> LevelTest:
    """Return the counts of a comparison, not yet passed."""
    rows = [pair for level in levels for pair in pairs.get(level, ())]
    assert rows, f"no judged held-out prompts on {_span(levels)}"
    gained = sum(ours and not theirs for ours, theirs in rows)
    lost = sum(theirs and not ours for ours, theirs in rows)
    return LevelTest(
        levels=tuple(sorted(levels)),
        num_prompts=len(rows),
        candidate=sum(ours for ours, _ in rows) / len(rows),
        champion=sum(theirs for _, theirs in rows) / len(rows),
        gained=gained,
        lost=lost,
        difference_low=paired_lower_bound(gained, lost=lost, total=len(rows), confidence=1 - settings.alpha),
        passed=False,
    )


def _count(pairs: dict[int, list[Pair]], levels: Sequence[int]) -> int:
    return sum(len(pairs.get(level, ())) for level in levels)


def _reason(
    improvement: LevelTest,
    retention: Sequence[LevelTest],
    panel: Mapping[str, LevelTest],
    settings: Gate,
    *,
    branches: int,
) -> str:
    """Return the decision in one sentence."""
    alpha = f"alpha {settings.alpha:g}" + (f" / {branches} branches" if branches > 1 else "")
    faults = []
    if not improvement.passed:
        faults.append(
            f"{_moved(improvement)} is no significant improvement "
            f"(p {_p(improvement)}, {alpha}, {improvement.gained} gained, {improvement.lost} lost)"
        )
    kept = [("", test, settings.retention_margin) for test in retention]
    kept += [(f"{task} ", test, settings.panel_margin) for task, test in panel.items()]
    for task, test, margin in kept:
        if not test.passed:
            verb = "fell " if test.candidate < test.champion else "is not shown to be retained: "
            faults.append(
                f"{task}{_moved(test, verb=verb)} (lower bound {test.difference_low:.3f}, margin {margin:.3f})"
            )
    if faults:
        return "rejected: " + "; ".join(faults)
    levels = sorted(level for test in retention for level in test.levels)
    retained = f"{_span(levels)} retained" if levels else "no level was mastered before"
    retained += f"; {', '.join(panel)} retained" if panel else ""
    tested = f"p {_p(improvement)}" + (f", {alpha}" if branches > 1 else "")
    return f"{_span(improvement.levels)}: {_shares(improvement)} ({tested}); {retained}"


def _moved(test: LevelTest, *, verb: str = "") -> str:
    return f"{_span(test.levels)} {verb}{_shares(test)}"


def _shares(test: LevelTest) -> str:
    return f"{test.champion:.3f} -> {test.candidate:.3f}"


def _p(test: LevelTest) -> str:
    assert test.p_value is not None, "only improvement is tested for significance"
    return f"{test.p_value:.2g}"


def _span(levels: Sequence[int]) -> str:
    """Return `level 5`, `levels 1-4` or `levels 1, 3`."""
    ordered = sorted(levels)
    if len(ordered) == 1:
        return f"level {ordered[0]}"
    consecutive = ordered == list(range(ordered[0], ordered[-1] + 1))
    return f"levels {ordered[0]}-{ordered[-1]}" if consecutive else f"levels {', '.join(map(str, ordered))}"
