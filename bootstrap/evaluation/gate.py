"""The gate: whether the candidate replaces the champion, by paired answers to the same held-out prompts.

A candidate has to pass five kinds of test. Each prompt counts once, whatever levels it stands in.

    improvement    on the target levels together: more prompts gained than lost, and the exact McNemar test significant
    levels         on each level that the champion line has mastered: the share is within the margin of the line's best
    pooled         on all these levels together: the lower score bound of candidate - champion is within the margin
    panel          on each task watched beside the trained one: the same bound over all its levels, a margin of its own
    slices         on each slice of fixed data, and each panel task that an earlier champion did better at: not below
                   the line's best by more than the margin, unless chance explains it

Levels with few prompts are tested together with the next. Because the best of the line, not its last, is the bar
(`protection.py`), tolerated losses do not add up: over any number of promotions a level loses at most one margin. The
bounds are against the champion, since the best of many is partly luck, and a bound against it would reject its equals.
As a candidate has to pass every test, none needs a correction to reject worse candidates (Berger, Technometrics
24:295-300, 1982). Equal candidates can pass because levels are bounded together.

Left out: the choice of alpha (`spending.py`), and what happens to a rejected candidate (`loop.py`).
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from bootstrap.config.evaluation import Gate
from bootstrap.evaluation.intervals import paired_lower_bound
from bootstrap.evaluation.metrics import pool_small
from bootstrap.evaluation.protection import Protected
from bootstrap.evaluation.report import OutcomeRow
from bootstrap.ledger_records import Decision, LevelTest
from bootstrap.levels import level_range
from bootstrap.paired import mcnemar_exact

Pair = tuple[bool, bool]
"""Whether the candidate, and whether its reference, answered one prompt right."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """One generation's answers to held-out prompts."""

    rows: Sequence[OutcomeRow]
    """Of the recipe's own task, in any order; a prompt that stands in several levels counts at the lowest."""
    panel: Sequence[OutcomeRow] = ()
    """Of the panel's tasks, distinguished by `task`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImprovementTest:
    """The level at which improvement is tested."""

    alpha: float
    branches: int = 1
    """Siblings that are compared with the champion on the same prompts. The best one that passes is kept, so each is
    tested at alpha / branches (Bonferroni). The other tests need no correction: a sibling has to pass all of them."""
    shared: str = ""
    """What else shares alpha, as a clause of the decision's reason."""

    @property
    def level(self) -> float:
        return self.alpha / self.branches

    def __str__(self) -> str:
        if not self.alpha:
            return "alpha is spent: each of the lineage's comparisons without a promotion took its share"
        branches = f" / {self.branches} branches" if self.branches > 1 else ""
        return f"alpha {self.alpha:.3g}{branches}{self.shared}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Paired:
    """The paired answers of one test."""

    levels: tuple[int, ...]
    reference: tuple[int, ...]
    """The generations compared with."""
    pairs: Sequence[Pair] = field(repr=False)


def decide(
    *,
    candidate: Answers,
    line: Mapping[int, Answers],
    champion: int,
    target_levels: Sequence[int],
    protected: Protected,
    settings: Gate,
    test: ImprovementTest | None = None,
    members: Mapping[int, Collection[str]] | None = None,
    slices: Mapping[str, Collection[str]] | None = None,
    asked_alike: bool = True,
) -> Decision:
    """Return the decision with its tests. A prompt that either side could not be judged on enters no test.

    `line`: generation -> answers, of the champion and of all that `protected` names. `test`: the level of improvement;
    None takes the settings' alpha. `members`: target level -> ids of all its prompts, including those that stand in
    lower levels too; a level without an entry has those that stand in no lower one. `slices`: declared slice -> ids of
    its prompts. `asked_alike`: whether both sides have to have the same prompts; otherwise the common ones count.
    """
    test, members, slices = test or ImprovementTest(alpha=settings.alpha), members or {}, slices or {}
    ours = _by_level(candidate.rows)
    theirs = {number: _by_level(answers.rows) for number, answers in line.items()}
    pair = partial(_pairs, asked_alike=asked_alike)

    def on_levels(reference: Mapping[int, int]) -> _Paired:
        """Pair the answers on levels. `reference`: level -> generation compared with."""
        pairs = [
            found
            for level, number in sorted(reference.items())
            for found in pair(ours.get(level, {}), theirs[number].get(level, {}))
        ]
        return _Paired(levels=tuple(sorted(reference)), reference=tuple(sorted({*reference.values()})), pairs=pairs)

    def on_prompts(prompts: Collection[str], number: int, *, levels: Iterable[int] | None = None) -> _Paired:
        """Pair the answers to these prompts, whatever levels they stand in, with those of generation `number`."""
        mine, other = (_flat(rows, only=prompts) for rows in (ours, theirs[number]))
        stand = levels or (level for level, rows in ours.items() if not mine.keys().isdisjoint(rows))
        return _Paired(levels=tuple(sorted(stand)), reference=(number,), pairs=pair(mine, other))

    def on_panel(task: str, number: int) -> _Paired:
        mine, other = (
            _by_level(row for row in panel if row.task == task) for panel in (candidate.panel, line[number].panel)
        )
        return _Paired(levels=tuple(sorted(mine)), reference=(number,), pairs=pair(_flat(mine), _flat(other)))

    aimed = {prompt for level in target_levels for prompt in members.get(level, ours.get(level, {}))}
    improvement = _improvement(on_prompts(aimed, champion, levels=target_levels), settings, test)
    # A level has no test if it was not asked or all its prompts stand in lower levels.
    counts = {level: len(ours[level]) for level in protected.levels if ours.get(level)}
    groups = [
        on_levels({level: protected.levels[level] for level in group})
        for group in pool_small(counts, min_prompts=settings.min_prompts)
    ]
    retention = tuple(_observed(group, settings) for group in groups)
    together = on_levels(dict.fromkeys(counts, champion))
    pooled = _bounded(together, settings, margin=settings.retention_margin) if groups else None
    parts = {f"level {level}": on_levels({level: n}) for level, n in protected.below.items() if ours.get(level)}
    parts |= {f"slice {name}": on_prompts(slices[name], number) for name, number in protected.slices.items()}
    bests = {f"panel {task}": on_panel(task, number) for task, number in protected.panel.items() if number != champion}
    margins = {**dict.fromkeys(parts, settings.retention_margin), **dict.fromkeys(bests, settings.panel_margin)}
    within = {
        name: _beyond_chance(part, settings, margin=margins[name], num_tests=len(margins))
        for name, part in {**parts, **bests}.items()
    }
    panel = {
        task: _bounded(on_panel(task, champion), settings, margin=settings.panel_margin) for task in protected.panel
    }
    kept = (*retention, *([pooled] if pooled else ()), *within.values(), *panel.values())
    return Decision(
        promoted=improvement.passed and all(one.passed for one in kept),
        reason=_reason(improvement, retention, pooled, within, panel, test, alpha=settings.alpha),
        champion=champion,
        improvement=improvement,
        retention=retention,
        pooled=pooled,
        slices=within,
        panel=panel,
    )


def unrepeated(rows: Iterable[OutcomeRow]) -> list[OutcomeRow]:
    """Return the rows in order of levels, each prompt only at the lowest of its levels."""
    return [row for known in _lowest(rows).values() for row in known.values()]


def _lowest(rows: Iterable[OutcomeRow]) -> dict[int, dict[str, OutcomeRow]]:
    """Return level -> prompt id -> row, each prompt at the lowest of its levels."""
    seen: set[str] = set()
    found: dict[int, dict[str, OutcomeRow]] = {}
    for row in sorted(rows, key=lambda row: row.level):
        known = found.setdefault(row.level, {})
        assert row.prompt_id not in known, "a held-out prompt was asked twice"
        if row.prompt_id not in seen:
            known[row.prompt_id] = row
            seen.add(row.prompt_id)
    return found


def _by_level(rows: Iterable[OutcomeRow]) -> dict[int, dict[str, bool | None]]:
    """Return level -> prompt id -> whether its answer is right, each prompt at the lowest of its levels."""
    return {level: {prompt: row.correct for prompt, row in known.items()} for level, known in _lowest(rows).items()}


def _flat(
    by_level: Mapping[int, Mapping[str, bool | None]], *, only: Collection[str] | None = None
) -> dict[str, bool | None]:
    rows = (row for level in by_level.values() for row in level.items())
    return {prompt: correct for prompt, correct in rows if only is None or prompt in only}


def _pairs(ours: Mapping[str, bool | None], theirs: Mapping[str, bool | None], *, asked_alike: bool) -> list[Pair]:
    """Return both sides' answers to the prompts that both were judged on."""
    assert not asked_alike or ours.keys() == theirs.keys(), (
        "candidate and champion were asked different held-out prompts"
    )
    both = ((ours[prompt], theirs[prompt]) for prompt in ours if prompt in theirs)
    return [(one, other) for one, other in both if one is not None and other is not None]


def _improvement(found: _Paired, settings: Gate, test: ImprovementTest) -> LevelTest:
    counts = _compare(found, confidence=1 - settings.alpha)
    p_value = mcnemar_exact(counts.gained, lost=counts.lost)
    passed = p_value < test.level and counts.gained > counts.lost
    return counts.model_copy(update={"p_value": p_value, "passed": passed, "alpha": test.level, "reference": ()})


def _observed(found: _Paired, settings: Gate) -> LevelTest:
    """Test that the share itself is within the margin of the line's best, which bounds the sum of all losses."""
    counts = _compare(found, confidence=1 - settings.alpha)
    passed = bool(counts.num_prompts) and not _falls_beyond(settings.retention_margin, counts)
    return counts.model_copy(update={"passed": passed, "margin": settings.retention_margin})


def _bounded(found: _Paired, settings: Gate, *, margin: float) -> LevelTest:
    """Test non-inferiority: the lower score bound is within the margin.

    With few prompts the bound is below the margin even if all answers are equal. The margin is then widened to the
    bound of equal answers: such a candidate passes, and one with a net loss does not.
    """
    counts = _compare(found, confidence=1 - settings.alpha)
    if not counts.num_prompts:
        return counts.model_copy(update={"margin": margin})
    finest = -paired_lower_bound(0, lost=0, total=counts.num_prompts, confidence=1 - settings.alpha)
    margin = max(margin, finest)
    passed = counts.difference_low >= -margin
    return counts.model_copy(update={"passed": passed, "margin": margin, "alpha": settings.alpha})


def _beyond_chance(found: _Paired, settings: Gate, *, margin: float, num_tests: int) -> LevelTest:
    """Test that a slice is not below the line's best by more than the margin, unless chance explains it.

    On answers far from mastered, equal models differ in many of them, so a small slice moves by more than the margin by
    chance. A fall therefore counts only if it is beyond the margin and the exact one-sided McNemar test finds a loss at
    alpha / `num_tests` (Bonferroni). A slice without a judged prompt passes: it shows no loss.
    """
    counts = _compare(found, confidence=1 - settings.alpha)
    alpha, discordant = settings.alpha / num_tests, counts.gained + counts.lost
    tail = sum(math.comb(discordant, gains) for gains in range(counts.gained + 1)) / 2**discordant
    passed = not (_falls_beyond(margin, counts) and tail < alpha)
    return counts.model_copy(update={"passed": passed, "p_value": tail, "alpha": alpha, "margin": margin})


def _falls_beyond(margin: float, counts: LevelTest) -> bool:
    """Whether the share falls by more than the margin. The tolerance is for rounding: margins are decimals."""
    return counts.lost - counts.gained > margin * counts.num_prompts + 1e-9


def _compare(found: _Paired, *, confidence: float) -> LevelTest:
    """Return the counts of a comparison as a test that has not passed; shares are 0 without a judged prompt."""
    total = len(found.pairs)
    gained = sum(ours and not theirs for ours, theirs in found.pairs)
    lost = sum(theirs and not ours for ours, theirs in found.pairs)
    return LevelTest(
        levels=found.levels,
        num_prompts=total,
        candidate=sum(ours for ours, _ in found.pairs) / total if total else 0.0,
        champion=sum(theirs for _, theirs in found.pairs) / total if total else 0.0,
        gained=gained,
        lost=lost,
        difference_low=paired_lower_bound(gained, lost=lost, total=total, confidence=confidence) if total else -1.0,
        passed=False,
        reference=found.reference,
    )


def _reason(
    improvement: LevelTest,
    retention: Sequence[LevelTest],
    pooled: LevelTest | None,
    slices: Mapping[str, LevelTest],
    panel: Mapping[str, LevelTest],
    test: ImprovementTest,
    *,
    alpha: float,
) -> str:
    """Return the decision's reason as one sentence. `alpha`: the settings' own, of which `test` may have a share."""
    faults = [] if improvement.passed else [_no_improvement(improvement, test, alpha=alpha)]
    fallen = [_fallen(level_range(one.levels), one) for one in retention if not one.passed]
    if pooled is not None and not pooled.passed and not fallen:
        together = " together" if len(pooled.levels) > 1 else ""
        fallen = [_unproven(f"{level_range(pooled.levels)}{together}", pooled)]
    faults += fallen
    faults += [_fallen(name, one) for name, one in slices.items() if not one.passed]
    faults += [_unproven(f"{task} {level_range(one.levels)}", one) for task, one in panel.items() if not one.passed]
    if faults:
        return "rejected: " + "; ".join(faults)
    levels = sorted(level for one in retention for level in one.levels)
    retained = f"{level_range(levels)} retained" if levels else "no level was mastered before"
    if slices:
        kinds = Counter(name.split()[0] for name in slices)
        names = {"panel": "panel task"}
        told = (f"{count} {names.get(kind, kind)}{'s' if count > 1 else ''}" for kind, count in kinds.items())
        retained += f"; no loss beyond chance in {', '.join(told)}"
    retained += f"; {', '.join(panel)} retained" if panel else ""
    told = f", {test}" if test.branches > 1 or test.shared else ""
    return f"{level_range(improvement.levels)}: {_moved(improvement)} (p {improvement.p_value:.2g}{told}); {retained}"


def _no_improvement(improvement: LevelTest, test: ImprovementTest, *, alpha: float) -> str:
    """Return why the target levels speak against the candidate: no significant change, or a significant loss.

    A loss is called significant at the settings' whole alpha: shares of it are for claims of improvement.
    """
    p_value = improvement.p_value
    if not improvement.num_prompts or p_value is None:
        return _unjudged(level_range(improvement.levels))
    is_worse = improvement.lost > improvement.gained and p_value < alpha
    verdict, level = ("significantly worse", f"alpha {alpha:.3g}") if is_worse else ("no significant improvement", test)
    return (
        f"{level_range(improvement.levels)} {_moved(improvement)} is {verdict} "
        f"(p {p_value:.2g}, {level}, {improvement.gained} gained, {improvement.lost} lost)"
    )


def _fallen(name: str, one: LevelTest) -> str:
    if not one.num_prompts:
        return _unjudged(name)
    best = ", ".join(f"gen-{number}" for number in one.reference)
    return f"{name} fell {_moved(one)} from the best of {best} (margin {one.margin:.3f})"


def _unproven(name: str, one: LevelTest) -> str:
    if not one.num_prompts:
        return _unjudged(name)
    verb = "fell" if one.candidate < one.champion else "is not shown to be retained:"
    return f"{name} {verb} {_moved(one)} (lower bound {one.difference_low:.3f}, margin {one.margin:.3f})"


def _unjudged(name: str) -> str:
    return f"no held-out prompt of {name} could be judged for both"


def _moved(one: LevelTest) -> str:
    return f"{one.champion:.3f} -> {one.candidate:.3f}"
