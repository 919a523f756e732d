"""Ledger -> the data sets that generations replay, each named once, for files that grow no faster than the lineage.

A generation's record names every earlier generation whose answers it replays, so all records together name about as
many as the square of their number. Pure; left out: the forms that need this (`graph_json.py`, `openlineage.py`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bootstrap.ledger_records import Edge, Generation
from bootstrap.store.ledger import Entry


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """A generation's data sets, by what differs from those of an earlier generation."""

    since: Generation | None
    """The last one before that replayed any; None where all of its data sets are `added`."""
    added: Sequence[Edge]
    dropped: Sequence[Edge]


def of_generation(node: Generation) -> list[Edge]:
    """Return the data sets that a generation replays."""
    return list(dict.fromkeys(edge for edge in node.edges if edge.role == "data"))


def data_sets(entries: Iterable[Entry]) -> tuple[list[Edge], list[list[int]]]:
    """Return every data set, in the order of their first use, and of each generation the places of those it replays."""
    found: dict[Edge, int] = {}
    places = [
        sorted(found.setdefault(edge, len(found)) for edge in of_generation(entry.generation)) for entry in entries
    ]
    return list(found), places


def ranges(places: Sequence[int]) -> list[tuple[int, int]]:
    """Return ascending places as ranges, first and last."""
    found: list[tuple[int, int]] = []
    for place in places:
        if found and found[-1][1] == place - 1:
            found[-1] = found[-1][0], place
        else:
            found.append((place, place))
    return found


def changes(node: Generation, before: Generation | None) -> Changes:
    """Return a generation's data sets by what differs from those of `before`, unless naming all of them is shorter."""
    own, earlier = of_generation(node), [] if before is None else of_generation(before)
    kept = set(own) & set(earlier)
    added, dropped = ([edge for edge in edges if edge not in kept] for edges in (own, earlier))
    if before is None or len(added) + len(dropped) >= len(own):
        return Changes(since=None, added=own, dropped=())
    return Changes(since=before, added=added, dropped=dropped)
