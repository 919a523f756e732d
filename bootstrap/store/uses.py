"""Which steps trained on a sample: from the steps' tables of uses, which the index keeps by the samples' generation.

A generation's own steps are asked directly: one or a few tables. Of all other steps the index holds, for each
generation whose samples they were trained on, a sorted list of 64-bit hashes with stream and count (13 bytes a use), so
that a sample is found without opening a table. Two samples of one generation and step share a hash by chance with a
probability of less than one in 10^9 for 100,000 uses.

A step's table is read into the index when a sample is first asked for after the step was committed, or by the run that
committed it (`remember`). It is found by the digest of the step's artifact, which stands for its bytes. A table that
cannot be read is left out, and read, with its error, once a sample is asked for that it may hold.

Left out: references that were shown, which are sources of their own, and where a sample lies.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bootstrap.errors import StoreCorrupt
from bootstrap.ids import RolloutId
from bootstrap.ledger_records import ArtifactRef, Generation
from bootstrap.store.index import Entries
from bootstrap.store.index_file import IndexFile
from bootstrap.store.lineage_store import LineageStore

FILE = "usage.parquet"
STREAMS = ("rl", "ce", "kl")
_CODES, _OTHER = {stream: code for code, stream in enumerate(STREAMS)}, 255
_GIVER = re.compile(r"g(\d{1,9})\.")
_COLUMNS = pa.schema([("source", pa.string()), ("stream", pa.string()), ("count", pa.int64())])
_PACKED = np.dtype([("sample", "<u8"), ("count", "<u4"), ("stream", "u1")])
_AT_ONCE = 50
"""Steps that are read into the index in one transaction."""
Told = Callable[[int, int], None]
"""Called with the number of steps read, and of all that are to be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleUse:
    """One stream of one step in which a generation was trained on a sample."""

    generation: int
    step: int
    stream: str
    count: int
    """Number of updates."""


def remember(store: LineageStore, entries: Entries, *, told: Told | None = None) -> None:
    """Read the uses of all steps that the index lacks."""
    if entries:
        with IndexFile.of(entries.key) as index:
            _remember(store, entries, index, told=told)


def uses(store: LineageStore, entries: Entries, sample: str, *, told: Told | None = None) -> list[SampleUse]:
    """Return every use of a rollout in training, in the ledger's order.

    `sample`: its id in this lineage. Raises StoreCorrupt for text that is no id of a rollout, or for a broken table
    that may hold it.
    """
    giver = RolloutId.parse(sample).contributor
    if giver >= len(entries):
        return []
    with IndexFile.of(entries.key) as index:
        held, packed = _remember(store, entries, index, told=told), index.uses(giver)
    wanted, found = _hash(sample), list[SampleUse]()
    for entry in entries.outlines[giver:]:
        node = entry.generation
        is_own = node.number == giver
        for role, ref in node.steps.items():
            known = None if is_own else held.get(ref.digest)
            if not (is_own or giver in (_givers(entries[node.number].generation) if known is None else known)):
                continue
            has_row = known is not None and ref.digest in packed
            rows = _unpacked(packed[ref.digest], wanted) if has_row else _in_table(store, ref, sample)
            found += [SampleUse(generation=node.number, step=role.index, stream=s, count=n) for s, n in rows]
    return found


def _remember(
    store: LineageStore, entries: Entries, index: IndexFile, *, told: Told | None
) -> Mapping[str, frozenset[int]]:
    """Do so, and return digest of a step that the index holds -> the generations whose samples it used."""
    held = index.steps()
    lacking = {
        ref.digest: (entry.generation.number, ref)
        for entry in entries.outlines
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


def _givers(node: Generation) -> set[int | None]:
    """Return the generations of whose samples a generation was trained on, by its record."""
    return {edge.generation for edge in node.edges if edge.role == "data"}


def _table(store: LineageStore, ref: ArtifactRef) -> pa.Table:
    """Return a step's table of uses; empty without one. Raises StoreCorrupt."""
    artifact = store.artifact(ref)
    if FILE not in artifact.files:
        return _COLUMNS.empty_table()
    try:
        table = pq.read_table(pa.BufferReader(artifact.read(FILE)), columns=_COLUMNS.names, use_threads=False)
        if table.schema.names != _COLUMNS.names or table.schema.types != _COLUMNS.types:
            raise ValueError(f"its columns are {', '.join(map(str, table.schema))}")
        if any(column.null_count for column in table.columns):
            raise ValueError("it lacks a value")
        if any(not 0 <= count < 2**32 for count in table["count"].to_pylist()):
            raise ValueError("it counts what no training has")
    except (pa.ArrowException, OSError, ValueError) as error:
        raise StoreCorrupt(
            f"{artifact.path / FILE} cannot be read as a table: {error}; run `bootstrap verify`"
        ) from error
    return table.combine_chunks()


def _in_table(store: LineageStore, ref: ArtifactRef, sample: str) -> Iterator[tuple[str, int]]:
    for row in _table(store, ref).filter(pc.field("source") == sample).to_pylist():
        yield row["stream"], row["count"]


def _pack(table: pa.Table, *, own: int) -> dict[int, bytes]:
    """Return generation -> the packed uses of its samples, of a step of generation `own`, whose own are left out."""
    # An id that begins with g0 is generation 0's, which has it from its own steps or inherited it from another lineage.
    is_own = pc.call_function("match_substring_regex", [table["source"]], pc.MatchSubstringOptions(rf"^g{own}\."))
    table = table.filter(pc.call_function("invert", [is_own]))
    found = list[tuple[int, int, int, int]]()
    for source, stream, count in zip(*(column.to_pylist() for column in table.columns), strict=True):
        if giver := _GIVER.match(source):
            found.append((int(giver[1]), _hash(source), count, _CODES.get(stream, _OTHER)))
    found.sort()
    return {
        number: np.array([row[1:] for row in rows], dtype=_PACKED).tobytes()
        for number, rows in groupby(found, key=lambda row: row[0])
    }


def _unpacked(data: bytes, wanted: int) -> Iterator[tuple[str, int]]:
    """Yield (stream, count) of one sample."""
    rows = np.frombuffer(data, dtype=_PACKED)
    samples = np.ascontiguousarray(rows["sample"])
    first, end = (int(np.searchsorted(samples, np.uint64(wanted), side=side)) for side in ("left", "right"))
    for row in rows[first:end]:
        code = int(row["stream"])
        yield STREAMS[code] if code < len(STREAMS) else "other", int(row["count"])


def _hash(sample: str) -> int:
    return int.from_bytes(blake2b(sample.encode(), digest_size=8).digest(), "little")
