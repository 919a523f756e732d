"""The levels that the next generation aims at, chosen by held-out accuracy at each level.

next           the next level once accuracy passes a bound, as in RLVE (arXiv:2511.07317)
accelerated    several next levels at once, up to the first hard one
solved         levels solved without training on them, the accelerated schedule of arXiv:2502.01612
fixed          one more level per round, that paper's plain schedule
given          levels that the recipe names
"""

from collections.abc import Collection, Mapping, Sequence

from bootstrap.config.generations import Curriculum, Stage
from bootstrap.config.recipe import Recipe
from bootstrap.config.sources import Levels
from bootstrap.config.steps import Step


def aims_by(stage: Stage, *, champion: int, init: int | None) -> int:
    """Return the generation whose held-out accuracy decides the targets of a generation of the stage.

    It is the champion; for an ungated stage, or the curriculum `solved`, the generation that the weights start from:
    `init`, None for a model outside the lineage.
    """
    own = stage.gate == "never" or stage.curriculum.aims_by_start
    return init if own and init is not None else champion


def target_levels(
    curriculum: Curriculum,
    accuracies: Mapping[int, float],
    *,
    base_level: int,
    rise: int,
    trained: int,
    highest: int | None,
) -> tuple[int, ...]:
    """Return the levels that a generation aims at, ascending; consecutive unless they are `given`.

    `accuracies`: level -> share of right held-out answers of the generation that decides (`aims_by`); a level without
    an entry counts as not reached. `rise`: levels above the base's that the `fixed` schedule has reached
    (`Recipe.rise`). `trained`: highest `trained_level` of the deciding generation and its ancestors. `highest`: the
    task's last level, which bounds all targets except given ones.

    The first target is the first level above `base_level` that is not reached. Lower levels are no targets: they have
    references, so replay repairs one that dips. `accelerated` adds the following levels, up to and including the first
    one below `until`. `solved` takes the levels above `trained` up to the last one solved without a gap; if there is
    none, that first level.
    """
    found = curriculum.targets(accuracies, base_level=base_level, rise=rise, trained=trained)
    if highest is None or curriculum.given:
        return found
    return tuple(dict.fromkeys(min(level, highest) for level in found))


def levels_of(wanted: Levels, targets: Sequence[int]) -> tuple[int, ...]:
    """Return the levels that prompts are drawn from."""
    below = tuple(range(1, targets[0]))
    return {"targets": tuple(targets), "reached": below, "all": (*below, *targets)}[wanted]


def drawn_levels(step: Step, targets: Sequence[int]) -> tuple[int, ...]:
    """Return the levels that a step draws prompts from; the targets if it draws none."""
    first = next((drawn for _, drawn in step.draws()), None)
    return tuple(targets) if first is None else levels_of(first.levels, targets)


def last_evaluated(targets: Sequence[int], *, lookahead: int, highest: int | None) -> int:
    """Return the last level at which a generation is evaluated, apart from the gate's; `highest`: the task's last."""
    last = max(targets) + lookahead
    return last if highest is None else min(last, max(highest, *targets))


def trained_level(recipe: Recipe, number: int, targets: Sequence[int]) -> int:
    """Return the highest level that a generation with these targets answers or is shown; 0 for a merge.

    Replayed answers do not count, since other generations gave them, nor do self-play's proposals beyond the targets.
    """
    if number == 0:
        return recipe.start_level
    base_level = recipe.task.base_level
    return max(_trained_level(step, targets, base_level=base_level) for step in recipe.steps_of(number))


def _trained_level(step: Step, targets: Sequence[int], *, base_level: int) -> int:
    match step.practises:
        case "nothing":
            return 0
        case "references":
            return base_level
        case "replayed":
            return max(replay_levels(targets), default=0)
    return max(drawn_levels(step, targets), default=0)


def replay_levels(targets: Sequence[int], *, held: Collection[int] = ()) -> tuple[int, ...]:
    """Return the levels to replay: all below the first target and those in the pool (`held`), without the targets.

    If only targets are left, as for a file of one level, they are replayed themselves.
    """
    return tuple(sorted({*range(1, min(targets)), *held} - set(targets))) or tuple(targets)
