"""A lineage's ledger as it is asked questions: proven on every reading, parsed only where it is needed.

`read` hashes the bytes of every record's file. A file whose bytes were proven sound before is known by that hash
(`index_file.py`): its record's hash and link come from the index, and it is not parsed. Any other file is proven as
`Ledger.read` does it, then remembered. The links of the chain are compared each time.

| checked on each reading | checked by `bootstrap verify` alone |
|---|---|
| every byte of every record, against what was proven | the index itself, which it never opens |
| numbers and links of the chain, missing files | a known record's hash, computed once more |
| a new record's hash and content | artifacts, fingerprints, edges, accounting |

Publishing happens after each generation and must cost the same however many there are. `recall` therefore takes the
chain from the index, by the newest record's hash, and opens the files of records that the index does not know. Others
are opened, and compared with what was proven, where they are asked for.

So the index is no second truth: it says which bytes need no second proof, and keeps an outline of them. Without it, or
with a damaged one, the same answers take longer. Left out: samples (`uses.py`).
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import overload

from bootstrap.errors import StoreCorrupt
from bootstrap.reading import MAX_JSON_BYTES
from bootstrap.store.index_file import IndexFile, IndexRow, Link
from bootstrap.store.ledger import NO_PREVIOUS, Entry, Ledger, outline, prove, reread
from bootstrap.store.lineage_store import LineageStore


class Entries(Sequence[Entry]):
    """A ledger's entries, proven. An entry is parsed when it is asked for, from its file's bytes as they were proven.

    Raises StoreCorrupt where such a file has changed since, StoreError where it cannot be read.
    """

    def __init__(self, ledger: Ledger, paths: Sequence[Path], rows: Sequence[IndexRow], *, key: str) -> None:
        self.key = key
        """Of the lineage's index; empty without a record."""
        self._ledger, self._paths, self._rows = ledger, paths, rows
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
    def links(self) -> Sequence[Link]:
        """Each entry's place in the lineage."""
        return self._rows

    @property
    def outlines(self) -> Sequence[Entry]:
        """The entries, possibly without their edges of role `data`, whose number grows with the lineage."""
        if self._outlines is None:
            self._outlines = [self._outline(number) for number in range(len(self))]
        return self._outlines

    def _outline(self, number: int) -> Entry:
        kept = self._rows[number].outline
        try:
            return self._entry(number) if kept is None else reread(kept)
        except ValueError:
            # A later version of this program wrote it, with a field that this one does not know.
            return self._entry(number)

    def _entry(self, number: int) -> Entry:
        if number not in self._parsed:
            path, row = self._paths[number], self._rows[number]
            data = self._ledger.content(path)
            # Annotations lie outside the hash: whoever edits them makes another file of the same record.
            is_known = sha256(data).digest() == row.file
            entry = reread(data) if is_known else prove(path, data, previous=row.previous)
            if entry.hash != row.hash:
                raise StoreCorrupt(f"{path} was changed while it was read; run the command again")
            self._parsed[number] = entry
        return self._parsed[number]


def read(store: LineageStore) -> Entries:
    """Return the entries of a lineage's ledger, verified as the module says, and remember what is new.

    Raises as `Ledger.read`.
    """
    paths, rows, new = store.ledger.paths(), list[IndexRow](), list[IndexRow]()
    if not paths:
        return Entries(store.ledger, (), (), key="")
    with ExitStack() as stack:
        folder = stack.enter_context(store.ledger.opened())
        first, previous = folder.read(paths[0].name, most=MAX_JSON_BYTES), NO_PREVIOUS
        key = sha256(first).hexdigest()
        index = stack.enter_context(IndexFile.of(key))
        for number, path in enumerate(paths):
            data = folder.read(path.name, most=MAX_JSON_BYTES) if number else first
            row = index.record(sha256(data).digest())
            if row is None or not _is_usable(row, number=number, previous=previous):
                row = _proven(path, data, previous=previous)
                new.append(row)
            rows.append(row)
            previous = row.hash
        index.add_records(new)
    return Entries(store.ledger, paths, rows, key=key)


def recall(store: LineageStore) -> Entries:
    """Return the entries as `read` does, but open only the first, the newest, and those that the index does not know.

    The chain of hashes is followed through the index, from the newest record. Raises as `Ledger.read`.
    """
    paths, rows, new = store.ledger.paths(), list[IndexRow](), list[IndexRow]()
    if not paths:
        return Entries(store.ledger, (), (), key="")
    with ExitStack() as stack:
        folder = stack.enter_context(store.ledger.opened())
        key, wanted = sha256(folder.read(paths[0].name, most=MAX_JSON_BYTES)).hexdigest(), ""
        index = stack.enter_context(IndexFile.of(key))
        known = index.links()
        for number in reversed(range(len(paths))):
            row = known.get(wanted)
            if row is None or row.number != number:
                data = folder.read(paths[number].name, most=MAX_JSON_BYTES)
                row = index.record(sha256(data).digest())
                if row is None or row.number != number:
                    row = _proven(paths[number], data, previous=None)
                    new.append(row)
                if wanted not in ("", row.hash):
                    # `read` names the fault.
                    return read(store)
            rows.append(row)
            wanted = row.previous
        if wanted != NO_PREVIOUS:
            return read(store)
        index.add_records(new)
    return Entries(store.ledger, paths, rows[::-1], key=key)


def outlines(entries: Sequence[Entry]) -> Sequence[Entry]:
    """Return entries whose generations may lack their data edges, for what asks each of many for anything else."""
    return entries.outlines if isinstance(entries, Entries) else entries


def links(entries: Sequence[Entry]) -> Sequence[Link]:
    """Return each entry's place in the lineage, for what asks all of them for no more than that."""
    return entries.links if isinstance(entries, Entries) else [_link(entry) for entry in entries]


def _is_usable(row: IndexRow, *, number: int, previous: str) -> bool:
    """Whether a known record stands in its place in the chain. One that does not is proven again, which says why."""
    return (row.number, row.previous) == (number, previous)


def _proven(path: Path, data: bytes, *, previous: str | None) -> IndexRow:
    entry = prove(path, data, previous=previous)
    link = _link(entry)
    return IndexRow(
        file=sha256(data).digest(),
        number=link.number,
        hash=link.hash,
        previous=link.previous,
        fingerprint=link.fingerprint,
        parents=link.parents,
        outline=outline(entry),
    )


def _link(entry: Entry) -> Link:
    return Link(
        number=entry.generation.number,
        hash=entry.hash,
        previous=entry.previous,
        fingerprint=entry.generation.fingerprint,
        parents=entry.generation.parents,
    )
