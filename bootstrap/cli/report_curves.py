"""The curves of a report: lineages by name, the measure of quality, one curve per lineage and per ungated arm."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bootstrap.cli.stores import choose, committed, lineages
from bootstrap.errors import RecipeError, StoreError
from bootstrap.evaluation.scaling import Sigmoid, fit_sigmoid
from bootstrap.ledger_records import Generation
from bootstrap.lineage.curves import Curve, Quality, arms, competitors, curve
from bootstrap.stages.siblings import best_of
from bootstrap.store.ancestry import Siblings
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

SHARES = (0.5, 0.75, 0.9, 0.95)
"""Shares of right answers for which a report tells the FLOPs."""
_KINDS: Mapping[str, Literal["accuracy", "pass_at_1", "pass_at_k"]] = {
    "accuracy": "accuracy",
    "pass-at-1": "pass_at_1",
    "pass-at-k": "pass_at_k",
}


@dataclass(frozen=True, kw_only=True)
class Reported:
    """One lineage with its curve, the curve's sigmoid if one could be fitted, and its arms."""

    store: LineageStore
    entries: Sequence[Entry]
    curve: Curve
    fit: Sigmoid | None
    """Over the FLOPs since the curve's start, which for a fork excludes the origin's."""
    arms: tuple[Curve, ...]
    siblings: Siblings

    def best(self, arm: Curve) -> Generation:
        """Return the best of an arm's last siblings; without branches, its last generation."""
        last = arm.points[-1].generation
        return self.generations[best_of(self.generations, [one for one in self.siblings(last) if one <= last])]

    @property
    def generations(self) -> list[Generation]:
        return [entry.generation for entry in self.entries]


def read_reported(
    names: Sequence[str], *, store: Path, metric: str, levels: str | None, count_evaluation: bool
) -> list[Reported]:
    """Return the named lineages, or all of the store, with their curves.

    Raises RecipeError for a metric or levels that these lineages do not have, an unfit choice of lineages, StoreError.
    """
    stores = [_lineage(store, name) for name in names] if names else [choose(store, n) for n in lineages(store)]
    if not stores:
        raise StoreError(f"the store {store} holds no lineage yet; run a recipe first")
    if len({found.root.absolute() for found in stores}) < len(stores):
        raise RecipeError("a lineage is named twice; name each once")
    grown = [(found, committed(found)) for found in stores]
    if empty := [found.root.name for found, entries in grown if not entries]:
        if names or len(empty) == len(grown):
            raise RecipeError(f"lineage {empty[0]} has no generation yet; run its recipe first, or leave it out")
        grown = [(found, entries) for found, entries in grown if entries]
    quality = _quality(metric, levels, [entries for _, entries in grown])
    reported = []
    for found, entries in grown:
        siblings = found.header().siblings
        one = curve(entries, quality=quality, count_evaluation=count_evaluation, siblings=siblings)
        beside = arms(entries, quality=quality, count_evaluation=count_evaluation, siblings=siblings)
        reported.append(Reported(store=found, entries=entries, curve=one, fit=fit(one), arms=beside, siblings=siblings))
    return reported


def fit(one: Curve) -> Sigmoid | None:
    """Return the sigmoid through the generations that could become champion; None where their start is not known."""
    start = one.points[0]
    known = [(point.total - start.total, point.value) for point in one.points if point.value is not None]
    if start.value is None:
        return None
    highest = 1.0 if one.quality.is_share else math.inf
    return fit_sigmoid([x for x, _ in known], [y for _, y in known], start=start.value, highest=highest)


def goals(reported: Sequence[Reported]) -> list[float]:
    """Return the values for which a report tells the FLOPs: those that some lineage reaches after its start."""
    if reported[0].curve.quality.is_share:
        values: Sequence[float] = SHARES
    else:
        start = min(r.curve.points[0].value or 0.0 for r in reported)
        end = max(point.value or 0.0 for r in reported for point in r.curve.points)
        values = [float(level) for level in range(int(start) + 1, int(end) + 1)]
    return [value for value in values if any(r.curve.flops_to(value) for r in reported)]


def first_target(entries: Sequence[Entry]) -> int:
    """Return the first target level of the first competing generation after generation 0.

    If none competed, that of generation 1; if there is none, the highest target of generation 0.
    """
    generations = [entry.generation for entry in entries]
    later = [*competitors(generations)[1:], *generations[1:]]
    return later[0].target_levels[0] if later else max(generations[0].target_levels)


def _lineage(store: Path, name: str) -> LineageStore:
    """Return a lineage by its name in the store, or by the path of its folder."""
    folder = Path(name)
    if folder.name != name and LineageStore(folder).exists:
        return LineageStore(folder)
    return choose(store, name)


def _quality(metric: str, levels: str | None, grown: Sequence[Sequence[Entry]]) -> Quality:
    if metric == "frontier":
        if levels is not None:
            raise RecipeError("the frontier is of all levels; remove --levels, or use --metric accuracy")
        return Quality()
    if levels is None:
        aims = {first_target(entries) for entries in grown if len(entries) > 1}
        if not aims:
            raise RecipeError(
                "nothing is grown beyond generation 0 yet, so no level has been aimed at; name those to report, as "
                "--levels 5-8"
            )
        if len(aims) != 1:
            raise RecipeError("these lineages first aim at different levels; name those to compare, as --levels 5-8")
        chosen: tuple[int, ...] = (aims.pop(),)
    else:
        chosen = _levels(levels)
    return Quality(kind=_KINDS[metric], levels=chosen)


def _levels(text_of: str) -> tuple[int, ...]:
    """Return the levels of `5`, `5-8` or `1,3,5-8`. Raises RecipeError for anything else."""
    found: list[int] = []
    for part in text_of.split(","):
        numbers = re.fullmatch("([0-9]{1,5})(?:-([0-9]{1,5}))?", part)
        first, last = (int(numbers[1]), int(numbers[2] or numbers[1])) if numbers else (0, 0)
        if not 1 <= first <= last <= 10_000:
            raise RecipeError(f"{text_of!r} names no levels; write 5, 5-8 or 1,3,5-8")
        found += range(first, last + 1)
    return tuple(sorted(set(found)))
