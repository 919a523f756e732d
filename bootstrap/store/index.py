"""A lineage's ledger as it is asked questions: proven on every reading, parsed only where it is needed.

`read` hashes the bytes of every record's file. A file whose bytes were proven sound before is known by that hash
(`index_file.py`): its record's hash and link come from the index, and it is not parsed. Any other file is proven as
`Ledger.read` does it, then remembered. The links of the chain are compared each time.

| checked on each reading | checked by `bootstrap verify` alone |
|---|---|
| every byte of every record, against what was proven | the index itself, which it never opens |
| numbers and links of the chain, missing files | a known record's hash, computed once more |
| a new record's hash and content | artifacts, fingerprints, edges, accounting |

So the index is no second truth: it says which bytes need no second proof, and keeps an outline of them. Without it, or
with a damaged one, the same answers take longer. Left out: samples (`uses.py`).
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import overload

from bootstrap.errors import StoreCorrupt
from bootstrap.store import durable
from bootstrap.store.index_file import IndexFile, IndexRow
from bootstrap.store.ledger import NO_PREVIOUS, Entry, outline, prove, reread
from bootstrap.store.lineage_store import LineageStore


class Entries(Sequence[Entry]):
    """A ledger's entries, proven. An entry is parsed when it is asked for, from its file's bytes as they were proven.

    Raises StoreCorrupt where such a file has changed since, StoreError where it cannot be read.
    """

    def __init__(self, paths: Sequence[Path], rows: Sequence[IndexRow], *, key: str) -> None:
        self.key = key
        """Of the lineage's index; empty without a record."""
        self._paths, self._rows = paths, rows
        self._parsed: dict[int, Entry] = {}
        self._outlines: list[Entry] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        if isinstance(index, slice):
            return [self._entry(number) for number in range(*index.indices(len(self)))]
        return self._entry(range(len(self))[index])

    def __iter__(self) -> Iterator[Entry]:
        return map(self._entry, range(len(self)))

    @property
    def outlines(self) -> Sequence[Entry]:
        """The entries, possibly without their edges of role `data`, whose number grows with the lineage."""
        if self._outlines is None:
            self._outlines = [self._outline(number) for number in range(len(self))]
        return self._outlines

    def _outline(self, number: int) -> Entry:
        try:
            return reread(self._rows[number].outline)
        except ValueError:
            # A later version of this program wrote it, with a field that this one does not know.
            return self._entry(number)

    def _entry(self, number: int) -> Entry:
        if number not in self._parsed:
            path, row = self._paths[number], self._rows[number]
            data = durable.read_file(path)
            if sha256(data).digest() != row.file:
                raise StoreCorrupt(f"{path} was changed while it was read; run the command again")
            self._parsed[number] = reread(data)
        return self._parsed[number]


def read(store: LineageStore) -> Entries:
    """Return the entries of a lineage's ledger, verified as the module says, and remember what is new.

    Raises as `Ledger.read`.
    """
    paths, rows, new = store.ledger.paths(), list[IndexRow](), list[IndexRow]()
    if not paths:
        return Entries((), (), key="")
    first, previous = durable.read_file(paths[0]), NO_PREVIOUS
    key = sha256(first).hexdigest()
    with IndexFile.of(key) as index:
        for number, path in enumerate(paths):
            data = durable.read_file(path) if number else first
            row = index.record(sha256(data).digest())
            if row is None or not _is_usable(row, number=number, previous=previous):
                row = _proven(path, data, previous=previous)
                new.append(row)
            rows.append(row)
            previous = row.hash
        index.add_records(new)
    return Entries(paths, rows, key=key)


def outlines(entries: Sequence[Entry]) -> Sequence[Entry]:
    """Return entries whose generations may lack their data edges, for what asks each of many for anything else."""
    return entries.outlines if isinstance(entries, Entries) else entries


def _is_usable(row: IndexRow, *, number: int, previous: str) -> bool:
    """Whether a known record stands in its place in the chain. One that does not is proven again, which says why."""
    return (row.number, row.previous) == (number, previous)


def _proven(path: Path, data: bytes, *, previous: str) -> IndexRow:
    entry = prove(path, data, previous=previous)
    return IndexRow(
        file=sha256(data).digest(),
        number=entry.generation.number,
        hash=entry.hash,
        previous=entry.previous,
        outline=outline(entry),
    )
