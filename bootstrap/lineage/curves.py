"""Compute against quality: a lineage's champion after each generation, over the FLOPs spent until then.

The cost of a generation counts whether it was promoted or not: what was tried and rejected has been paid for. FLOPs
are those since generation 0, whose own are the price of the start and reported beside.

Left out: laws fitted to the curve (`evaluation/scaling.py`), how it looks (`picture.py`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bootstrap.errors import RecipeError
from bootstrap.records import Generation, Outcome
from bootstrap.store.ledger import Entry

MEASURING = ("evaluate", "health")
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
    def label(self) -> str:
        if not self.is_share:
            return "frontier (level)"
        span = f"{self.levels[0]}" if len(self.levels) == 1 else f"{self.levels[0]}-{self.levels[-1]}"
        what = {"accuracy": "greedy accuracy", "pass_at_1": "pass@1", "pass_at_k": "pass@k"}[self.kind]
        return f"{what}, level{'' if len(self.levels) == 1 else 's'} {span}"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One generation on the curve."""

    generation: int
    outcome: Outcome
    flops: Mapping[str, float]
    """FLOPs since generation 0 by category, this generation's included."""
    total: float
    """Their sum over the counted categories."""
    value: float
    """The champion's, once this generation is committed."""
    low: float | None
    """95 % interval of a greedy share; None for the frontier and for sampled shares, of which no spread is kept."""
    high: float | None
    own: float
    """The generation's own value, promoted or not."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One lineage."""

    lineage: str
    quality: Quality
    points: tuple[Point, ...]
    """In the ledger's order; the first is generation 0, at no cost."""
    base_flops: float
    """What generation 0 itself cost, in the counted categories."""
    unmeasured: tuple[int, ...]
    """Levels that some champion was not asked about; they count as 0 there."""

    def flops_to(self, value: float) -> float | None:
        """Return the FLOPs after which the champion is first at `value` or better; None while it never is."""
        return next((point.total for point in self.points if point.value >= value), None)


def curve(entries: Sequence[Entry], *, quality: Quality, count_evaluation: bool = True) -> Curve:
    """Return the curve of a lineage of at least one generation.

    A level beyond those that a generation was evaluated on counts as 0: evaluation looks `lookahead` levels past the
    target, where answers are wrong already. Raises RecipeError for sampled metrics on levels nobody sampled.
    """
    assert entries, "a lineage without generations has no curve"
    generations = [entry.generation for entry in entries]
    spent: dict[str, float] = {}
    points, unmeasured = [], set[int]()
    for generation in generations:
        if generation.number:
            for category, flops in generation.compute.flops.items():
                spent[category] = spent.get(category, 0.0) + flops
        champion = generations[generation.champion]
        value, low, high = _measure(champion, quality)
        own, _, _ = _measure(generation, quality)
        unmeasured |= {level for level in quality.levels if champion.report.level(level) is None}
        points.append(
            Point(
                generation=generation.number,
                outcome=generation.outcome,
                flops=dict(spent),
                total=_counted(spent, count_evaluation),
                value=value,
                low=low,
                high=high,
                own=own,
            )
        )
    if quality.kind.startswith("pass") and not any(_sampled(g, quality) for g in generations):
        raise RecipeError(
            f"no generation of {generations[0].lineage} was sampled on {quality.label}: only target levels are, where "
            "evaluation.sampled is set; use --metric accuracy"
        )
    return Curve(
        lineage=generations[0].lineage,
        quality=quality,
        points=tuple(points),
        base_flops=_counted(generations[0].compute.flops, count_evaluation),
        unmeasured=tuple(sorted(unmeasured)),
    )


def _counted(flops: Mapping[str, float], count_evaluation: bool) -> float:
    return sum(value for category, value in flops.items() if count_evaluation or category not in MEASURING)


def _sampled(generation: Generation, quality: Quality) -> bool:
    rows = [generation.report.level(level) for level in quality.levels]
    return any(row is not None and row.pass_at_1 is not None for row in rows)


def _measure(generation: Generation, quality: Quality) -> tuple[float, float | None, float | None]:
    """Return value and 95 % interval; that of a mean over levels by the half-widths in quadrature."""
    if not quality.is_share:
        return float(generation.report.frontier), None, None
    rows, count = [generation.report.level(level) for level in quality.levels], len(quality.levels)
    if quality.kind != "accuracy":
        sampled = (getattr(row, quality.kind) if row is not None else None for row in rows)
        return sum(share or 0.0 for share in sampled) / count, None, None
    measured = [row for row in rows if row is not None]
    value = sum(row.accuracy for row in measured) / count
    halves = [(row.accuracy - row.interval.low, row.interval.high - row.accuracy) for row in measured]
    below = math.sqrt(sum(half**2 for half, _ in halves)) / count
    above = math.sqrt(sum(half**2 for _, half in halves)) / count
    return value, max(value - below, 0.0), min(value + above, 1.0)
