"""What the next generation aims at, judged by held-out accuracy at each level.

`next` raises the level when accuracy passes a bound, as RLVE does (arXiv:2511.07317); `accelerated` takes several next
levels at once, up to the first that is hard; `solved` takes those that are solved without having been trained on,
the accelerated schedule of arXiv:2502.01612; `fixed` is that paper's plain schedule, one more level per round; `given`
names the levels.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import count, islice, takewhile

from bootstrap.config.generations import Accelerated, Curriculum, Fixed, Given, Solved, Stage


def aims_by(stage: Stage, *, champion: int, init: int | None) -> int:
    """Return the generation whose held-out accuracy says what a generation of the stage aims at.

    That is what it starts from (`init`, None for another model): these weights are to learn something new. The
    champion's where they have nothing of their own to go by: another model, or the base, which the champion teaches
    unless the gate leaves its children alone.
    """
    taught = init is None or (stage.init == "base" and stage.gate != "never")
    return champion if taught else init


def target_levels(
    curriculum: Curriculum, accuracies: Mapping[int, float], *, base_level: int, rise: int, aimed: int
) -> tuple[int, ...]:
    """Return the levels that a generation aims at, ascending; consecutive unless they are `given`.

    `rise`: how far above the base's the `fixed` schedule has come (`Recipe.rise`). `aimed`: highest level aimed at by
    the generation that decides and by its ancestors. `accuracies` maps levels to shares of right held-out answers of
    the former; a level that was not measured counts as not reached. The first target is the first level
    beyond the base's that is not reached. The base's own levels are not aimed at: they have references, which replay
    keeps showing, so one that dips is repaired by replay while the aim moves on.
    `accelerated` adds the following levels up to and including the first one below `until`. `solved` starts above
    `aimed` instead, and adds levels as long as each of them is solved.
    """
    if isinstance(curriculum, Given):
        return curriculum.levels
    if isinstance(curriculum, Fixed):
        return (base_level + rise,)
    if isinstance(curriculum, Solved):
        first = max(aimed, base_level) + 1
        solved = takewhile(lambda level: accuracies.get(level, -1.0) >= curriculum.solved_at, count(first))
        return tuple(islice(solved, curriculum.max_levels)) or (first,)
    first = base_level + 1
    while accuracies.get(first, -1.0) >= curriculum.raise_at:
        first += 1
    targets = [first]
    if isinstance(curriculum, Accelerated):
        while len(targets) < curriculum.max_levels and accuracies.get(targets[-1], -1.0) >= curriculum.until:
            targets.append(targets[-1] + 1)
    return tuple(targets)


def retained_levels(accuracies: Mapping[int, float], bound: float, *, targets: Sequence[int]) -> tuple[int, ...]:
    """Return every level at `bound` or better that is not aimed at, below the targets or above: none may be lost."""
    return tuple(sorted(level for level, share in accuracies.items() if share >= bound and level not in targets))


def replay_levels(targets: Sequence[int], *, held: Collection[int] = ()) -> tuple[int, ...]:
    """Return the levels to replay: all below the first target, and those the pool `held` answers of, but no target."""
    return tuple(sorted({*range(1, min(targets)), *held} - set(targets)))
