"""Which rank takes the optimizer's step for which parameter.

Every parameter has one owner, so that no rank repeats another's work and optimizer state is held once. A matrix stays
whole, since Muon orthogonalises all of it.
"""

from collections.abc import Sequence


def shares(costs: Sequence[float], sizes: Sequence[int], *, ranks: int) -> list[list[int]]:
    """Return for each rank the places of its parameters, ascending.

    `costs`: of each parameter's step, in any unit; `sizes`: its numbers. The dearest go first, each to the rank with
    the least cost so far and among those with the fewest numbers.
    """
    owned: list[list[int]] = [[] for _ in range(ranks)]
    load = [(0.0, 0)] * ranks
    for place in sorted(range(len(costs)), key=lambda place: (-costs[place], place)):
        rank = min(range(ranks), key=load.__getitem__)
        cost, size = load[rank]
        owned[rank].append(place)
        load[rank] = (cost + costs[place], size + sizes[place])
    return [sorted(places) for places in owned]
