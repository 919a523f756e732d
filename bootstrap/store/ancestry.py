"""What a committed generation descends from, and what all of it cost.

Of several siblings one is kept for what comes of them all: whoever descends from one pays for each of them.

Left out: what became of it for that price (`lineage/curves.py`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from bootstrap.ledger_records import ComputeCost, Generation
from bootstrap.store.ledger import Entry

Siblings = Callable[[int], Iterable[int]]
"""Generation -> those that start from one parent, itself among them (`Header.siblings`)."""


def alone(number: int) -> Iterable[int]:
    """Return the generation: what it means that a lineage has no siblings."""
    return (number,)


def ancestors(entries: Sequence[Entry], numbers: Iterable[int]) -> frozenset[int]:
    """Return these generations and all that their weights come from."""
    found, waiting = set[int](), list(numbers)
    while waiting:
        number = waiting.pop()
        if number not in found:
            found.add(number)
            waiting += entries[number].generation.parents
    return frozenset(found)


def ancestry(entries: Sequence[Entry], numbers: Iterable[int], *, siblings: Siblings = alone) -> set[int]:
    """Return these generations and all that they descend from along any edge: weights, data, teachers, judges.

    With the siblings of what they descend from, as far as these were there to choose among.
    """
    found: set[int] = set()
    waiting = list(numbers)
    while waiting:
        number = waiting.pop()
        if number not in found:
            found.add(number)
            for edge in entries[number].generation.edges:
                if edge.generation is not None:
                    waiting += [one for one in siblings(edge.generation) if one < number]
    return found


def compute_cost(entries: Sequence[Entry], numbers: Iterable[int], *, siblings: Siblings = alone) -> ComputeCost:
    """Return the FLOPs of these generations and of all that they descend from, each generation once; those of a fork's
    origin come with the edge from there."""
    chosen = [entries[number].generation for number in sorted(ancestry(entries, numbers, siblings=siblings))]
    before = [edge.compute_cost for generation in chosen for edge in generation.edges if edge.compute_cost is not None]
    return ComputeCost(
        start=total([*(one.start for one in before), own_flops(one for one in chosen if not one.number)]),
        since=total([*(one.since for one in before), own_flops(one for one in chosen if one.number)]),
    )


def own_flops(generations: Iterable[Generation]) -> dict[str, float]:
    """Return what these generations themselves cost, by phase."""
    return total([generation.compute.flops for generation in generations])


def total(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the sum of FLOPs by phase."""
    phases = sorted({phase for part in parts for phase in part})
    return {phase: sum(part.get(phase, 0.0) for part in parts) for phase in phases}
