"""Settings that name levels beyond a task's last one.

The settings of some tasks tell their last level; a file's is known when its rows are read (`stages/checks.py`).
"""

from collections.abc import Callable, Iterator, Sequence

from bootstrap.config.base import Place
from bootstrap.config.conflicts import Conflict
from bootstrap.config.generations import Fixed, Generations, Given


def level_conflicts(
    generations: Generations, last: int | None, *, base_level: int, rise: Callable[[int], int]
) -> Iterator[Conflict]:
    """Yield where a recipe names levels of its task beyond the `last` one; nothing where levels go on (None).

    Curricula other than `given` and `fixed` stay at the last level by themselves. `rise`: how far above the base level
    `fixed` aims in a generation.
    """
    if last is None:
        return
    if base_level > last:
        yield Conflict(
            ("task", "base_level"),
            f"references go up to level {base_level}, and the task's last level is {last}; set base_level: {last} or "
            "less",
        )
    done = 0
    for below, stage in generations.parts():
        curriculum, before = stage.curriculum, done
        done = min(done + stage.generations, generations.count)
        place = ("generations", *below, "curriculum")
        if isinstance(curriculum, Given) and curriculum.levels[-1] > last:
            yield Conflict(
                (*place, "levels"),
                f"level {curriculum.levels[-1]} is given, and the task's last level is {last}; give levels up to "
                f"{last}",
            )
        elif isinstance(curriculum, Fixed) and done > before and base_level + rise(done) > last:
            yield Conflict(
                place,
                f"generation {done} would aim at level {base_level + rise(done)}, and the task's last level is {last}; "
                "lower generations.count, or take another curriculum, which stays at the last level",
            )


def asked_conflicts(asked: Sequence[int], last: int | None, place: Place) -> Iterator[Conflict]:
    """Yield where a task of the panel, which stands at `place`, is asked levels beyond its `last` one."""
    if last is not None and asked[-1] > last:
        yield Conflict(
            (*place, "levels"),
            f"level {asked[-1]} is asked, and this task's last level is {last}; ask levels up to {last}",
        )
