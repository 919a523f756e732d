"""The gate: does the candidate replace the champion? All answered the same held-out prompts; each prompt counts once.

Five conditions, all on paired answers:

- Improvement: on the target levels together, more prompts gained than lost on the champion, and the exact McNemar test
  significant.
- Levels: on every level that the champion line has mastered, the share observed stays within the margin of the best
  that the line has reached there; levels with few prompts are judged together with the next.
- Pooled: on all these levels together, the lower score bound of candidate - champion stays within the margin.
- Panel: on every task that is watched beside the one trained on, the same bound over all its levels stays within a
  margin of its own.
- Slices of fixed data, and panel tasks that an earlier champion did better at: none is further below the best of the
  line than its margin, unless chance alone explains it.

Where the best of the line, and not its last, is the bar (`protection.py`), losses that are tolerated do not add up:
over any number of promotions a level loses one margin at most. The bounds are against the champion, since the best of
many is best by luck too, and a bound against it would keep out its equals. A candidate has to pass every test, so that
none needs a correction to keep out what is worse (Berger, Technometrics 24:295-300, 1982); what lets equal candidates
pass is that levels are bounded together.

Left out: what alpha is (`spending.py`), and what happens to a rejected candidate (`loop.py`).
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from bootstrap.config.evaluation import Gate
from bootstrap.evaluation.intervals import paired_lower_bound
from bootstrap.evaluation.metrics import mcnemar_exact, pool_small
from bootstrap.evaluation.protection import Protected
from bootstrap.evaluation.report import OutcomeRow
from bootstrap.ledger_records import Decision, LevelTest
from bootstrap.levels import level_range

Pair = tuple[bool, bool]
"""Whether the candidate and the one it is compared with answered one prompt."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What one generation answered on held-out prompts."""

    rows: Sequence[OutcomeRow]
    """Of the recipe's own task, in any order; a prompt that stands in several levels belongs to the lowest."""
    panel: Sequence[OutcomeRow] = ()
    """Of the tasks of the panel, told apart by `task`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImprovementTest:
    """What improvement is tested at."""

    alpha: float
    branches: int = 1
    """Siblings that are compared with the champion on the same prompts. Since the best that passes is kept, each is
    tested at alpha / branches (Bonferroni). Nothing else has a choice among tests: each sibling has to pass its own."""
    shared: str = ""
    """Who else shares alpha, for the decision's reason."""

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
    """The pairs of a comparison, and with whom."""

    levels: tuple[int, ...]
    reference: tuple[int, ...]
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
    """Return the decision and the tests it rests on.

    `line`: generation -> answers, of the champion and of all that `protected` names. `test`: alpha of improvement, the
    settings' without one. `members`: target level -> ids of all its prompts, those that stand in lower levels too;
    without an entry, those that stand in no lower one. `slices`: declared slice -> ids of its prompts. A prompt that
    either side could not be judged on enters no test. Two sides that were asked different prompts are a defect; where
    they are not `asked_alike`, what both were asked counts.
    """
    test, members, slices = test or ImprovementTest(alpha=settings.alpha), members or {}, slices or {}
    ours = _by_level(candidate.rows)
    theirs = {number: _by_level(answers.rows) for number, answers in line.items()}
    pair = partial(_pairs, asked_alike=asked_alike)

    def on_levels(reference: Mapping[int, int]) -> _Paired:
        """Pair the answers on levels, each with those of its generation."""
        pairs = [
            found
            for level, number in sorted(reference.items())
            for found in pair(ours.get(level, {}), theirs[number].get(level, {}))
        ]
        return _Paired(levels=tuple(sorted(reference)), reference=tuple(sorted({*reference.values()})), pairs=pairs)

    def on_prompts(prompts: Collection[str], number: int, *, levels: Iterable[int] | None = None) -> _Paired:
        """Pair the answers to these prompts, whatever levels they stand in, with those of a generation."""
        mine, other = (_only(_flat(rows), prompts) for rows in (ours, theirs[number]))
        stand = levels or (level for level, rows in ours.items() if not mine.keys().isdisjoint(rows))
        return _Paired(levels=tuple(sorted(stand)), reference=(number,), pairs=pair(mine, other))

    def on_panel(task: str, number: int) -> _Paired:
        mine, other = (
            _by_level(row for row in panel if row.task == task) for panel in (candidate.panel, line[number].panel)
        )
        return _Paired(levels=tuple(sorted(mine)), reference=(number,), pairs=pair(_flat(mine), _flat(other)))

    aimed = {prompt for level in target_levels for prompt in members.get(level, ours.get(level, {}))}
    improvement = _improvement(on_prompts(aimed, champion, levels=target_levels), settings, test)
    # A level whose prompts all stand in lower ones, or that was not asked, says nothing of its own.
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
        reason=_reason(improvement, retention, pooled, within, panel, test),
        champion=champion,
        improvement=improvement,
        retention=retention,
        pooled=pooled,
        slices=within,
        panel=panel,
    )


def unrepeated(rows: Iterable[OutcomeRow]) -> list[OutcomeRow]:
    """Return the rows with each prompt at the lowest of its levels alone, in the order of levels."""
    return [row for known in _lowest(rows).values() for row in known.values()]


def _lowest(rows: Iterable[OutcomeRow]) -> dict[int, dict[str, OutcomeRow]]:
    """Return level -> prompt -> row, each prompt at the lowest of its levels."""
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
    """Return level -> prompt -> whether its answer is right, each prompt at the lowest of its levels."""
    return {level: {prompt: row.correct for prompt, row in known.items()} for level, known in _lowest(rows).items()}


def _flat(by_level: Mapping[int, Mapping[str, bool | None]]) -> dict[str, bool | None]:
    return {prompt: correct for rows in by_level.values() for prompt, correct in rows.items()}


def _only(rows: Mapping[str, bool | None], members: Collection[str]) -> dict[str, bool | None]:
    return {prompt: correct for prompt, correct in rows.items() if prompt in members}


def _pairs(ours: Mapping[str, bool | None], theirs: Mapping[str, bool | None], *, asked_alike: bool) -> list[Pair]:
    """Return the answers of both sides to the prompts judged for both."""
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
    """Test that the share itself stays within the margin of the best: the sum of losses is then bounded by it."""
    counts = _compare(found, confidence=1 - settings.alpha)
    fallen, allowed = counts.lost - counts.gained, settings.retention_margin * counts.num_prompts
    # Margins are decimals, which products miss by a rounding error.
    passed = bool(counts.num_prompts) and fallen <= allowed + 1e-9
    return counts.model_copy(update={"passed": passed, "margin": settings.retention_margin})


def _bounded(found: _Paired, settings: Gate, *, margin: float) -> LevelTest:
    """Test non-inferiority: the lower score bound stays within the margin.

    Of few prompts the bound lies below the margin even when every answer is the same. The margin is then what so many
    prompts can tell apart, so that such a candidate passes, and one that lost anything on the whole does not.
    """
    counts = _compare(found, confidence=1 - settings.alpha)
    if not counts.num_prompts:
        return counts.model_copy(update={"margin": margin})
    finest = -paired_lower_bound(0, lost=0, total=counts.num_prompts, confidence=1 - settings.alpha)
    margin = max(margin, finest)
    passed = counts.difference_low >= -margin
    return counts.model_copy(update={"passed": passed, "margin": margin, "alpha": settings.alpha})


def _beyond_chance(found: _Paired, settings: Gate, *, margin: float, num_tests: int) -> LevelTest:
    """Test that a slice is not further below the best than the margin, unless chance explains it.

    Where answers are far from mastered, models that are equal differ in many of them, and a small slice moves by more
    than the margin for no reason. So a fall counts where it is beyond the margin and the exact one-sided McNemar test
    finds a loss, at alpha over the number of such tests (Bonferroni).
    """
    counts = _compare(found, confidence=1 - settings.alpha)
    alpha, discordant = settings.alpha / num_tests, counts.gained + counts.lost
    tail = sum(math.comb(discordant, gains) for gains in range(counts.gained + 1)) / 2**discordant
    beyond = counts.lost - counts.gained > margin * counts.num_prompts + 1e-9
    # Of a slice that nobody can judge nothing is shown, no loss either.
    passed = not (beyond and tail < alpha)
    return counts.model_copy(update={"passed": passed, "p_value": tail, "alpha": alpha, "margin": margin})


def _compare(found: _Paired, *, confidence: float) -> LevelTest:
    """Return the counts of a comparison, not yet passed; of no judged prompt, nothing is shown."""
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
) -> str:
    """Return the decision in one sentence."""
    faults = [] if improvement.passed else [_no_improvement(improvement, test)]
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


def _no_improvement(improvement: LevelTest, test: ImprovementTest) -> str:
    if not improvement.num_prompts:
        return f"no held-out prompt of {level_range(improvement.levels)} could be judged for both"
    return (
        f"{level_range(improvement.levels)} {_moved(improvement)} is no significant improvement "
        f"(p {improvement.p_value:.2g}, {test}, {improvement.gained} gained, {improvement.lost} lost)"
    )


def _fallen(name: str, one: LevelTest) -> str:
    if not one.num_prompts:
        return f"no held-out prompt of {name} could be judged for both"
    return f"{name} fell {_moved(one)} from {_best(one)} (margin {one.margin:.3f})"


def _unproven(name: str, one: LevelTest) -> str:
    if not one.num_prompts:
        return f"no held-out prompt of {name} could be judged for both"
    verb = "fell" if one.candidate < one.champion else "is not shown to be retained:"
    return f"{name} {verb} {_moved(one)} (lower bound {one.difference_low:.3f}, margin {one.margin:.3f})"


def _moved(one: LevelTest) -> str:
    return f"{one.champion:.3f} -> {one.candidate:.3f}"


def _best(one: LevelTest) -> str:
    return "the best of " + ", ".join(f"gen-{number}" for number in one.reference)
