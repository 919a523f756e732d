"""What follows from generations, across the lineages of a store, by how many edges.

    edge to a generation       its lineage's own: weights, data, teachers, judges
    fork                       found by the hash of the ledger record that it starts from; what it inherited too
    outside model              the generation that it was exported from, by the hash of its ledger record; where the
                               folder did not say, the generations of any lineage that made weights of its fingerprint

Left out: what a question starts from (`taint.py`).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cached_property

from bootstrap.ids import RolloutId
from bootstrap.ledger_records import Edge, Generation
from bootstrap.lineage import queries
from bootstrap.lineage.questions.grown import EDGES, Grown, beside
from bootstrap.lineage.questions.locate import inherited_answers

Node = tuple[str, int]
"""A lineage by its folder's name, and the number of a generation."""


class Store:
    """The lineages of a store as one graph. A lineage's data edges and inheritance are read when it is reached."""

    def __init__(self, grown: Grown) -> None:
        """Read the lineages beside `grown`. Raises StoreError if the store cannot be read."""
        neighbours = beside(grown)
        self.unread = tuple(neighbours.unread)
        """Lineages that cannot be read."""
        self.lineages: Mapping[str, Grown] = {one.name: one for one in (grown, *neighbours.found) if one.entries}
        self._children = dict[str, Mapping[int, set[int]]]()
        self._inherited = dict[tuple[str, str], set[int]]()

    def node(self, node: Node) -> Generation:
        """Return a generation's record."""
        return self.lineages[node[0]].entries[node[1]].generation

    def distances(self, start: Mapping[Node, int]) -> dict[Node, int]:
        """Return every generation reached from some, with its edges from the nearest; `start`: with their own."""
        found = dict(start)
        reached = sorted(found)
        while reached:
            for node in reached:
                for follower in self._followers(node):
                    found.setdefault(follower, found[node] + 1)
            last = max(found[node] for node in reached) + 1
            reached = sorted(node for node, distance in found.items() if distance == last)
        return found

    def ways(self, node: Node, distances: Mapping[Node, int]) -> tuple[str, ...]:
        """Return in words the edges by which a generation is reached from the nearest ones."""
        sources = self._sources(node)
        return tuple(dict.fromkeys(told for source, told in sources if distances.get(source) == distances[node] - 1))

    def _followers(self, node: Node) -> Iterator[Node]:
        lineage, number = node
        yield from ((lineage, one) for one in self._inside(lineage).get(number, ()))
        yield from self._followed.get(node, ())
        forks = (fork for fork in self.lineages if self._origin(fork) == lineage)
        yield from ((fork, 0) for fork in forks if number in self._given(fork, lineage))

    def _sources(self, node: Node) -> Iterator[tuple[Node, str]]:
        """Yield each generation that one comes from, and how."""
        lineage, number = node
        for edge in self.node(node).edges:
            if edge.generation is None:
                yield from self._behind(node, edge)
            elif edge.generation != number:
                yield (lineage, edge.generation), way(edge)
        if number == 0 and (origin := self._origin(lineage)) is not None:
            for one in sorted(self._given(lineage, origin)):
                yield (origin, one), f"inherited answers of {origin}@gen-{one}"

    def _behind(self, node: Node, edge: Edge) -> Iterator[tuple[Node, str]]:
        """Yield the generations of the store that an edge from outside a lineage comes from."""
        if edge.record is not None:
            if (source := self._records.get(edge.record)) is not None:
                yield source, f"starts from {source[0]}@gen-{source[1]}"
            return
        if edge.exported is not None:
            if (source := self._records.get(edge.exported)) is not None:
                yield source, f"{way(edge)}, exported from {source[0]}@gen-{source[1]}"
            return
        for source in self._weights.get(edge.fingerprint, ()):
            # Within a lineage an edge comes from an earlier generation, whatever later one has the same weights.
            if source[0] != node[0]:
                yield source, f"{way(edge)}, with the weights of {source[0]}@gen-{source[1]}"
            elif source[1] < node[1]:
                yield source, f"{way(edge)}, with the weights of gen-{source[1]}"

    def _origin(self, lineage: str) -> str | None:
        """Return the lineage of the store that a fork starts from; None for no fork, and without it in the store."""
        edge = self.lineages[lineage].fork_edge
        source = None if edge is None or edge.record is None else self._records.get(edge.record)
        return None if source is None else source[0]

    @cached_property
    def _records(self) -> dict[str, Node]:
        """Hash of a ledger record -> its generation."""
        return {
            entry.hash: (name, entry.generation.number)
            for name, one in reversed([*self.lineages.items()])
            for entry in one.outlines
        }

    @cached_property
    def _weights(self) -> dict[str, list[Node]]:
        """Fingerprint -> the generations that made these weights, and did not take them from elsewhere as they were."""
        found: dict[str, list[Node]] = defaultdict(list)
        for name, one in self.lineages.items():
            for node in (entry.generation for entry in one.outlines):
                if all(edge.fingerprint != node.fingerprint for edge in node.edges if edge.role == "init"):
                    found[node.fingerprint].append((name, node.number))
        return found

    @cached_property
    def _followed(self) -> dict[Node, set[Node]]:
        """Generation -> those that follow it by an edge from outside their lineage."""
        found: dict[Node, set[Node]] = defaultdict(set)
        for name, one in self.lineages.items():
            for entry in one.outlines:
                node = name, entry.generation.number
                for edge in entry.generation.edges:
                    for source, _ in self._behind(node, edge) if edge.generation is None else ():
                        found[source].add(node)
        return found

    def _inside(self, lineage: str) -> Mapping[int, set[int]]:
        """Return number -> the generations of the same lineage that have an edge from it."""
        if lineage not in self._children:
            found: dict[int, set[int]] = defaultdict(set)
            for entry in self.lineages[lineage].entries:
                for edge in entry.generation.edges:
                    if edge.generation is not None and edge.generation != entry.generation.number:
                        found[edge.generation].add(entry.generation.number)
            self._children[lineage] = found
        return self._children[lineage]

    def _given(self, fork: str, origin: str) -> set[int]:
        """Return the generations of an origin whose answers a fork inherited. Raises StoreCorrupt."""
        if (fork, origin) not in self._inherited:
            rows = inherited_answers(self.lineages[fork])
            mark = self.lineages[origin].inherited_id("")
            self._inherited[fork, origin] = {
                RolloutId.parse(row["rollout_id"].removeprefix(mark)).contributor for row in rows
            }
        return self._inherited[fork, origin]


def way(edge: Edge) -> str:
    """Return in words what a generation owes to the source of one of its edges."""
    return f"{EDGES.get(edge.role, edge.role)} {queries.source(edge)}"
