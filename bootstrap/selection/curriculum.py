"""What the next generation aims at, judged by held-out accuracy at each level.

`next` raises the level when accuracy passes a bound, as RLVE does (arXiv:2511.07317); `accelerated` takes several next
levels at once, up to the first that is hard; `solved` takes those that are solved without having been trained on,
the accelerated schedule of arXiv:2502.01612; `fixed` is that paper's plain schedule, one more level per round; `given`
names the levels.
"""

from collections.abc import Collection, Mapping, Sequence

from bootstrap.config.generations import Curriculum, Stage
from bootstrap.config.recipe import Recipe
from bootstrap.config.sources import Levels
from bootstrap.config.steps import Step


def aims_by(stage: Stage, *, champion: int, init: int | None) -> int:
    """Return the generation whose held-out accuracy says what a generation of the stage aims at.

    That is the champion, which is to be beaten. But one that the gate leaves alone goes its own way, and one that takes
    up what is `solved` has to go by the weights that answer: what it starts from (`init`, None for another model).
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

    None is above `highest`, the task's last one, unless it is given. `rise`: how far above the base's the `fixed`
    schedule has come (`Recipe.rise`). `trained`: highest `trained_level` of the generation which decides and of its
    ancestors. `accuracies` maps levels to its shares of right held-out answers; a level that was not measured counts as
    not reached. The first target is the first level beyond the base's that is not reached. The base's own levels are
    not aimed at: they have references, which replay keeps showing, so one that dips is repaired by replay while the aim
    moves on. `accelerated` adds the following levels up to and including the first one below `until`. `solved` takes
    the levels above `trained` up to the last of those that are solved without a gap, or else that first level.
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
    """Return the levels that a step draws prompts from; the targets for one that draws none."""
    return levels_of(next((drawn.levels for _, drawn in step.draws()), "targets"), targets)


def last_evaluated(targets: Sequence[int], *, lookahead: int, highest: int | None) -> int:
    """Return the last level at which a generation is evaluated for its own sake; `highest`: the task's last one."""
    last = max(targets) + lookahead
    return last if highest is None else min(last, max(highest, *targets))


def trained_level(recipe: Recipe, number: int, targets: Sequence[int]) -> int:
    """Return the highest level that a generation which aims at `targets` answers or is shown; 0 for one that merges.

    Left out: what it replays, which others have answered, and what self-play proposes beyond its aim, which is chance.
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
    """Return the levels to replay: all below the first target, and those the pool `held` answers of, but no target.

    Where the targets are all there is, as in a file of one level, they are replayed themselves.
    """
    return tuple(sorted({*range(1, min(targets)), *held} - set(targets))) or tuple(targets)
