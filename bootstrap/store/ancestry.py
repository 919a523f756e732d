"""What a committed generation descends from, and what all of it cost.

A generation that descends from one of several siblings pays for all of them, since one was chosen among all. Left out:
the quality that the cost bought (`lineage/curves.py`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from bootstrap.ledger_records import ComputeCost, Generation
from bootstrap.store.ledger import Entry

Siblings = Callable[[int], Iterable[int]]
"""Generation -> all that start from the same parent, itself included (`Header.siblings`)."""


def alone(number: int) -> Iterable[int]:
    """Return the generation alone: the `Siblings` of a lineage that has none."""
    return (number,)


def ancestors(entries: Sequence[Entry], numbers: Iterable[int]) -> frozenset[int]:
    """Return these generations and all whose weights they come from."""
    return _closure(numbers, lambda number: entries[number].generation.parents)


def ancestry(entries: Sequence[Entry], numbers: Iterable[int], *, siblings: Siblings = alone) -> frozenset[int]:
    """Return these generations and all that they descend from along any edge: weights, data, teachers, judges.

    Siblings of an ancestor are included if they were committed before its descendant.
    """

    def sources(number: int) -> list[int]:
        edges = entries[number].generation.edges
        named = [edge.generation for edge in edges if edge.generation is not None]
        return [one for source in named for one in siblings(source) if one < number]

    return _closure(numbers, sources)


def compute_cost(entries: Sequence[Entry], numbers: Iterable[int], *, siblings: Siblings = alone) -> ComputeCost:
    """Return the FLOPs of these generations and their ancestry, each generation counted once.

    The FLOPs of a fork's origin stand on the edge from there.
    """
    chosen = [entries[number].generation for number in sorted(ancestry(entries, numbers, siblings=siblings))]
    before = [edge.compute_cost for generation in chosen for edge in generation.edges if edge.compute_cost is not None]
    return ComputeCost(
        start=total([*(one.start for one in before), own_flops(one for one in chosen if not one.number)]),
        since=total([*(one.since for one in before), own_flops(one for one in chosen if one.number)]),
    )


def own_flops(generations: Iterable[Generation]) -> dict[str, float]:
    """Return the FLOPs of these generations by phase, without those of their ancestry."""
    return total([generation.compute.flops for generation in generations])


def total(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the sum of FLOPs by phase."""
    phases = sorted({phase for part in parts for phase in part})
    return {phase: sum(part.get(phase, 0.0) for part in parts) for phase in phases}


def _closure(numbers: Iterable[int], sources: Callable[[int], Iterable[int]]) -> frozenset[int]:
    """Return the numbers and all that `sources` leads to from them."""
    found, waiting = set[int](), list(numbers)
    while waiting:
        number = waiting.pop()
        if number not in found:
            found.add(number)
            waiting += sources(number)
    return frozenset(found)
