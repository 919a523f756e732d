"""What happened to a generation, in one sentence: the first of its pages.

    Promoted: 7-digit addition 0.412 -> 0.970 (+0.558, 95 % CI 0.525 to 0.590), nothing lost
    Rejected: 7-digit addition 0.970 -> 0.971 (+0.001, 95 % CI -0.010 to 0.013), not significantly better (p 1)

A pure function of the record and of the recipe's task and alpha. "Nothing lost" stands only where no level, slice or
panel task that the gate tested is lower than what it was compared with. Left out: the gate's own reason, which names
every test (`Decision.reason`), and its table (`sheets.py`).
"""

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

from bootstrap.ledger_records import Generation, GenerationOutcome, Interval, LevelTest
from bootstrap.levels import level_range
from bootstrap.lineage import queries, text
from bootstrap.paired import score

ALPHA = 0.05
"""Level of the gate where the recipe tells none."""
_SHOWN_FAULTS = 2
_NAMED = {
    "addition": "{n}-digit addition",
    "reversal": "reversal of {n} symbols",
    "copy": "copy of {n} symbols",
    "functions": "functions of level {n}",
    "programs": "programs of level {n}",
}
"""Type of a task -> its level n in words."""


def sentence(node: Generation, *, task: Mapping[str, Any] | None = None, alpha: float = ALPHA) -> str:
    """Return a generation's outcome as one sentence without a full stop.

    `task`: the recipe's, as plain JSON; `alpha`: the recipe's for its gate, of which a test may have had a share.
    """
    if node.outcome is GenerationOutcome.BASE:
        return _base(node, task)
    if node.outcome is GenerationOutcome.UNGATED:
        return f"Ungated: {_reached(node, task)}, by the recipe not compared with the champion"
    test = node.decision.improvement
    head = "Promoted" if node.decision.promoted else "Rejected"
    if test is None or not test.num_prompts:
        return f"{head}: {text.plain(node.decision.reason.removeprefix('rejected: '), limit=600)}"
    said = f"{head}: {subject(test.levels, task)} {moved(test)}"
    told = _kept(node) if node.decision.promoted else _faults(node, test, alpha=alpha)
    return f"{said}, {told}" if told else said


def subject(levels: Sequence[int], task: Mapping[str, Any] | None) -> str:
    """Return the levels of a task in words: `7-digit addition`, `copy, levels 3-4`, `level 2`."""
    kind = str((task or {}).get("type", ""))
    if kind in _NAMED and len(levels) == 1:
        return _NAMED[kind].format(n=levels[0])
    return f"{kind}, {level_range(levels)}" if kind in _NAMED else level_range(levels)


def moved(test: LevelTest) -> str:
    """Return shares, difference and interval of a comparison: `0.412 → 0.970 (+0.558, 95 % CI 0.525 to 0.590)`."""
    difference, bounds = test.candidate - test.champion, interval(test)
    shares = f"{test.champion:.3f} → {test.candidate:.3f}"
    return f"{shares} ({difference:+.3f}, 95 % CI {bounds.low:.3f} to {bounds.high:.3f})"


def interval(test: LevelTest) -> Interval:
    """Return the two-sided 95 % score interval of candidate - champion; [-1, 1] without a judged prompt."""
    if not test.num_prompts:
        return Interval(low=-1.0, high=1.0)
    return Interval(
        low=_bound(test.gained, test.lost, test.num_prompts),
        high=-_bound(test.lost, test.gained, test.num_prompts),
    )


def is_significantly_worse(test: LevelTest, *, alpha: float) -> bool:
    """Whether the two-sided test finds the candidate below its reference.

    `alpha`: the recipe's whole one, as in the gate's reason: shares of it are for claims of improvement.
    """
    return test.p_value is not None and test.lost > test.gained and test.p_value < alpha


def _bound(gained: int, lost: int, total: int) -> float:
    """Return the smallest difference that the score test does not reject, by bisection."""
    z = NormalDist().inv_cdf(0.975)
    if total == lost:
        return -1.0
    low, high = -1.0, (gained - lost) / total
    for _ in range(60):
        middle = (low + high) / 2
        if score(middle, gained=gained, lost=lost, total=total) > z:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _base(node: Generation, task: Mapping[str, Any] | None) -> str:
    origin = queries.forked_from(node)
    forked = f", forked from {text.plain(origin)}" if origin else ""
    return f"Base: {_reached(node, task)}{forked}"


def _reached(node: Generation, task: Mapping[str, Any] | None) -> str:
    best, frontier = queries.headline(node), node.report.frontier
    mastered = f"mastered up to level {frontier}" if frontier else "no level mastered"
    if best is None:
        return mastered
    low, high = best.interval.low, best.interval.high
    return f"{subject((best.level,), task)} {best.accuracy:.3f} (95 % CI {low:.3f} to {high:.3f}), {mastered}"


def _kept(node: Generation) -> str:
    """Return what a promoted generation lost of what the champion line had reached."""
    tests = [
        (name, one) for name, one in queries.gate_tests(node.decision) if name != "improvement" and one.num_prompts
    ]
    if not tests:
        return "no level was mastered before"
    lower = [(_name(name, one), one) for name, one in tests if one.candidate < one.champion]
    if not lower:
        return "nothing lost"
    name, worst = max(lower, key=lambda found: found[1].champion - found[1].candidate)
    return f"within the margins: {name} {worst.champion:.3f} → {worst.candidate:.3f} is the largest fall"


def _faults(node: Generation, test: LevelTest, *, alpha: float) -> str:
    """Return why a generation was rejected, as clauses."""
    faults = []
    if not test.passed:
        p_value = "" if test.p_value is None else f" (p {test.p_value:.2g})"
        verdict = "significantly worse" if is_significantly_worse(test, alpha=alpha) else "not significantly better"
        faults.append(f"{verdict}{p_value}")
    for name, one in queries.gate_tests(node.decision):
        if name == "improvement" or one.passed:
            continue
        if not one.num_prompts:
            faults.append(f"{_name(name, one)} could not be judged")
        else:
            fell = "fell" if one.candidate < one.champion else "is not shown to be kept,"
            faults.append(f"{_name(name, one)} {fell} {one.champion:.3f} → {one.candidate:.3f}")
    faults += [f"guard {finding}" for finding in node.diagnostics.findings if finding.action.rejects]
    if not faults:
        return text.plain(node.decision.reason.removeprefix("rejected: "), limit=400)
    more = len(faults) - _SHOWN_FAULTS
    return "; ".join(faults[:_SHOWN_FAULTS]) + (f"; and {more} more" if more > 0 else "")


def _name(name: str, test: LevelTest) -> str:
    """Return what a test of the gate was about: its levels, slice or panel task."""
    if name == "retention":
        return level_range(test.levels)
    if name == "retention, together":
        return f"{level_range(test.levels)} together"
    return text.plain(name.removeprefix("panel: "), limit=80)
