"""Several levels in words, alike in reports, plans, pages and messages."""

from collections.abc import Iterable


def level_runs(levels: Iterable[int]) -> list[tuple[int, int]]:
    """Return the runs of consecutive levels as (first, last), in order: 8, 1, 3, 7 -> (1, 1), (3, 3), (7, 8)."""
    runs: list[tuple[int, int]] = []
    for level in sorted(set(levels)):
        if runs and level == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], level)
        else:
            runs.append((level, level))
    return runs


def level_range(levels: Iterable[int]) -> str:
    """Return levels in words: `no level`, `level 5`, `levels 1-4`, `levels 1, 3, 5-8`."""
    runs = level_runs(levels)
    if not runs:
        return "no level"
    one = len(runs) == 1 and runs[0][0] == runs[0][1]
    return f"level{'' if one else 's'} " + ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)
