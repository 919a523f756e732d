"""What the next generation aims at, judged by the champion's held-out accuracy at each level.

`next` raises the level when accuracy passes a bound, as RLVE does (arXiv:2511.07317); `accelerated` takes all next
levels that the champion already half solves, as the fast schedule of arXiv:2502.01612; `fixed` is that paper's plain
schedule, one more level per round.
"""

from collections.abc import Mapping, Sequence

from bootstrap.config.generations import Accelerated, Curriculum, Fixed


def target_levels(
    curriculum: Curriculum, accuracies: Mapping[int, float], *, base_level: int, generation: int
) -> tuple[int, ...]:
    """Return the levels that a generation (from 1 on) aims at, ascending and consecutive.

    `accuracies` maps levels to shares of right held-out answers; a level that was not measured counts as not reached.
    The first target is one above the highest level reached (with all levels below it reached too), and never within
    the base's: those levels have references, which replay keeps showing, so a base that missed one of them is repaired
    by replay while the aim moves on. `accelerated` adds the following levels up to and including the first one below
    `until`.
    """
    if isinstance(curriculum, Fixed):
        return (base_level + generation,)
    first = max(len(mastered_levels(accuracies, curriculum.raise_at)), base_level) + 1
    targets = [first]
    if isinstance(curriculum, Accelerated):
        while len(targets) < curriculum.max_levels and accuracies.get(targets[-1], -1.0) >= curriculum.until:
            targets.append(targets[-1] + 1)
    return tuple(targets)


def mastered_levels(accuracies: Mapping[int, float], bound: float) -> tuple[int, ...]:
    """Return the levels from 1 up to the last before the first one below `bound` or not measured."""
    level = 1
    while accuracies.get(level, -1.0) >= bound:
        level += 1
    return tuple(range(1, level))


def replay_levels(targets: Sequence[int]) -> tuple[int, ...]:
    """Return the levels below the first target: those that must not be forgotten."""
    return tuple(range(1, min(targets)))
