"""Compute against quality: a lineage's champion after each generation, over the FLOPs spent until then; and beside it
what was left ungated, arm by arm.

A generation costs what it and all that it descends from cost, along every edge and each once; what descends from one
of several siblings (`branches`) pays for all of them, and a sibling for those tried before it. The champion's curve
goes over the generations that competed for that place, and counts those that were rejected too: what was tried has been
paid for. What was left ungated (`gate: never`) is an arm of its own, and costs the champion nothing unless a competitor
descends from it. FLOPs are those since generation 0, whose own are the price of the start and reported beside; a fork
goes on from what its origin cost.

Left out: laws fitted to the curve (`evaluation/scaling.py`), how it looks (`picture.py`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bootstrap.errors import RecipeError
from bootstrap.ledger_records import Generation, GenerationOutcome
from bootstrap.levels import level_range
from bootstrap.store.ancestry import Siblings, alone, compute_cost
from bootstrap.store.ledger import Entry

MEASURING = ("evaluate", "diagnostics")
"""The categories of FLOPs that measure and improve nothing."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What is measured of a generation."""

    kind: Literal["frontier", "accuracy", "pass_at_1", "pass_at_k"] = "frontier"
    levels: tuple[int, ...] = ()
    """For shares: the levels whose mean counts. Empty for the frontier."""

    def __post_init__(self) -> None:
        assert (self.kind == "frontier") == (not self.levels), "shares are of levels, the frontier is of all"

    @property
    def is_share(self) -> bool:
        return self.kind != "frontier"

    @property
    def is_sampled(self) -> bool:
        return self.kind.startswith("pass")

    @property
    def label(self) -> str:
        if not self.is_share:
            return "frontier (level)"
        what = {"accuracy": "greedy accuracy", "pass_at_1": "pass@1", "pass_at_k": "pass@k"}[self.kind]
        return f"{what}, {level_range(self.levels)}"


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One generation on the curve."""

    generation: int
    outcome: GenerationOutcome
    flops: Mapping[str, float]
    """FLOPs since generation 0 by category, this generation's included."""
    total: float
    """Their sum over the counted categories."""
    value: float | None
    """The champion's, once this generation is committed; an arm's generation's own. None where it was not sampled."""
    low: float | None
    """95 % interval of a greedy share; None for the frontier and for sampled shares, of which no spread is kept."""
    high: float | None
    own: float | None
    """The generation's own value, promoted or not."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The champions of one lineage, or one arm of it: the generations of a stage that are left ungated."""

    lineage: str
    stage: str | None = None
    """The arm's; None for the champions."""
    quality: Quality
    points: tuple[CurvePoint, ...]
    """In the ledger's order. The champions' begin with generation 0, at what a fork's origin cost or nothing."""
    start: CurvePoint | None = None
    """The generation that an arm starts from; None for fresh weights and for the champions."""
    base_flops: float
    """What generation 0 itself cost, in the counted categories, with that of a fork's origin; 0 for an arm that does
    not descend from it."""
    unmeasured: tuple[int, ...]
    """Levels that some generation was not asked about, of those whose values these are. For greedy shares they count as
    0 there; for sampled ones the point has no value."""

    @property
    def name(self) -> str:
        return self.lineage if self.stage is None else f"{self.lineage}: {self.stage}"

    def flops_to(self, value: float) -> float | None:
        """Return the FLOPs after which the curve is first at `value` or better; None while it never is."""
        reached = (point.total for point in self.points if point.value is not None and point.value >= value)
        return next(reached, None)


def curve(
    entries: Sequence[Entry], *, quality: Quality, count_evaluation: bool = True, siblings: Siblings = alone
) -> Curve:
    """Return the curve of the champions of a lineage of at least one generation.

    A level beyond those that a generation was evaluated on counts as 0: evaluation looks `lookahead` levels past the
    target, where answers are wrong already. Sampled are target levels alone, so a sampled share that lacks one of its
    levels has no value. Raises RecipeError for sampled shares that no generation has.
    """
    assert entries, "a lineage without generations has no curve"
    generations = [entry.generation for entry in entries]
    if quality.is_sampled and all(_measure(generation, quality)[0] is None for generation in generations):
        raise RecipeError(
            f"no generation of {generations[0].lineage} has judged samples for {quality.label}: sampled are target "
            "levels alone, where evaluation.sampled is set, and what the verifier cannot judge does not count; use "
            "--metric accuracy"
        )
    until: list[int] = []
    points, unmeasured = [], set[int]()
    for generation in competitors(generations):
        until.append(generation.number)
        champion = generations[generation.champion]
        unmeasured |= _unmeasured(champion, quality)
        flops = compute_cost(entries, until, siblings=siblings).since
        points.append(_point(generation, flops, shown=champion, quality=quality, count_evaluation=count_evaluation))
    return Curve(
        lineage=generations[0].lineage,
        quality=quality,
        points=tuple(points),
        base_flops=_counted(compute_cost(entries, [0]).start, count_evaluation),
        unmeasured=tuple(sorted(unmeasured)),
    )


def arms(
    entries: Sequence[Entry], *, quality: Quality, count_evaluation: bool = True, siblings: Siblings = alone
) -> tuple[Curve, ...]:
    """Return a curve for each stage whose generations are left ungated, in the ledger's order."""
    found = []
    for stage, generations in ungated(entries).items():
        parent = generations[0].parent
        numbers = [generation.number for generation in generations]

        def point(one: Generation, *, until: int) -> CurvePoint:
            tried = [sibling for sibling in siblings(one.number) if sibling < until]
            flops = compute_cost(entries, tried, siblings=siblings).since
            return _point(one, flops, shown=one, quality=quality, count_evaluation=count_evaluation)

        found.append(
            Curve(
                lineage=generations[0].lineage,
                stage=stage,
                quality=quality,
                points=tuple(point(generation, until=generation.number + 1) for generation in generations),
                start=None if parent is None else point(entries[parent].generation, until=numbers[0]),
                base_flops=_counted(compute_cost(entries, numbers, siblings=siblings).start, count_evaluation),
                unmeasured=tuple(sorted({level for one in generations for level in _unmeasured(one, quality)})),
            )
        )
    return tuple(found)


def competitors(generations: Sequence[Generation]) -> list[Generation]:
    """Return the generations that could become champion, generation 0 first."""
    return [generation for generation in generations if generation.outcome is not GenerationOutcome.UNGATED]


def ungated(entries: Sequence[Entry]) -> dict[str, list[Generation]]:
    """Return stage -> its generations, of those that are left ungated."""
    found: dict[str, list[Generation]] = {}
    for entry in entries:
        if entry.generation.outcome is GenerationOutcome.UNGATED:
            found.setdefault(entry.generation.stage, []).append(entry.generation)
    return found


def _point(
    generation: Generation, flops: Mapping[str, float], *, shown: Generation, quality: Quality, count_evaluation: bool
) -> CurvePoint:
    """Return a generation's point: at what has been paid by then, as high as `shown` is."""
    value, low, high = _measure(shown, quality)
    return CurvePoint(
        generation=generation.number,
        outcome=generation.outcome,
        flops=flops,
        total=_counted(flops, count_evaluation),
        value=value,
        low=low,
        high=high,
        own=_measure(generation, quality)[0],
    )


def _counted(flops: Mapping[str, float], count_evaluation: bool) -> float:
    return sum(value for category, value in flops.items() if count_evaluation or category not in MEASURING)


def _unmeasured(generation: Generation, quality: Quality) -> set[int]:
    """Return the levels that nothing is known of, in the quality's terms."""
    rows = {level: generation.report.level(level) for level in quality.levels}
    if not quality.is_sampled:
        return {level for level, row in rows.items() if row is None}
    return {level for level, row in rows.items() if row is None or getattr(row, quality.kind) is None}


def _measure(generation: Generation, quality: Quality) -> tuple[float | None, float | None, float | None]:
    """Return value and 95 % interval; that of a mean over levels by the half-widths in quadrature."""
    if not quality.is_share:
        return float(generation.report.frontier), None, None
    rows = [row for level in quality.levels if (row := generation.report.level(level)) is not None]
    count = len(quality.levels)
    if quality.is_sampled:
        if _unmeasured(generation, quality):
            return None, None, None
        return sum(getattr(row, quality.kind) for row in rows) / count, None, None
    value = sum(row.accuracy for row in rows) / count
    halves = [(row.accuracy - row.interval.low, row.interval.high - row.accuracy) for row in rows]
    below = math.sqrt(sum(half**2 for half, _ in halves)) / count
    above = math.sqrt(sum(half**2 for _, half in halves)) / count
    return value, max(value - below, 0.0), min(value + above, 1.0)
