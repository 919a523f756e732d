"""The bar that the gate holds every candidate to: the best results of the champion line, and the generations with them.

The best of the line counts, not the last champion's results, so that losses that the gate tolerates do not add up from
one generation to the next. Left out: the tests themselves (`gate.py`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from bootstrap.evaluation.guards import distrusted
from bootstrap.evaluation.report import judged_shares, pooled_share
from bootstrap.ledger_records import Decision, Generation, LevelReport, Report

K = TypeVar("K", int, str)


@dataclass(frozen=True, kw_only=True, slots=True)
class Protected:
    """Everything that a promotion must not lose: name -> the generation that did best at it, the latest of equals."""

    levels: Mapping[int, int] = field(default_factory=dict)
    """Levels that a champion of the line has mastered."""
    below: Mapping[int, int] = field(default_factory=dict)
    """Levels of fixed data that none of them has mastered."""
    slices: Mapping[str, int] = field(default_factory=dict)
    """Declared slices of fixed data."""
    slice_levels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Slice -> the levels that it is compared on."""
    panel: Mapping[str, int] = field(default_factory=dict)
    """Tasks of the evaluation's panel."""

    @property
    def generations(self) -> set[int]:
        """All generations that did best at something."""
        return {number for kind in (self.levels, self.below, self.slices, self.panel) for number in kind.values()}

    @property
    def highest_level(self) -> int:
        """The highest level that a candidate has to be asked; 0 without any."""
        return max((*self.levels, *self.below), default=0)


def champion_line(
    generations: Sequence[Generation], champion: int, *, restarts: Collection[int], superseded: Collection[int] = ()
) -> tuple[int, ...]:
    """Return the champions of a lineage up to `champion`, ascending, without those that guards distrust.

    `generations`: those committed before the candidate. `restarts`: generations promoted by the recipe although they
    lost something (`was_by_word`); the line begins anew at the latest of them. `superseded`: champions that a sibling
    has replaced.
    """
    left = distrusted(generations)
    first = max((number for number in restarts if number <= champion), default=0)
    found = {one.champion for one in generations if first <= one.champion <= champion} - left
    found -= {*superseded}
    return tuple(sorted(found | {champion}))


def was_by_word(decision: Decision) -> bool:
    """Whether `gate: always` promoted it although a retention test failed."""
    kept = (*decision.retention, decision.pooled, *decision.slices.values(), *decision.panel.values())
    return decision.promoted and not all(test.passed for test in kept if test is not None)


def protected(
    line: Mapping[int, Report],
    *,
    mastered: float,
    min_prompts: int,
    fixed: bool,
    highest: int | None = None,
) -> Protected:
    """Return everything that a champion line has reached. `line`: generation -> report.

    `mastered`: accuracy from which a level counts as mastered; levels with fewer than `min_prompts` prompts are judged
    together with the next. `fixed`: whether the data are fixed, so that levels below `mastered` are protected too.
    `highest`: the task's last level; reports of earlier versions may repeat it at higher numbers.
    """
    reached = {
        level
        for report in line.values()
        for level, share in judged_shares(report.levels, min_prompts=min_prompts).items()
        if share >= mastered and (highest is None or level <= highest)
    }
    levels, latest = sorted(reached), line[max(line)]
    below = [
        row.level for row in latest.levels if fixed and row.level not in reached and row.level <= (highest or row.level)
    ]
    return Protected(
        levels=_best(line, levels, lambda report, level: _share(report.level(level))),
        below=_best(line, below, lambda report, level: _share(report.level(level))),
        slices={name: _best_slice(line, name) for name in sorted(latest.slices)},
        slice_levels={name: tuple(share.level for share in shares) for name, shares in sorted(latest.slices.items())},
        # The default is for a task without a judged prompt.
        panel=dict.fromkeys(sorted(latest.panel), max(line))
        | _best(line, sorted(latest.panel), lambda report, name: _pooled(report.panel.get(name, ()))),
    )


def _best(
    line: Mapping[int, Report], keys: Sequence[K], share: Callable[[Report, K], tuple[int, float] | None]
) -> dict[K, int]:
    """Return key -> the generation with the largest share, the latest of equals.

    `share` returns (number of prompts, share of right answers), or None. Only generations with as many prompts as the
    latest one are compared: a share of other prompts is not comparable.
    """
    best: dict[K, int] = {}
    for key in keys:
        found = {number: one for number, report in line.items() if (one := share(report, key)) is not None}
        if found:
            prompts = found[max(found)][0]
            best[key] = max((right, number) for number, (asked, right) in found.items() if asked == prompts)[1]
    return best


def _best_slice(line: Mapping[int, Report], name: str) -> int:
    """Return the best generation at a slice on the levels of the latest report, among those with as many prompts."""
    wanted = {share.level: share.num_prompts for share in line[max(line)].slices[name]}
    found = {}
    for number, report in line.items():
        own = [share for share in report.slices.get(name, ()) if wanted.get(share.level) == share.num_prompts]
        if len(own) == len(wanted) and (share := pooled_share(own)) is not None:
            found[number] = share
    return max(found, key=lambda number: (found[number], number), default=max(line))


def _share(row: LevelReport | None) -> tuple[int, float] | None:
    return None if row is None else (row.num_prompts - row.num_repeated, row.accuracy)


def _pooled(rows: Sequence[LevelReport]) -> tuple[int, float] | None:
    share = pooled_share(rows)
    return None if share is None else (sum(row.num_prompts for row in rows), share)
