"""Which steps trained on a source, a rollout or a shown reference: from the steps' tables of uses, kept in the index.

A generation's own steps are asked directly about its rollouts: one or a few tables. Of all other steps the index holds,
for each generation whose rollouts they were trained on, a sorted list of 64-bit hashes with stream and count (13 bytes
a use), so that a rollout is found without opening a table. References are kept likewise, in 256 groups by their hash.
Two sources of one list share a hash by chance with a probability of less than one in 10^9 for 100,000 uses.

A step's table is read into the index when a source is first asked for after the step was committed, or by the run that
committed it (`remember`). It is found by the digest of the step's artifact, which stands for its bytes. A table that
cannot be read is left out, and read, with its error, once a source is asked for that it may hold.

Left out: where a sample lies.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bootstrap.errors import StoreCorrupt
from bootstrap.ids import RolloutId, is_rollout
from bootstrap.ledger_records import ArtifactRef, Generation
from bootstrap.store.index import Entries
from bootstrap.store.index_file import IndexFile
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.parquet import read_table

FILE = "usage.parquet"
STREAMS = ("rl", "ce", "kl")
_CODES, _OTHER = {stream: code for code, stream in enumerate(STREAMS)}, 255
_REFERENCES, _GROUPS = 10**9, 256
"""Number of the first group of references among the givers, which generations never reach; number of groups."""
_GIVER = re.compile(r"g(\d{1,9})\.")
_COLUMNS = pa.schema([("source", pa.string()), ("stream", pa.string()), ("count", pa.int64())])
_PACKED = np.dtype([("source", "<u8"), ("count", "<u4"), ("stream", "u1")])
_AT_ONCE = 50
"""Steps that are read into the index in one transaction."""
Told = Callable[[int, int], None]
"""Called with the number of steps read, and of all that are to be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceUse:
    """One stream of one step in which a generation was trained on a source."""

    generation: int
    step: int
    stream: str
    count: int
    """Number of updates."""


def remember(store: LineageStore, entries: Entries, *, newest: int | None = None, told: Told | None = None) -> None:
    """Read the uses of all steps that the index lacks, unless it ends with this process.

    `newest`: looks at so many generations alone; None at all.
    """
    if entries:
        with IndexFile.of(entries.key) as index:
            _remember(store, entries.outlines if newest is None else entries[-newest:], index, told=told)


def uses(store: LineageStore, entries: Entries, source: str, *, told: Told | None = None) -> list[SourceUse]:
    """Return every use of a source in training, in the ledger's order.

    `source`: id of a rollout in this lineage, or of a prompt whose reference was shown. Raises StoreCorrupt for text
    that is no id, or for a broken table that may hold it.
    """
    giver = RolloutId.parse(source).contributor if is_rollout(source) else _group(source)
    first = giver if is_rollout(source) else 0
    if first >= len(entries):
        return []
    with IndexFile.of(entries.key) as index:
        held, packed = _remember(store, entries.outlines, index, told=told), index.uses(giver)
    wanted, found = _hash(source), list[SourceUse]()
    for entry in entries.outlines[first:]:
        node = entry.generation
        for role, ref in node.steps.items():
            # What a generation gave to itself is not in the index.
            known = held.get(ref.digest) if node.number != giver else None
            if known is not None and giver not in known:
                continue
            if known is not None and ref.digest in packed:
                rows = _unpacked(packed[ref.digest], wanted)
            elif node.number == giver or _may_use(entries[node.number].generation, giver):
                rows = _in_table(store, ref, source)
            else:
                continue
            found += [SourceUse(generation=node.number, step=role.index, stream=s, count=n) for s, n in rows]
    return found


def _remember(
    store: LineageStore, entries: Sequence[Entry], index: IndexFile, *, told: Told | None
) -> Mapping[str, frozenset[int]]:
    """Read what the index lacks; return digest of a step that it then holds -> the givers of what the step used."""
    held = index.steps()
    if index.path is None:
        # Reading all tables for an index that ends with the process costs more than it saves.
        return held
    lacking = {
        ref.digest: (entry.generation.number, ref)
        for entry in entries
        for ref in entry.generation.steps.values()
        if ref.digest not in held
    }
    read = list[tuple[str, Mapping[int, bytes]]]()
    for done, (digest, (number, ref)) in enumerate(lacking.items(), start=1):
        try:
            read.append((digest, _pack(_table(store, ref), own=number)))
        except StoreCorrupt:
            continue
        finally:
            if told is not None:
                told(done, len(lacking))
        if len(read) == _AT_ONCE:
            index.add_steps(read)
            read = []
    index.add_steps(read)
    return index.steps() if lacking else held


def _may_use(node: Generation, giver: int) -> bool:
    """Whether a generation can have been trained on sources of a giver, by its record."""
    return giver >= _REFERENCES or any(edge.role == "data" and edge.generation == giver for edge in node.edges)


def _table(store: LineageStore, ref: ArtifactRef) -> pa.Table:
    """Return a step's table of uses; empty without one. Raises StoreCorrupt."""
    artifact = store.artifact(ref)
    if FILE not in artifact.files:
        return _COLUMNS.empty_table()
    data = artifact.read(FILE)
    try:
        table = read_table(data, columns=_COLUMNS.names)
        if table.schema.names != _COLUMNS.names or table.schema.types != _COLUMNS.types:
            raise ValueError(f"its columns are {', '.join(map(str, table.schema))}")
        if any(column.null_count for column in table.columns):
            raise ValueError("it lacks a value")
        if any(not 0 <= count < 2**32 for count in table["count"].to_pylist()):
            raise ValueError("it counts what no training has")
    except ValueError as error:
        raise StoreCorrupt(
            f"{artifact.path / FILE} cannot be read as a table: {error}; run `bootstrap verify`"
        ) from error
    return table.combine_chunks()


def _in_table(store: LineageStore, ref: ArtifactRef, source: str) -> Iterator[tuple[str, int]]:
    for row in _table(store, ref).filter(pc.field("source") == source).to_pylist():
        yield row["stream"], row["count"]


def _pack(table: pa.Table, *, own: int) -> dict[int, bytes]:
    """Return giver -> the packed uses of its sources in a step of generation `own`, whose own rollouts are left out."""
    # An id that begins with g0 is generation 0's, which has it from its own steps or inherited it from another lineage.
    is_own = pc.call_function("match_substring_regex", [table["source"]], pc.MatchSubstringOptions(rf"^g{own}\."))
    table = table.filter(pc.call_function("invert", [is_own]))
    found = list[tuple[int, int, int, int]]()
    for source, stream, count in zip(*(column.to_pylist() for column in table.columns), strict=True):
        giver = _GIVER.match(source)
        number = _group(source) if giver is None else int(giver[1])
        found.append((number, _hash(source), count, _CODES.get(stream, _OTHER)))
    found.sort()
    return {
        number: np.array([row[1:] for row in rows], dtype=_PACKED).tobytes()
        for number, rows in groupby(found, key=lambda row: row[0])
    }


def _unpacked(data: bytes, wanted: int) -> Iterator[tuple[str, int]]:
    """Yield (stream, count) of one source, by its hash."""
    rows = np.frombuffer(data, dtype=_PACKED)
    sources = np.ascontiguousarray(rows["source"])
    first, end = (int(np.searchsorted(sources, np.uint64(wanted), side=side)) for side in ("left", "right"))
    for row in rows[first:end]:
        code = int(row["stream"])
        yield STREAMS[code] if code < len(STREAMS) else "other", int(row["count"])


def _group(reference: str) -> int:
    """Return the number of a reference's group."""
    return _REFERENCES + _hash(reference) % _GROUPS


def _hash(source: str) -> int:
    return int.from_bytes(blake2b(source.encode(), digest_size=8).digest(), "little")
