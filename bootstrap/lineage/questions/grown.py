"""A lineage as questions see it: its folder, its committed generations, and the lineages beside it in the store.

A fork is recognised by the hash of the ledger record that it starts from, so that neither a copied nor a renamed folder
is mistaken for the origin. Left out: which lineage a command means (`cli/stores.py`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bootstrap.errors import StoreError
from bootstrap.ids import ForeignGeneration
from bootstrap.ledger_records import Edge, Generation
from bootstrap.lineage import queries
from bootstrap.store import index
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import Header, LineageStore

EDGES = {
    "init": "starts from",
    "merged": "is merged from",
    "teacher": "was taught by",
    "sampler": "was given answers by",
    "reference": "was held to",
    "judge": "was judged by",
    "voter": "was judged by the votes of",
    "data": "was trained on answers of",
}
"""Role of an edge -> what its generation did, before the name of the edge's source."""


@dataclass(frozen=True)
class Grown:
    """One lineage."""

    store: LineageStore
    entries: index.Entries

    @classmethod
    def read(cls, store: LineageStore) -> "Grown":
        """Return the lineage in a folder. Raises StoreError, StoreCorrupt."""
        return cls(store, index.read(store))

    @property
    def name(self) -> str:
        """The lineage's name: its folder's."""
        return self.store.root.name

    @property
    def outlines(self) -> Sequence[Entry]:
        """The entries, possibly without their data edges, for what asks each of many for anything else."""
        return self.entries.outlines

    @cached_property
    def header(self) -> Header:
        """The lineage's header with its recipe."""
        return self.store.header()

    def find(self, name: str) -> Generation:
        """Return the generation called `name` (`queries.find`). Raises RecipeError if there is none."""
        return queries.find(self.entries, name).generation

    def origin(self) -> "tuple[Grown, int] | None":
        """Return a fork's origin and the number of the generation that it starts from; None without one in the store.

        Raises StoreError, StoreCorrupt where the origin cannot be read.
        """
        edge = self.fork_edge
        place = ForeignGeneration.parse(edge.external or "") if edge is not None else None
        if edge is None or place is None or place.lineage != Path(place.lineage).name:
            return None
        folder = LineageStore(self.store.root.parent / place.lineage)
        if not folder.exists:
            return None
        found = Grown.read(folder)
        number = next((entry.generation.number for entry in found.outlines if entry.hash == edge.record), None)
        return None if number is None else (found, number)

    @property
    def fork_edge(self) -> Edge | None:
        """The edge from another lineage's generation that generation 0 starts from; None for no fork."""
        return queries.fork_edge(self.entries[0].generation) if self.entries else None

    def inherited_id(self, rollout: str) -> str:
        """Return the id that a fork of this lineage gives to one of its rollouts."""
        return f"g0.{self.entries[0].generation.lineage}.{rollout}"


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The other lineages of a store."""

    found: Sequence[Grown]
    unread: Sequence[str]
    """Those that cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Forks:
    """The lineages of a store that start from a generation of another one."""

    found: Sequence[tuple[Grown, int]]
    """Each fork with the number of the generation that it starts from."""
    unread: Sequence[str]
    """Lineages of the store that cannot be read, which may be forks too."""


def beside(grown: Grown) -> Neighbours:
    """Return the lineages beside one in its store, by name. Raises StoreError if the store cannot be read."""
    found, unread = list[Grown](), list[str]()
    for folder in _beside(grown.store.root):
        try:
            found.append(Grown.read(folder))
        except StoreError:
            unread.append(folder.root.name)
    return Neighbours(found=found, unread=unread)


def forks_of(grown: Grown) -> Forks:
    """Return the forks of a lineage that lie beside it in its store. Raises StoreError if the store cannot be read."""
    numbers = {entry.hash: entry.generation.number for entry in grown.outlines}
    neighbours = beside(grown)
    edges = ((other, other.fork_edge) for other in neighbours.found)
    found = [(other, numbers[edge.record]) for other, edge in edges if edge is not None and edge.record in numbers]
    return Forks(found=found, unread=neighbours.unread)


def _beside(root: Path) -> Iterator[LineageStore]:
    """Yield the other lineages of a store, by name."""
    root = root.absolute()
    try:
        folders = sorted(folder for folder in root.parent.iterdir() if folder.is_dir() and folder != root)
    except OSError as error:
        raise StoreError(f"cannot read the store {root.parent}: {error.strerror}; check its permissions") from None
    for folder in folders:
        if (store := LineageStore(folder)).exists:
            yield store
